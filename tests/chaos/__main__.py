"""`make chaos`: faults without end on a whole service under load, and everything checked.

    python -m tests.chaos [--seed 1] [--minutes 10] [--log embedded|kafka|both] [--faults a,b]

What a round does follows from the seed, the log and the number of the round: `--round 3` plays one
again. Where an invariant is broken, ledgers, log, tables and what was said are kept, and the status
is 1. `--planted all`, or the names of some, plants bugs instead, one after the other: the status
is 1 if one was not found.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.disk_faults import fill_database_disk
from tests.chaos.plants import PLANTS, hunt
from tests.chaos.rounds import Outcome, Plan, plan_of, play
from tests.chaos.stage import Stage
from tests.chaos.table import FAULTS, impossible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

LOGS = ("embedded", "kafka")
ROUNDS_OF_A_STAGE = 8
"""After so many rounds a new service is started: each looks at the whole log again."""


def say(text: str) -> None:
    """Tell who watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Walk:
    """Rounds one after the other, on services that are started anew from time to time."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._until_s = time.monotonic() + arguments.minutes * 60
        self._number = arguments.round or 0
        self._is_over = False
        self._is_one = arguments.round is not None
        self._logs = LOGS if arguments.log == "both" else (arguments.log,)
        self._choice = {
            "faults": arguments.length,
            "among": arguments.faults or [],
        }
        among = self._choice["among"] or FAULTS
        self._needs_small_disk = fill_database_disk.__name__ in among
        self._seed = arguments.seed
        self._away_s = arguments.away_s
        for log in self._logs:
            plan_of(self._seed, self._number, log, **self._choice)  # such rounds can be planned
        if arguments.keep is not None:
            arguments.keep.mkdir(parents=True, exist_ok=True)
        self._kept = Path(tempfile.mkdtemp(prefix="trialog-chaos-", dir=arguments.keep))

    def rounds(self) -> Iterator[tuple[Plan, Outcome]]:
        """Yield each round's plan and what became of it, until the time is over."""
        while not self._is_over:
            log = self._logs[self._number // ROUNDS_OF_A_STAGE % len(self._logs)]
            folder = self._kept / f"stage-{self._number}"
            folder.mkdir()
            with Stage(folder, log, has_small_disk=self._needs_small_disk) as stage:
                yield from self._rounds_on(stage)
            shutil.rmtree(folder, ignore_errors=True)

    def _rounds_on(self, stage: Stage) -> Iterator[tuple[Plan, Outcome]]:
        for _ in range(ROUNDS_OF_A_STAGE):
            plan = plan_of(self._seed, self._number, stage.log, **self._choice)
            plan = replace(plan, away_s=self._away_s)
            say(f"round {self._number} on {stage.log}: {', '.join(plan.faults)}")
            for fault, why in plan.left_out.items():
                say(f"  left out: {fault}: {why}")
            folder = self._kept / f"round-{self._number}"
            folder.mkdir()
            self._number += 1
            outcome = play(stage, plan, folder, say)
            for finding in outcome.findings:
                say(f"  FOUND {finding.check} [{finding.where}]: {finding.text}")
            if outcome.findings:
                say(f"  kept in {folder}")
            else:
                shutil.rmtree(folder)
            self._is_over = self._is_one or time.monotonic() > self._until_s
            yield plan, outcome
            if self._is_over or outcome.findings:
                return


def hunt_all(names: Sequence[str]) -> int:
    """Plant bugs, one after the other; tell which were found."""
    missed, untried = [], 0
    for name in names:
        without = impossible(PLANTS[name].faults)
        if without:
            say(f"planted {name}: not tried, {'; '.join(without.values())}")
            untried += 1
            continue
        say(f"planted {name}: {', '.join(PLANTS[name].faults)}")
        with tempfile.TemporaryDirectory(prefix="trialog-chaos-") as folder:
            checks = hunt([name], Path(folder), say)
        if not checks & PLANTS[name].found_by:
            missed.append(name)
            say("  NOT FOUND as what it is")
    tried = len(names) - untried
    say(f"{tried - len(missed)} of {tried} planted bugs are found, {untried} were not tried")
    return 1 if missed else 0


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile of some values."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return what reads an argument of names with commas between, or `all` of those there are."""

    def read(text: str) -> list[str]:
        names = sorted(known) if text == "all" else text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
        return names

    return read


def end_everything(number: int, _frame: object) -> None:
    """Leave every block, so that what was started ends; once, however often that is said."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main() -> int:
    """Walk as the command line says; tell what was found."""
    signal.signal(signal.SIGTERM, end_everything)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--log", choices=[*LOGS, "both"], default="both")
    parser.add_argument(
        "--faults", type=names_of(FAULTS), help=f"some of: {', '.join(sorted(FAULTS))}"
    )
    parser.add_argument("--length", type=int, default=6, help="faults of a round")
    parser.add_argument("--away-s", type=float, help="seconds of what is away for long")
    parser.add_argument("--round", type=int, help="play this one alone")
    parser.add_argument("--keep", type=Path, help="folder for what is kept of findings")
    parser.add_argument(
        "--planted", type=names_of(PLANTS), help=f"all, or some of: {', '.join(sorted(PLANTS))}"
    )
    arguments = parser.parse_args()
    if arguments.planted:
        return hunt_all(arguments.planted)
    try:
        walk = Walk(arguments)
    except ValueError as exc:
        parser.error(str(exc))
    say(f"seed {arguments.seed}")
    struck: Counter[str] = Counter()
    recoveries: dict[str, list[float]] = {}
    calls = findings = 0
    slowest_s = 0.0
    for plan, outcome in walk.rounds():
        struck.update(plan.faults)
        for component, seconds in outcome.recoveries.items():
            recoveries.setdefault(component, []).extend(seconds)
        calls += outcome.calls
        findings += len(outcome.findings)
        slowest_s = max(slowest_s, outcome.slowest_s)
    say(f"{findings} findings; {calls} calls, the slowest {slowest_s:.3f} s")
    for component, seconds in sorted(recoveries.items()):
        figures = f"p50 {percentile(seconds, 50):.2f} s, p99 {percentile(seconds, 99):.2f} s"
        say(f"{component}: {figures}, n {len(seconds)}")
    say(", ".join(f"{name} {times}" for name, times in sorted(struck.items())))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
