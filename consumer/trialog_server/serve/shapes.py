"""The JSON that the API answers with, and how views become it; must not ask anything.

NaN and ±Inf are the texts "NaN", "Infinity" and "-Infinity", because JSON has no such numbers;
null always means absent. Times are ISO-8601 in UTC with microseconds. `as_of` stands in answers of
a moment alone, and is that moment: it may be asked for again.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NotRequired, TypeAlias

import numpy as np
import orjson
from starlette.responses import Response

# pydantic reads these classes for the OpenAPI document; before 3.12 it needs this TypedDict.
from typing_extensions import TypedDict

from trialog_schemas.wire import SHORT_NAME_BY_TOPIC, Position
from trialog_server.read.runs import is_stale

if TYPE_CHECKING:
    import numpy.typing as npt

    from trialog_server.read.experiments import ExperimentView
    from trialog_server.read.list_children import ChildView
    from trialog_server.read.list_rejections import RejectionView
    from trialog_server.read.metric_series import Buckets, SeriesPage
    from trialog_server.read.run_events import EventView
    from trialog_server.read.runs import ArtifactView, MetricSummary, RunView

Number: TypeAlias = float | str
"""A number, or one of "NaN", "Infinity", "-Infinity"."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ExperimentJSON(TypedDict):
    """An experiment."""

    experiment_id: str
    number: int
    experiment_name: str
    experiment_arn: str
    description: str | None
    tags: dict[str, str]
    creation_time: str
    created_by: dict[str, str]
    last_modified_time: str
    last_modified_by: dict[str, str]
    run_count: int
    as_of: NotRequired[str]


class MetricSummaryJSON(TypedDict):
    """What a metric's series comes to."""

    last: Number
    min: Number | None
    max: Number | None
    mean: Number | None
    count: int
    last_step: int | None


class ArtifactJSON(TypedDict):
    """One version of an artifact."""

    name: str
    version: int
    kind: str
    media_type: str | None
    size: int | None
    sha256: str | None
    is_output: bool
    uri: str | None
    model: dict[str, str | None] | None
    time: str | None


class RunJSON(TypedDict):
    """A run with parameters, metric summaries and artifacts."""

    run_id: str
    run_name: str
    run_arn: str
    experiment_id: str
    experiment_name: str
    status: str
    is_stale: bool
    failure_message: str | None
    creation_time: str
    start_time: str
    end_time: str | None
    last_event_time: str
    parent_run_id: str | None
    parent_run_name: str | None
    created_by: dict[str, str]
    tags: dict[str, str]
    parameters: dict[str, object]
    metrics: dict[str, MetricSummaryJSON]
    artifacts: list[ArtifactJSON]
    rejected_count: int
    missing_count: int
    points: int
    limits: dict[str, int] | None
    as_of: NotRequired[str]


class ExperimentPageJSON(TypedDict):
    """A page of experiments."""

    experiments: list[ExperimentJSON]
    next_token: str | None
    total: int
    as_of: NotRequired[str]


class RunPageJSON(TypedDict):
    """A page of runs."""

    runs: list[RunJSON]
    next_token: str | None
    total: int
    as_of: NotRequired[str]


class ChildJSON(TypedDict):
    """A run that was opened inside another one's block."""

    run_id: str
    run_name: str
    experiment_name: str
    status: str
    is_stale: bool
    creation_time: str
    last_event_time: str


class ChildPageJSON(TypedDict):
    """A page of a run's children, oldest first."""

    children: list[ChildJSON]
    next_token: str | None
    as_of: NotRequired[str]


class RejectionJSON(TypedDict):
    """One refusal of the rules."""

    run_id: str
    writer_id: str
    seq: int
    item: int
    code: str
    message: str
    name: str | None
    value: str | None
    facts: dict[str, str | int]
    time: str
    position: str


class RejectionPageJSON(TypedDict):
    """A page of refusals in order of the log."""

    rejections: list[RejectionJSON]
    next_token: str | None
    as_of: NotRequired[str]


class EventJSON(TypedDict):
    """One event as it is in the log, with what the rules refused of it."""

    position: str
    event_id: str | None
    writer_id: str | None
    seq: int | None
    user: str | None
    type: str
    time: str | None
    log_time: str
    body: dict[str, object]
    verdict: str
    rejections: list[RejectionJSON]


class EventPageJSON(TypedDict):
    """A page of events in order of the log."""

    events: list[EventJSON]
    next_token: str | None


class ArtifactPageJSON(TypedDict):
    """A page of the versions of a run's artifacts."""

    artifacts: list[ArtifactJSON]
    next_token: str | None
    as_of: NotRequired[str]


class BucketsJSON(TypedDict):
    """A series per pixel column; empty columns are left out."""

    step_from: list[int]
    step_to: list[int]
    min: list[Number | None]
    max: list[Number | None]
    last: list[Number]
    count: list[int]


class SeriesJSON(TypedDict):
    """A page of a series: columns (step −1: none, times in µs), or its buckets when asked for."""

    name: str
    points: int
    steps: list[int]
    times: list[int]
    values: list[Number]
    next_token: str | None
    as_of: NotRequired[str]


class SeriesBucketsJSON(TypedDict):
    """A series reduced for a chart."""

    name: str
    points: int
    buckets: BucketsJSON
    as_of: NotRequired[str]


class CommandJSON(TypedDict):
    """What became of a catalog record."""

    position: str
    applied: bool
    rejections: list[RejectionJSON]
    run: RunJSON | None
    experiment: ExperimentJSON | None
    limits: dict[str, int]


class PolicyJSON(TypedDict):
    """The limits in force for new runs, and the version of the service."""

    limits: dict[str, int]
    version: str
    rules_version: int


class ReceiptJSON(TypedDict, total=False):
    """What became of one record: its position in the log, or why it was refused."""

    position: str
    code: str
    message: str


class ReceiptsJSON(TypedDict):
    """One receipt per record, in their order."""

    receipts: list[ReceiptJSON]


class StoredJSON(TypedDict):
    """An artifact's bytes as they are stored."""

    sha256: str
    size: int


def json_response(content: object, status: int = 200) -> Response:
    """Return the content as JSON; numpy arrays of plain numbers are written as lists."""
    packed = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(packed, status, media_type="application/json")


def number_json(value: float) -> Number:
    """Return a number that JSON can hold, or its name."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def optional_number_json(value: float | None) -> Number | None:
    """Return a number, its name, or null for none."""
    return None if value is None else number_json(value)


def numbers_json(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | list[Number]:
    """Return a column as it can be written: the array itself if all of it are plain numbers."""
    if bool(np.isfinite(values).all()):
        return np.ascontiguousarray(values)
    return [number_json(value) for value in values.tolist()]


def time_json(time: datetime) -> str:
    """Return a time as ISO-8601 in UTC with microseconds and Z."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def optional_time_json(time: datetime | None) -> str | None:
    """Return a time as text, or null for none."""
    return None if time is None else time_json(time)


def micros_json(at_us: int) -> str:
    """Return a time given in microseconds as text."""
    return time_json(_EPOCH + timedelta(microseconds=at_us))


def experiment_json(experiment: ExperimentView) -> ExperimentJSON:
    """Return an experiment as the API shows it."""
    return {
        "experiment_id": experiment.experiment_id,
        "number": experiment.number,
        "experiment_name": experiment.name,
        "experiment_arn": experiment.arn,
        "description": experiment.description,
        "tags": experiment.tags,
        "creation_time": time_json(experiment.created_at),
        "created_by": experiment.created_by,
        "last_modified_time": time_json(experiment.modified_at),
        "last_modified_by": experiment.modified_by,
        "run_count": experiment.run_count,
    }


def run_json(run: RunView, quiet_since: datetime) -> RunJSON:
    """Return a run as the API shows it; one in progress without an event since then is stale."""
    return {
        "run_id": run.run_id,
        "run_name": run.run_name,
        "run_arn": run.arn,
        "experiment_id": run.experiment_id,
        "experiment_name": run.experiment_name,
        "status": run.status,
        "is_stale": run.is_stale(quiet_since),
        "failure_message": run.failure_message,
        "creation_time": time_json(run.created_at),
        "start_time": time_json(run.started_at),
        "end_time": optional_time_json(run.ended_at),
        "last_event_time": time_json(run.last_event_at),
        "parent_run_id": run.parent_run_id,
        "parent_run_name": run.parent_run_name,
        "created_by": run.created_by,
        "tags": run.tags,
        "parameters": dict(run.parameters),
        "metrics": {name: _summary_json(summary) for name, summary in run.metrics.items()},
        "artifacts": [artifact_json(artifact) for artifact in run.artifacts],
        "rejected_count": run.rejected_count,
        "missing_count": run.missing_count,
        "points": run.points,
        "limits": run.limits,
    }


def child_json(child: ChildView, quiet_since: datetime) -> ChildJSON:
    """Return a child of a run as the API shows it."""
    return {
        "run_id": child.run_id,
        "run_name": child.run_name,
        "experiment_name": child.experiment_name,
        "status": child.status,
        "is_stale": is_stale(child.status, child.last_event_at, quiet_since),
        "creation_time": time_json(child.created_at),
        "last_event_time": time_json(child.last_event_at),
    }


def _summary_json(summary: MetricSummary) -> MetricSummaryJSON:
    return {
        "last": number_json(summary.last),
        "min": optional_number_json(summary.min),
        "max": optional_number_json(summary.max),
        "mean": optional_number_json(summary.mean),
        "count": summary.count,
        "last_step": summary.last_step,
    }


def artifact_json(artifact: ArtifactView) -> ArtifactJSON:
    """Return a version of an artifact as the API shows it."""
    return {
        "name": artifact.name,
        "version": artifact.version,
        "kind": artifact.kind,
        "media_type": artifact.media_type,
        "size": artifact.size,
        "sha256": artifact.sha256,
        "is_output": artifact.is_output,
        "uri": artifact.uri,
        "model": artifact.model,
        "time": optional_time_json(artifact.at),
    }


def rejection_json(rejection: RejectionView) -> RejectionJSON:
    """Return a refusal as the API shows it."""
    return {
        "run_id": rejection.run_id,
        "writer_id": rejection.writer_id,
        "seq": rejection.seq,
        "item": rejection.item,
        "code": rejection.code,
        "message": rejection.message,
        "name": rejection.name,
        "value": rejection.value,
        "facts": rejection.facts,
        "time": time_json(rejection.at),
        "position": position_json(rejection.topic, rejection.partition, rejection.log_offset),
    }


def event_json(event: EventView) -> EventJSON:
    """Return an event as the API shows it."""
    is_read = event.event_id is not None and event.at_us is not None
    return {
        "position": position_json(event.topic, event.partition, event.log_offset),
        "event_id": event.event_id,
        "writer_id": event.writer_id,
        "seq": event.seq,
        "user": event.user,
        "type": event.type,
        "time": None if event.at_us is None else micros_json(event.at_us),
        "log_time": micros_json(event.log_at_us),
        "body": dict(event.body),
        "verdict": "refused" if event.rejections or not is_read else "accepted",
        "rejections": [rejection_json(rejection) for rejection in event.rejections],
    }


def position_json(topic: str, partition: int, log_offset: int) -> str:
    """Return a position as clients pass it around; a topic that is not ours keeps its name."""
    if topic in SHORT_NAME_BY_TOPIC:
        return Position(topic, partition, log_offset).token()
    return f"{topic}:{partition}:{log_offset}"


def series_json(page: SeriesPage) -> dict[str, object]:
    """Return a page of a series as lists, as `SeriesJSON` describes."""
    return {
        "name": page.name,
        "points": page.points,
        "steps": np.ascontiguousarray(page.steps),
        "times": np.ascontiguousarray(page.times),
        "values": numbers_json(page.values),
        "next_token": page.next_token,
    }


def buckets_json(buckets: Buckets) -> dict[str, object]:
    """Return a reduced series, as `SeriesBucketsJSON` describes."""
    return {
        "name": buckets.name,
        "points": buckets.points,
        "buckets": {
            "step_from": buckets.step_from,
            "step_to": buckets.step_to,
            "min": _bounds_json(buckets.low),
            "max": _bounds_json(buckets.high),
            "last": numbers_json(buckets.last),
            "count": buckets.count,
        },
    }


def _bounds_json(
    values: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64] | list[Number | None]:
    """Return lows or highs; a column with nothing but NaN has none."""
    if bool(np.isfinite(values).all()):
        return values
    return [None if math.isnan(value) else number_json(value) for value in values.tolist()]
