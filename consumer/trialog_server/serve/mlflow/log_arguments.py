"""What MLflow's clients send when they log, as what the rules judge; judges no more than shape.

Numbers come as protobuf's JSON writes them: an int64 also as its digits in a text, a double also as
`"NaN"`, `"Infinity"`, `"-Infinity"`. Bounds of a batch are MLflow's.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Annotated, Protocol, TypeAlias

from pydantic import BeforeValidator, Field

from trialog_schemas.errors import LimitExceededError, ValidationError, shown
from trialog_schemas.events import LongBlock, MetricsLogged
from trialog_schemas.limits import TIME_US_MAX
from trialog_schemas.names import check_step
from trialog_server.serve.mlflow.questions import (
    Int64,
    MlflowArguments,
    RunArguments,
    check_storable,
)
from trialog_server.serve.mlflow.writes import Logged

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH_METRICS_MAX = 1000
"""Points of one log-batch; MLflow's number."""

BATCH_PAIRS_MAX = 100
"""Parameters, and tags, of one log-batch; MLflow's number."""

BATCH_ITEMS_MAX = 1000
"""Points, parameters and tags of one log-batch together; MLflow's number."""

_DOUBLE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DOUBLES = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_DOUBLE_CHARS_MAX = 400


def _double(value: object) -> object:
    if isinstance(value, str):
        if value in _DOUBLES:
            return _DOUBLES[value]
        if len(value) <= _DOUBLE_CHARS_MAX and _DOUBLE.fullmatch(value):
            return float(value)
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")  # noqa: TRY004  pydantic takes it
    return value


Double: TypeAlias = Annotated[float, BeforeValidator(_double), Field(strict=True)]


class Pair(Protocol):
    """A parameter or a tag."""

    @property
    def key(self) -> str | None:
        """Its name."""

    @property
    def value(self) -> str | None:
        """Its text; None is empty, as protobuf leaves out what is."""


class PairArguments(MlflowArguments):
    """A parameter or a tag."""

    key: str | None = None
    value: str | None = None


class PointArguments(MlflowArguments):
    """A point of a metric."""

    key: str | None = None
    value: Double | None = None
    timestamp: Int64 | None = None
    step: Int64 | None = None


class LogPairArguments(RunArguments, PairArguments):
    """A parameter or a tag of a run."""


class LogPointArguments(RunArguments, PointArguments):
    """A point of a run's metric; what MLflow 3 says of models and datasets is left out."""


class TagKeyArguments(RunArguments):
    """Which tag of a run."""

    key: str | None = None


class LogBatchArguments(RunArguments):
    """Several of each, of one run."""

    metrics: list[PointArguments] | None = None
    params: list[PairArguments] | None = None
    tags: list[PairArguments] | None = None

    def logged(self) -> Logged:
        """Return what is logged.

        Raises:
            LimitExceededError: there is more than a batch may have.
            ValidationError: something is missing, or stands twice with two values.
        """
        metrics, params, tags = self.metrics or [], self.params or [], self.tags or []
        for field, count, limit in (
            ("metrics", len(metrics), BATCH_METRICS_MAX),
            ("params", len(params), BATCH_PAIRS_MAX),
            ("tags", len(tags), BATCH_PAIRS_MAX),
            ("metrics, params and tags", len(metrics) + len(params) + len(tags), BATCH_ITEMS_MAX),
        ):
            if count > limit:
                raise LimitExceededError(
                    f"a batch of {count} {field} is refused, allowed are {limit}; send several",
                    field=field,
                    value=count,
                    limit=limit,
                )
        return Logged(
            parameters=_once_each(params),
            tags=dict(checked_pair(tag) for tag in tags),
            metrics=points_of(metrics) if metrics else None,
        )


def checked_pair(pair: Pair) -> tuple[str, str]:
    """Return name and text of a parameter or tag.

    Raises:
        ValidationError: the name is missing, or a text cannot be stored.
    """
    key = check_storable("key", _required("key", pair.key))
    return key, check_storable("value", pair.value or "")


def points_of(points: Sequence[PointArguments]) -> MetricsLogged:
    """Return points of metrics as the log has them; a missing step is 0, as MLflow has it.

    Raises:
        ValidationError: something is missing, a step is negative, or a time is none.
    """
    names: dict[str, int] = {}
    ids, steps, times, values = [], [], [], []
    for point in points:
        name = _required("key", point.key)
        if point.value is None:
            raise _missing("value")
        ids.append(names.setdefault(name, len(names)))
        steps.append(check_step(point.step or 0))
        times.append(time_us("timestamp", point.timestamp))
        values.append(point.value)
    count = len(points)
    block = LongBlock(
        tuple(names),
        count,
        struct.pack(f"<{count}I", *ids),
        struct.pack(f"<{count}q", *steps),
        struct.pack(f"<{count}q", *times),
        struct.pack(f"<{count}d", *values),
    )
    return MetricsLogged((block,))


def time_us(field: str, milliseconds: int | None) -> int:
    """Return a time of MLflow's in microseconds.

    Raises:
        ValidationError: it is missing, before 1970 or after the year 9999.
    """
    if milliseconds is None:
        raise _missing(field)
    if not 0 <= milliseconds <= TIME_US_MAX // 1000:
        raise ValidationError(
            f"{field} {milliseconds} is no time from 1970 to 9999; give milliseconds since 1970",
            field=field,
            value=milliseconds,
            limit=f"0..{TIME_US_MAX // 1000}",
        )
    return milliseconds * 1000


def _once_each(params: Sequence[PairArguments]) -> dict[str, str]:
    """Return parameters, of which each name stands once.

    Raises:
        ValidationError: one stands twice, as MLflow refuses it.
    """
    parameters: dict[str, str] = {}
    for name, value in map(checked_pair, params):
        if name in parameters:
            raise ValidationError(
                f"parameter {shown(name)} is given twice in one batch; give it once",
                field="params",
                value=name,
                limit="unique keys",
            )
        parameters[name] = value
    return parameters


def _required(field: str, value: str | None) -> str:
    if not value:
        raise _missing(field)
    return value


def _missing(field: str) -> ValidationError:
    return ValidationError(f"{field} is missing; give it", field=field, limit="required")
