"""Faults that cost something for good, told exactly: a lost machine, a damaged spool; and sealing.

What each may cost stands in the ledger of the program that it hits.
"""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.acceptance.trainer_program import ASK_PAUSE_S, ASK_S
from tests.chaos.checks import Finding, reported
from tests.chaos.commands import seal, sync_folder
from tests.chaos.faults import STEP_TIMEOUT_S
from tests.chaos.ledgers import read_ledger
from tests.chaos.plain_spool import HEAD_BYTES, Hole, cost_of_cut, cost_of_flips, pieces_of
from tests.services.proxy import Direction
from tests.services.trialog import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.acceptance.trainers import Trainer
    from tests.chaos.ledgers import Ledger
    from tests.chaos.plain_spool import Cost, Piece
    from tests.chaos.scene import Scene

TAIL_BYTES = 64 * 1024
FLIPS_MAX = 40
TICKS_OF_A_SPOOL = 900
"""So many ticks and as many steps are 100 KB."""

ASKED_AGAIN_S = 3 * (2 * ASK_S + ASK_PAUSE_S)
"""A program that cannot reach anybody has asked again meanwhile what the log has of it."""

UNKNOWN_S = 30.0
"""How long it may take until a program hears that what it logged is sealed; it asks every 5 s."""


def lose_machine(scene: Scene) -> None:
    """A program's machine is lost with its spool: what the log has promised to have is there."""
    folder = scene.folder / f"lost-{len(scene.strikes)}"
    trainer = scene.start_apart(folder)
    wait_until(
        lambda: bool(_ledger(trainer).promised_calls("accepted")),
        "a call is promised",
        STEP_TIMEOUT_S,
    )
    proxies = scene.stage.proxies
    proxy = proxies.get("kafka", proxies["http"])
    asked_s = 0.0
    try:
        if scene.rng.random() < 0.5:
            proxy.refuse()
            asked_s = ASKED_AGAIN_S
        else:
            proxy.stall(Direction.TO_SERVER)
        time.sleep(asked_s + scene.rng.uniform(0.5, 2.0))
        _kill(scene, trainer)
        shutil.rmtree(folder)
    finally:
        proxy.resume()
        proxy.accept()
    scene.note(trainer, "lost")
    scene.struck("trainer")


def seal_log(scene: Scene) -> None:
    """The log is sealed under load, and programs that ask hear that of what they had logged."""
    asking = [one for one in scene.living if one.part.asks and _ledger(one).promised]
    path = scene.folder / f"checkpoint-{len(scene.strikes)}.json"
    seal(scene.stage, path)
    scene.checkpoint = path
    for trainer in asking:
        what = f"{trainer.run_name} hears what is sealed"
        wait_until(partial(_has_heard, trainer), what, UNKNOWN_S)
    scene.struck("sealing")


def damage_spool(scene: Scene) -> None:
    """A dead program's spool is cut or has wrong bits near its end; it is synced all the same."""
    folder = scene.folder / f"damaged-{len(scene.strikes)}"
    proxies = scene.stage.proxies.values()
    try:
        for proxy in proxies:
            proxy.refuse()
        trainer = scene.start_apart(folder)
        wait_until(
            lambda: trainer.noted().ticks >= TICKS_OF_A_SPOOL, "much is logged", STEP_TIMEOUT_S
        )
        _kill(scene, trainer)
        segment = max(folder.glob("*/*.spool"))
        cost = damage(segment, scene.rng)
    finally:
        for proxy in proxies:
            proxy.accept()
    for call in sorted(cost.calls):
        scene.note(trainer, f"lacks {call.kind} {call.number}")
    done = sync_folder(scene.stage, folder, "--json")
    if done.stdout.startswith("{"):
        (spool,) = json.loads(done.stdout)["spools"]
        told = [
            (one["segment"], Hole(one["start"], one["start"] + one["bytes"]))
            for one in spool["damages"]
        ]
        holes = [(int(segment.stem), hole) for hole in cost.holes]
        scene.findings += reported(trainer.run_name, holes, told)
    else:
        scene.findings.append(Finding("synced", trainer.run_name, done.stderr[-1000:]))
    scene.struck("trainer")


def damage(segment: Path, rng: Random) -> Cost:
    """Damage a segment in the last 64 KiB that are written; return what that costs."""
    data = segment.read_bytes()
    pieces = pieces_of(data)
    first, last = _damageable(pieces)
    if rng.random() < 0.5:
        end = rng.randint(first, last)
        with segment.open("r+b") as file:
            file.truncate(end)
        return cost_of_cut(pieces, end)
    damaged = bytearray(data)
    places = rng.sample(range(first, last), rng.randint(1, FLIPS_MAX))
    for place in places:
        damaged[place] ^= 1 << rng.randrange(8)
    segment.write_bytes(damaged)
    return cost_of_flips(pieces, places)


def _damageable(pieces: list[Piece]) -> tuple[int, int]:
    """Return between which places to damage: behind the first record, which starts the run."""
    first, last = pieces[0].stop, pieces[-1].stop
    return max(first, last - TAIL_BYTES, HEAD_BYTES), last


def _kill(scene: Scene, trainer: Trainer) -> None:
    trainer.kill()
    scene.living.remove(trainer)


def _has_heard(trainer: Trainer) -> bool:
    return bool(_ledger(trainer).sealed)


def _ledger(trainer: Trainer) -> Ledger:
    return read_ledger(trainer.part.ledger_path)
