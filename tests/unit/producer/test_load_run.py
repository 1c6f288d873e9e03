"""Which run `load_run` means: its arguments, then the block it is called in, then the job's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import trialog
from tests.unit.producer.memory_runs import NOBODY, MemoryRuns, memory_runs
from trialog.run_context import pop_run, push_run
from trialog_schemas.events import ParametersLogged, RunEnded, RunJoined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[MemoryRuns]:
    """A session whose log is in memory; its service is not there."""
    with memory_runs(tmp_path / "spool") as made:
        yield made


@pytest.fixture
def current(runs: MemoryRuns) -> Iterator[trialog.Run]:
    """The run `e`/`r`, whose block the test is in."""
    run = trialog.Run("e", "r", runs.session)
    run._block.enter(run._answer, runs.opening())
    run._is_known = True
    push_run(run)
    yield run
    pop_run(run)
    run._block.leave(None)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a job that works on a run."""
    monkeypatch.setenv("TRIALOG_EXPERIMENT", "job-experiment")
    monkeypatch.setenv("TRIALOG_RUN", "job-run")
    monkeypatch.setenv("TRIALOG_URL", NOBODY)


# B8
def test_load_run_in_a_block_is_another_handle_of_its_run(current: trialog.Run) -> None:
    """Without names, and with the experiment's."""
    for loaded in (trialog.load_run(), trialog.load_run("e")):
        assert loaded is not current
        assert (loaded.run_id, loaded.run_name) == (current.run_id, "r")
        assert not loaded.is_open


# B8 B22
def test_handle_of_the_block_joins_and_never_ends_the_run(
    current: trialog.Run, runs: MemoryRuns
) -> None:
    """It needs no service: what the block knows is handed on."""
    current.log_parameter("lr", 1)
    with trialog.load_run() as joined:
        with pytest.raises(trialog.ParameterImmutableError):
            joined.log_parameter("lr", 2)
        joined.log_parameter("joined", 1)
    assert current.is_open
    current.flush(30)
    bodies = [event.body for event in runs.events()]
    assert any(isinstance(body, RunJoined) for body in bodies)
    assert ParametersLogged({"joined": 1}) in bodies
    assert RunEnded("Completed", is_owner=False) in bodies
    assert RunEnded("Completed", is_owner=True) not in bodies


# B8
def test_load_run_of_another_experiment_does_not_take_the_block(current: trialog.Run) -> None:
    """A name that is given is meant."""
    assert current.experiment_name == "e"
    with pytest.raises(RuntimeError, match="no run of experiment 'other' is open here"):
        trialog.load_run("other")


# B8
@pytest.mark.usefixtures("job")
def test_load_run_in_a_job_asks_for_the_jobs_run() -> None:
    """Also when the job's experiment is named; that its service is away is said."""
    for experiment_name in (None, "job-experiment"):
        with pytest.raises(trialog.UnavailableError, match=r"127\.0\.0\.1:9"):
            trialog.load_run(experiment_name)


# B8
@pytest.mark.usefixtures("job")
def test_load_run_prefers_the_block_to_the_job(current: trialog.Run) -> None:
    """A job's own inner run is what its code is about."""
    assert trialog.load_run().run_id == current.run_id


# B8
@pytest.mark.usefixtures("job")
def test_load_run_of_another_experiment_than_the_jobs_finds_nothing() -> None:
    """The job's run is in its own experiment."""
    with pytest.raises(RuntimeError, match="give experiment_name and run_name"):
        trialog.load_run("another")


# B8
@pytest.mark.parametrize("missing", ["TRIALOG_EXPERIMENT", "TRIALOG_RUN"])
@pytest.mark.usefixtures("job")
def test_half_of_a_jobs_names_is_no_run(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Neither is an empty variable."""
    monkeypatch.setenv(missing, "")
    with pytest.raises(RuntimeError, match="TRIALOG_EXPERIMENT and TRIALOG_RUN name none"):
        trialog.load_run()


# A2 B8
@pytest.mark.usefixtures("job")
def test_illegal_name_of_a_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody is asked."""
    monkeypatch.setenv("TRIALOG_RUN", "a b")
    with pytest.raises(trialog.ValidationError, match="run"):
        trialog.load_run()


# B8
def test_run_name_alone_is_a_value_error_whatever_is_open(current: trialog.Run) -> None:
    """A run's name says nothing without its experiment's."""
    with pytest.raises(ValueError, match="given without experiment_name; give both"):
        trialog.load_run(run_name=current.run_name)


# H3
def test_innermost_open_block_is_the_one_that_is_meant(
    current: trialog.Run, runs: MemoryRuns
) -> None:
    """A run inside a run is current until it is left; then the outer one is again."""
    inner = trialog.Run("e", "inner", runs.session)
    inner._block.enter(inner._answer, runs.opening())
    push_run(inner)
    found = [trialog.load_run().run_name]
    inner._block.leave(None)
    found.append(trialog.load_run().run_name)
    pop_run(inner)
    found.append(trialog.load_run().run_name)
    assert found == ["inner", "r", "r"]
    assert current.is_open
