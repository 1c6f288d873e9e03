"""Optuna studies end to end: each trial a run, with parameters, values and its final state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import optuna
import pytest
from click.testing import CliRunner
from optuna.storages.journal import JournalFileBackend

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.programs import environment_of
from trialog.__main__ import cli
from trialog.client import Client
from trialog.integrations.optuna import TrialogCallback
from trialog.integrations.trial_runs import run_name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trialog.run_view import RunView

EXAMPLES = Path(__file__).parents[2] / "producer" / "examples"

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
"""Optuna's words for how a trial ended, and ours."""

SHARES = (7, 7, 6)
"""How many of 20 trials each process does."""


def by_number(experiment_name: str, session: trialog.Session) -> dict[int, RunView]:
    """The runs of a study by their trial's number, once all have ended."""
    runs = trialog.Run.list(experiment_name, session=session)
    for run in runs:
        run.wait(30)
    return {int(run.tags["optuna.trial"]): run for run in runs}


def search_in_processes(session: trialog.Session, experiment_name: str, journal: Path) -> str:
    """Let the example's processes share a study; return what the last one to end said."""
    arguments = [sys.executable, str(EXAMPLES / "optuna_search.py"), experiment_name, str(journal)]
    workers = [
        subprocess.Popen(
            [*arguments, str(trials), str(seed)],
            env=environment_of(session),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, trials in enumerate(SHARES, start=3)
    ]
    said = [worker.communicate(timeout=50) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers), said
    return max((out for out, _ in said), key=len)


def study_of(experiment_name: str, journal: Path) -> optuna.Study:
    """Return the study as Optuna keeps it."""
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name=experiment_name, storage=storage)


def say(session: trialog.Session, *arguments: str) -> str:
    """Return what a command prints."""
    environment = {"TRIALOG_URL": str(session.url), "COLUMNS": "200"}
    done = CliRunner().invoke(cli, arguments, env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


def check_readers(
    session: trialog.Session, experiment_name: str, states: Mapping[str, str]
) -> None:
    """Hold what list, compare, show and the API tell of the trials' states against the study."""
    statuses = {
        name: "Failed" if state == "failed" else "Completed" for name, state in states.items()
    }
    frame = trialog.compare(experiment_name, session=session, tags=["optuna.state"])
    assert dict(zip(frame["run_name"], frame["tags.optuna.state"], strict=True)) == states
    assert dict(zip(frame["run_name"], frame["status"], strict=True)) == statuses
    has_value = dict(zip(frame["run_name"], frame["value"].notna(), strict=True))
    assert has_value == {name: state == "complete" for name, state in states.items()}

    listed = [line.split()[:2] for line in say(session, "list", experiment_name).splitlines()]
    compared = say(session, "compare", experiment_name, "--tag", "optuna.state").splitlines()
    for name, state in states.items():
        assert [name, statuses[name]] in listed
        assert [name, statuses[name], state] in [line.split()[:3] for line in compared]
    pruned = next(name for name, state in states.items() if state == "pruned")
    shown = say(session, "show", experiment_name, pruned)
    assert "pruned" in next(line for line in shown.splitlines() if "optuna.state" in line)
    answers = Client(session.resolve()).runs(experiment_name, {})["runs"]
    assert {one["run_name"]: one["tags"]["optuna.state"] for one in answers} == states


# G6
@pytest.mark.slow(reason="three processes import Optuna and do 20 trials")
def test_twenty_trials_of_three_processes_are_twenty_runs(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Each has what Optuna's own storage has of it; pruned and failed trials are told apart."""
    said = search_in_processes(session, experiment_name, tmp_path / "journal")
    study = study_of(experiment_name, tmp_path / "journal")
    runs = by_number(experiment_name, session)
    assert sorted(runs) == list(range(20))
    states = {trial.number: STATES[trial.state.name] for trial in study.get_trials()}
    assert set(states.values()) == {"complete", "pruned", "failed"}
    for trial in study.get_trials():
        run, state = runs[trial.number], states[trial.number]
        assert run.run_name == f"{experiment_name}-{trial.number}"
        assert run.tags["optuna.study"] == experiment_name
        assert run.tags["optuna.state"] == state
        assert run.status == ("Failed" if state == "failed" else "Completed")
        assert run.parameters == trial.params
        reported = {}
        if trial.intermediate_values:
            series = run.metric_series("intermediate_value")
            reported = dict(zip(series["step"], series["value"], strict=True))
        assert reported == trial.intermediate_values
        final = run.metrics.get("value")
        assert (None if final is None else final.last) == (
            trial.value if state == "complete" else None
        )
    best = f"{experiment_name}-{study.best_trial.number}"
    found = trialog.compare(experiment_name, order_by="metrics.value ASC", session=session)
    assert found["run_name"].iloc[0] == best
    assert said.splitlines()[0].split() == [
        "run_name", "tags.optuna.state", "rate", "momentum", "value"
    ]  # fmt: skip
    check_readers(
        session, experiment_name, {runs[number].run_name: state for number, state in states.items()}
    )


# G6
@ON_ONE_LOG
def test_tracked_objective_logs_to_its_run_and_keeps_each_ending(
    session: trialog.Session, experiment_name: str
) -> None:
    """A value, a pruning, no value, and an exception that ends the study, each in its run."""

    def objective(trial: optuna.Trial, run: trialog.Run) -> float:
        x = trial.suggest_int("x", 0, 9)
        run.log_metric("epoch_loss", 0.5, 0)
        trial.report(x, 0)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 3:
            raise MemoryError("out of memory")
        return float("nan") if trial.number == 2 else float(x)

    callback = TrialogCallback(experiment_name, session=session, tags={"team": "red"})
    study = optuna.create_study(study_name="tracked")
    with pytest.raises(MemoryError):
        study.optimize(callback.track(objective), n_trials=9, callbacks=[callback])
    runs = by_number(experiment_name, session)
    ended = {number: (run.status, run.tags["optuna.state"]) for number, run in runs.items()}
    assert ended == {
        0: ("Completed", "complete"),
        1: ("Completed", "pruned"),
        2: ("Failed", "failed"),
        3: ("Failed", "failed"),
    }
    assert runs[2].failure_message == "trial 2 returned nan, which Optuna takes for no value"
    assert runs[3].failure_message == "out of memory"
    for trial in study.get_trials():
        run = runs[trial.number]
        assert run.parameters == trial.params
        assert run.metrics["intermediate_value"].count == run.metrics["epoch_loss"].count == 1
        assert run.tags["team"] == "red"
    assert [number for number, run in runs.items() if "value" in run.metrics] == [0]
    assert [one.state.name for one in study.trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]


# G6
@ON_ONE_LOG
def test_threads_of_one_study_of_two_objectives_share_a_callback(
    session: trialog.Session, experiment_name: str
) -> None:
    """`n_jobs` threads; each of the final values is a metric."""

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        return x, -x

    callback = TrialogCallback(
        experiment_name, metric_names=["accuracy", "latency:ms"], session=session
    )
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(objective, n_trials=6, n_jobs=3, callbacks=[callback])
    runs = by_number(experiment_name, session)
    assert sorted(runs) == list(range(6))
    for trial in study.get_trials():
        metrics = runs[trial.number].metrics
        assert [metrics["accuracy"].last, metrics["latency:ms"].last] == trial.values


# G6
@ON_ONE_LOG
def test_study_that_is_run_again_keeps_both_times(
    session: trialog.Session, experiment_name: str
) -> None:
    """A study in memory begins at trial 0 again: its runs get a suffix, and names of its own."""
    for _ in range(2):
        study = optuna.create_study(study_name="again", directions=["minimize"] * 2)
        callback = TrialogCallback(experiment_name, session=session)
        study.optimize(lambda trial: (trial.number, 1.0), n_trials=1, callbacks=[callback])
    first, second = trialog.Run.list(experiment_name, "Name", "Ascending", session=session)
    for run in (first, second):
        run.wait(30)
    assert first.run_name == "again-0"
    assert second.run_name.startswith("again-0-")
    assert first.metrics.keys() == second.metrics.keys() == {"value_0", "value_1"}


# G6
def test_wrong_names_are_refused_before_the_first_trial() -> None:
    """What can be known when the callback is made; else with the first trial, by its names."""
    for arguments in (
        {"experiment_name": "two words"},
        {"experiment_name": "e", "metric_names": [""]},
        {"experiment_name": "e", "tags": {"": "red"}},
        {"experiment_name": "e", "tags": {str(number): "" for number in range(46)}},
    ):
        with pytest.raises(trialog.ValidationError):
            TrialogCallback(**cast("dict[str, str]", arguments))  # type: ignore[arg-type]


# G6
@ON_ONE_LOG
def test_metric_names_that_do_not_fit_the_study_are_refused(
    session: trialog.Session, experiment_name: str
) -> None:
    """The error says how many there should be; the trial itself stays what it is."""
    callback = TrialogCallback(experiment_name, metric_names=["a", "b"], session=session)
    study = optuna.create_study(study_name="one")
    with pytest.raises(trialog.ValidationError, match=r"metric_names has 2 names .* 1 objectives"):
        study.optimize(lambda _: 1.0, n_trials=1, callbacks=[callback])
    assert study.best_value == 1.0


# G6
@pytest.mark.parametrize(
    ("study_name", "name"),
    [("search", "search-7"), ("a b/ü.c", "a-b---c-7"), ("x" * 300, "x" * 100 + "-7")],
)
def test_run_name_is_legal_whatever_the_study_is_called(study_name: str, name: str) -> None:
    """Room is left for a long number and a suffix."""
    assert run_name_of(study_name, 7) == name


# G6
def test_importing_trialog_imports_no_optuna() -> None:
    """A program that does not use the integration needs no Optuna and does not load it."""
    code = "import sys, trialog; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# G6
def test_missing_optuna_is_said_with_its_remedy() -> None:
    """The message names the extra to install."""
    code = "import sys; sys.modules['optuna'] = None; import trialog.integrations.optuna"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == (
        "ImportError: trialog.integrations.optuna needs Optuna; pip install 'trialog[optuna]'"
    )
