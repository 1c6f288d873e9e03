"""Questions about then, as users ask them: what was told at a moment is told again, on each log."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import trialog
from tests.acceptance.conftest import LEFT_WITH_REFUSALS, ON_ONE_LOG
from trialog.__main__ import cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trialog.as_of import AsOf
    from trialog.run_view import RunView

pytestmark = pytest.mark.timeout(120)

PAUSE_S = 0.01
"""Between a moment and its neighbours: Kafka counts in milliseconds."""


def of_run(run: RunView) -> dict[str, Any]:
    """What a run says of itself, with its series, refusals and newest texts."""
    return {
        "about": (run.status, run.start_time, run.end_time, run.last_event_time, run.tags),
        "more": (run.failure_message, run.parent_run_name, run.is_stale),
        "parameters": run.parameters,
        "metrics": {name: str(one) for name, one in run.metrics.items()},
        "series": {name: str(run.metric_series(name)) for name in run.metrics},
        "artifacts": [str(one) for one in run.artifacts],
        "contents": {one.name: run.read_artifact(one.name) for one in run.artifacts},
        "rejections": run.rejections,
    }


def told(session: trialog.Session, name: str, as_of: AsOf | None) -> dict[str, Any]:
    """Everything that is told of an experiment, or that it is not there."""
    try:
        experiment = trialog.Experiment.load(name, session, as_of=as_of)
    except trialog.ResourceNotFoundError as exc:
        return {"gone": exc.message}
    order = "metrics.loss.min DESC"
    listed = trialog.Run.list(name, "Name", "Ascending", session=session, as_of=as_of)
    frame = trialog.compare(name, "params.lr > 0", order, session=session, as_of=as_of)
    return {
        "experiment": (experiment.experiment_id, experiment.tags, experiment.run_count),
        "modified": (experiment.last_modified_time, experiment.last_modified_by),
        "listed": {run.run_name: of_run(run) for run in listed},
        "total": listed.total,
        "frame": frame.to_csv(),
        "iterated": [run.run_name for run in trialog.list_runs(name, session=session, as_of=as_of)],
    }


@dataclass(frozen=True)
class Then:
    """What was told at a time when nothing happened."""

    at: datetime
    said: dict[str, Any]


# K5
@LEFT_WITH_REFUSALS
def test_every_answer_as_of_a_time_is_what_was_told_then(
    session: trialog.Session, experiment_name: str
) -> None:
    """Refusals, versions, removed tags, late points, resumption, deletion, and a name once more."""
    moments: list[Then] = []

    def remember() -> None:
        time.sleep(PAUSE_S)
        moments.append(Then(datetime.now(UTC), told(session, experiment_name, None)))
        time.sleep(PAUSE_S)

    tell_history(session, experiment_name, remember)
    assert len({str(then.said) for then in moments}) == len(moments) == 5
    for then in moments[:4]:
        assert told(session, experiment_name, then.at) == then.said, then.at
    zoned = moments[0].at.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    named = trialog.Run.list(experiment_name, session=session, as_of=zoned).as_of
    assert told(session, experiment_name, named) == moments[0].said


def tell_history(session: trialog.Session, name: str, remember: Callable[[], None]) -> None:
    """Let an experiment have a history, and remember its moments."""
    trialog.Experiment.create(name, "text", {"k": "v"}, session)
    with trialog.Run(name, "a", session, tags={"team": "red", "gone": "soon"}) as run:
        run.log_parameters({"lr": 0.1, "layers": [1, 2]})
        run.log_metrics({"loss": 1.0, "odd": float("nan")}, step=5)
        run.log_artifact("notes", "one")
        other = trialog.load_run(name, "a", session).__enter__()
        run.wait(30)
        remember()
        other.log_parameter("lr", 0.2)  # refused: it has a value
        other.log_metric("loss", 0.25, 2, datetime(2020, 1, 1, tzinfo=UTC))  # of an earlier clock
        run.log_artifact("notes", "two")
        run.set_tags({"team": "blue"}, removed=["gone"])
        with contextlib.suppress(ZeroDivisionError), trialog.Run(name, "child", session):
            1 / 0  # noqa: B018  what fails the run
        other.__exit__(None, None, None)
        with contextlib.suppress(trialog.RunRejectedError):
            run.wait(30)
        trialog.load_run(name, "child", session).wait(30)
        remember()
    trialog.load_run(name, "a", session).wait(30)
    trialog.load_run(name, "child", session).delete()
    remember()
    with trialog.load_run(name, "a", session) as again:
        again.log_metric("loss", 0.125, 9)
        again.wait(30)
        remember()
    trialog.load_run(name, "a", session).wait(30)
    trialog.load_run(name, "a", session).delete()
    trialog.Experiment.load(name, session).delete()
    with trialog.Run(name, "a", session) as second:
        second.log_parameter("lr", 0.5)
        second.wait(30)
        remember()


# K5
@ON_ONE_LOG
def test_run_of_the_past_is_read_and_changes_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """It names its moment, refuses to be deleted or waited for; so does an experiment."""
    with trialog.Run(experiment_name, "a", session) as run:
        run.log_metric("loss", 1.0)
        run.wait(30)
        past = trialog.load_run(experiment_name, "a", session, as_of=datetime.now(UTC))
        inside = trialog.load_run(as_of=past.as_of)
        run.log_metric("loss", 0.5)
        run.wait(30)
    assert past.as_of.startswith("catalog:0:")
    assert (inside.as_of, inside.run_id) == (past.as_of, past.run_id)
    assert past.metric_series("loss")["value"] == [1.0]
    for refused in (past.delete, past.wait, inside.delete):
        with pytest.raises(trialog.ValidationError, match="it is what was; load it without as_of"):
            refused()
    with pytest.raises(trialog.ValidationError, match="it is what was; load it without as_of"):
        trialog.Experiment.load(experiment_name, session, as_of=past.as_of).delete()
    assert trialog.load_run(experiment_name, "a", session).metrics["loss"].count == 2


# K5
@ON_ONE_LOG
@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        (5, "as_of is 5 of type int, and a datetime or a text is asked for"),
        (b"2026-01-01", "of type bytes"),
        (" ", "as_of is ' ', which is no moment"),
        ("tomorrow", "as_of 'tomorrow' is neither a time nor positions"),
        (datetime(2999, 1, 1, tzinfo=UTC), "is ahead of the service's clock"),
        ("events:0:123456789", "give a position that is in the log"),
    ],
    ids=["int", "bytes", "blank", "word", "future", "beyond"],
)
def test_what_is_no_moment_is_refused_by_every_call(
    session: trialog.Session, experiment_name: str, as_of: Any, message: str
) -> None:
    """Each call that takes a moment raises the same typed error."""
    calls: list[Callable[[], object]] = [
        lambda: trialog.compare(experiment_name, session=session, as_of=as_of),
        lambda: trialog.Run.list(experiment_name, session=session, as_of=as_of),
        lambda: list(trialog.Run.iterate(experiment_name, session=session, as_of=as_of)),
        lambda: trialog.list_runs(experiment_name, session=session, as_of=as_of),
        lambda: trialog.load_run(experiment_name, "a", session, as_of=as_of),
        lambda: trialog.Experiment.load(experiment_name, session, as_of=as_of),
        lambda: trialog.Experiment.list(session=session, as_of=as_of),
    ]
    for call in calls:
        with pytest.raises(trialog.ValidationError) as caught:
            call()
        assert message in caught.value.message
        assert caught.value.field == "as_of"


# K5
@ON_ONE_LOG
def test_commands_show_and_export_what_was(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """list, compare, show and export take --as-of and name the moment."""
    with trialog.Run(experiment_name, "a", session) as run:
        run.log_parameter("lr", 0.125)
        run.wait(30)
        then = datetime.now(UTC).isoformat()
        time.sleep(PAUSE_S)
        run.log_parameter("late", 1)
        run.wait(30)
    url = ("--url", session.url or "", "--as-of", then)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(cli, [*arguments, *url])
        assert result.exit_code == 0, result.output
        return result.output

    output = tmp_path / "runs.json"
    shown = [
        said("list", experiment_name),
        said("compare", experiment_name),
        said("show", experiment_name, "a"),
        said("export", experiment_name, "--output", str(output), "--json"),
    ]
    for text in shown:
        assert "catalog:0:" in text
        assert "late" not in text
    assert "0.125" in shown[1]
    assert "InProgress" in shown[2]
    (exported,) = json.loads(output.read_text("utf-8"))
    assert (exported["parameters"], exported["status"]) == ({"lr": 0.125}, "InProgress")
    refused = CliRunner().invoke(
        cli, ["show", experiment_name, "a", "--url", url[1], "--as-of", "x"]
    )
    assert (refused.exit_code, "neither a time nor positions" in refused.output) == (1, True)
