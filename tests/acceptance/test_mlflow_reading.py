"""An unmodified MLflow client reads what either client has logged, in its own words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.services.mlflow_client import mlflow_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from tests.services.trialog import TrialogService

NAMES = "tags.mlflow.runName"
"""The column in which MLflow's client has the names of runs."""


@pytest.fixture
def mlflow(service: TrialogService) -> Iterator[ModuleType]:
    """MLflow's own module, at the service."""
    with mlflow_at(service.url) as module:
        yield module


def log_natively(experiment: str, session: trialog.Session) -> dict[str, trialog.Run]:
    """Three runs of trialog's own client: a parent, its child, and one that fails."""
    with trialog.Run(experiment, "parent", session) as parent:
        parent.log_parameters({"model": "svm", "lr": 0.1, "deep": True, "layers": [64, 32]})
        for step in range(5):
            parent.log_metric("accuracy", step / 4, step)
        parent.log_metric("seen", 3)
        parent.log_artifact("notes/first.txt", "first")
        parent.log_artifact("notes/deeper/second.txt", "second")
        with trialog.Run(experiment, "child", session) as child:
            child.log_parameters({"model": "forest", "lr": 10})
            child.log_metrics({"accuracy": 0.5, "loss": math.nan}, step=0)
    failed = trialog.Run(experiment, "failed", session)
    with pytest.raises(ZeroDivisionError):
        fail_in(failed)
    for run in (parent, child, failed):
        run.wait(30)
    return {"parent": parent, "child": child, "failed": failed}


def fail_in(run: trialog.Run) -> None:
    """Log a parameter and raise inside the run's block."""
    with run:
        run.log_parameters({"model": "SVM"})
        raise ZeroDivisionError


def turned_pages(mlflow: ModuleType, experiment_id: str) -> list[str]:
    """The runs of an experiment, one a page, by the tokens of the pages."""
    client = mlflow.MlflowClient()
    page = client.search_runs([experiment_id], max_results=1)
    found = [run.info.run_name for run in page]
    while page.token:
        page = client.search_runs([experiment_id], max_results=1, page_token=page.token)
        found += [run.info.run_name for run in page]
    return found


def names(frame: Any) -> list[str]:
    """The runs of a table, in its order."""
    return [] if frame.empty else list(frame[NAMES])


# G9 J2
@ON_ONE_LOG
def test_search_follows_the_grammar_of_mlflow(
    mlflow: ModuleType, session: trialog.Session, experiment_name: str
) -> None:
    """Filters on all that was logged, orders by several fields, over experiments and by pages."""
    runs = log_natively(experiment_name, session)
    mlflow.set_experiment(experiment_name)
    with mlflow.start_run(run_name="by MLflow", tags={"team": "red"}):
        mlflow.log_param("model", "mlp")
        mlflow.log_metric("accuracy", 0.25, step=7)

    for text, found in (
        ("", {"parent", "child", "failed", "by MLflow"}),
        ("metrics.accuracy >= 0.5", {"parent", "child"}),
        ("metrics.accuracy < 0.5 and tags.team = 'red'", {"by MLflow"}),
        ("params.model = 'svm' and params.lr = '0.1'", {"parent"}),
        ("params.model ILIKE 'svm'", {"parent", "failed"}),
        ("params.model LIKE 's%'", {"parent"}),
        ("params.deep = 'True'", {"parent"}),
        ("params.lr IS NULL", {"failed", "by MLflow"}),
        ("attributes.status = 'FAILED'", {"failed"}),
        ("run_name = 'by MLflow'", {"by MLflow"}),
        (f"tags.mlflow.parentRunId = '{runs['parent'].run_id}'", {"child"}),
        (f"run_id IN ('{runs['child'].run_id}', '{runs['failed'].run_id}')", {"child", "failed"}),
        ("attributes.start_time > 0 and metrics.loss != 5", {"child"}),
        ("params.model = 'nothing'", set()),
    ):
        assert set(names(mlflow.search_runs(filter_string=text))) == found, text

    ordered = mlflow.search_runs(order_by=["metrics.accuracy DESC", "params.model"])
    columns = [NAMES, "metrics.accuracy", "params.model"]
    assert list(ordered[columns].itertuples(index=False, name=None))[:3] == [
        ("parent", 1.0, "svm"), ("child", 0.5, "forest"), ("by MLflow", 0.25, "mlp"),
    ]  # fmt: skip
    assert names(ordered)[3:] == ["failed"]
    assert names(mlflow.search_runs())[0] == "by MLflow"  # the newest first
    number = mlflow.get_experiment_by_name(experiment_name).experiment_id
    assert turned_pages(mlflow, number) == names(mlflow.search_runs())
    everywhere = mlflow.search_runs(
        filter_string=f"run_id = '{runs['child'].run_id}'", search_all_experiments=True
    )
    assert names(everywhere) == ["child"]
    (experiment,) = mlflow.search_experiments(filter_string=f"name = '{experiment_name}'")
    assert (experiment.experiment_id, experiment.lifecycle_stage) == (number, "active")


# J2
@ON_ONE_LOG
def test_run_of_the_sdk_is_read_with_all_that_was_logged(
    mlflow: ModuleType, session: trialog.Session, experiment_name: str
) -> None:
    """Its parameters as texts, last points, whole series, parent, end, and its artifacts' bytes."""
    runs = log_natively(experiment_name, session)
    run = mlflow.get_run(runs["parent"].run_id)
    assert run.data.params == {
        "model": "svm", "lr": "0.1", "deep": "True", "layers": "[64,32]",
    }  # fmt: skip
    assert run.data.metrics == {"accuracy": 1.0, "seen": 3.0}
    assert (run.info.status, run.info.run_name) == ("FINISHED", "parent")
    assert run.info.end_time >= run.info.start_time > 0
    child = mlflow.get_run(runs["child"].run_id)
    assert math.isnan(child.data.metrics["loss"])
    assert mlflow.get_parent_run(child.info.run_id).info.run_id == run.info.run_id
    assert mlflow.get_run(runs["failed"].run_id).info.status == "FAILED"

    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.info.run_id, "accuracy")
    assert [(point.step, point.value) for point in history] == [(i, i / 4) for i in range(5)]
    times = [point.timestamp for point in history]
    assert times == sorted(times)
    assert times[0] >= run.info.start_time - 1_000
    assert client.get_metric_history(run.info.run_id, "nothing") == []

    (folder,) = client.list_artifacts(run.info.run_id)
    assert (folder.path, folder.is_dir) == ("notes", True)
    inside = client.list_artifacts(run.info.run_id, "notes")
    assert [(one.path, one.is_dir, one.file_size) for one in inside] == [
        ("notes/deeper", True, None),
        ("notes/first.txt", False, 5),
    ]
    whole = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id))
    assert (whole / "notes/deeper/second.txt").read_text(encoding="utf-8") == "second"
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/first.txt") == "first"


# J2
@ON_ONE_LOG
def test_what_mlflows_client_cannot_have_is_said_in_its_own_codes(
    mlflow: ModuleType, experiment_name: str
) -> None:
    """An unknown run, a filter that is none, a surface that is not there: MlflowException."""
    client = mlflow.MlflowClient()
    mlflow.set_experiment(experiment_name)
    refusals = {
        "RESOURCE_DOES_NOT_EXIST": lambda: mlflow.get_run("0" * 32),
        "INVALID_PARAMETER_VALUE": lambda: mlflow.search_runs(filter_string="metrcs.loss > 1"),
        "ENDPOINT_NOT_FOUND": client.search_registered_models,
    }
    says = {
        "RESOURCE_DOES_NOT_EXIST": "does not exist",
        "INVALID_PARAMETER_VALUE": "did you mean 'metrics'",
        "ENDPOINT_NOT_FOUND": "no model registry",
    }
    for code, call in refusals.items():
        with pytest.raises(mlflow.exceptions.MlflowException, match=says[code]) as caught:
            call()
        assert caught.value.error_code == code
    assert mlflow.get_experiment_by_name("no such experiment") is None
    assert client.list_artifacts(mlflow.start_run().info.run_id) == []
