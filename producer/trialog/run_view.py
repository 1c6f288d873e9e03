"""A run as the service knows it, for reading; must not log. `Run` is this and writes as well.

One answer of the service has everything but series, refusals and bytes: a page of a list is one
request, whatever is read of its runs afterwards.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

from trialog.client import Client, number
from trialog.commands import send_command
from trialog.deadline import Deadline
from trialog.pages import pages, run_pages
from trialog.refusals import rejection_of
from trialog.run_async import wait_async
from trialog.run_attributes import RunAttributes
from trialog_schemas import names
from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_schemas.events import RunDeleted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trialog.answers import RunAnswer
    from trialog.settings import Endpoint
    from trialog_schemas.events import Rejection

ENDED = ("Completed", "Failed")


class RunView(RunAttributes):
    """A run that was listed: what the service said then. Questions never change a run.

    Attributes hold what was said when the object was made (`wait` renews it); `rejections`,
    `metric_series` and `read_artifact` ask when they are called.
    """

    def __init__(self, answer: RunAnswer, endpoint: Endpoint) -> None:
        super().__init__(answer)
        self._endpoint = endpoint

    def _positions(self) -> Sequence[str]:
        """Return which positions of the log an answer must contain."""
        return ()

    def _client(self) -> Client:
        """Return who asks about this run."""
        return Client(self._endpoint)

    @property
    def endpoint(self) -> Endpoint:
        """Where the run is, and as whom it is asked for."""
        return self._endpoint

    @property
    def rejections(self) -> list[Rejection]:
        """What the rules refused: each has `.code .message .name .value`; in order of the log."""
        found = self._client().rejections(self.run_id, self._positions())
        return [rejection_of(answer) for answer in found]

    def metric_series(self, name: str) -> dict[str, list[float]]:
        """Return a metric's whole series as columns, in order of step, then arrival.

        Returns:
            Three columns of equal length, one entry a point: `step` (NaN for a point without one;
            these come last), `timestamp` (seconds since the epoch) and `value` (NaN and ±Inf as
            they were logged).

        Raises:
            ValidationError: no metric can have this name.
            ResourceNotFoundError: the run has no such metric; a near name is told.
            UnavailableError: the service cannot be reached.
        """
        known = names.check_metric_name(name)
        pages = list(self._client().series(self.run_id, known, self._positions()))
        steps = [step for page in pages for step in page["steps"]]
        return {
            "step": [float("nan") if step < 0 else step for step in steps],
            "timestamp": [at_us / 1e6 for page in pages for at_us in page["times"]],
            "value": [number(value) for page in pages for value in page["values"]],
        }

    def read_artifact(self, name: str) -> bytes:
        """Return the bytes of an artifact's newest version.

        Raises:
            ValidationError: no artifact can have this name.
            ResourceNotFoundError: there is no such artifact, or it is a model, whose bytes are
                elsewhere.
        """
        known = names.check_artifact_name(name)
        return self._client().read_artifact(self.run_id, known, None, self._positions())

    def delete(self) -> None:
        """Delete the run: gone from list and compare, its name is free; its events stay.

        Raises:
            ResourceNotFoundError: it is deleted already.
            UnavailableError: the service cannot be reached.
        """
        self._positions()  # a live handle's own creation must come first
        send_command(self._endpoint, RunDeleted(self.run_id))

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the run has ended; afterwards the attributes are those of its end.

        Args:
            timeout_s: seconds from 0 on; None waits as long as it takes.

        Raises:
            TimeoutError: it has not ended within the time.
            ResourceNotFoundError: it was deleted.
        """
        self._wait(Deadline(timeout_s))

    wait_async = wait_async

    def _wait(self, deadline: Deadline) -> None:
        while True:
            with contextlib.suppress(UnavailableError):  # a service that comes back is waited for
                self._answer = Client(self._endpoint).run_by_id(self.run_id, self._positions())
                if self._answer["status"] in ENDED:
                    return
            deadline.check(f"run {self.run_name!r} has not ended")
            deadline.pause()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.experiment_name!r}, {self.run_name!r})"


class PastRun(RunView):
    """A run as it was: attributes, series, refusals and artifacts are those of the moment.

    Args:
        answer: what the service said of it.
        endpoint: where the run is, and as whom it is asked for.
        as_of: the moment, as the service named it.
    """

    def __init__(self, answer: RunAnswer, endpoint: Endpoint, as_of: str) -> None:
        super().__init__(answer, endpoint)
        self._as_of = as_of

    @property
    def as_of(self) -> str:
        """The moment: every position of the log that it is made of, and the time.

        Given as `as_of` it asks for exactly this again.
        """
        return self._as_of

    def _client(self) -> Client:
        return Client(self._endpoint, as_of=self._as_of)

    def delete(self) -> None:
        """Refuse: the past stays.

        Raises:
            ValidationError: always.
        """
        self._refuse("deleted")

    def _wait(self, deadline: Deadline) -> None:
        self._refuse("waited for")

    def _refuse(self, what: str) -> NoReturn:
        raise ValidationError(
            f"run {self.run_name!r} as of {self._as_of} cannot be {what}: it is what was; load it "
            "without as_of",
            field="as_of",
            value=self._as_of,
            limit="a run of the present",
        )


class RunList(list[RunView]):
    """A page of runs, a list like any other; `total` says how many there are in all.

    `as_of` is the moment that it shows, as it can be asked for again; None is the present.
    """

    def __init__(self, runs: Iterable[RunView], total: int, as_of: str | None = None) -> None:
        super().__init__(runs)
        self.total = total
        self.as_of = as_of


def view_of(answer: RunAnswer, endpoint: Endpoint, as_of: str | None) -> RunView:
    """Return a run as it is, or as it was at a moment."""
    return RunView(answer, endpoint) if as_of is None else PastRun(answer, endpoint, as_of)


def list_runs(
    endpoint: Endpoint,
    experiment_name: str,
    question: Mapping[str, str | int],
    as_of: str | None = None,
) -> RunList:
    """Return the first runs of an experiment: one request, more where runs are huge."""
    client, runs_max = Client(endpoint, as_of=as_of), int(question["max_results"])
    found = list(
        run_pages(lambda page: client.runs(experiment_name, {**question, **page}), runs_max)
    )
    runs = [view_of(answer, endpoint, client.as_of) for page in found for answer in page["runs"]]
    return RunList(runs, found[-1]["total"], client.as_of)


def iterate_runs(
    endpoint: Endpoint,
    experiment_name: str,
    question: Mapping[str, str | int],
    as_of: str | None = None,
) -> Iterator[RunView]:
    """Yield all runs of an experiment, one request a page."""
    client = Client(endpoint, as_of=as_of)
    for page in pages(
        lambda token: client.runs(experiment_name, {**question, "next_token": token})
    ):
        yield from (view_of(answer, endpoint, client.as_of) for answer in page["runs"])
