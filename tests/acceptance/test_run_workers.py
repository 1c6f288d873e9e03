"""Worker processes of multiprocessing inside a run's block: forked, spawned, and killed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.programs import ended_run, run_program
from tests.services.trialog import wait_until
from trialog.client import Client

if TYPE_CHECKING:
    from pathlib import Path

# What is spawned is imported anew, so that it must stand in a module; nothing of a run is sent.
_SPAWNED_MODULE = '''
import os
import trialog

def train(fields, experiment_name, index):
    """Join the run by its names, and make a run of its own."""
    session = trialog.Session(**fields)
    with trialog.load_run(experiment_name, "search", session) as run:
        run.log_metric(f"worker/{index % 2}", index, index)
    with trialog.Run(experiment_name, f"trial-{index}", session) as trial:
        trial.log_parameter("index", index)
        for step in range(50):
            trial.log_metric("loss", index + step, step)
    return os.getpid()

def log_in_process(fields, experiment_name, name):
    """Be a process of its own: no pool around it."""
    with trialog.load_run(experiment_name, "search", trialog.Session(**fields)) as run:
        for step in range(50):
            run.log_metric(name, step, step)
'''

_SPAWN = """
import concurrent.futures, pickle
sys.path.insert(0, folder)
import spawned
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with trialog.Run(experiment_name, "search", session) as run:
        try:
            pickle.dumps(run)
        except TypeError as exc:
            assert "load_run" in str(exc)
        arguments = [(fields, experiment_name, index) for index in range(6)]
        with context.Pool(2) as pool:
            pids = pool.starmap(spawned.train, arguments[:4])
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            pids += executor.map(spawned.train, *zip(*arguments[4:]))
        process = context.Process(
            target=spawned.log_in_process, args=(fields, experiment_name, "process")
        )
        process.start()
        process.join()
        assert process.exitcode == 0
        assert os.getpid() not in pids
        run.log_metric("main", 1.0)
"""

# As torch's DataLoader does it: forked workers that live as long as the loader and answer through
# queues. It ends them in three ways: by a word, by terminate(), and they end themselves at once.
_LOADER = """
def worker(index, tasks, batches):
    while True:
        number = tasks.get()
        if number is None:
            return
        run.log_metric(f"worker{index}/load_ms", number, number)
        batches.put((index, number))
        if index == 2 and number == LAST:
            batches.close()
            batches.join_thread()
            os._exit(0)

LAST = 99
context = multiprocessing.get_context("fork")
with trialog.Run(experiment_name, "loader", session) as run:
    queues = [context.Queue() for _ in range(3)]
    batches = context.Queue()
    workers = [
        context.Process(target=worker, args=(index, queues[index], batches), daemon=True)
        for index in range(3)
    ]
    for process in workers:
        process.start()
    for number in range(LAST + 1):
        for tasks in queues:
            tasks.put(number)
        for _ in workers:
            index, got = batches.get(timeout=30)
            run.log_metric("loss", index, number)
    queues[0].put(None)
    workers[1].terminate()
    for process in workers:
        process.join(30)
    print([process.exitcode for process in workers])
"""

_EXECUTOR = """
import concurrent.futures
def work(index):
    run.log_metric("of-worker", index)
    with trialog.Run(experiment_name, None, session) as trial:
        trial.log_metric("loss", index)
    return trial.run_name

context = multiprocessing.get_context("fork")
with trialog.Run(experiment_name, "search", session) as run:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        print(len(set(executor.map(work, range(8)))))
"""


# B17 B18 B22
@pytest.mark.slow(reason="each spawned process imports trialog")
def test_spawned_workers_join_by_the_runs_names(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Of a pool, of an executor, and alone: they log into the run and into runs of their own."""
    (tmp_path / "spawned.py").write_text(_SPAWNED_MODULE, encoding="utf-8")
    run_program(session, experiment_name, f"folder = {json.dumps(str(tmp_path))}\n{_SPAWN}")
    search = ended_run(session, experiment_name, "search")
    counts = {name: summary.count for name, summary in search.metrics.items()}
    assert counts == {"worker/0": 3, "worker/1": 3, "process": 50, "main": 1}
    assert (search.status, search.rejections) == ("Completed", [])
    for index in range(6):
        trial = ended_run(session, experiment_name, f"trial-{index}")
        assert (trial.status, trial.parameters) == ("Completed", {"index": index})
        assert trial.metric_series("loss")["value"] == [index + step for step in range(50)]


# B16 B17 B22
def test_forked_workers_of_an_executor_log_into_the_run_and_into_children_of_it(
    session: trialog.Session, experiment_name: str
) -> None:
    """The executor's workers outlive their tasks; what each task logged is there once."""
    assert run_program(session, experiment_name, _EXECUTOR) == "8\n"
    search = ended_run(session, experiment_name, "search")
    assert search.metrics["of-worker"].count == 8
    runs = [run for run in trialog.Run.list(experiment_name, session=session) if run.metrics]
    children = [run for run in runs if run.parent_run_name == "search"]
    assert {(run.status, run.metrics["loss"].count) for run in children} == {("Completed", 1)}
    assert sorted(run.metrics["loss"].last for run in children) == list(range(8))


# B17 B22 B23 K9
def test_loaders_forked_workers_lose_nothing_however_they_end(
    session: trialog.Session, experiment_name: str
) -> None:
    """By a word, by terminate() and by os._exit: their program sends what the dead have left."""
    said = run_program(session, experiment_name, _LOADER)
    assert said == "[0, -15, 0]\n"
    run = ended_run(session, experiment_name, "loader")
    names = [f"worker{index}/load_ms" for index in range(3)]

    def counts() -> list[int]:
        return [run.metrics[name].count if name in run.metrics else 0 for name in names]

    wait_until(lambda: counts() == [100] * 3, "what the program has sent at its end is applied")
    for name in names:
        assert run.metric_series(name)["value"] == [float(step) for step in range(100)]
    assert run.metrics["loss"].count == 300
    assert (run.status, run.rejections) == ("Completed", [])
    events = list(Client(session.resolve()).events(run.run_id))
    assert [event["type"] for event in events].count("run_joined") == 3
