"""A run as it is shown, and how a row of the run queries becomes one; must not ask anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from trialog_schemas.names import ParameterValue


PAGE_METRICS_MAX = 20_000
"""Metric names of a page of runs, counted before its last run: what bounds a page's bytes.

A hundred runs of 200 metrics each are a whole page of about 3 MB. A page has at least one run.
"""


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """What a metric's series comes to; NaN takes no part in min, max and mean.

    `last` is the last element in the order of the series, `last_at` the latest time in it.
    """

    last: float
    min: float | None
    max: float | None
    mean: float | None
    count: int
    last_step: int | None
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ArtifactView:
    """One version of an artifact; a model has a `uri` and no bytes here."""

    name: str
    version: int
    kind: str
    media_type: str | None
    size: int | None
    sha256: str | None
    is_output: bool
    uri: str | None
    model: dict[str, str | None] | None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with everything that a list or a comparison shows of it."""

    run_id: str
    account: str
    run_name: str
    experiment_id: str
    experiment_name: str
    experiment_number: int
    status: str
    failure_message: str | None
    created_at: datetime
    deleted_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
    last_event_at: datetime
    parent_run_id: str | None
    parent_run_name: str | None
    created_by: dict[str, str]
    tags: dict[str, str]
    parameters: dict[str, ParameterValue]
    metrics: dict[str, MetricSummary]
    artifacts: tuple[ArtifactView, ...]
    rejected_count: int
    missing_count: int
    points: int
    limits: dict[str, int] | None

    @property
    def arn(self) -> str:
        """The run's stable, unique resource name."""
        return f"arn:trialog:run/{self.account}/{self.run_id}"

    def is_stale(self, quiet_since: datetime) -> bool:
        """Tell whether the run is in progress and has had no event since then."""
        return is_stale(self.status, self.last_event_at, quiet_since)


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs, where the next one begins, and how many meet the question in all."""

    runs: tuple[RunView, ...]
    next_token: str | None
    total: int


def is_stale(status: str, last_event_at: datetime, quiet_since: datetime) -> bool:
    """Tell whether a run is in progress and has had no event since then.

    Computed for each answer and stored nowhere: the next event ends it.
    """
    return status == "InProgress" and last_event_at < quiet_since


def run_from_row(row: asyncpg.Record) -> RunView:
    """Build a run from a row of list_runs, search_runs or get_run."""
    parent = row["parent_run_id"]
    return RunView(
        run_id=row["run_id"].hex,
        account=row["account"],
        run_name=row["run_name"],
        experiment_id=row["experiment_id"].hex,
        experiment_name=row["experiment_name"],
        experiment_number=row["experiment_number"],
        status=row["status"],
        failure_message=row["failure_message"],
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        last_event_at=row["last_event_at"],
        parent_run_id=None if parent is None else parent.hex,
        parent_run_name=row["parent_run_name"],
        created_by=row["created_by"],
        tags=_tags(row["tags"], row["tags_set"]),
        parameters=_parameters(row["parameter_names"], row["parameter_values"]),
        metrics=_metrics(row),
        artifacts=_artifacts(row["artifacts"]),
        rejected_count=row["rejected"],
        missing_count=row["missing"],
        points=row["points"],
        limits=row["limits"],
    )


def _tags(created: Mapping[str, str], changed: Mapping[str, str | None] | None) -> dict[str, str]:
    """Merge the tags given at creation with later ones; a removed tag is null among the later."""
    tags = {**created, **(changed or {})}
    return {key: value for key, value in tags.items() if value is not None}


def _parameters(
    names: Sequence[str] | None, values: Sequence[str] | None
) -> dict[str, ParameterValue]:
    if names is None or values is None:
        return {}
    # One parse of all values of the run: twenty small ones would cost ten times as much.
    return dict(zip(names, orjson.loads(f"[{','.join(values)}]"), strict=True))


def _metrics(row: asyncpg.Record) -> dict[str, MetricSummary]:
    names = row["metric_names"]
    if names is None:
        return {}
    columns = zip(
        names,
        row["metric_last"],
        row["metric_min"],
        row["metric_max"],
        row["metric_mean"],
        row["metric_points"],
        row["metric_last_step"],
        row["metric_last_at"],
        strict=True,
    )
    return {
        name: MetricSummary(last, low, high, mean, count, None if step < 0 else step, at)
        for name, last, low, high, mean, count, step, at in columns
    }


def _artifacts(packed: Sequence[dict[str, Any]] | None) -> tuple[ArtifactView, ...]:
    # The query names the keys exactly as the class names its fields.
    return tuple(ArtifactView(**artifact) for artifact in packed or ())
