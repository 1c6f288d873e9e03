"""A short round of chaos on each log, and a few planted bugs: the long ones are `make chaos`."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from tests.chaos.checks import SHOWN_MAX
from tests.chaos.faults import FAULTS, ROWS_WHILE_AWAY, faults_of
from tests.chaos.ledgers import read_ledger
from tests.chaos.plants import PLANTS, hunt
from tests.chaos.rounds import Plan, plan_of, play
from tests.chaos.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.ledgers import Ledger

SHORT_ROUNDS = {
    "embedded": ("lose_answers", "kill_everything", "fill_while_away", "fill_disk"),
    "kafka": ("join_run", "kill_trainers", "kill_backend"),
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
    plan = Plan(f"short/{log}", SHORT_ROUNDS[log], trainers=2)
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
    plan = plan_of(1, 2, log, faults=6, among=[])
    assert plan == plan_of(1, 2, log, faults=6, among=[])
    assert plan != plan_of(2, 2, log, faults=6, among=[])
    assert plan != plan_of(1, 3, log, faults=6, among=[])
    assert len(set(plan.faults)) == 6
    assert set(plan.faults) <= set(faults_of(log))
    few = plan_of(1, 2, log, faults=SHOWN_MAX, among=["kill_api"])
    assert few.faults == ("kill_api",) * SHOWN_MAX


def test_every_planted_bug_has_a_round_that_can_be_played() -> None:
    """A slip in a name would look like a bug that is found."""
    for plant in PLANTS.values():
        assert set(plant.faults) <= set(FAULTS)
    assert len(PLANTS) >= 10
