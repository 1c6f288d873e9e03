"""Children made by fork inside a run's block, in real programs: they join, and never disturb."""

from __future__ import annotations

import trialog
from tests.acceptance.programs import ended_run, run_program
from trialog.client import Client

FORKED = """
with trialog.Run(experiment_name, "forked", session) as run:
    run.log_parameter("lr", 1)
    for step in range(1000):
        run.log_metric("parent", step, step)
    children = []
    for index in range(3):
        pid = os.fork()
        if pid == 0:
            for step in range(1000):
                run.log_metric(f"child-{index}", step, step)
            try:
                run.log_parameter("lr", 2)
            except trialog.ParameterImmutableError:
                run.log_parameter(f"p{index}", index)
            os._exit(0 if run.flush(30) else 1)
        children.append(pid)
    for step in range(1000, 2000):
        run.log_metric("parent", step, step)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
"""

POOL = """
def train(index):
    current = trialog.load_run()
    run.log_metric("of-parent", index)
    with trialog.Run(experiment_name, f"trial-{index}", session) as trial:
        trial.log_parameter("index", index)
    return current.run_name

with trialog.Run(experiment_name, "search", session) as run:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(train, range(4)) == ["search"] * 4
        pool.close()
        pool.join()
"""

LEFT = """
import signal
with trialog.Run(experiment_name, "left", session) as run:
    run.log_metric("loss", 1.0)
    for way in ("clean exit", "killed", "nothing logged", "end of block"):
        pid = os.fork()
        if pid == 0:
            if way == "nothing logged":
                sys.exit(0)
            run.log_metric(way, 1.0)
            if way == "end of block":
                break
            run.flush(30)
            if way == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            sys.exit(0)
        os.waitpid(pid, 0)
if pid != 0:
    run.wait(30)
    print(run.status, flush=True)
"""

BUSY = """
stop = threading.Event()
with trialog.Run(experiment_name, "busy", session) as run:
    def log(name):
        step = 0
        while not stop.is_set():
            run.log_metric(name, step, step)
            run.log_parameter(f"{name}/p", 1)
            step += 1
    threads = [threading.Thread(target=log, args=(f"thread-{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for index in range(20):
        pid = os.fork()
        if pid == 0:
            run.log_parameter(f"child-{index}", index)
            run.log_metric("children", index)
            os._exit(0 if run.flush(30) else 1)
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    for thread in threads:
        thread.join()
"""


# B17 B22
def test_children_made_by_fork_log_into_the_run_by_writers_of_their_own(
    session: trialog.Session, experiment_name: str
) -> None:
    """Parent and three children log at once: everything is there once, nothing is damaged."""
    run_program(session, experiment_name, FORKED)
    run = ended_run(session, experiment_name, "forked")
    assert run.status == "Completed"
    assert run.metric_series("parent")["value"] == [float(step) for step in range(2000)]
    for index in range(3):
        assert run.metric_series(f"child-{index}")["value"] == [float(n) for n in range(1000)]
    assert run.parameters == {"lr": 1, "p0": 0, "p1": 1, "p2": 2}
    attempts = {(one.code, one.name, one.facts["raised"]) for one in run.rejections}
    assert attempts == {("param_immutable", "lr", "in the call")}
    events = list(Client(session.resolve()).events(run.run_id))
    of_run = {event["writer_id"] for event in events if event["type"] != "run_created"}
    assert len(of_run) == 4
    types = [event["type"] for event in events]
    assert (types.count("run_joined"), types.count("run_ended")) == (3, 1)


# B16 B22 H3
def test_pool_of_processes_in_a_block_gives_the_run_children(
    session: trialog.Session, experiment_name: str
) -> None:
    """A worker's current run is the block it was made in, and its own runs are its children."""
    run_program(session, experiment_name, POOL)
    search = ended_run(session, experiment_name, "search")
    assert search.metrics["of-parent"].count == 4
    trials = list(trialog.Run.iterate(experiment_name, session=session))[:-1]
    assert {(run.parent_run_name, run.status) for run in trials} == {("search", "Completed")}
    assert sorted(str(run.parameters["index"]) for run in trials) == ["0", "1", "2", "3"]


# B22 K9
def test_child_never_ends_the_run_however_it_ends(
    session: trialog.Session, experiment_name: str
) -> None:
    """A clean exit, SIGKILL, an exit without a log call, the end of the inherited block."""
    assert run_program(session, experiment_name, LEFT).splitlines()[-1] == "Completed"
    run = ended_run(session, experiment_name, "left")
    counts = {name: summary.count for name, summary in run.metrics.items()}
    assert counts == {"loss": 1, "clean exit": 1, "killed": 1, "end of block": 1}
    assert (run.status, run.failure_message) == ("Completed", None)


# B17
def test_fork_while_threads_log_neither_hangs_nor_damages(
    session: trialog.Session, experiment_name: str
) -> None:
    """20 forks in the middle of three busy threads: no lock of theirs is left taken."""
    run_program(session, experiment_name, BUSY)
    run = ended_run(session, experiment_name, "busy")
    assert run.metrics["children"].count == 20
    children = {name: value for name, value in run.parameters.items() if "child" in name}
    assert children == {f"child-{index}": index for index in range(20)}
    for number in range(3):
        steps = run.metric_series(f"thread-{number}")["step"]
        assert steps == list(range(len(steps)))
