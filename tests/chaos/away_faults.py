"""Faults that last longer than every time-out and every pause between two attempts.

The longest of these are Postgres' 40 s for a statement (`postgres/pool.py`) and the SDK's 30 s for
an answer (`trialog/client.py`); pauses grow to 2 s in the SDK, to 10 s between starts of Postgres.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.chaos.faults import ROWS_WHILE_AWAY, STEP_TIMEOUT_S, suspended
from tests.services.trialog import wait_until

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

AWAY_S = (20.0, 60.0)
"""So long something is away, unless that is said otherwise."""


def leave_log_long(scene: Scene) -> None:
    """What takes records is away, killed or hanging, while a lot is logged."""
    stage = scene.stage
    if scene.rng.random() < 0.5:
        with stage.faulty.frozen_log():
            _log_meanwhile(scene)
    elif stage.broker is not None:
        stage.broker.kill()
        _log_meanwhile(scene)
        stage.broker.start()
    else:
        stage.service.kill()
        _log_meanwhile(scene)
    scene.struck("long away")
    stage.heal()


def leave_postgres_long(scene: Scene) -> None:
    """Postgres is away, killed where nobody starts it again or else hanging."""
    stage = scene.stage
    with ExitStack() as until_back:
        if stage.postgres is None or scene.rng.random() < 0.5:
            until_back.enter_context(suspended(stage.service.postgres_pid))
        else:
            stage.postgres.kill()
        _log_meanwhile(scene)
    scene.struck("long away")
    stage.heal()


def _log_meanwhile(scene: Scene) -> None:
    """Let the time pass, in which a program logs a lot into its memory or, better, its spool."""
    until_s = time.monotonic() + (scene.away_s or scene.rng.uniform(*AWAY_S))
    filling = scene.start_filling(ROWS_WHILE_AWAY)
    wait_until(filling.has_filled, "all rows are logged", STEP_TIMEOUT_S)
    time.sleep(max(until_s - time.monotonic(), 0.0))
