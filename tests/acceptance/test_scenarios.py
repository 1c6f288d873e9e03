"""The usage scenarios as their examples, which train for real in processes of their own."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import pytest
import urllib3
from sklearn.datasets import load_iris

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.forked_programs import run_queues

if TYPE_CHECKING:
    from tests.services.trialog import TrialogService
    from trialog.run_view import RunView

EXAMPLES = Path(__file__).parents[2] / "producer" / "examples"


@dataclass(frozen=True)
class Scenario:
    """What the starts of one example said, and where their runs are."""

    experiment_name: str
    said: list[str]
    session: trialog.Session

    def runs(self) -> list[RunView]:
        """All runs, the first first."""
        return trialog.list_runs(self.experiment_name, sort_order="Ascending", session=self.session)


@pytest.fixture(scope="module")
def scenarios(
    service: TrialogService, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Scenario]:
    """Every example that trains, started with an experiment of its own."""
    folder = tmp_path_factory.mktemp("scenarios")
    session = trialog.Session(service.url, service.kafka, spool_dir=folder / "spool")
    starts: dict[str, list[list[str]]] = {
        "training_integration.py": [[], []],
        "ensemble.py": [[]],
        "artifacts.py": [[]],
        "reproducible.py": [["1"], ["1"], ["2"]],
    }
    names = {example: f"scenario-{uuid.uuid4().hex[:12]}" for example in starts}
    queues = [
        [[str(EXAMPLES / example), names[example], *arguments] for arguments in commands]
        for example, commands in starts.items()
    ]
    said = run_queues(session, folder / "said", queues)
    return {
        example: Scenario(names[example], texts, session)
        for example, texts in zip(starts, said, strict=True)
    }


# G2
@ON_ONE_LOG
@pytest.mark.slow(reason="trains the four scenarios of this file")
@pytest.mark.timeout(180)
def test_training_started_twice_finds_its_experiment_and_adds_three_trials(
    scenarios: dict[str, Scenario],
) -> None:
    """The best run of the loop is the one of the table, the second time as the first."""
    scenario = scenarios["training_integration.py"]
    experiment = trialog.Experiment.load(scenario.experiment_name, session=scenario.session)
    assert experiment.description == "which C fits the tumours best"
    runs = scenario.runs()
    assert [run.status for run in runs] == ["Completed"] * 6
    assert [run.parameters["C"] for run in runs] == [0.01, 1.0, 100.0] * 2
    for run in runs:
        folds = run.metric_series("test:accuracy")
        assert folds["step"] == [0, 1, 2, 3, 4]
        assert run.metrics["accuracy"].last == pytest.approx(np.mean(folds["value"]))
        assert run.metrics["train:accuracy"].count == 5
    best = max(run.metrics["accuracy"].last for run in runs)
    winners = [run.run_name for run in runs if run.metrics["accuracy"].last == best]
    assert len(winners) == 2  # one of each start
    for said, in_loop in zip(scenario.said, winners, strict=True):
        loop, table = (line.split()[-2:] for line in said.splitlines())
        assert loop == [in_loop, f"{best:.4f}"]
        assert table[0] in winners
        assert table[1] == f"{best:.4f}"
    assert scenario.said[0].count(winners[0]) == 2


# G5
@ON_ONE_LOG
@pytest.mark.slow(reason="trains the four scenarios of this file")
@pytest.mark.timeout(180)
def test_ensemble_is_a_run_with_a_child_for_each_member(scenarios: dict[str, Scenario]) -> None:
    """Each child has rows of its own; the parent ends last and takes parameters until then."""
    scenario = scenarios["ensemble.py"]
    parent, *members = scenario.runs()
    assert scenario.said == [f"{parent.run_name} is Completed\n"]
    assert [run.run_name for run in members] == [f"{parent.run_name}-{i}" for i in range(3)]
    assert [run.parent_run_name for run in members] == [parent.run_name] * 3
    assert [run.status for run in (parent, *members)] == ["Completed"] * 4
    ends = [run.end_time for run in (*members, parent) if run.end_time is not None]
    assert ends == sorted(ends)
    assert len(set(ends)) == 4
    rows = [run.read_artifact("rows") for run in members]
    assert len(set(rows)) == 3
    for run, drawn in zip(members, rows, strict=True):
        assert run.parameters["rows"] == len(set(drawn.split(b",")))
        assert not run.artifacts[0].is_output
    accuracies = [run.metrics["accuracy"].last for run in members]
    assert parent.metric_series("member:accuracy")["value"] == accuracies
    assert parent.metrics["accuracy"].last > max(accuracies)  # which is why one votes
    best = accuracies.index(max(accuracies))
    assert parent.parameters == {"members": 3, "best_member": best}
    assert [list(run.rejections) for run in (parent, *members)] == [[]] * 4


KINDS = {
    "model/iris.joblib": "application/octet-stream",
    "model/settings.json": "application/json",
    "report/plots/confusion.png": "image/png",
    "report/report.html": "text/html",
    "report/report.txt": "text/plain",
    "report/tables/guesses.csv": "text/csv",
}


# G7
@ON_ONE_LOG
@pytest.mark.slow(reason="trains the four scenarios of this file")
@pytest.mark.timeout(180)
def test_every_kind_of_artifact_comes_back_with_its_type(
    scenarios: dict[str, Scenario], tmp_path: Path
) -> None:
    """Through the SDK and over HTTP alike; the model that comes back still guesses."""
    scenario = scenarios["artifacts.py"]
    (run,) = scenario.runs()
    assert scenario.said == [f"{run.run_name} is Completed, with 6 artifacts\n"]
    assert {one.name: one.media_type for one in run.artifacts} == KINDS
    for one in run.artifacts:
        content = run.read_artifact(one.name)
        assert len(content) == one.size
        address = f"{scenario.session.url}/api/v1/runs/{run.run_id}/artifacts/content"
        answer = urllib3.request("GET", address, fields={"name": one.name})
        assert answer.status == 200
        assert answer.headers["Content-Type"].partition(";")[0] == KINDS[one.name]
        assert answer.data == content
        (tmp_path / one.name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one.name).write_bytes(content)
    model, iris = joblib.load(tmp_path / "model/iris.joblib"), load_iris()
    assert model.score(iris.data, iris.target) == run.metrics["accuracy"].last
    table = pd.read_csv(tmp_path / "report/tables/guesses.csv")
    assert (table["# is"] == table["guess"]).mean() == run.metrics["accuracy"].last
    assert (tmp_path / "report/plots/confusion.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "versicolor" in (tmp_path / "report/report.html").read_text()


# G8
@ON_ONE_LOG
@pytest.mark.slow(reason="trains the four scenarios of this file")
@pytest.mark.timeout(180)
def test_runs_of_one_seed_are_the_same_and_a_diff_shows_another_seed(
    scenarios: dict[str, Scenario],
) -> None:
    """Processes of their own: equal parameters, equal values in every epoch; else what differs."""
    scenario = scenarios["reproducible.py"]
    one, again, other = scenario.runs()
    names = {"seed", "data_sha256", "commit", "python", "numpy", "scikit-learn"}
    assert one.parameters.keys() == names
    assert one.parameters == again.parameters
    assert one.metric_series("accuracy")["value"] == again.metric_series("accuracy")["value"]
    assert re.fullmatch(r"[0-9a-f]{64}", str(one.parameters["data_sha256"]))
    differing = {name for name in names if one.parameters[name] != other.parameters[name]}
    assert differing == {"seed"}
    assert [text.splitlines()[1:] for text in scenario.said[:2]] == [["nothing differs"]] * 2
    same, header, _, *rows = scenario.said[2].splitlines()
    assert set(same.partition(": ")[2].split(", ")) == {"status"} | names - {"seed"}
    assert header.split() == ["seed", "accuracy"]
    assert [row.split()[:2] for row in rows] == [
        [run.run_name, str(run.parameters["seed"])] for run in (other, again, one)
    ]
