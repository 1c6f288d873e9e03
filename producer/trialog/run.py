"""The handle of a run: check, append to the spool, hand over. Log calls do no network I/O."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import time
import uuid
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from trialog.client import Client, number
from trialog.experiment import check_page, refusal_error, send_command
from trialog.ids import new_id, now_us
from trialog.sender import Sender
from trialog.settings import session_of
from trialog.spool import Spool
from trialog.spool_folder import CatalogEvent, SpoolFolder, SpoolMeta
from trialog_schemas import names
from trialog_schemas.errors import (
    ClientError,
    LimitExceededError,
    ParameterImmutableError,
    RunRejectedError,
    UnavailableError,
    shown,
)
from trialog_schemas.events import (
    ArtifactLogged,
    ParametersLogged,
    RunBody,
    RunCreated,
    RunEnded,
    RunStarted,
)
from trialog_schemas.limits import (
    DEFAULT_LIMITS,
    FAILURE_MESSAGE_CHARS_MAX,
    PAGE_MAX,
    Limits,
)
from trialog_schemas.wire import body_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from trialog.answers import RejectionAnswer, RunAnswer
    from trialog.sender import Shipment
    from trialog.settings import Endpoint, Session
    from trialog_schemas.names import ParameterValue

EXIT_FLUSH_S = 5.0
"""How long leaving the block waits for the log; what is left then is sent in the background."""

APPLIED_WAIT_S = 5.0


class _Live:
    """What an entered run writes with."""

    def __init__(self, endpoint: Endpoint, meta: SpoolMeta, limits: Limits) -> None:
        self.limits = limits
        self.folder = SpoolFolder.create(endpoint.spool_dir, meta)
        self.spool = Spool(self.folder)
        self.sender = Sender.of(endpoint)
        self.shipment: Shipment = self.sender.add(self.folder, self.spool)
        self.pid = os.getpid()

    @property
    def positions(self) -> list[str]:
        """Where the newest records are, for reading one's own writes."""
        return [position.token() for position in self.shipment.positions.values()]


class Run:
    """One execution that logs. Inert until entered by `with`.

    Args:
        experiment_name: 1–120 of `A-Z a-z 0-9 - _`; created when missing.
        run_name: likewise; None makes one of the UTC time and random digits.
        session: where and as whom; None takes the environment.
        tags: at most 50 of the run.
        sagemaker_session: another name for `session`.
    """

    def __init__(
        self,
        experiment_name: str,
        run_name: str | None = None,
        session: Session | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        sagemaker_session: Session | None = None,
    ) -> None:
        self.experiment_name = names.check_experiment_name(experiment_name)
        self.run_name = names.check_run_name(new_run_name() if run_name is None else run_name)
        self.run_id = uuid.uuid4().hex
        self._tags = names.check_tags(tags)
        self._endpoint = session_of(session, sagemaker_session).resolve()
        self._live: _Live | None = None
        self._is_open = False
        self._parameters: dict[str, ParameterValue] = {}

    def __enter__(self) -> Self:
        if self._live is not None:
            raise RuntimeError(f"run {self.run_name!r} was entered already; make another Run")
        created = RunCreated(
            self.run_id, self.experiment_name, self.run_name, uuid.uuid4().hex, tags=self._tags
        )
        catalog, limits = None, DEFAULT_LIMITS
        try:
            limits = Limits.from_json(dict(send_command(self._endpoint, created)["limits"]))
        except UnavailableError:
            # Nobody answers: the run is kept in the spool under its own id and told later.
            kept = RunCreated(
                self.run_id,
                self.experiment_name,
                self.run_name,
                created.experiment_id,
                if_taken="keep",
                tags=self._tags,
            )
            catalog = CatalogEvent(now_us(), body_json(kept).decode())
        end = self._endpoint
        meta = SpoolMeta(
            writer_id=new_id(),
            run_id=self.run_id,
            account=end.account,
            user=end.user,
            experiment_name=self.experiment_name,
            run_name=self.run_name,
            url=end.url,
            kafka=end.kafka,
            catalog=catalog,
        )
        self._live, self._is_open = _Live(end, meta, limits), True
        started = RunStarted(
            self.experiment_name, self.run_name, limits, host=end.host, pid=os.getpid()
        )
        self._live.spool.append_event(started)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        live = self._entered()
        ended = RunEnded("Completed")
        if error is not None:
            text = str(error) or type(error).__name__
            ended = RunEnded("Failed", text[:FAILURE_MESSAGE_CHARS_MAX])
        live.spool.append_event(ended)
        self._is_open = False
        if self.flush(EXIT_FLUSH_S):
            self._warn_of_rejections()

    def log_metric(
        self,
        name: str,
        value: float,
        step: int | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        """Record one point.

        Args:
            name: 1–255 printable characters.
            value: a number, numpy scalar or 0-d array; NaN and ±Inf are kept.
            step: an integer from 0 to 2**63-1, or None.
            timestamp: when; None is now, a naive one is local time.

        Raises:
            NotNumericError: the value is no number.
            ValidationError: the name, step or time is not legal.
            RuntimeError: the run is not open.
        """
        if type(value) is not float:
            value = names.check_metric_value(name, value)
        number_of_step = -1 if step is None else names.check_step(step)
        at_us = time.time_ns() // 1000 if timestamp is None else names.check_timestamp(timestamp)
        if not self._is_open or self._live is None:
            self._refuse_closed()
        self._live.spool.append_point(name, number_of_step, at_us, value)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record a point of each metric with one step and one time, all or none.

        Raises:
            TypeError: `metrics` is no mapping.
            NotNumericError: a value is no number.
            ValidationError: a name or the step is not legal.
            RuntimeError: the run is not open.
        """
        if not hasattr(metrics, "items"):
            raise TypeError(f"metrics are {shown(metrics)}; give a dict of name to number")
        values = [
            value if type(value) is float else names.check_metric_value(name, value)
            for name, value in metrics.items()
        ]
        number_of_step = -1 if step is None else names.check_step(step)
        live = self._entered()
        if values:
            live.spool.append_row(tuple(metrics), number_of_step, now_us(), values)

    def log_parameter(self, name: str, value: ParameterValue) -> None:
        """Record an input; its first value stays. See `log_parameters`."""
        self.log_parameters({name: value})

    def log_parameters(self, parameters: Mapping[str, ParameterValue]) -> None:
        """Record inputs, all or none.

        Raises:
            TypeError: `parameters` is no mapping.
            ValidationError: a name or value is not legal.
            ParameterImmutableError: this process logged another value for a name.
            LimitExceededError: the run has as many names as its policy allows.
            RuntimeError: the run is not open.
        """
        if not hasattr(parameters, "items"):
            raise TypeError(f"parameters are {shown(parameters)}; give a dict of name to value")
        live = self._entered()
        checked: dict[str, ParameterValue] = {}
        for name, value in parameters.items():
            clean = names.check_parameter_name(name)
            checked[clean] = names.check_parameter_value(
                clean, value, live.limits.parameter_value_chars_max
            )
            known = self._parameters.get(clean, checked[clean])
            if not names.same_parameter(known, checked[clean]):
                raise ParameterImmutableError(
                    f"parameter {clean!r} of run {self.run_name!r} is already {shown(known)} and "
                    f"cannot become {shown(value)}; log it under another name",
                    field=clean,
                    value=value,
                )
        fresh = {name: value for name, value in checked.items() if name not in self._parameters}
        if len(self._parameters) + len(fresh) > live.limits.parameters_max:
            raise LimitExceededError(
                f"run {self.run_name!r} has {len(self._parameters)} parameters and may have "
                f"{live.limits.parameters_max}; put several values into one parameter",
                field=next(iter(fresh)),
                limit=live.limits.parameters_max,
            )
        if fresh:
            live.spool.append_event(ParametersLogged(fresh))
            self._parameters.update(fresh)

    def log_artifact(self, name: str, value: str, media_type: str = "text/plain") -> None:
        """Record a text as an artifact; it is copied now.

        Raises:
            ValidationError: the name, text or media type is not legal.
            LimitExceededError: it has more bytes than the policy allows.
            RuntimeError: the run is not open.
        """
        if not isinstance(value, str):
            raise TypeError(f"artifact {shown(name)} is {shown(value)}; give its text")
        self._log_bytes(name, value.encode(), media_type, ("artifact", True))

    def log_file(
        self,
        file_path: str,
        name: str | None = None,
        media_type: str | None = None,
        is_output: bool = True,
    ) -> None:
        """Record a file as an artifact; it is copied now.

        Raises:
            FileNotFoundError: there is no such file.
            IsADirectoryError: it is a folder.
            ValidationError, LimitExceededError, RuntimeError: as `log_artifact`.
        """
        path = Path(file_path).expanduser()
        content = path.read_bytes()
        guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._log_bytes(name or path.name, content, media_type or guessed, ("file", is_output))

    def _log_bytes(
        self,
        name: str,
        content: bytes,
        media_type: str,
        kind: tuple[Literal["artifact", "file"], bool],
    ) -> None:
        live = self._entered()
        clean = names.check_artifact_name(name)
        media = names.check_media_type(media_type)
        if len(content) > live.limits.artifact_bytes_max:
            raise LimitExceededError(
                f"artifact {clean!r} has {len(content)} bytes, allowed are "
                f"{live.limits.artifact_bytes_max}; store it elsewhere and log its address",
                field=clean,
                limit=live.limits.artifact_bytes_max,
            )
        digest = hashlib.sha256(content).hexdigest()
        live.spool.store_blob(digest, content)
        body: RunBody = ArtifactLogged(
            clean, kind[0], media, is_output=kind[1], sha256=digest, size=len(content)
        )
        live.spool.append_event(body)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until the log has everything logged so far; tell whether it has."""
        live = self._known()
        place = live.spool.cut()
        return live.sender.wait_acked(
            live.shipment, place, 3600.0 if timeout_s is None else timeout_s
        )

    def wait(self, timeout_s: float | None = 60.0) -> None:
        """Wait until everything logged so far is applied.

        Raises:
            TimeoutError: it is not within the time.
            RunRejectedError: some of it was refused; `.rejections` lists it.
        """
        limit_s = 3600.0 if timeout_s is None else timeout_s
        deadline_s = time.monotonic() + limit_s
        if not self.flush(limit_s):
            raise TimeoutError(f"run {self.run_name!r} is not in the log after {limit_s:g} s")
        live, found = self._known(), None
        while found is None or not found["applied"]:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"run {self.run_name!r} is not applied after {limit_s:g} s")
            found = Client(self._endpoint).applied(
                live.positions,
                run_id=self.run_id,
                writer_id=live.folder.meta.writer_id,
                wait_s=min(left_s, APPLIED_WAIT_S),
            )
        if found["rejections"]:
            first = refusal_error(found["rejections"][0])
            raise RunRejectedError(
                f"{len(found['rejections'])} refusals in run {self.run_name!r}, the first: "
                f"{first.message}",
                found["rejections"],
            )

    @property
    def run_arn(self) -> str:
        """The resource name, unique for good."""
        return f"arn:trialog:run/{self._endpoint.account}/{self.run_id}"

    @property
    def status(self) -> str | None:
        """None before entering, then InProgress, Completed or Failed as the service has it."""
        if self._live is None:
            return None
        return Client(self._endpoint).run_by_id(self.run_id, self._positions())["status"]

    @property
    def parameters(self) -> dict[str, ParameterValue]:
        """The run's parameters, name to value."""
        return Client(self._endpoint).run_by_id(self.run_id, self._positions())["parameters"]

    @property
    def rejections(self) -> Sequence[RejectionAnswer]:
        """What the rules refused of this run."""
        return list(Client(self._endpoint).rejections(self.run_id, self._positions()))

    def metric_series(self, name: str) -> dict[str, Sequence[float]]:
        """Return a metric's whole series as columns step, timestamp (s) and value.

        In order of step, then arrival; a point without a step has the step NaN and comes last.
        """
        pages = list(Client(self._endpoint).series(self.run_id, name, self._positions()))
        steps = [step for page in pages for step in page["steps"]]
        return {
            "step": [float("nan") if step < 0 else step for step in steps],
            "timestamp": [at_us / 1e6 for page in pages for at_us in page["times"]],
            "value": [number(value) for page in pages for value in page["values"]],
        }

    def read_artifact(self, name: str) -> bytes:
        """Return the bytes of an artifact's newest version."""
        return Client(self._endpoint).read_artifact(self.run_id, name, None, self._positions())

    @staticmethod
    def list(
        experiment_name: str,
        sort_by: str = "CreationTime",
        sort_order: str = "Descending",
        max_results: int = PAGE_MAX,
        session: Session | None = None,
    ) -> Sequence[RunAnswer]:
        """Return the first runs of an experiment as the service describes them.

        Raises:
            ResourceNotFoundError: no live experiment has this name.
            ValidationError: a field, order or number that is not legal.
        """
        question = check_page(sort_by, sort_order, max_results)
        endpoint = session_of(session).resolve()
        name = names.check_experiment_name(experiment_name)
        return Client(endpoint).runs(name, question)["runs"]

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Run cannot be pickled: it writes to this process's spool; "
            "send the experiment's and the run's name instead"
        )

    def _positions(self) -> Sequence[str]:
        if self._live is None:
            return []
        self.flush(EXIT_FLUSH_S)
        return self._live.positions

    def _known(self) -> _Live:
        if self._live is None:
            self._refuse_closed()
        return self._live

    def _entered(self) -> _Live:
        if self._live is None or not self._is_open:
            self._refuse_closed()
        if self._live.pid != os.getpid():
            raise RuntimeError("this run was entered before a fork; enter a run in the child")
        return self._live

    def _refuse_closed(self) -> NoReturn:
        raise RuntimeError(f"run {self.run_name!r} is not open; log inside its `with` block")

    def _warn_of_rejections(self) -> None:
        """Say once what was refused, and remove the spool when everything is applied."""
        live = self._known()
        try:
            found = Client(self._endpoint).applied(
                live.positions,
                run_id=self.run_id,
                writer_id=live.folder.meta.writer_id,
                wait_s=1.0,
            )
        except ClientError:
            return  # the service went away: the spool stays and is looked at later
        if found["rejections"]:
            warnings.warn(
                f"{len(found['rejections'])} events of run {self.run_name!r} were refused; "
                "see run.rejections",
                stacklevel=3,
            )


def new_run_name() -> str:
    """Return a name of the UTC time and 10 random hex digits, legal and practically unique."""
    return f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:10]}"
