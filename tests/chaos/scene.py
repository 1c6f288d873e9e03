"""The training programs of a round and what is known of them; starts, kills and waits for them."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.acceptance.trainer_program import STEPS_MAX, Part
from tests.acceptance.trainers import Trainer
from tests.chaos.checks import applied_early
from tests.chaos.ledgers import read_ledger
from tests.services.trialog import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from tests.chaos.checks import Finding
    from tests.chaos.ledgers import Ledger
    from tests.chaos.stage import Stage

ENTER_TIMEOUT_S = 60.0
END_TIMEOUT_S = 120.0
ASKING_EVERY = 2
"""Of so many programs one asks how safe its calls are."""

LOOK_EVERY_S = 0.4
"""How often the tables are held against what was promised to be in them."""

PROMISE_BYTES = 128 * 1024
"""Of a ledger's end, where its last promise stands if it is fresh."""

_PROMISED = re.compile(rb"\npromised applied [0-9]+ ([0-9]+)(?=\n)")

AHEAD_TICKS = 3
"""A program must have so many calls more applied than it had made when it was struck."""


TAKES_BACK = {"postgres", "everything", "disk", "long away"}
"""Where Postgres crashes, it may take back what was committed last. That is applied again from the
log: what was promised of it is there when the goals are."""


@dataclass
class Strike:
    """One fault: what was hit and when, and what must be applied for it to be over."""

    component: str
    at_s: float
    goals: dict[tuple[str, str], int]


class Scene:
    """The programs of one round; their runs are of one experiment.

    Args:
        stage: the service.
        folder: takes the ledgers and what the programs say.
        experiment_name: one that no other round has.
        rng: decides everything that a fault leaves open.

    Attributes:
        away_s: how long something is away that is for long; None leaves that to the fault.
        findings: what was found amid the round.
        checkpoint: the newest one of this round, or None.
    """

    def __init__(self, stage: Stage, folder: Path, experiment_name: str, rng: Random) -> None:
        self.stage = stage
        self.folder = folder
        self.experiment_name = experiment_name
        self.rng = rng
        self.living: list[Trainer] = []
        self.strikes: list[Strike] = []
        self.away_s: float | None = None
        self.findings: list[Finding] = []
        self._started: list[Trainer] = []
        self.checkpoint: Path | None = None
        self._looked_at_s = 0.0
        self._run_ids: dict[str, str] = {}
        self._count = 0
        session = stage.session
        self._part = Part(
            str(session.url),
            session.kafka,
            str(folder),
            experiment_name,
            "",
            spool_dir=str(session.spool_dir),
            contests=True,
        )

    def start(self, count: int) -> list[Trainer]:
        """Start so many programs with runs of their own."""
        parts = []
        for _ in range(count):
            self._count += 1
            is_asking = self._count % ASKING_EVERY == 1
            parts.append(replace(self._part, run_name=f"run-{self._count}", asks=is_asking))
        return self._start(parts)

    def start_beside(self, owner: Trainer) -> Trainer:
        """Start a program that logs into another's run."""
        self._count += 1
        mark = f".j{self._count}"
        part = replace(self._part, run_name=owner.run_name, mark=mark, joins=True)
        return self._start([part])[0]

    def start_filling(
        self, rows: int, spool_dir: Path | None = None, under: Sequence[str] = ()
    ) -> Trainer:
        """Start a program that fills its run at once.

        Args:
            rows: so many.
            spool_dir: of its own, or None for that of all.
            under: what stands before its command.
        """
        self._count += 1
        part = replace(self._part, run_name=f"run-{self._count}", rows=rows)
        if spool_dir is not None:
            part = replace(part, spool_dir=str(spool_dir))
        return self._start([part], under)[0]

    def start_apart(self, spool_dir: Path) -> Trainer:
        """Start a program whose spool nobody else looks at."""
        self._count += 1
        name = f"run-{self._count}"
        part = replace(self._part, run_name=name, spool_dir=str(spool_dir), asks=True)
        return self._start([part])[0]

    def _start(self, parts: Iterable[Part], under: Sequence[str] = ()) -> list[Trainer]:
        session = self.stage.session
        started = [
            Trainer(
                session, self.folder, (part.experiment_name, part.run_name), part=part, under=under
            )
            for part in parts
        ]
        for trainer in started:
            trainer.__enter__()
        self.living += started
        self._started += started
        for trainer in started:
            what = f"{trainer.run_name}{trainer.part.mark} is entered"
            wait_until(trainer.has_run, what, ENTER_TIMEOUT_S)
            self._run_ids[trainer.run_name] = trainer.noted().run_id or ""
        return started

    def spool_dir_of(self, trainer: Trainer) -> Path:
        """Return the folder in which a program has its spool."""
        assert trainer.part.spool_dir is not None
        return Path(trainer.part.spool_dir)

    def keep_load(self) -> None:
        """See to it that somebody logs: programs that have come to their last step only wait."""
        if all(trainer.noted().ticks >= STEPS_MAX for trainer in self.living):
            self.start(2)

    def take(self, count: int) -> list[Trainer]:
        """Choose so many of the living programs, which are then no longer counted as such."""
        chosen = self.rng.sample(self.living, min(count, len(self.living)))
        self.living = [one for one in self.living if one not in chosen]
        return chosen

    def struck(self, component: str, dead: Iterable[Trainer] = ()) -> None:
        """Note that a component was hit just now, or a fault of it has ended just now.

        Args:
            component: whose recovery is measured.
            dead: programs that ended; of them what they had logged must be applied.
        """
        at_s = time.monotonic()
        goals = {}
        for trainer in self.living:
            ticks = trainer.noted().ticks
            if trainer.part.rows == 0:
                goals[self._key(trainer)] = min(ticks + AHEAD_TICKS, max(ticks, STEPS_MAX))
        goals |= {self._key(one): one.noted().ticks for one in dead if one.part.rows == 0}
        self.strikes.append(Strike(component, at_s, goals))

    @staticmethod
    def _key(trainer: Trainer) -> tuple[str, str]:
        return trainer.noted().run_id or "", trainer.part.mark

    def wait_recovered(self, timeout_s: float) -> float | None:
        """Wait until what the last strike has kept up is applied; return how long that took.

        None: it is not within the time.
        """
        strike = self.strikes[-1]
        while time.monotonic() < strike.at_s + timeout_s:
            promises = self._promises()
            ticks = self.stage.applied_ticks()
            is_held = strike.component not in TAKES_BACK
            if ticks and is_held and not self.findings:  # postgres is there, none tells enough yet
                self.findings += applied_early(promises, ticks)
            if all(ticks.get(key, 0) >= goal for key, goal in strike.goals.items()):
                return time.monotonic() - strike.at_s
            time.sleep(0.02)
        return None

    def _promises(self) -> dict[tuple[str, str], int]:
        """Return how many ticks the living programs were promised to be applied, now and then."""
        if time.monotonic() < self._looked_at_s + LOOK_EVERY_S:
            return {}
        self._looked_at_s = time.monotonic()
        promises = {}
        for trainer in self.living:
            if trainer.part.asks:
                with trainer.part.ledger_path.open("rb") as file:
                    file.seek(max(file.seek(0, os.SEEK_END) - PROMISE_BYTES, 0))
                    found = _PROMISED.findall(file.read())
                if found:
                    promises[self._run_ids[trainer.run_name], ""] = int(found[-1])
        return promises

    def note(self, trainer: Trainer, line: str) -> None:
        """Add a line to the ledger of a program that has ended."""
        with trainer.part.ledger_path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def tell(self, trainer: Trainer, order: str) -> None:
        """Give a program an order."""
        stdin = trainer.process.stdin
        assert stdin is not None
        stdin.write(f"{order}\n".encode())
        stdin.flush()

    def interrupt(self, trainer: Trainer) -> None:
        """Press Ctrl-C twice, the second time while the program leaves its run."""
        trainer.process.send_signal(signal.SIGINT)
        time.sleep(self.rng.uniform(0.0, 0.3))
        trainer.process.send_signal(signal.SIGINT)
        trainer.process.wait(END_TIMEOUT_S)

    def end(self) -> None:
        """Let all programs leave their runs, and wait for them."""
        for trainer in self.living:
            trainer.tell_end()
        for trainer in self.living:
            trainer.process.wait(END_TIMEOUT_S)

    def kill_all(self) -> None:
        """End what still runs, when a round is given up."""
        for trainer in self._started:
            trainer.kill()

    def ledgers(self) -> list[Ledger]:
        """Return the ledgers of all programs, their children's as well."""
        return [read_ledger(path) for path in sorted(self.folder.glob("*.ledger"))]

    def words(self) -> dict[str, str]:
        """Return what all programs have said."""
        paths = sorted(self.folder.glob("*.log"))
        return {path.stem: path.read_text(encoding="utf-8", errors="replace") for path in paths}
