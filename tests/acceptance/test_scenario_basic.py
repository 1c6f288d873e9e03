"""The examples that users read first, run as they would run them, on each log."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

import trialog
from tests.acceptance.conftest import LEFT_WITH_REFUSALS, ON_ONE_LOG
from tests.acceptance.pages import rows_of, run_page
from tests.acceptance.programs import environment_of
from trialog.client import Client

EXAMPLES = Path(__file__).parents[2] / "producer" / "examples"


def _run_example(name: str, session: trialog.Session, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=environment_of(session),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# D14 G1
@pytest.mark.slow(reason="imports scikit-learn and trains with it")
def test_basic_example_gives_exactly_what_it_logged(
    session: trialog.Session, experiment_name: str
) -> None:
    """7 parameters, 4 metrics of 10 epochs, 3 final ones, a model, 2 files and a text."""
    assert _run_example("basic.py", session, experiment_name).endswith(" is Completed\n")
    (run,) = trialog.Run.list(experiment_name, session=session)
    answer = Client(session.resolve()).run(experiment_name, run.run_name)
    assert len(answer["parameters"]) == 7
    assert answer["parameters"]["alpha"] == 1e-4
    counts = sorted(summary["count"] for summary in answer["metrics"].values())
    assert counts == [1, 1, 1, 10, 10, 10, 10]
    assert answer["points"] == 43
    kinds = sorted(artifact["kind"] for artifact in answer["artifacts"])
    assert kinds == ["artifact", "file", "file", "model"]
    (model,) = (one for one in answer["artifacts"] if one["kind"] == "model")
    assert model["uri"] == "s3://models/digits/sgd.pkl"
    assert answer["rejected_count"] == 0
    with run_page(session, run.run_id) as page:
        assert rows_of(page, "Parameters") == 7
        assert rows_of(page, "Metrics") == 7
        assert rows_of(page, "Artifacts") == 4
        assert page.get_by_text("43", exact=True).count() == 1
        loss = page.get_by_role("row").filter(has_text="train:loss")
        assert loss.get_by_role("cell").all_text_contents()[-2:] == ["10", "9"]


# C4
@LEFT_WITH_REFUSALS
@ON_ONE_LOG
def test_page_of_a_run_keeps_the_first_value_and_shows_the_refused_attempt(
    session: trialog.Session, experiment_name: str
) -> None:
    """The parameter is as it was logged first; who tried what stands below, with the reason."""
    with trialog.Run(experiment_name, "one", session) as run:
        other = trialog.load_run().__enter__()  # before there is a value that it could know
        run.log_parameter("lr", 0.125)
        run.wait(30)
        other.log_parameter("lr", 0.75)
        other.__exit__(None, None, None)
    run.wait(30)
    with run_page(session, run.run_id) as page:
        kept, refused = page.get_by_role("row").filter(has_text="lr").all_text_contents()
        assert kept == "lr0.125"
        assert refused.startswith("param_immutablelr0.75parameter 'lr' is already 0.125")
        assert rows_of(page, "Refused") == 1


# F7 G4
@ON_ONE_LOG
@pytest.mark.slow(reason="imports scikit-learn and trains with it six times")
def test_compare_and_plot_example_finds_the_best_row_and_draws(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """The classic idxmax row is the best run, and the table draws on a logarithmic axis."""
    picture = tmp_path / "scatter.png"
    said = _run_example("compare_and_plot.py", session, experiment_name, str(picture))
    frame = trialog.compare(experiment_name, session=session)
    assert len(frame) == 6
    best = frame.loc[frame["validation_accuracy"].idxmax()]  # type: ignore[call-overload]  # stubs
    assert f"best run {best['run_name']} " in said
    assert best["validation_accuracy"] == max(frame["validation_accuracy"])
    assert not math.isnan(float(best["learning_rate"]))
    assert picture.read_bytes().startswith(b"\x89PNG")


# B8 B22
@ON_ONE_LOG
@pytest.mark.slow(reason="starts four processes that import trialog")
def test_distributed_example_has_what_each_rank_logged(
    session: trialog.Session, experiment_name: str
) -> None:
    """One run, which the launcher ends when all of its ranks have ended."""
    said = _run_example("distributed.py", session, experiment_name, "3")
    (run,) = trialog.Run.list(experiment_name, session=session)
    assert said == f"{run.run_name} is Completed\n"
    points = {f"rank{rank}/points": 100 for rank in range(3)}
    assert run.parameters == points | {"world_size": 3, "rate": 0.5}
    assert {name: (one.count, one.last == one.min) for name, one in run.metrics.items()} == {
        f"rank{rank}/loss": (20, True) for rank in range(3)
    }


# B3 G6
@ON_ONE_LOG
def test_many_trials_example_finds_the_best_of_its_runs(
    session: trialog.Session, experiment_name: str
) -> None:
    """24 settings are 24 runs, and the one it names has the lowest loss of all."""
    said = _run_example("many_trials.py", session, experiment_name)
    runs = trialog.Run.list(experiment_name, session=session)
    assert {(run.status, run.metrics["loss"].count) for run in runs} == {("Completed", 100)}
    settings = {(run.parameters["rate"], run.parameters["momentum"]) for run in runs}
    assert (len(runs), len(settings)) == (24, 24)
    best = min(runs, key=lambda run: run.metrics["loss"].last).parameters
    assert f"best of 24: rate {best['rate']}, momentum {best['momentum']}\n" in said
