"""Faults of disks: full ones, and ones whose writes and fsyncs fail.

Each needs something of the machine that not every one gives, see `table.py`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from tests.acceptance.trainer_program import STEPS_MAX
from tests.chaos.faults import ROWS_OF_A_FULL_RUN, STEP_TIMEOUT_S
from tests.services.disks import filled, mount_small, unmount
from tests.services.injection import failing, failing_from_start
from tests.services.trialog import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.trainers import Trainer
    from tests.chaos.scene import Scene

FULL_DISK_BYTES = 400_000

FILL_UP_EVERY_S = 0.05

ENTERING_ALLOCATIONS = 2
"""Entering a run allocates its first segment and the room for its end."""


def fill_disk(scene: Scene) -> None:
    """A program logs more than the disk of its spool has room for."""
    folder = scene.folder / f"full-{len(scene.strikes)}"
    folder.mkdir()
    mounted = mount_small(folder, FULL_DISK_BYTES)
    assert mounted, "a small disk cannot be mounted"
    try:
        trainer = scene.start_filling(ROWS_OF_A_FULL_RUN, folder / "spool")
        scene.struck("trainer")
        _let_leave(scene, trainer)
    finally:
        unmount(folder)


def fail_allocations(scene: Scene) -> None:
    """The disk of a program's spool fails: no room can be had for a while, nothing is synced."""
    some = f"{ENTERING_ALLOCATIONS + 1}..{ENTERING_ALLOCATIONS + scene.rng.randint(2, 8)}"
    under = failing_from_start("fallocate", some)
    trainer = scene.start_filling(ROWS_OF_A_FULL_RUN, under=under)
    scene.struck("trainer")
    _let_leave(scene, trainer)


def _let_leave(scene: Scene, trainer: Trainer) -> None:
    """Have a program leave while its disk is as it is; what it tells must fit nevertheless."""
    trainer.tell_end()
    trainer.process.wait(STEP_TIMEOUT_S)
    scene.living.remove(trainer)


def fail_spool_writes(scene: Scene) -> None:
    """A program's spool can be neither synced nor written to by calls, which its notes are."""
    busy = [one for one in scene.living if is_logging(one)] or scene.start(1)
    trainer = scene.rng.choice(busy)
    paths = [path for name in ("ack", "*.spool") for path in files_of(scene, trainer, name)]
    with failing([trainer.process.pid], "fsync,fdatasync,write", paths) as injection:
        wait_until(lambda: injection.hits > 0, "a call of the spool fails", STEP_TIMEOUT_S)
        time.sleep(scene.rng.uniform(2.0, 5.0))
    scene.struck("trainer")


def is_logging(trainer: Trainer) -> bool:
    """Tell whether a program goes through its steps."""
    return trainer.part.rows == 0 and trainer.noted().ticks < STEPS_MAX


def files_of(scene: Scene, trainer: Trainer, name: str) -> list[Path]:
    """Return the files of a name in the spools of a program's run."""
    run_id = trainer.noted().run_id
    found: list[Path] = []
    for path in scene.spool_dir_of(trainer).glob("*/meta.json"):
        with suppress(FileNotFoundError):
            if f'"{run_id}"' in path.read_text(encoding="utf-8"):
                found += path.parent.glob(name)
    return found


def fill_database_disk(scene: Scene) -> None:
    """Postgres' disk becomes full under load; without room for its own log it ends itself."""
    stage = scene.stage
    assert stage.disk is not None
    has_no_room = scene.rng.choice([stage.has_no_room_for_rows, stage.has_no_room_for_changes])
    with filled(stage.disk) as fill_up:

        def is_full() -> bool:
            fill_up()  # what Postgres gives back of its own log at its checkpoints
            return has_no_room()

        wait_until(is_full, "postgres has no room", STEP_TIMEOUT_S)
        until_s = time.monotonic() + scene.rng.uniform(2.0, 8.0)
        while time.monotonic() < until_s:
            fill_up()
            time.sleep(FILL_UP_EVERY_S)
    scene.struck("disk")
    stage.heal()


def fail_database_writes(scene: Scene) -> None:
    """Postgres' disk fails: it ends itself, and comes back when the disk does."""
    stage = scene.stage
    # A Postgres of the tests syncs nothing; that of the product does.
    calls = ["pwrite64,pwritev"] + (["fsync,fdatasync"] if stage.broker is None else [])
    # Not the first process, which writes nothing, nor what it starts when the others have ended:
    # one that ends while strace lets go of it may be waited for for ever.
    children = psutil.Process(stage.service.postgres_pid).children()
    pids = [child.pid for child in children]
    with failing(pids, scene.rng.choice(calls), follows=False) as injection:
        wait_until(lambda: injection.hits > 0, "a call of postgres fails", STEP_TIMEOUT_S)
        time.sleep(scene.rng.uniform(1.0, 4.0))
    scene.struck("disk")
    stage.heal()


def fail_broker_writes(scene: Scene) -> None:
    """The broker's disk takes no records: it ends itself, and is started again."""
    stage = scene.stage
    assert stage.broker is not None
    paths = sorted(stage.broker.folder.glob("data/trialog.*/*.log"))
    with failing([stage.broker.pid], "write,pwrite64,writev,fsync,fdatasync", paths) as injection:
        wait_until(lambda: injection.hits > 0, "a call of the broker fails", STEP_TIMEOUT_S)
        time.sleep(scene.rng.uniform(1.0, 3.0))
    scene.struck("disk")
    stage.heal()
