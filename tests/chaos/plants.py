"""Which planted bug must be found by which round, and as what: the harness is tested as well.

The bugs themselves are in `planted/`, because they run in the processes under test.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.rounds import Plan, play
from tests.chaos.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FOLDER = Path(__file__).with_name("planted")
VARIABLE = "TRIALOG_TEST_PLANTED"


class Plant(NamedTuple):
    """A round for a bug, on the embedded log, and the checks of which one must find it."""

    faults: tuple[str, ...]
    found_by: frozenset[str]


def _plant(faults: str, found_by: str) -> Plant:
    return Plant(tuple(faults.split()), frozenset(found_by.split(",")))


PLANTS: dict[str, Plant] = {
    "acknowledge_before_write": _plant("kill_trainers kill_trainers", "found"),
    "swallow_send_error": _plant(" ".join(["lose_machine"] * 4), "promised,found"),
    "go_on_behind_what_failed": _plant("kill_api leave_network", "found,called,once,in order"),
    "forget_the_dead": _plant("hang_log kill_trainers kill_trainers kill_trainers", "found"),
    "wait_for_the_log": _plant("hang_log hang_log", "undisturbed"),
    "forget_what_was_dropped": _plant("fill_disk", "found"),
    "raise_on_a_full_disk": _plant("fill_disk", "undisturbed"),
    "answer_before_commit": _plant("kill_api kill_api", "found,in order"),
    "position_before_rows": _plant(" ".join(["kill_all_workers"] * 4), "model series"),
    "no_fence": _plant(" ".join(["stop_worker_beyond_lease"] * 4), "model series,model parked"),
    "begin_at_the_end": _plant("kill_all_workers kill_all_workers", "model index"),
    "skip_after_a_fault": _plant("end_sessions end_sessions end_sessions", "model index"),
    "count_again": _plant("lose_answers lose_answers", "model series,model parked,model index"),
    "nan_to_zero": _plant("fill_run", "model series"),
    "time_of_the_replay": _plant("fill_run", "replay"),
    "no_holes": _plant("leave_holes", "model gaps"),
    "one_point_more": _plant("fill_run", "model series,model refusals"),
    "no_refusals_shown": _plant("fill_run", "model refusals"),
    "flush_before_the_answer": _plant("lose_machine lose_machine lose_machine", "promised"),
    "applied_when_accepted": _plant("kill_all_workers kill_all_workers", "applied early"),
    "sealed_when_applied": _plant("seal_log", "sealed"),
    "trust_what_is_damaged": _plant(" ".join(["damage_spool"] * 4), "right,reported,synced"),
    "lose_the_neighbour_of_rubbish": _plant("poison_some poison_some", "model index"),
}
"""Every planted bug."""


PATIENCE_S = 15.0
"""Many a bug lets the projection stand still."""


def hunt(names: Sequence[str], folder: Path, say: Callable[[str], None]) -> set[str]:
    """Plant bugs into a service on the embedded log, and into what logs to it; play a round.

    Args:
        names: the bugs; the round has the faults of all.
        folder: an empty one.
        say: is told what happens.

    Returns:
        The checks that found something.
    """
    faults = [fault for name in names for fault in PLANTS[name].faults]
    plan = Plan("/".join(names), tuple(dict.fromkeys(faults)), 2, PATIENCE_S)
    if len(names) == 1:
        plan = replace(plan, faults=PLANTS[names[0]].faults)
    (folder / "stage").mkdir()
    (folder / "round").mkdir()
    with planted(names), Stage(folder / "stage", "embedded") as stage:
        outcome = play(stage, plan, folder / "round", say)
    for finding in outcome.findings:
        say(f"  {finding.check} [{finding.where}]: {finding.text[:300]}")
    return {finding.check for finding in outcome.findings}


@contextlib.contextmanager
def planted(names: Sequence[str]) -> Iterator[None]:
    """Have every Python process that is started in the block run with these bugs."""
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", VARIABLE)}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(FOLDER), before["PYTHONPATH"])))
    os.environ[VARIABLE] = ",".join(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
