"""An unmodified MLflow client logs to the service; it, trialog's SDK and the page read it."""

from __future__ import annotations

import importlib
import json
import math
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.pages import rows_of, run_page
from tests.services.mlflow_client import mlflow_at
from trialog_server.mlflow_names import native_experiment_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from tests.services.trialog import TrialogService

pytestmark = pytest.mark.timeout(180)
"""The first of them imports MLflow, which takes seconds, beside a broker that starts."""

LONG = "a long value, " * 100


@pytest.fixture
def mlflow(service: TrialogService) -> Iterator[ModuleType]:
    """MLflow's own module, at the service."""
    with mlflow_at(service.url) as module:
        yield module


def train(mlflow: ModuleType, folder: Path) -> tuple[str, str]:
    """Log as MLflow's users do: a run with a nested one; return their ids."""
    (folder / "model").mkdir()
    (folder / "model" / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "notes.txt").write_text("notes", encoding="utf-8")
    with mlflow.start_run(run_name="a run, by MLflow", tags={"stage": "dev"}) as run:
        mlflow.log_param("model", "mlp")
        mlflow.log_params({"learning_rate": 0.1, "layers": [64, 32], "epochs": 3})
        for epoch in range(3):
            mlflow.log_metric("loss", 1 / (epoch + 1), step=epoch)
            mlflow.log_metrics({"accuracy": epoch / 3, "odd": math.nan}, step=epoch)
        mlflow.set_tag("note", "fine")
        mlflow.set_tags({"team": "red", "n": 5})
        mlflow.log_artifact(str(folder / "notes.txt"))
        mlflow.log_artifacts(str(folder / "model"), "model")
        mlflow.log_dict({"a": [1, 2]}, "settings/all.json")
        mlflow.log_text("text", "text.txt")
        with mlflow.start_run(nested=True, run_name="inner") as inner:
            mlflow.log_metric("loss", 5)
    return run.info.run_id, inner.info.run_id


# J1
def test_runs_of_mlflows_client_are_runs_like_any_other(
    mlflow: ModuleType,
    session: trialog.Session,
    experiment_name: str,
    tmp_path: Path,
) -> None:
    """Listed and compared by the SDK, with all that was logged, their parents and endings."""
    mlflow.set_experiment(experiment_name)
    run_id, inner_id = train(mlflow, tmp_path)
    mlflow.set_experiment(experiment_name)  # finds it now
    with pytest.raises(ZeroDivisionError), mlflow.start_run(run_name="failed"):
        mlflow.log_param("model", 1 // 0)

    runs = {run.run_id: run for run in trialog.Run.list(experiment_name, session=session)}
    run = runs[run_id]
    assert sorted(str(one.status) for one in runs.values()) == ["Completed", "Completed", "Failed"]
    assert (run.run_name, runs[inner_id].parent_run_name) == ("a-run-by-MLflow",) * 2
    assert run.parameters == {
        "model": "mlp", "learning_rate": "0.1", "layers": "[64, 32]", "epochs": "3",
    }  # fmt: skip
    assert {name: run.metrics[name].count for name in run.metrics} == dict.fromkeys(
        ("loss", "accuracy", "odd"), 3
    )
    assert run.metrics["loss"].last == pytest.approx(1 / 3)
    assert math.isnan(run.metrics["odd"].last)
    wanted = {"stage": "dev", "note": "fine", "team": "red", "n": "5"}
    assert wanted.items() <= run.tags.items()
    names = ["model/weights.bin", "notes.txt", "settings/all.json", "text.txt"]
    assert sorted(one.name for one in run.artifacts) == names
    frame = trialog.compare(experiment_name, session=session, order_by="metrics.accuracy DESC")
    assert frame.iloc[0]["run_name"] == "a-run-by-MLflow"


# J1
@ON_ONE_LOG
@pytest.mark.filterwarnings("ignore")  # of the libraries that are logged
def test_autologging_and_a_figure_are_a_run_that_the_page_shows(
    mlflow: ModuleType, session: trialog.Session, experiment_name: str
) -> None:
    """scikit-learn's training is a run with all that MLflow makes of it, but the model's files."""
    figure = importlib.import_module("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2, 3])
    sklearn = importlib.import_module("mlflow.sklearn")
    model = importlib.import_module("sklearn.linear_model").Ridge(alpha=0.5)
    data = importlib.import_module("sklearn.datasets").load_diabetes(return_X_y=True)
    mlflow.set_experiment(experiment_name)
    sklearn.autolog(log_models=False)
    try:
        with mlflow.start_run():
            model.fit(*data)
            mlflow.log_figure(figure, "figure.png")
    finally:
        sklearn.autolog(disable=True)
    (run,) = trialog.Run.list(experiment_name, session=session)
    assert (run.status, run.parameters["alpha"]) == ("Completed", "0.5")
    assert run.metrics["training_r2_score"].last > 0.4
    names = {one.name: one.is_output for one in run.artifacts}
    assert names == {"estimator.html": True, "figure.png": True, "mlflow-inputs.json": False}
    (told,) = mlflow.get_run(run.run_id).inputs.dataset_inputs
    assert [(tag.key, tag.value) for tag in told.tags] == [("mlflow.data.context", "train")]
    assert json.loads(told.dataset.schema)["mlflow_tensorspec"]
    with run_page(session, run.run_id) as page:
        assert rows_of(page, "Parameters") == len(run.parameters)
        page.get_by_text("figure.png").first.wait_for()


# J4
def test_verdict_comes_with_the_answer_and_writes_are_read_at_once(
    mlflow: ModuleType, experiment_name: str
) -> None:
    """Another value is refused in the same request; when a call returns, its data is there."""
    client = mlflow.MlflowClient()
    mlflow.set_experiment(experiment_name)
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        for number in range(5):
            mlflow.log_param(f"p{number}", number)
            mlflow.log_metric("m", number, step=number)
            read = client.get_run(run_id).data
            assert (read.params[f"p{number}"], read.metrics["m"]) == (str(number), number)
        mlflow.log_param("p0", 0)  # the same value again
        with pytest.raises(mlflow.MlflowException, match="'p0' is already '0'") as raised:
            mlflow.log_param("p0", 1)
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
        assert raised.value.get_http_status_code() == 400
        with pytest.raises(mlflow.MlflowException, match="'p0' is already '0'"):
            client.log_batch(
                run_id,
                [mlflow.entities.Metric("never", 1.0, 0, 0)],
                [mlflow.entities.Param(name, "1") for name in ("new", "p0")],
                [mlflow.entities.RunTag("never", "1")],
            )
    data = client.get_run(run_id).data
    assert client.get_run(run_id).info.status == "FINISHED"
    assert data.params["p0"] == "0"
    assert not {"never", "new"} & {*data.params, *data.metrics, *data.tags}


# J5
@ON_ONE_LOG
def test_long_values_are_shortened_and_kept_whole(
    mlflow: ModuleType, session: trialog.Session, experiment_name: str
) -> None:
    """The run goes on; the mark says where the whole value is, and another one is another one."""
    mlflow.set_experiment(experiment_name)
    with mlflow.start_run(tags={"at the start": LONG}) as run:
        mlflow.log_param("long", LONG)
        mlflow.log_params({f"long{number}": LONG + str(number) for number in range(40)})
        mlflow.log_param("long", LONG)
        mlflow.set_tag("tag", LONG)
        with pytest.raises(mlflow.MlflowException, match="is already"):
            mlflow.log_param("long", LONG + "!")
    found = trialog.Run.list(experiment_name, session=session)[0]
    value = str(found.parameters["long"])
    assert len(value) == 256
    assert value.startswith(LONG[:150])
    assert value.endswith("1400 characters, whole in mlflow-long-values.json]")
    assert value == found.tags["tag"] == found.tags["at the start"]
    kept = json.loads(found.read_artifact("mlflow-long-values.json"))
    assert (kept["params"]["long"], len(kept["params"])) == (LONG, 41)
    assert kept["tags"] == {"at the start": LONG, "tag": LONG}
    assert run.info.run_id == found.run_id


# J1 B5
@ON_ONE_LOG
def test_one_name_is_many_runs_for_mlflow_and_taken_for_the_sdk(
    mlflow: ModuleType, session: trialog.Session, experiment_name: str
) -> None:
    """The id is the run; by name the SDK finds the newest, until it has one of its own."""
    client = mlflow.MlflowClient()
    mlflow.set_experiment(experiment_name)
    with trialog.Run(experiment_name, "native", session) as native:
        native.log_parameter("learning_rate", 0.1)
    ids = []
    for name in ("train", "train", "native"):
        with mlflow.start_run(run_name=name) as run:
            ids.append(run.info.run_id)
    assert len(set(ids)) == 3
    with pytest.raises(trialog.ResourceInUseError, match="'train' exists already"):
        trialog.Run(experiment_name, "train", session).__enter__()
    with trialog.Run(experiment_name, "train", session, resume=True) as resumed:
        resumed.log_parameter("seed", 1)
    assert resumed.run_id == ids[1]
    assert trialog.load_run(experiment_name, "native", session).run_id == native.run_id
    resumed.wait(30)
    assert client.get_run(ids[1]).data.params == {"seed": "1"}
    # A text that says what the SDK has logged as a number is the same parameter to MLflow.
    client.log_param(native.run_id, "learning_rate", 0.1)
    with pytest.raises(mlflow.MlflowException, match=r"is already 0\.1"):
        client.log_param(native.run_id, "learning_rate", "0.10")


# J1
@ON_ONE_LOG
def test_client_that_names_no_experiment_has_one(
    mlflow: ModuleType, session: trialog.Session
) -> None:
    """It is number 0 and called Default, before its first run and afterwards, for both clients."""
    client = mlflow.MlflowClient()
    assert client.get_experiment("0").name == "Default"
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    assert run.info.experiment_id == client.get_experiment_by_name("Default").experiment_id == "0"
    found = trialog.Run.list("Default", session=session)
    assert run.info.run_id in [one.run_id for one in found]
    assert run.info.run_id in list(mlflow.search_runs()["run_id"])
    assert "0" in [one.experiment_id for one in client.search_experiments()]


# J1
@ON_ONE_LOG
def test_names_status_and_times_of_mlflow_are_shown_again(
    mlflow: ModuleType, session: trialog.Session, experiment_name: str
) -> None:
    """Any text names an experiment or a run; what the client says of status and times stays."""
    client = mlflow.MlflowClient()
    spaced = f"/Shared/{experiment_name} (1)"
    experiment_id = client.create_experiment(spaced, tags={"team": "red"})
    with pytest.raises(mlflow.MlflowException, match="exists already") as raised:
        client.create_experiment(spaced)
    assert raised.value.error_code == "RESOURCE_ALREADY_EXISTS"
    experiment = client.get_experiment_by_name(spaced)
    assert (experiment.experiment_id, experiment.name) == (experiment_id, spaced)
    assert experiment.tags == {"team": "red"}
    run_id = client.create_run(experiment_id, start_time=1000, run_name="./results").info.run_id
    client.set_terminated(run_id, "KILLED", end_time=61_000)
    info = client.get_run(run_id).info
    assert (info.run_name, info.status) == ("./results", "KILLED")
    assert (info.start_time, info.end_time) == (1000, 61_000)
    client.update_run(run_id, status="RUNNING", name="renamed")
    info = client.get_run(run_id).info
    assert (info.run_name, info.status, info.end_time) == ("renamed", "RUNNING", None)
    client.set_tag(run_id, "k", "v")
    client.delete_tag(run_id, "k")
    client.set_terminated(run_id)
    assert "k" not in client.get_run(run_id).data.tags
    home = native_experiment_name(spaced)
    (native,) = trialog.Run.list(home, session=session)
    assert (native.run_name, native.status) == ("results", "Completed")
    client.delete_run(run_id)
    with pytest.raises(mlflow.MlflowException, match="does not exist") as raised:
        client.log_metric(run_id, "m", 1)
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.delete_experiment(experiment_id)
    assert client.get_experiment_by_name(spaced) is None
    gone = client.get_experiment(experiment_id)
    assert (gone.name, gone.lifecycle_stage) == (spaced, "deleted")
    with pytest.raises(mlflow.MlflowException, match="was deleted"):
        client.create_run(experiment_id)


# G9 J2
@ON_ONE_LOG
def test_runs_of_either_client_are_found_by_mlflows_search(
    mlflow: ModuleType, session: trialog.Session, experiment_name: str
) -> None:
    """One experiment, one table, whichever client has logged; and one for the SDK."""
    with trialog.Run(experiment_name, "by-the-sdk", session) as native:
        native.log_parameters({"model": "mlp", "learning_rate": 0.1})
        native.log_metric("accuracy", 0.75, 0)
    mlflow.set_experiment(experiment_name)
    with mlflow.start_run(run_name="by MLflow"):
        mlflow.log_params({"model": "cnn", "learning_rate": 0.1})
        mlflow.log_metric("accuracy", 0.5, step=0)
    native.wait(30)
    # MLflow's own table has a run's name in the column of this tag.
    columns = ["tags.mlflow.runName", "metrics.accuracy", "params.model"]
    rows = [("by-the-sdk", 0.75, "mlp"), ("by MLflow", 0.5, "cnn")]
    frame = mlflow.search_runs(order_by=["metrics.accuracy DESC"])[columns]
    assert list(frame.itertuples(index=False, name=None)) == rows
    for which, row in (("by MLflow", rows[1]), ("by-the-sdk", rows[0])):
        found = mlflow.search_runs(
            filter_string=f"attributes.run_name = '{which}' and params.learning_rate = '0.1'"
        )
        assert list(found[columns].itertuples(index=False, name=None)) == [row]
    compared = trialog.compare(experiment_name, session=session, order_by="metrics.accuracy DESC")
    assert list(compared["run_name"]) == ["by-the-sdk", "by-MLflow"]
