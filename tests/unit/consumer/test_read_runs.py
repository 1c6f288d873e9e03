"""A row of the run queries becomes the run that is shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest

from trialog_server.read.runs import ArtifactView, MetricSummary, RunView, run_from_row

if TYPE_CHECKING:
    import asyncpg

RUN, EXPERIMENT, PARENT = UUID(int=1), UUID(int=2), UUID(int=3)
AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def view(**changed: object) -> RunView:
    """The run of a row that has only what every run has, but for what is given."""
    row: dict[str, Any] = {
        "run_id": RUN,
        "account": "default",
        "run_name": "first",
        "experiment_id": EXPERIMENT,
        "experiment_name": "digits",
        "experiment_number": 7,
        "status": "InProgress",
        "failure_message": None,
        "created_at": AT,
        "deleted_at": None,
        "started_at": AT,
        "ended_at": None,
        "last_event_at": AT,
        "parent_run_id": None,
        "parent_run_name": None,
        "created_by": {"user": "ada", "host": "lab"},
        "tags": {},
        "tags_set": None,
        "limits": None,
        "points": 0,
        "rejected": 0,
        "missing": 0,
        "parameter_names": None,
        "parameter_values": None,
        "metric_names": None,
        "artifacts": None,
    }
    return run_from_row(cast("asyncpg.Record", {**row, **changed}))


# F6
def test_run_without_anything_has_empty_parts() -> None:
    """A run that was just created has no parameters, metrics, artifacts, tags: no nulls."""
    run = view()
    assert (run.parameters, run.metrics, run.artifacts, run.tags) == ({}, {}, (), {})
    assert (run.run_id, run.experiment_id, run.parent_run_id) == (RUN.hex, EXPERIMENT.hex, None)
    assert run.arn == f"arn:trialog:run/default/{RUN.hex}"


# B23
@pytest.mark.parametrize(
    ("status", "silent_s", "is_stale"),
    [
        ("InProgress", 59, False),
        ("InProgress", 60, False),
        ("InProgress", 60.000001, True),
        ("InProgress", -5, False),  # the log's clock is ahead of ours
        ("Completed", 3600, False),
        ("Failed", 3600, False),
    ],
)
def test_run_in_progress_is_stale_after_its_silence(
    status: str, silent_s: float, *, is_stale: bool
) -> None:
    """Only what is in progress, only beyond the time, and only as of when it is asked."""
    run = view(status=status, last_event_at=AT)
    asked_at = AT + timedelta(seconds=silent_s)
    assert run.is_stale(quiet_since=asked_at - timedelta(seconds=60)) is is_stale


# B16
def test_run_with_a_parent_names_it_by_id_and_name() -> None:
    """The link to the parent is there without anything that the user logged."""
    run = view(parent_run_id=PARENT, parent_run_name="ensemble")
    assert (run.parent_run_id, run.parent_run_name) == (PARENT.hex, "ensemble")


@pytest.mark.parametrize(
    ("created", "later", "shown"),
    [
        ({"a": "1"}, None, {"a": "1"}),
        ({"a": "1"}, {}, {"a": "1"}),
        ({"a": "1"}, {"a": "2"}, {"a": "2"}),
        ({"a": "1"}, {"a": None}, {}),
        ({}, {"a": None, "b": "3"}, {"b": "3"}),
        ({"a": ""}, {"b": ""}, {"a": "", "b": ""}),
    ],
)
def test_run_tags_are_those_of_its_creation_with_later_changes(
    created: dict[str, str], later: dict[str, str | None] | None, shown: dict[str, str]
) -> None:
    """What was set later wins, what was removed later is gone, an empty value is a value."""
    assert view(tags=created, tags_set=later).tags == shown


# C1
def test_run_parameters_come_back_with_their_types() -> None:
    """1, 1.0, True and "1" stay four different values, lists and null are what they were."""
    names = ["bool", "float", "int", "list", "none", "text", "tricky"]
    values = ["true", "1.0", "1", '[1,"a",null]', "null", '"1"', '"],[\\"\\n🚀"']
    parameters = view(parameter_names=names, parameter_values=values).parameters

    assert list(parameters) == names
    assert list(parameters.values()) == [True, 1.0, 1, [1, "a", None], None, "1", '],["\n🚀']
    assert [type(parameters[name]) for name in ("bool", "float", "int")] == [bool, float, int]


# D13
def test_run_metrics_are_zipped_by_name() -> None:
    """Each metric has its own figures; no step is None, and what has no mean has none."""
    metrics = view(
        metric_names=["acc", "loss"],
        metric_last=[0.5, math.inf],
        metric_last_step=[7, -1],
        metric_min=[0.25, None],
        metric_max=[0.75, None],
        metric_mean=[0.5, None],
        metric_points=[3, 1],
        metric_last_at=[AT, AT],
    ).metrics

    assert metrics["acc"] == MetricSummary(0.5, 0.25, 0.75, 0.5, 3, 7, AT)
    assert metrics["loss"] == MetricSummary(math.inf, None, None, None, 1, None, AT)


def test_run_metrics_of_unequal_columns_are_a_defect() -> None:
    """Columns that do not fit together are never cut to the shortest."""
    with pytest.raises(ValueError, match="zip"):
        view(
            metric_names=["acc", "loss"],
            metric_last=[0.5],
            metric_last_step=[7],
            metric_min=[0.25],
            metric_max=[0.75],
            metric_mean=[0.5],
            metric_points=[3],
            metric_last_at=[AT],
        )


# E6
def test_run_artifacts_are_read_by_their_names() -> None:
    """The query packs each artifact under the names that the view has."""
    packed: dict[str, Any] = {
        "name": "model",
        "version": 2,
        "kind": "model",
        "sha256": None,
        "size": None,
        "media_type": None,
        "is_output": True,
        "uri": "s3://bucket/model",
        "model": {"model_type": "mlp", "framework": None, "framework_version": None},
    }
    (artifact,) = view(artifacts=[packed]).artifacts

    assert artifact == ArtifactView(**packed)
    assert artifact.at is None


def test_run_view_cannot_be_changed() -> None:
    """An answer is a value: nobody changes it on its way to the client."""
    with pytest.raises(AttributeError):
        view().status = "Completed"  # type: ignore[misc]
