"""The log calls of a run: check, append to the spool, hand over. They do no network I/O."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING, Literal

from trialog.artifact_file import artifact_path, read_artifact_file
from trialog.ids import now_us
from trialog.run_block import RunBlock
from trialog.run_evaluation import log_confusion_matrix, log_precision_recall, log_roc_curve
from trialog.run_view import RunView
from trialog.run_writer import sha256_of
from trialog_schemas import names
from trialog_schemas.arguments import check_flag, check_pairs, given_twice
from trialog_schemas.events import ArtifactLogged, ModelInfo, ParametersLogged, TagsSet

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import SupportsFloat, SupportsIndex

    from trialog.answers import RunAnswer
    from trialog.settings import Endpoint
    from trialog_schemas.names import ParameterValue

    Tags = Mapping[str, str] | Sequence[Mapping[str, str]]

MODEL_MEDIA_TYPE = "application/octet-stream"
"""A model's bytes are elsewhere, and nobody has looked at them."""


class RunLogging(RunView):
    """A run that can be logged to while its block is open; how that opens is `Run`'s."""

    def __init__(self, answer: RunAnswer, endpoint: Endpoint) -> None:
        super().__init__(answer, endpoint)
        self._block = RunBlock(endpoint)

    @property
    def is_open(self) -> bool:
        """Tell whether the run may be logged to: inside its block."""
        return self._block.is_open

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
        # The spool checks what is new to it; a subclass may have another idea of being equal.
        name = name if type(name) is str else names.check_metric_name(name)
        number_of_step = -1 if step is None else names.check_step(step)
        at_us = now_us() if timestamp is None else names.check_timestamp(timestamp)
        spool = self._block.spool or self._block.writer().spool
        spool.append_point(name, number_of_step, at_us, plain)

    def log_metrics(
        self, metrics: Mapping[str, SupportsFloat], step: SupportsIndex | None = None
    ) -> None:
        """Record a point of each metric with one step and one time, all or none.

        Raises:
            WrongTypeError: `metrics` is no mapping.
            NotNumericError: a value is no number.
            ValidationError: a name or the step is not legal.
            RuntimeError: the run is not open.
        """
        if type(metrics) is dict and all(type(name) is str for name in metrics):
            columns, values = (
                tuple(metrics),
                [
                    value if type(value) is float else names.check_metric_value(name, value)
                    for name, value in metrics.items()
                ],
            )
        else:
            columns, values = names.check_metric_row(metrics)
        number_of_step = -1 if step is None else names.check_step(step)
        spool = self._block.spool or self._block.writer().spool
        if values:
            spool.append_row(columns, number_of_step, now_us(), values)

    def log_parameter(self, name: str, value: object) -> None:
        """Record an input; its first value stays. See `log_parameters`."""
        self.log_parameters({names.check_parameter_name(name): value})

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        """Record inputs, all or none: texts, numbers, truth values, None, lists, dicts.

        Numpy's scalars are taken as Python's values.

        Raises:
            WrongTypeError: `parameters` is no mapping.
            ValidationError: a name or value is not legal.
            ParameterImmutableError: a name is known to have another value.
            LimitExceededError: the run has as many names as its policy allows.
            RuntimeError: the run is not open.
        """
        pairs = check_pairs("parameters", parameters, "a dict of name to value")
        writer = self._block.writer()
        chars_max = writer.state.limits.parameter_value_chars_max
        checked: dict[str, ParameterValue] = {}
        for name, value in pairs:
            clean = names.check_parameter_name(name)
            if clean in checked:
                raise given_twice("parameters", "parameter", clean)
            checked[clean] = names.check_parameter_value(clean, value, chars_max)
        writer.record(ParametersLogged(checked))

    def log_artifact(
        self, name: str, value: str, media_type: str = "text/plain", is_output: bool = True
    ) -> None:
        """Record a text as an artifact; it is copied now. `is_output` is as for `log_file`.

        Raises:
            WrongTypeError: the value is no text.
            ValidationError: the name, text or media type is not legal.
            LimitExceededError: it has more bytes, or the run more names, than the policy allows.
            RuntimeError: the run is not open.
        """
        content = names.check_artifact_text(name, value).encode()
        self._log_bytes(name, content, media_type, ("artifact", check_flag("is_output", is_output)))

    def log_file(
        self,
        file_path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
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
            WrongTypeError: the path is no path.
            ValidationError: it is a pipe, a device or a socket; and as `log_artifact`.
            LimitExceededError, RuntimeError: as `log_artifact`.
        """
        path, is_made = artifact_path(file_path), check_flag("is_output", is_output)
        bytes_max = self._block.writer().state.limits.artifact_bytes_max
        content, size = read_artifact_file(path, bytes_max)
        guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._log_bytes(
            path.name if name is None else name,
            content,
            guessed if media_type is None else media_type,
            ("file", is_made),
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
            tags: at most 50, as a dict or as SageMaker's list of `{"Key", "Value"}`. Keys that
                begin with `trialog.` are trialog's own.
            removed: keys of tags to remove, several.

        Raises:
            ValidationError: a key or value that is not legal.
            LimitExceededError: the run would have more than 50 tags; none is set.
            RuntimeError: the run is not open.
        """
        checked = names.check_callers_tags(tags)
        gone = names.check_tag_keys(removed)
        names.check_not_reserved(gone)
        writer = self._block.writer()
        if checked or gone:
            writer.record(TagsSet(checked, gone))
