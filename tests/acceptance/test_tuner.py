"""Searches that tell of their trials by hooks, end to end: each trial a run, whatever its end."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.refusals import illegal
from trialog.integrations.trial_runs import run_name_of
from trialog.integrations.tuner import TunerCallback

if TYPE_CHECKING:
    from trialog.run_view import RunView

CANDIDATES: list[dict[str, float | str]] = [
    {"C": 0.01, "kernel": "rbf"},
    {"C": 1.0, "kernel": "rbf"},
    {"C": 100.0, "kernel": "rbf"},
    {"C": -1.0, "kernel": "rbf"},  # which scikit-learn refuses
    {"C": 0.01, "kernel": "linear"},
    {"C": 1.0, "kernel": "linear"},
]


def by_trial(experiment_name: str, session: trialog.Session) -> dict[str, RunView]:
    """The runs of a search by their trial, once all have ended."""
    runs = trialog.list_runs(experiment_name, session=session)
    for run in runs:
        run.wait(30)
    return {run.tags["tuner.trial"]: run for run in runs if "tuner.trial" in run.tags}


# G6
def test_threads_of_a_search_make_a_run_of_each_trial(
    session: trialog.Session, experiment_name: str
) -> None:
    """Support vector machines, fitted by three threads: each has its values; one is refused."""
    flowers, kinds = load_iris(return_X_y=True)
    best: dict[int, float] = {}

    def search(number: int) -> None:
        parameters = CANDIDATES[number]
        callback.on_trial_start(number, parameters)
        try:
            scores = cross_val_score(SVC(**parameters), flowers, kinds, error_score="raise", cv=5)
        except ValueError as exc:
            callback.on_trial_error(number, exc)
            return
        for fold, score in enumerate(scores):
            callback.on_trial_result(number, {"fold:accuracy": score}, fold)
        best[number] = float(scores.mean())
        callback.on_trial_complete(number, {"accuracy": best[number]})

    with trialog.Run(experiment_name, "search", session) as parent:
        callback = TunerCallback(experiment_name, "svm", session, tags={"team": "red"})
        with callback, ThreadPoolExecutor(3) as pool:
            list(pool.map(search, range(len(CANDIDATES))))
    runs = by_trial(experiment_name, session)
    assert sorted(runs) == [str(number) for number in range(6)]
    for number, parameters in enumerate(CANDIDATES):
        run = runs[str(number)]
        assert run.run_name == f"svm-{number}"
        assert run.parameters == parameters
        assert run.parent_run_name == parent.run_name
        assert run.tags == {"team": "red", "tuner.search": "svm", "tuner.trial": str(number)}
        assert run.status == ("Failed" if number == 3 else "Completed")
    assert "must be a float in the range (0.0, inf]. Got -1.0" in str(runs["3"].failure_message)
    assert runs["3"].metrics == {}
    for number, accuracy in best.items():
        metrics = runs[str(number)].metrics
        assert (metrics["accuracy"].last, metrics["fold:accuracy"].count) == (accuracy, 5)
        assert math.isclose(metrics["fold:accuracy"].mean, accuracy)
    frame = trialog.compare(experiment_name, order_by="metrics.accuracy DESC", session=session)
    assert frame["accuracy"].iloc[0] == max(best.values())


# G6
@ON_ONE_LOG
def test_hooks_of_many_trials_may_come_mixed_from_one_thread(
    session: trialog.Session, experiment_name: str
) -> None:
    """As a library calls them: no trial is another one's child, and none stays open at the end."""
    callback = TunerCallback(experiment_name, session=session)
    names = [callback.on_trial_start(f"a1_{n}", {"n": n}).run_name for n in range(4)]
    assert names == [f"trial-a1_{n}" for n in range(4)]
    for step in range(2):
        for number in range(4):
            callback.on_trial_result(f"a1_{number}", {"loss": number / (step + 1)}, step)
    with pytest.raises(RuntimeError, match="no run is open here"):
        trialog.load_run(session=session)
    callback.on_trial_complete("a1_1")
    callback.on_trial_error("a1_0", "worker died")
    callback.on_trial_error("a1_3")
    assert callback.on_trial_start("a1_1", {}).run_name.startswith("trial-a1_1-")  # once more
    pickle.loads(pickle.dumps(callback)).end()  # a copy has no trials, as Ray makes them
    callback.end()
    runs = trialog.list_runs(experiment_name, sort_order="Ascending", session=session)
    for run in runs:
        run.wait(30)
    assert [(run.status, run.failure_message) for run in runs] == [
        ("Failed", "worker died"),
        ("Completed", None),
        ("Failed", "the search ended before its trial"),
        ("Failed", "the trial failed"),
        ("Failed", "the search ended before its trial"),
    ]
    assert [run.parent_run_name for run in runs] == [None] * 5
    for number, run in enumerate(runs[:4]):
        assert run.parameters == {"n": number}
        assert run.metric_series("loss")["value"] == [number, number / 2]


# G6
@ON_ONE_LOG
def test_exception_that_ends_a_search_is_told_by_its_open_trials(
    session: trialog.Session, experiment_name: str
) -> None:
    """The runs say why, and the exception goes on to the caller."""

    def search() -> None:
        with TunerCallback(experiment_name, session=session) as callback:
            callback.on_trial_start(0, {"x": 1})
            raise MemoryError("out of memory")

    with pytest.raises(MemoryError):
        search()
    run = by_trial(experiment_name, session)["0"]
    assert (run.status, run.failure_message) == ("Failed", "out of memory")


# G6
@ON_ONE_LOG
def test_trial_that_is_told_wrongly_is_refused_and_nothing_else_is_lost(
    session: trialog.Session, experiment_name: str
) -> None:
    """A hook out of order, a value that is none: the error says so, other trials go on."""
    with TunerCallback(experiment_name, session=session) as callback:
        for hook in (callback.on_trial_complete, callback.on_trial_error):
            assert illegal(hook, 0).field == "trial_id"
        illegal(callback.on_trial_result, 0, {"loss": 1.0})
        callback.on_trial_start(0, {"lr": 0.1})
        illegal(callback.on_trial_start, 0, {"lr": 0.2})
        illegal(callback.on_trial_start, 1, {"lr": float("nan")})
        illegal(callback.on_trial_result, 1, {"loss": 1.0})
        with pytest.raises(TypeError, match="'high'"):
            callback.on_trial_complete(0, {"loss": "high"})  # type: ignore[dict-item]
        callback.on_trial_complete(0, {"loss": 0.5})
        illegal(callback.on_trial_complete, 0)
    runs = by_trial(experiment_name, session)
    assert {trial: run.status for trial, run in runs.items()} == {"0": "Completed", "1": "Failed"}
    assert (runs["0"].parameters, runs["0"].metrics["loss"].count) == ({"lr": 0.1}, 1)
    assert "lr" in str(runs["1"].failure_message)


# G6
def test_callback_of_wrong_names_is_refused_before_the_first_trial() -> None:
    """What can be known when the callback is made."""
    for arguments in (
        {"experiment_name": "two words"},
        {"experiment_name": "e", "search_name": ""},
        {"experiment_name": "e", "tags": {"": "red"}},
        {"experiment_name": "e", "tags": {str(number): "" for number in range(49)}},
    ):
        with pytest.raises(trialog.ValidationError):
            TunerCallback(**cast("dict[str, str]", arguments))  # type: ignore[arg-type]


# G6
@pytest.mark.parametrize(
    ("search_name", "trial", "name"),
    [
        ("svm", "a1b2c_00007", "svm-a1b2c_00007"),
        ("svm", "trial 7/ü", "svm-trial-7--"),
        ("s" * 120, "7", "s" * 100 + "-7"),
        ("s" * 120, "t" * 99 + "7", "s" * 52 + "-" + "t" * 59 + "7"),
    ],
)
def test_run_name_has_room_for_a_trial_and_a_suffix(
    search_name: str, trial: str, name: str
) -> None:
    """Whatever a library's ids are; the end of an id is what tells trials apart."""
    assert run_name_of(search_name, trial) == name
    assert len(name) + len("-abc123") <= 120
