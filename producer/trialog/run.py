"""The handle of a run: into its block, out of it, waiting and listing. Log calls: `run_logging`."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn, Self

from trialog.as_of import as_of_text
from trialog.client import Client
from trialog.deadline import Deadline
from trialog.durability import FLUSH_STAGES, check_stage
from trialog.experiment import check_page
from trialog.refusals import counted_refusals, rejected_error
from trialog.run_async import enter_async, flush_async, leave_async, wait_stage_async
from trialog.run_context import pop_run
from trialog.run_entering import enter
from trialog.run_lifecycle import (
    create_run,
    find_run,
    join_run,
    parent_for,
    policy_of,
    resume_run,
    state_of,
    unborn_run,
)
from trialog.run_logging import RunLogging
from trialog.run_view import RunList, RunView, iterate_runs, list_runs
from trialog.settings import session_of
from trialog_schemas import names
from trialog_schemas.arguments import check_flag
from trialog_schemas.errors import (
    RejectionWarning,
    ResourceInUseError,
    ResourceNotFoundError,
    UnavailableError,
)
from trialog_schemas.limits import PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from trialog.answers import RunAnswer
    from trialog.as_of import AsOf
    from trialog.durability import Durability, Stage
    from trialog.run_block import RunBlock
    from trialog.run_lifecycle import Opening
    from trialog.run_logging import Tags
    from trialog.settings import Endpoint, Session
    from trialog_schemas.events import Rejection

REFUSALS_WAIT_S = 1.0
"""How long leaving the block waits to learn what was refused, for the warning."""


class Run(RunLogging):
    """One execution that logs. Inert until entered by `with`.

    Entering creates the run, and its experiment when missing. Inside another run's block it
    becomes that run's child. If no service can be reached, the run is kept in the spool and
    created when it is sent; a name that proves to be taken then gets a suffix.

    Leaving the block warns once (`RejectionWarning`) of what was refused after its call, if that
    is known within a second; with an exception it warns of nothing. `wait` raises all of it.

    In asyncio enter it by `async with`, flush by `flush_async` and wait by `wait_async`: the event
    loop goes on meanwhile. Log calls wait for nobody and are plain calls. Attributes that ask the
    service, and `load_run`, block: call them by `asyncio.to_thread`.

    Args:
        experiment_name: 1–120 of `A-Z a-z 0-9 - _`.
        run_name: likewise; None makes one of the UTC time and random digits.
        session: where and as whom; None takes the environment.
        resume: go on with the run of this name as its owner; it is created when missing.
        tags: at most 50 of the run, as a dict or as SageMaker's list of `{"Key", "Value"}`.
        sagemaker_session: another name for `session`.
    """

    def __init__(
        self,
        experiment_name: str,
        run_name: str | None = None,
        session: Session | None = None,
        *,
        resume: bool = False,
        tags: Tags | None = None,
        sagemaker_session: Session | None = None,
    ) -> None:
        endpoint = session_of(session, sagemaker_session).resolve()
        answer = unborn_run(
            endpoint,
            names.check_experiment_name(experiment_name),
            names.check_run_name(new_run_name() if run_name is None else run_name),
        )
        answer["tags"] = names.check_callers_tags(tags)
        super().__init__(answer, endpoint)
        self._is_resuming, self._is_known = check_flag("resume", resume), False
        self._origin: RunBlock | None = None

    @classmethod
    def existing(cls, answer: RunAnswer, endpoint: Endpoint, origin: RunBlock | None = None) -> Run:
        """Return a handle, not entered yet, of a run that exists; `load_run` is for users.

        Args:
            answer: the run as it was described.
            endpoint: where and as whom.
            origin: the block of this process that the run is open in, if there is one.
        """
        run = cls.__new__(cls)
        RunLogging.__init__(run, answer, endpoint)
        # Another constructor of this class: its own members, of an object it has just made.
        run._is_resuming, run._is_known, run._origin = False, True, origin  # noqa: SLF001
        return run

    def joined(self) -> Run:
        """Return another handle of this open run, for `load_run` in the same program."""
        return Run.existing(self._answer, self._endpoint, self._block)

    def __enter__(self) -> Self:
        return enter(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pop_run(self)
        if self._block.end(error):
            self._warn_of(self._settle(error))

    __aenter__ = enter_async
    __aexit__ = leave_async

    def flush(self, timeout_s: float | None = None, stage: Stage = "accepted") -> bool:
        """Wait until everything logged so far by this process has come to a stage; tell whether.

        Args:
            timeout_s: seconds from 0 on; None waits as long as it takes.
            stage: `accepted`: the log has it; `flushed`: it would survive a power failure of this
                machine. `durability` counts what has come how far.

        Raises:
            RuntimeError: the run was never entered.
            ValidationError: `timeout_s` is no number from 0 on, or `stage` is another one.
        """
        return self._flush(Deadline(timeout_s), check_stage(stage, FLUSH_STAGES))

    def durability(self, *, ask_now: bool = False) -> Durability:
        """Count what of this process's events has come to which stage; waits for nobody.

        Safe to call amid training: without `ask_now` it only counts what was logged since the last
        count. What the service has to say is what it told last, see `told_at`: the sender asks
        every few seconds.

        Args:
            ask_now: ask the service first, which is a request; one that does not answer is no
                error: `told_at` stays what it was.

        Raises:
            RuntimeError: the run was never entered.
        """
        self._check_entered()
        return self._block.durability(ask_now=check_flag("ask_now", ask_now))

    flush_async = flush_async

    def wait(self, timeout_s: float | None = None, stage: Stage | None = None) -> None:
        """Wait inside the block until everything logged so far is applied, outside for the end.

        Args:
            timeout_s: seconds from 0 on; None waits as long as it takes.
            stage: wait for this one instead, in the block and outside: `recorded`, `flushed`,
                `accepted`, `applied` or `sealed`.

        Raises:
            TimeoutError: it is not so within the time.
            RunRejectedError: some of what this handle logged was refused; `.rejections` lists it.
                Of the stages only `applied` raises it.
            RuntimeError: the run was not entered.
            ValidationError: `timeout_s` is no number from 0 on, or there is no such stage.
        """
        deadline = Deadline(timeout_s)
        self._wait(deadline) if stage is None else self._wait_stage(deadline, check_stage(stage))

    wait_async = wait_stage_async

    @property
    def status(self) -> str | None:
        """None before the run is entered, then InProgress, Completed or Failed.

        While the service cannot be asked: what this handle knows of it.
        """
        try:
            return super().status
        except UnavailableError:
            if self._block.status is None:
                raise
            return self._block.status

    @staticmethod
    def list(  # noqa: PLR0913  one of them is SageMaker's name for the session
        experiment_name: str,
        sort_by: str = "CreationTime",
        sort_order: str = "Descending",
        max_results: int = PAGE_MAX,
        session: Session | None = None,
        *,
        as_of: AsOf | None = None,
        sagemaker_session: Session | None = None,
    ) -> RunList:
        """Return the first runs of an experiment, for reading: one request, nothing changes.

        Args:
            experiment_name: an existing experiment.
            sort_by: `CreationTime` or `Name` (by code point).
            sort_order: `Descending` or `Ascending`, its exact reverse.
            max_results: 1–100; `Run.iterate` gives all.
            session: where and as whom; None takes the environment.
            as_of: as it was at a time (a datetime, or a text; UTC without a zone) or when positions
                of the log were the newest, such as "events:3:17"; None is the present.
            sagemaker_session: another name for `session`.

        Returns:
            A list of `RunView`; its `total` says how many runs the experiment has, its `as_of` of
            which moment, exactly: for that the same list is given again.

        Raises:
            ResourceNotFoundError: no live experiment has this name.
            ValidationError: a field, order or number that is not legal.
        """
        question = check_page(sort_by, sort_order, max_results)
        name = names.check_experiment_name(experiment_name)
        endpoint = session_of(session, sagemaker_session).resolve()
        return list_runs(endpoint, name, question, as_of_text(as_of))

    @staticmethod
    def iterate(
        experiment_name: str,
        sort_by: str = "CreationTime",
        sort_order: str = "Descending",
        session: Session | None = None,
        *,
        as_of: AsOf | None = None,
        sagemaker_session: Session | None = None,
    ) -> Iterator[RunView]:
        """Return an iterator over all runs of an experiment; asks page by page. See `list`."""
        question = check_page(sort_by, sort_order, PAGE_MAX)
        name = names.check_experiment_name(experiment_name)
        endpoint = session_of(session, sagemaker_session).resolve()
        return iterate_runs(endpoint, name, question, as_of_text(as_of))

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"run {self.run_name!r} cannot be pickled or copied: its handle writes to this "
            "process's spool; send the experiment's and the run's name and use load_run there"
        )

    def _open(self) -> None:
        with self._block.entering(self.run_name):
            tags = {} if self._is_known else self._answer["tags"]
            self._block.prepare(self._answer)
            opening = self._find_way_in()
            self._block.enter(self._answer, opening, tags)
            self._is_known = True

    def _settle(self, error: BaseException | None) -> Sequence[Rejection]:
        if self._block.settle() and error is None:
            return self._block.refusals_now(REFUSALS_WAIT_S)
        return []

    def _warn_of(self, refused: Sequence[Rejection]) -> None:
        if refused:
            warnings.warn(
                f"{counted_refusals(len(refused))} in run {self.run_name!r}, the first: "
                f"{refused[0].message}; see run.rejections",
                RejectionWarning,
                stacklevel=3,
            )

    def _check_entered(self) -> None:
        if not self._block.is_entered:
            raise RuntimeError(f"run {self.run_name!r} was not entered; nothing was logged")

    def _flush(self, deadline: Deadline, stage: Stage = "accepted") -> bool:
        self._check_entered()
        if stage == "flushed":
            return self._block.flush_to_disk(deadline)
        return self._block.flush(deadline)

    def _wait_stage(self, deadline: Deadline, stage: Stage) -> None:
        self._check_entered()
        if stage in FLUSH_STAGES and not self._flush(deadline, stage):
            deadline.check(f"run {self.run_name!r} is not {stage}")
        elif stage == "applied":
            refused = self._block.wait_applied(deadline, self.run_name)
            if refused:
                raise rejected_error(self.run_name, refused)
        elif stage == "sealed":
            self._block.wait_sealed(deadline, self.run_name)

    def _wait(self, deadline: Deadline) -> None:
        if not self._is_known:
            raise RuntimeError(f"run {self.run_name!r} was not entered; there is no end of it")
        refused = self._block.wait_applied(deadline, self.run_name)
        if not self.is_open:
            super()._wait(deadline)
        if refused:
            raise rejected_error(self.run_name, refused)

    def _find_way_in(self) -> Opening:
        end, origin = self._endpoint, self._origin
        if origin is not None and origin.is_open:
            return join_run(end, origin.writer().state)
        if self._is_known:
            with contextlib.suppress(UnavailableError):  # what was known when it was loaded stays
                self._answer = Client(end).run_by_id(self.run_id)
        elif not (self._is_resuming and self._find_existing()):
            try:
                return create_run(end, self._answer, parent_for(end))
            except ResourceInUseError:
                # Two resume it at once, and the other one was first to create it.
                if not (self._is_resuming and self._find_existing()):
                    raise
        is_joining = not self._is_resuming and self._answer["status"] == "InProgress"
        state = state_of(self._answer, policy_of(end, self._answer))
        return (join_run if is_joining else resume_run)(end, state)

    def _find_existing(self) -> bool:
        try:
            self._answer = find_run(self._endpoint, self.experiment_name, self.run_name)
        except (ResourceNotFoundError, UnavailableError):
            return False
        return True

    def _described(self) -> RunAnswer:
        if self._is_known:
            self._answer = Client(self._endpoint).run_by_id(self.run_id, self._positions())
        elif self._is_resuming:
            self._find_existing()
        return self._answer

    def _positions(self) -> Sequence[str]:
        mine, origin = self._block.positions(), self._origin
        return mine if origin is None else [*mine, *origin.positions()]


def new_run_name() -> str:
    """Return a name of the UTC time and 10 random hex digits, legal and practically unique."""
    return f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:10]}"
