"""A search that is wide: 200 processes that each make a run and log at the same moment."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.programs import run_program
from tests.services.trialog import wait_until
from trialog.adoption import sync_spools

if TYPE_CHECKING:
    from trialog.run_view import RunView

TRIALS = 200

# The parent has asked the service before it forks, so that what that imports is imported once.
# When all children are at the gate it closes a pipe, whose end reaches all of them at once.
_AT_ONCE = f"""
trialog.Experiment.list(session=session)
context = multiprocessing.get_context("fork")
gate, opener = os.pipe()
ready = context.Semaphore(0)

def trial(index):
    os.close(opener)
    ready.release()
    os.read(gate, 1)
    name = f"trial-{{index}}" if index % 2 else None
    with trialog.Run(experiment_name, name, session) as run:
        run.log_parameters({{f"p{{n}}": index * 10 + n for n in range(10)}})
        for step in range(100):
            run.log_metric("loss", index + step, step)

trials = [context.Process(target=trial, args=(index,)) for index in range({TRIALS})]
for process in trials:
    process.start()
for process in trials:
    assert ready.acquire(timeout=50)
os.close(opener)
for process in trials:
    process.join()
print([process.exitcode for process in trials])
"""


def index_of(run: RunView) -> int:
    """Return which trial a run is of, by its parameters."""
    first = run.parameters["p0"]
    assert isinstance(first, int)
    return first // 10


# B3 B2 B17
@pytest.mark.slow(reason="200 processes on two cores")
@pytest.mark.timeout(240)
def test_two_hundred_processes_at_once_are_two_hundred_whole_runs(
    session: trialog.Session, experiment_name: str
) -> None:
    """One half has names of its own, one half gets them; one experiment, and nothing is mixed."""
    said = run_program(session, experiment_name, _AT_ONCE, timeout_s=180)
    assert said == f"{[0] * TRIALS}\n"
    # On a machine that is busy with other things one may have given up waiting as it ended.
    asyncio.run(sync_spools(session.resolve()))

    def completed() -> bool:
        runs = trialog.Run.iterate(experiment_name, session=session)
        return [run.status for run in runs] == ["Completed"] * TRIALS

    wait_until(completed, "all runs are completed")
    runs = {index_of(run): run for run in trialog.Run.iterate(experiment_name, session=session)}
    assert sorted(runs) == list(range(TRIALS))
    assert len({run.run_name for run in runs.values()}) == TRIALS
    for index, run in runs.items():
        assert run.parameters == {f"p{n}": index * 10 + n for n in range(10)}
        loss = run.metrics["loss"]
        assert (loss.count, loss.min, loss.max, loss.last_step) == (100, index, index + 99, 99)
        own_name = f"trial-{index}" if index % 2 else r"run-\d{8}-\d{6}-[0-9a-f]{10}"
        assert re.fullmatch(own_name, run.run_name)
    names = [one.experiment_name for one in trialog.Experiment.list(session=session)]
    assert names.count(experiment_name) == 1
