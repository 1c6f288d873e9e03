"""The public surface as a type checker sees it: checked by mypy, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import trialog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from trialog.run_values import Artifact, MetricSummary
    from trialog.run_view import PastRun, RunList, RunView
    from trialog_schemas.events import Rejection
    from trialog_schemas.names import ParameterValue


def experiments(session: trialog.Session) -> None:
    """Create, load, list and delete experiments."""
    experiment = trialog.Experiment.create("e", "what it is for", {"a": "b"}, session)
    trialog.Experiment.create("e", tags=[{"Key": "a", "Value": "b"}], sagemaker_session=session)
    assert_type(trialog.Experiment.load("e", session), trialog.Experiment)
    assert_type(
        trialog.Experiment.list(sort_by="Name", sort_order="Ascending", max_results=5),
        list[trialog.Experiment],
    )
    assert_type(experiment.creation_time, datetime)
    assert_type(experiment.created_by, dict[str, str])
    assert_type(experiment.description, str | None)
    experiment.experiment_name = "other"  # type: ignore[misc]
    experiment.delete()


def writing(session: trialog.Session) -> None:
    """Enter, resume and load runs, and log to them."""
    with trialog.Run("e", "r", session, resume=True, tags={"a": "b"}) as run:
        assert_type(run, trialog.Run)
        run.log_parameter("lr", 0.1)
        run.log_parameters({"layers": [64, 32], "is_deep": True, "none": None})
        run.log_metric("loss", 0.5, 1, datetime.now().astimezone())
        run.log_metrics({"loss": 0.5, "count": 1}, step=2)
        run.log_artifact("notes", "text", media_type="text/markdown", is_output=False)
        run.log_file(Path("file"), name="f", media_type="text/plain", is_output=False)
        run.log_file("file")
        run.log_model("s3://models/m", "cnn", framework="torch", framework_version="2")
        run.log_precision_recall([0, 1], [0.1, 0.9], positive_label=1, title="t", no_skill=0.5)
        run.log_roc_curve([0, 1], [0.1, 0.9], "t", is_output=False)
        run.log_confusion_matrix(["a", "b"], ["a", "a"], title="t")
        run.set_tags({"a": "b"}, removed=["c"])
        assert_type(run.flush(timeout_s=5), bool)
        assert_type(run.flush(5, stage="flushed"), bool)
        run.flush(stage="flusht")  # type: ignore[arg-type]
        run.wait(60, stage="sealed")
        run.wait(stage="rejected")  # type: ignore[arg-type]
        told = run.durability(ask_now=True)
        assert_type(told, trialog.Durability)
        assert_type(told.applied.points, int)
        assert_type(told.rejected, Mapping[str, int])
        assert_type(told.told_at, datetime | None)
        told.missing = 0  # type: ignore[misc]
        run.wait(timeout_s=None)
    with trialog.load_run() as joined:
        assert_type(joined, trialog.Run)
    trialog.load_run("e", "r", session, timeout_s=60)
    config = trialog.PipelineExperimentConfig("e", trial_name="execution")
    assert_type(config.run(session, tags={"a": "b"}), trialog.Run)
    assert_type(config.environment, dict[str, str])
    trialog.load_run(experiment_name="e", run_name="r", sagemaker_session=session)
    trialog.Run("e", "r", run_display_name="R")  # type: ignore[call-arg]
    run.log_metric("loss", "high")  # type: ignore[arg-type]
    run.delete()


async def writing_in_asyncio(session: trialog.Session) -> None:
    """Enter, flush, wait and leave without blocking the event loop."""
    async with trialog.Run("e", "r", session) as run:
        assert_type(run, trialog.Run)
        run.log_metric("loss", 0.5)
        assert_type(await run.flush_async(timeout_s=5), bool)
        assert_type(await run.flush_async(stage="accepted"), bool)
        await run.wait_async(5, stage="applied")
        waiting = run.wait_async(timeout_s=None)
        assert_type(await waiting, None)
        await run.wait_async("long")  # type: ignore[arg-type]
    async with trialog.load_run() as joined:
        assert_type(joined, trialog.Run)
    for listed in trialog.Run.iterate("e", session=session):
        await listed.wait_async(1.5)
        await listed.flush_async()  # type: ignore[attr-defined]


def legacy_names(session: trialog.Session) -> None:
    """The private names of SageMaker's SDK are checked as what they stand for."""
    with trialog._Trial("e", "r", session) as run:
        assert_type(run, trialog.Run)
    assert_type(trialog._TrialComponent("e", sagemaker_session=session), trialog.Run)
    assert_type(trialog._RunContext.get_current_run(), trialog.Run | None)
    trialog.lod_run()  # type: ignore[attr-defined]


def reading(session: trialog.Session) -> None:
    """Read live and listed runs alike."""
    page = trialog.Run.list("e", "Name", "Ascending", 10, session)
    assert_type(page, RunList)
    assert_type(page.total, int)
    assert_type(trialog.Run.iterate("e", session=session), Iterator[RunView])
    listed = trialog.list_runs("e", trialog.SortByType.NAME, trialog.SortOrderType.ASCENDING, 250)
    assert_type(listed, list[RunView])
    run: RunView = page[0]
    assert_type(run.run_name, str)
    assert_type(run.status, str | None)
    assert_type(run.is_stale, bool)
    assert_type(run.last_event_time, datetime | None)
    assert_type(run.end_time, datetime | None)
    assert_type(run.parent_run_name, str | None)
    assert_type(run.tags, dict[str, str])
    assert_type(run.parameters, dict[str, ParameterValue])
    assert_type(run.metrics, dict[str, MetricSummary])
    assert_type(run.metrics["loss"].last, float)
    assert_type(run.metrics["loss"].last_step, int | None)
    assert_type(run.artifacts, list[Artifact])
    assert_type(run.artifacts[0].sha256, str | None)
    assert_type(run.rejections, list[Rejection])
    assert_type(run.rejections[0].code, str)
    assert_type(run.metric_series("loss")["value"], list[float])
    assert_type(run.read_artifact("notes"), bytes)
    frame: pd.DataFrame = trialog.compare("e", "params.lr > 0.1", "metrics.loss ASC", 10, session)
    trialog.compare("e", tags=["optuna.state"], sagemaker_session=session)
    assert_type(frame, pd.DataFrame)
    run.log_metric("loss", 0.5)  # type: ignore[attr-defined]


def reading_the_past(session: trialog.Session) -> None:
    """Ask as of a time or a position; what comes back is for reading."""
    then = datetime(2026, 3, 1, tzinfo=UTC)
    assert_type(trialog.load_run("e", "r", session, as_of=then), PastRun)
    assert_type(trialog.load_run("e", "r", as_of="events:3:17").as_of, str)
    assert_type(trialog.Run.list("e", as_of=then).as_of, str | None)
    assert_type(trialog.Run.iterate("e", as_of="2026-03-01"), Iterator[RunView])
    assert_type(trialog.list_runs("e", as_of=then), list[RunView])
    assert_type(trialog.Experiment.load("e", as_of=then).as_of, str | None)
    assert_type(trialog.Experiment.list(as_of=then), list[trialog.Experiment])
    trialog.compare("e", as_of=then)
    trialog.compare("e", as_of=5)  # type: ignore[arg-type]
    trialog.load_run("e", "r", as_of=then).log_metric("loss", 1)  # type: ignore[attr-defined]


def errors(error: trialog.ClientError) -> None:
    """Tell by the code, or by the class, what to do next."""
    assert_type(error.response["Error"]["Code"], str)
    if isinstance(error, trialog.RunRejectedError):
        assert_type(error.rejections, tuple[Rejection, ...])
    value_errors: tuple[type[ValueError], ...] = (
        trialog.ValidationError,
        trialog.LimitExceededError,
        trialog.ParameterImmutableError,
    )
    assert_type(value_errors, tuple[type[ValueError], ...])
