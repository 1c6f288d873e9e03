"""Handles that share a run, and runs inside runs: blocks, threads, tasks, other processes."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import trialog
from tests.acceptance.programs import run_together
from trialog.client import Client
from trialog.run_context import current_run

WORKERS = """
def work(session, index, experiment_name):
    yield
    with trialog.load_run(experiment_name, "shared", session) as run:
        for step in range(100):
            run.log_metric(f"loss-{index}", step, step)
    run.flush(30)
    return run.status
"""

JOB = """
import os
def work(session, index, experiment_name):
    os.environ["TRIALOG_EXPERIMENT"], os.environ["TRIALOG_RUN"] = experiment_name, "shared"
    yield
    run = trialog.load_run(session=session)
    with run:
        run.log_parameter(f"rank-{index}", index)
    run.flush(30)
    return [run.experiment_name, run.run_name]
"""


# B22 B18
def test_run_is_in_progress_until_its_owner_ends_it(
    session: trialog.Session, experiment_name: str
) -> None:
    """Four processes join and leave; the run goes on, and all that they logged is in it."""
    with trialog.Run(experiment_name, "shared", session) as run:
        run.log_metric("loss", 1.0)
        run.wait(30)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(run)  # its names are what a worker is sent
        assert run_together(session, 4, WORKERS, experiment_name) == ["InProgress"] * 4
        (listed,) = trialog.Run.list(experiment_name, session=session)
        assert (listed.status, listed.end_time) == ("InProgress", None)
        run.log_metric("loss", 0.5)
    run.wait(30)
    events = list(Client(session.resolve()).events(run.run_id))
    types = [event["type"] for event in events]
    assert (types.count("run_joined"), types.count("run_ended")) == (4, 5)
    counts = {name: summary.count for name, summary in run.metrics.items()}
    assert counts == {"loss": 2} | {f"loss-{index}": 100 for index in range(4)}
    assert (run.status, run.failure_message) == ("Completed", None)


# B22
def test_handle_that_joined_and_failed_makes_the_run_failed_for_good(
    session: trialog.Session, experiment_name: str
) -> None:
    """The run goes on until its owner ends it, and is then Failed with the first reason."""
    with trialog.Run(experiment_name, "shared", session) as run:
        with pytest.raises(OSError, match="rank 3"), trialog.load_run():
            raise OSError("rank 3 lost its GPU")
        run.wait(30)
        assert run.status == "InProgress"
        run.log_metric("loss", 1.0)
    run.wait(30)
    assert (run.status, run.failure_message) == ("Failed", "rank 3 lost its GPU")
    assert run.metrics["loss"].count == 1


# B22
def test_handle_that_joined_may_log_after_the_owner_has_ended(
    session: trialog.Session, experiment_name: str
) -> None:
    """What arrives late is still applied and does not open the run again."""
    with contextlib.ExitStack() as stack:
        with trialog.Run(experiment_name, "shared", session) as run:
            late = stack.enter_context(trialog.load_run())
        run.wait(30)
        late.log_metric("loss", 1.0)
        late.log_parameter("p", 1)
    late.wait(30)
    assert (late.status, late.end_time) == ("Completed", run.end_time)
    assert (late.metrics["loss"].count, late.parameters) == (1, {"p": 1})
    assert current_run() is None


# B8
def test_load_run_finds_the_run_of_the_block_before_that_of_the_environment(
    session: trialog.Session, experiment_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments come first, then the block, then the environment."""
    for name in ("of-arguments", "of-environment"):
        with trialog.Run(experiment_name, name, session):
            pass
    monkeypatch.setenv("TRIALOG_EXPERIMENT", experiment_name)
    monkeypatch.setenv("TRIALOG_RUN", "of-environment")
    with trialog.Run(experiment_name, "of-block", session):
        found = [
            trialog.load_run(experiment_name, "of-arguments", session).run_name,
            trialog.load_run().run_name,
            trialog.load_run(experiment_name).run_name,
        ]
    found.append(trialog.load_run(session=session).run_name)
    found.append(trialog.load_run(experiment_name, session=session).run_name)
    expected = ["of-arguments", "of-block", "of-block", "of-environment", "of-environment"]
    assert found == expected
    with pytest.raises(RuntimeError, match="no run of experiment 'another'"):
        trialog.load_run("another", session=session)
    with pytest.raises(ValueError, match="without experiment_name"):
        trialog.load_run(run_name="of-arguments", session=session)


# B8
def test_load_run_finds_the_run_of_a_distributed_job(
    session: trialog.Session, experiment_name: str
) -> None:
    """Every process of a job logs into the one run that its environment names."""
    with trialog.Run(experiment_name, "shared", session) as run:
        run.wait(30)
        found = run_together(session, 3, JOB, experiment_name)
    assert found == [[experiment_name, "shared"]] * 3
    run.wait(30)
    assert run.parameters == {f"rank-{index}": index for index in range(3)}


# B14 B16
def test_child_opened_in_a_block_is_linked_and_the_parent_goes_on(
    session: trialog.Session, experiment_name: str
) -> None:
    """Each has its own data and status; the parameter named like the link is the user's."""
    with trialog.Run(experiment_name, "parent", session) as parent:
        for name in ("child-1", "child-2"):
            with trialog.Run(experiment_name, name, session) as child:
                assert trialog.load_run().run_name == name
                child.log_parameter("parent_run_name", "the user's own")
                child.log_metric("loss", 1.0)
            assert trialog.load_run().run_name == "parent"
        parent.log_parameter("children", 2)
    for run in (child, parent):
        run.wait(30)
    assert (child.parent_run_name, parent.parent_run_name) == ("parent", None)
    assert child.parameters == {"parent_run_name": "the user's own"}
    assert (parent.parameters, parent.metrics) == ({"children": 2}, {})
    listed = {
        run.run_name: (run.parent_run_name, run.status)
        for run in trialog.Run.list(experiment_name, session=session)
    }
    assert listed == {
        "parent": (None, "Completed"),
        "child-1": ("parent", "Completed"),
        "child-2": ("parent", "Completed"),
    }


# B15 H3
def test_child_that_fails_leaves_the_parent_as_it_was(
    session: trialog.Session, experiment_name: str
) -> None:
    """An exception caught between them ends the child only, and the parent is current again."""
    with trialog.Run(experiment_name, "parent", session) as parent:
        child = trialog.Run(experiment_name, "child", session)
        with pytest.raises(ValueError, match="diverged"), child:
            raise ValueError("diverged")
        assert current_run() is parent
        parent.log_parameter("p", 1)
    for run in (child, parent):
        run.wait(30)
    assert (child.status, child.failure_message) == ("Failed", "diverged")
    assert (parent.status, parent.failure_message) == ("Completed", None)
    assert current_run() is None


# B5 H3
def test_run_that_could_not_be_entered_is_never_the_current_one(
    session: trialog.Session, experiment_name: str
) -> None:
    """After a refused entering the block around is the current one."""
    with trialog.Run(experiment_name, "one", session) as run:
        with pytest.raises(trialog.ResourceInUseError):
            trialog.Run(experiment_name, "one", session).__enter__()
        assert current_run() is run


# B17 H3
def test_current_run_is_one_of_each_thread_and_each_task(
    session: trialog.Session, experiment_name: str
) -> None:
    """A new thread has none; a task begins with the one it was made in and changes only its own."""
    seen: list[str | None] = []

    def note() -> None:
        run = current_run()
        seen.append(None if run is None else run.run_name)

    async def in_own_run(name: str, entered: asyncio.Barrier) -> None:
        note()
        with trialog.Run(experiment_name, name, session) as run:
            await entered.wait()
            note()
            run.log_parameter("name", name)

    async def tasks() -> None:
        entered = asyncio.Barrier(2)
        await asyncio.gather(*(in_own_run(name, entered) for name in ("task-1", "task-2")))
        note()

    with trialog.Run(experiment_name, "outer", session):
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(note).result(30)
        asyncio.run(tasks())
    assert seen[:3] == [None, "outer", "outer"]
    assert sorted(map(str, seen[3:5])) == ["task-1", "task-2"]
    assert seen[5:] == ["outer"]


# B17
def test_threads_on_one_run_lose_and_double_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """8 threads of 5,000 points give 40,000; one name logged by all of them has one value."""
    start = threading.Barrier(8)

    def log(index: int) -> str:
        start.wait()
        for step in range(5000):
            run.log_metric("shared", float(index), step)
        run.log_parameters({f"p{index}": index, "same": True})
        try:
            run.log_parameter("contested", index)
        except trialog.ParameterImmutableError:
            return "refused"
        return "taken"

    with trialog.Run(experiment_name, "one", session) as run, ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(log, range(8)))
    run.wait(30)
    assert run.metrics["shared"].count == 40_000
    values = run.metric_series("shared")["value"]
    assert [values.count(float(index)) for index in range(8)] == [5000] * 8
    assert sorted(outcomes) == ["refused"] * 7 + ["taken"]
    assert run.parameters == {f"p{index}": index for index in range(8)} | {
        "same": True,
        "contested": outcomes.index("taken"),
    }


# B17
def test_threads_with_runs_of_their_own_never_mix_data(
    session: trialog.Session, experiment_name: str
) -> None:
    """8 threads and 8 runs: each run has the points of its thread alone."""
    start = threading.Barrier(8)

    def log(index: int) -> None:
        with trialog.Run(experiment_name, f"run-{index}", session) as run:
            start.wait()
            assert current_run() is run
            for step in range(1000):
                run.log_metric("loss", float(index), step)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(log, range(8)))
    for run in trialog.Run.iterate(experiment_name, session=session):
        run.wait(30)
        summary = run.metrics["loss"]
        index = float(run.run_name.removeprefix("run-"))
        assert (summary.count, summary.min, summary.max) == (1000, index, index)
        assert run.parent_run_name is None


# B17
def test_tasks_lose_and_double_nothing_and_never_mix_data(
    session: trialog.Session, experiment_name: str
) -> None:
    """8 tasks that take turns after every point: on one run all of it, on 8 runs each its own."""

    async def log(run: trialog.Run, index: int) -> None:
        for step in range(500):
            run.log_metric("loss", float(index), step)
            await asyncio.sleep(0)

    async def log_own(index: int) -> None:
        with trialog.Run(experiment_name, f"own-{index}", session) as run:
            await log(run, index)
            assert current_run() is run

    async def shared() -> None:
        await asyncio.gather(*(log(run, index) for index in range(8)))

    async def own() -> None:
        await asyncio.gather(*(log_own(index) for index in range(8)))

    with trialog.Run(experiment_name, "shared", session) as run:
        asyncio.run(shared())
    asyncio.run(own())
    run.wait(30)
    values = run.metric_series("loss")["value"]
    assert [values.count(float(index)) for index in range(8)] == [500] * 8
    for found in trialog.Run.list(experiment_name, "Name", session=session)[1:]:
        found.wait(30)
        index = float(found.run_name.removeprefix("own-"))
        summary = found.metrics["loss"]
        assert (summary.count, summary.min, summary.max) == (500, index, index)
