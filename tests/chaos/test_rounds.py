"""A short round of chaos on each log, and a few planted bugs: the long ones are `make chaos`."""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.chaos.checks import SHOWN_MAX
from tests.chaos.faults import ROWS_WHILE_AWAY
from tests.chaos.ledgers import read_ledger
from tests.chaos.plants import PLANTS, hunt
from tests.chaos.rounds import Plan, plan_of, play
from tests.chaos.stage import Stage
from tests.chaos.table import FAULTS, NEEDS, faults_of, impossible
from tests.services.trialog import is_alive, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.ledgers import Ledger

SHORT_ROUNDS = {
    "embedded": ("lose_answers", "kill_everything", "fill_while_away", "fill_disk", "damage_spool"),
    "kafka": ("join_run", "kill_trainers", "lose_machine", "kill_backend"),
}
"""What the tests of single faults do not do together."""


# D12 K1 K2 K9 K10
@pytest.mark.timeout(240)
@pytest.mark.slow(
    reason="starts a whole service, breaks it several times and reads everything back"
)
@pytest.mark.parametrize("log", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_short_round_finds_nothing(log: str, tmp_path: Path) -> None:
    """Every returned call has one effect, and training has seen nothing of the faults."""
    (tmp_path / "stage").mkdir()
    (tmp_path / "round").mkdir()
    said: list[str] = []
    faults = SHORT_ROUNDS[log]
    without = impossible(faults)
    plan = Plan(f"short/{log}", tuple(one for one in faults if one not in without), trainers=2)
    with Stage(tmp_path / "stage", log) as stage:
        outcome = play(stage, plan, tmp_path / "round", said.append)
    assert outcome.findings == [], said
    assert outcome.calls > 1_000
    if log == "embedded":
        check_speed_while_away(tmp_path / "round")


def check_speed_while_away(folder: Path) -> None:
    """A program that logs while nobody is there is as fast as others."""
    ledgers = [read_ledger(path) for path in folder.glob("*.ledger")]
    away = {one.run_name: rows for one in ledgers if len(rows := rows_of(one)) == ROWS_WHILE_AWAY}
    there = [s for one in ledgers if one.run_name not in away for s in one.returned.values()]
    (rows,) = away.values()
    assert statistics.median(rows) < 5 * statistics.median(there)


def rows_of(ledger: Ledger) -> list[float]:
    """Return how long each call of a program that fills its run has taken."""
    return [s for call, s in ledger.returned.items() if call.kind == "row"]


@pytest.mark.timeout(240)
@pytest.mark.slow(reason="starts a whole service and logs to it")
def test_planted_bugs_are_found(tmp_path: Path) -> None:
    """Bugs in the processes under test: a lost NaN, a clock, a limit, a hole that is not told."""
    names = ["nan_to_zero", "time_of_the_replay", "one_point_more", "no_holes"]
    said: list[str] = []
    checks = hunt(names, tmp_path, said.append)
    for name in names:
        assert checks & PLANTS[name].found_by, (name, said)
    assert not checks & {"found", "once", "called", "in order", "right", "undisturbed"}, said


@pytest.mark.parametrize("log", ["embedded", "kafka"])
def test_plan_follows_from_seed_log_and_number(log: str) -> None:
    """The same is the same, another is another; only what is asked for is in it."""
    plan = plan_of(1, 2, log, faults=6, among=[], without={})
    assert plan == plan_of(1, 2, log, faults=6, among=[], without={})
    assert plan != plan_of(2, 2, log, faults=6, among=[], without={})
    assert plan != plan_of(1, 3, log, faults=6, among=[], without={})
    assert len(set(plan.faults)) == 6
    assert set(plan.faults) <= set(faults_of(log))
    few = plan_of(1, 2, log, faults=SHOWN_MAX, among=["kill_api"])
    assert few.faults == ("kill_api",) * SHOWN_MAX


def test_fault_that_a_machine_has_no_means_for_is_left_out_of_the_plan_and_named() -> None:
    """The others are those of the same seed elsewhere; a plan of nothing else is refused."""
    whole = plan_of(1, 2, "kafka", faults=6, among=[], without={})
    less = plan_of(1, 2, "kafka", faults=6, among=[], without={whole.faults[2]: "not root"})
    assert less.faults == whole.faults[:2] + whole.faults[3:]
    assert less.left_out == {whole.faults[2]: "not root"}
    with pytest.raises(ValueError, match="fill_disk: not root"):
        plan_of(1, 2, "kafka", faults=6, among=["fill_disk"], without={"fill_disk": "not root"})
    assert set(NEEDS) <= set(FAULTS)


@pytest.mark.timeout(120)
@pytest.mark.slow(reason="starts a whole service and programs that log to it, and ends them")
def test_walk_that_is_ended_by_sigterm_ends_all_that_it_has_started(tmp_path: Path) -> None:
    """Programs, workers, service and Postgres; also what is stopped or unreachable just then."""
    command = [sys.executable, "-m", "tests.chaos", "--log", "embedded", "--keep", str(tmp_path)]
    command += ["--faults", "stop_worker_beyond_lease", "--minutes", "9"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as walk:
        wait_until(lambda: any(tmp_path.rglob("*.ledger")), "programs are started", 60.0)
        wait_until(lambda: is_somebody_stopped(walk.pid), "the fault is under way", 60.0)
        started = [one for one in psutil.process_iter() if is_of(one, walk.pid, tmp_path)]
        walk.terminate()
        _, said = walk.communicate(timeout=60.0)
    assert walk.returncode == 128 + signal.SIGTERM, said
    assert len(started) > len(("up", "worker", "worker", "postgres", "program", "program"))
    assert not [one for one in started if is_alive(one.pid) and one.is_running()]


def is_somebody_stopped(pid: int) -> bool:
    """Tell whether a process below one is stopped by a signal."""
    below = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(one.status() == psutil.STATUS_STOPPED for one in below)
    return False


def is_of(process: psutil.Process, pid: int, folder: Path) -> bool:
    """Tell whether a process is below another, or works in a folder."""
    with contextlib.suppress(psutil.Error):
        is_below = pid in {parent.pid for parent in process.parents()}
        return is_below or any(str(folder) in argument for argument in process.cmdline())
    return False


def test_every_planted_bug_has_a_round_that_can_be_played() -> None:
    """A slip in a name would look like a bug that is found."""
    for plant in PLANTS.values():
        assert set(plant.faults) <= set(FAULTS)
    assert len(PLANTS) >= 10
