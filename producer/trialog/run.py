"""The handle of a run: check, append to the spool, hand over. Log calls do no network I/O."""

from __future__ import annotations

import contextlib
import mimetypes
import time
import uuid
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, Self, SupportsFloat, SupportsIndex

from trialog.artifact_file import read_artifact_file
from trialog.client import Client
from trialog.deadline import Deadline
from trialog.experiment import check_page
from trialog.ids import now_us
from trialog.refusals import rejected_error
from trialog.run_block import RunBlock
from trialog.run_context import pop_run, push_run
from trialog.run_evaluation import log_confusion_matrix, log_precision_recall, log_roc_curve
from trialog.run_lifecycle import (
    create_run,
    find_run,
    join_run,
    parent_for,
    resume_run,
    state_of,
    unborn_run,
)
from trialog.run_view import RunList, RunView, iterate_runs, list_runs
from trialog.run_writer import sha256_of
from trialog.settings import session_of
from trialog_schemas import names
from trialog_schemas.errors import (
    ResourceInUseError,
    ResourceNotFoundError,
    UnavailableError,
    shown,
)
from trialog_schemas.events import (
    ArtifactLogged,
    ModelInfo,
    ParametersLogged,
    RunStarted,
    TagsSet,
)
from trialog_schemas.limits import PAGE_MAX

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from trialog.answers import RunAnswer
    from trialog.run_lifecycle import Opening
    from trialog.settings import Endpoint, Session
    from trialog_schemas.names import ParameterValue

    Tags = Mapping[str, str] | Sequence[Mapping[str, str]]

REFUSALS_WAIT_S = 1.0
"""How long leaving the block waits to learn what was refused, for the warning."""

MODEL_MEDIA_TYPE = "application/octet-stream"
"""A model's bytes are elsewhere, and nobody has looked at them."""


class Run(RunView):
    """One execution that logs. Inert until entered by `with`.

    Entering creates the run, and its experiment when missing. Inside another run's block it
    becomes that run's child. If no service can be reached, the run is kept in the spool and
    created when it is sent; a name that proves to be taken then gets a suffix.

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
        answer["tags"] = names.check_tags(tags)
        super().__init__(answer, endpoint)
        self._is_resuming, self._is_known = resume, False
        self._origin: RunBlock | None = None
        self._block = RunBlock(endpoint)

    @classmethod
    def existing(cls, answer: RunAnswer, endpoint: Endpoint, origin: RunBlock | None = None) -> Run:
        """Return a handle, not entered yet, of a run that exists; `load_run` is for users.

        Args:
            answer: the run as it was described.
            endpoint: where and as whom.
            origin: the block of this process that the run is open in, if there is one.
        """
        run = cls.__new__(cls)
        RunView.__init__(run, answer, endpoint)
        # Another constructor of this class: its own members, of an object it has just made.
        run._is_resuming, run._is_known = False, True  # noqa: SLF001
        run._origin, run._block = origin, RunBlock(endpoint)  # noqa: SLF001
        return run

    def joined(self) -> Run:
        """Return another handle of this open run, for `load_run` in the same program."""
        return Run.existing(self._answer, self._endpoint, self._block)

    @property
    def is_open(self) -> bool:
        """Tell whether the run may be logged to: inside its block."""
        return self._block.is_open

    def __enter__(self) -> Self:
        if self._block.is_entered:
            raise RuntimeError(f"run {self.run_name!r} was entered already; make another Run")
        tags = {} if self._is_known else self._answer["tags"]
        opening = self._find_way_in()
        self._block.enter(self._answer, opening)
        if tags and not isinstance(opening.first, RunStarted):
            self._block.writer().record(TagsSet(tags))
        self._is_known = True
        push_run(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pop_run(self)
        if self._block.leave(error) and error is None:
            refused = self._block.refusals_now(REFUSALS_WAIT_S)
            if refused:
                warnings.warn(
                    f"{len(refused)} refusals in run {self.run_name!r}, the first: "
                    f"{refused[0].message}; see run.rejections",
                    stacklevel=2,
                )

    def log_metric(
        self,
        name: str,
        value: SupportsFloat,
        step: SupportsIndex | None = None,
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
        plain = value if type(value) is float else names.check_metric_value(name, value)
        number_of_step = -1 if step is None else names.check_step(step)
        at_us = time.time_ns() // 1000 if timestamp is None else names.check_timestamp(timestamp)
        spool = self._block.spool or self._block.writer().spool
        spool.append_point(name, number_of_step, at_us, plain)

    def log_metrics(
        self, metrics: Mapping[str, SupportsFloat], step: SupportsIndex | None = None
    ) -> None:
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
        spool = self._block.spool or self._block.writer().spool
        if values:
            spool.append_row(tuple(metrics), number_of_step, now_us(), values)

    def log_parameter(self, name: str, value: object) -> None:
        """Record an input; its first value stays. See `log_parameters`."""
        self.log_parameters({names.check_parameter_name(name): value})

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        """Record inputs, all or none: texts, numbers, truth values, None, lists, dicts.

        Numpy's scalars are taken as Python's values.

        Raises:
            TypeError: `parameters` is no mapping.
            ValidationError: a name or value is not legal.
            ParameterImmutableError: a name is known to have another value.
            LimitExceededError: the run has as many names as its policy allows.
            RuntimeError: the run is not open.
        """
        if not hasattr(parameters, "items"):
            raise TypeError(f"parameters are {shown(parameters)}; give a dict of name to value")
        writer = self._block.writer()
        chars_max = writer.state.limits.parameter_value_chars_max
        checked: dict[str, ParameterValue] = {}
        for name, value in parameters.items():
            clean = names.check_parameter_name(name)
            checked[clean] = names.check_parameter_value(clean, value, chars_max)
        writer.record(ParametersLogged(checked))

    def log_artifact(
        self, name: str, value: str, media_type: str = "text/plain", is_output: bool = True
    ) -> None:
        """Record a text as an artifact; it is copied now. `is_output` is as for `log_file`.

        Raises:
            TypeError: the value is no text.
            ValidationError: the name, text or media type is not legal.
            LimitExceededError: it has more bytes, or the run more names, than the policy allows.
            RuntimeError: the run is not open.
        """
        content = names.check_artifact_text(name, value).encode()
        self._log_bytes(name, content, media_type, ("artifact", bool(is_output)))

    def log_file(
        self,
        file_path: str | os.PathLike[str],
        name: str | None = None,
        media_type: str | None = None,
        is_output: bool = True,
    ) -> None:
        """Record a file as an artifact; it is copied now.

        Args:
            file_path: the file; `~` is the user's folder.
            name: of the artifact; None takes the file's own.
            media_type: None guesses it from the file's ending.
            is_output: whether the run made the file, or used it.

        Raises:
            FileNotFoundError: there is no such file.
            IsADirectoryError: it is a folder.
            ValidationError: it is a pipe, a device or a socket; and as `log_artifact`.
            LimitExceededError, RuntimeError: as `log_artifact`.
        """
        path = Path(file_path).expanduser()
        bytes_max = self._block.writer().state.limits.artifact_bytes_max
        content, size = read_artifact_file(path, bytes_max)
        guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._log_bytes(
            path.name if name is None else name,
            content,
            guessed if media_type is None else media_type,
            ("file", bool(is_output)),
            size,
        )

    def _log_bytes(
        self,
        name: str,
        content: bytes,
        media_type: str,
        kind: tuple[Literal["artifact", "file"], bool],
        size: int | None = None,
    ) -> None:
        writer = self._block.writer()
        body = ArtifactLogged(
            names.check_artifact_name(name),
            kind[0],
            names.check_media_type(media_type),
            is_output=kind[1],
            sha256=sha256_of(content),
            size=len(content) if size is None else size,
        )
        writer.record_artifact(body, content)

    def log_model(
        self,
        model_data_uri: str,
        model_type: str | None = None,
        framework: str | None = None,
        framework_version: str | None = None,
    ) -> None:
        """Record where a model is and what it is; nothing is downloaded.

        It counts as an artifact, whose name is host and path of the address: the model at
        `s3://models/job-7/model.tar.gz` is the artifact `models/job-7/model.tar.gz`.

        Args:
            model_data_uri: an address with a scheme, for example `s3://…`.
            model_type, framework, framework_version: at most 256 characters each, or None.

        Raises:
            ValidationError: the address has no scheme, or a text is not legal.
            LimitExceededError: the run has as many artifacts as its policy allows.
            RuntimeError: the run is not open.
        """
        writer = self._block.writer()
        uri = names.check_model_uri(model_data_uri)
        facts = ModelInfo(
            names.check_model_fact("model_type", model_type),
            names.check_model_fact("framework", framework),
            names.check_model_fact("framework_version", framework_version),
        )
        name = names.model_name_of(uri)
        writer.record_artifact(
            ArtifactLogged(name, "model", MODEL_MEDIA_TYPE, uri=uri, model=facts), None
        )

    log_confusion_matrix = log_confusion_matrix
    log_precision_recall = log_precision_recall
    log_roc_curve = log_roc_curve

    def set_tags(self, tags: Tags, *, removed: Sequence[str] = ()) -> None:
        """Set tags of the run, and remove others; a tag that is set again has the new value.

        Args:
            tags: at most 50, as a dict or as SageMaker's list of `{"Key", "Value"}`.
            removed: keys of tags to remove.

        Raises:
            ValidationError: a key or value that is not legal.
            RuntimeError: the run is not open.
        """
        checked = names.check_tags(tags)
        gone = tuple(names.check_tags(dict.fromkeys(removed, "")))
        writer = self._block.writer()
        if checked or gone:
            writer.record(TagsSet(checked, gone))

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until the log has everything logged so far by this process; tell whether it has.

        Args:
            timeout_s: seconds from 0 on; None waits as long as it takes.

        Raises:
            RuntimeError: the run was never entered.
        """
        limit_s = Deadline(timeout_s).timeout_s
        if not self._block.is_entered:
            raise RuntimeError(f"run {self.run_name!r} was not entered; nothing was logged")
        return self._block.flush(limit_s)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait inside the block until everything logged so far is applied, outside for the end.

        Args:
            timeout_s: seconds from 0 on; None waits as long as it takes.

        Raises:
            TimeoutError: it is not so within the time.
            RunRejectedError: some of what this handle logged was refused; `.rejections` lists it.
            RuntimeError: the run was not entered.
        """
        deadline = Deadline(timeout_s)
        if not self._is_known:
            raise RuntimeError(f"run {self.run_name!r} was not entered; there is no end of it")
        refused = self._block.wait_applied(deadline, self.run_name)
        if not self.is_open:
            self._wait_ended(deadline)
        if refused:
            raise rejected_error(self.run_name, refused)

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
    def list(
        experiment_name: str,
        sort_by: str = "CreationTime",
        sort_order: str = "Descending",
        max_results: int = PAGE_MAX,
        session: Session | None = None,
        *,
        sagemaker_session: Session | None = None,
    ) -> RunList:
        """Return the first runs of an experiment, for reading: one request, nothing changes.

        Args:
            experiment_name: an existing experiment.
            sort_by: `CreationTime` or `Name` (by code point).
            sort_order: `Descending` or `Ascending`, its exact reverse.
            max_results: 1–100; `Run.iterate` gives all.
            session: where and as whom; None takes the environment.
            sagemaker_session: another name for `session`.

        Returns:
            A list of `RunView`; its `total` says how many runs the experiment has.

        Raises:
            ResourceNotFoundError: no live experiment has this name.
            ValidationError: a field, order or number that is not legal.
        """
        question = check_page(sort_by, sort_order, max_results)
        name = names.check_experiment_name(experiment_name)
        endpoint = session_of(session, sagemaker_session).resolve()
        return list_runs(endpoint, name, question)

    @staticmethod
    def iterate(
        experiment_name: str,
        sort_by: str = "CreationTime",
        sort_order: str = "Descending",
        session: Session | None = None,
        *,
        sagemaker_session: Session | None = None,
    ) -> Iterator[RunView]:
        """Return an iterator over all runs of an experiment; asks page by page. See `list`."""
        question = check_page(sort_by, sort_order, PAGE_MAX)
        name = names.check_experiment_name(experiment_name)
        return iterate_runs(session_of(session, sagemaker_session).resolve(), name, question)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Run cannot be pickled: it writes to this process's spool; send the experiment's "
            "and the run's name and use load_run there"
        )

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
        return (join_run if is_joining else resume_run)(end, state_of(self._answer))

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
