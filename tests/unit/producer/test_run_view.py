"""A run as the service told it: its attributes are values and ask nobody."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.unit.producer.answers import (
    artifact_answer,
    endpoint_in,
    run_answer,
    summary_answer,
)
from trialog.run_values import Artifact, MetricSummary, time_of
from trialog.run_view import RunList, RunView

if TYPE_CHECKING:
    from pathlib import Path

    from trialog.settings import Endpoint

AT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    """An endpoint whose service is not there: a question would raise."""
    return endpoint_in(tmp_path)


# B19 F6
def test_listed_run_has_everything_without_a_question(endpoint: Endpoint) -> None:
    """Names, status, times, parameters, summaries and artifacts are in the one answer."""
    answer = run_answer(
        parameters={"lr": 0.1},
        metrics={"loss": summary_answer(0.5)},
        artifacts=[artifact_answer()],
        tags={"team": "red"},
        parent_run_name="search",
    )
    run = RunView(answer, endpoint)
    assert (run.run_name, run.experiment_name, run.run_id) == ("r", "e", answer["run_id"])
    assert run.run_arn == f"arn:trialog:run/default/{run.run_id}"
    assert (run.status, run.failure_message, run.parent_run_name) == ("Completed", None, "search")
    assert (run.creation_time, run.start_time, run.end_time) == (AT, AT, AT)
    assert (run.parameters, run.tags) == ({"lr": 0.1}, {"team": "red"})
    assert run.metrics == {"loss": MetricSummary(0.5, 0.5, 0.5, 0.5, 1, 0)}
    assert [one.name for one in run.artifacts] == ["notes"]
    assert repr(run) == "RunView('e', 'r')"


# B23
def test_silent_run_is_stale_and_says_since_when(endpoint: Endpoint) -> None:
    """The service decides; before anybody entered the run there was no event."""
    run = RunView(run_answer(status="InProgress", is_stale=True), endpoint)
    assert (run.status, run.is_stale, run.last_event_time) == ("InProgress", True, AT)
    never = RunView(run_answer(status="", last_event_time=None), endpoint)
    assert (never.is_stale, never.last_event_time) == (False, None)


# B19
def test_run_that_was_never_entered_has_no_status_and_no_times(endpoint: Endpoint) -> None:
    """Empty texts of the answer are None for people."""
    run = RunView(run_answer(status="", creation_time="", start_time="", end_time=None), endpoint)
    assert run.status is None
    assert (run.creation_time, run.start_time, run.end_time) == (None, None, None)


@pytest.mark.parametrize("name", ["parameters", "tags", "metrics", "artifacts"])
def test_collections_of_a_run_are_the_callers_own(endpoint: Endpoint, name: str) -> None:
    """Changing one changes nothing of the run."""
    run = RunView(
        run_answer(
            parameters={"lr": 1},
            tags={"a": "b"},
            metrics={"loss": summary_answer(1.0)},
            artifacts=[artifact_answer()],
        ),
        endpoint,
    )
    getattr(run, name).clear()
    assert len(getattr(run, name)) == 1


# F1
@pytest.mark.parametrize("name", ["status", "parameters", "run_name", "metrics", "tags"])
def test_attributes_of_a_run_cannot_be_set(endpoint: Endpoint, name: str) -> None:
    """A handle that reads is not a way to write."""
    with pytest.raises(AttributeError):
        setattr(RunView(run_answer(), endpoint), name, None)


@pytest.mark.parametrize(
    "ask",
    [
        lambda run: run.rejections,
        lambda run: run.metric_series("loss"),
        lambda run: run.read_artifact("notes"),
        lambda run: run.delete(),
    ],
)
def test_what_must_be_asked_says_when_nobody_answers(tmp_path: Path, ask: object) -> None:
    """Series, refusals and bytes are not part of a listed run."""
    nobody = trialog.Session(url="http://127.0.0.1:9", spool_dir=tmp_path).resolve({})
    with pytest.raises(trialog.UnavailableError, match=r"127\.0\.0\.1:9"):
        ask(RunView(run_answer(), nobody))  # type: ignore[operator]


# B20
def test_wait_for_a_service_that_is_away_ends_in_time(tmp_path: Path) -> None:
    """It may come back; when it does not, the time says so and not the absence."""
    nobody = trialog.Session(url="http://127.0.0.1:9", spool_dir=tmp_path).resolve({})
    with pytest.raises(TimeoutError, match=r"run 'r' has not ended after 0\.05 s"):
        RunView(run_answer(status="InProgress"), nobody).wait(0.05)


def test_page_of_runs_is_a_list_that_knows_how_many_there_are(endpoint: Endpoint) -> None:
    """It can be indexed, counted and gone through like any list."""
    page = RunList([RunView(run_answer(name), endpoint) for name in "ab"], total=250)
    assert (len(page), page[1].run_name, page.total) == (2, "b", 250)
    assert [run.run_name for run in page] == ["a", "b"]


# D7 D13
def test_summary_of_nothing_but_nan_has_nan_and_its_count() -> None:
    """The service has no minimum for it; NaN points are counted."""
    told = summary_answer("NaN", min=None, max=None, mean=None, count=3, last_step=None)
    summary = MetricSummary.of(told)
    assert all(math.isnan(value) for value in (summary.last, summary.min, summary.max))
    assert math.isnan(summary.mean)
    assert (summary.count, summary.last_step) == (3, None)


# E7
def test_model_is_an_artifact_with_an_address_and_no_bytes() -> None:
    """What `log_model` said is told by attributes."""
    model = {"model_type": "cnn", "framework": None, "framework_version": "2"}
    told = artifact_answer(
        "m", kind="model", size=None, sha256=None, uri="s3://m", model=model, version=2
    )
    found = Artifact.of(told)
    assert (found.uri, found.size, found.sha256, found.version) == ("s3://m", None, None, 2)
    assert (found.model_type, found.framework, found.framework_version) == ("cnn", None, "2")


def test_values_are_frozen() -> None:
    """What was told does not change in somebody's hand."""
    with pytest.raises(FrozenInstanceError):
        Artifact.of(artifact_answer()).name = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        MetricSummary.of(summary_answer(1.0)).last = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "time"), [(None, None), ("", None), ("2026-03-01T12:00:00.000001+00:00", AT)]
)
def test_time_of_an_answer_has_its_zone(text: str | None, time: datetime | None) -> None:
    """Microseconds are kept; nothing is no time."""
    assert time_of(text) == time
