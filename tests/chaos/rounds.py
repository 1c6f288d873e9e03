"""One round of chaos: load, faults, healing, quiet, and everything checked."""

from __future__ import annotations

import json
import shutil
import traceback
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from tests.chaos import checks
from tests.chaos.checks import Evidence, Finding
from tests.chaos.commands import sync, verify
from tests.chaos.effects import RunEffects, effects_of, places_of, readable
from tests.chaos.model import model_of, tables_found, told
from tests.chaos.plain_log import EVENTS
from tests.chaos.scene import Scene
from tests.chaos.table import FAULTS, faults_of, impossible
from tests.services.trialog import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.ledgers import Ledger
    from tests.chaos.plain_log import Entry
    from tests.chaos.stage import Stage

PATIENCE_S = 60.0
"""So long everything may take to be applied, before that is a finding."""


AGAIN_EVERY = 4
"""At the end of so many rounds one delivers the whole log again."""


@dataclass(frozen=True)
class Plan:
    """What a round does; the same seed gives the same plan.

    Args:
        seed: decides what the faults leave open.
        faults: names, in order.
        trainers: so many programs log from the start.
        patience_s: so long everything may take to be applied.
        is_delivered_again: at last the whole log is read once more, over the live tables.
        away_s: how long what is away for long is away; None leaves that to the seed.
        left_out: faults that it would have and that this machine has no means for, with why.
    """

    seed: str
    faults: tuple[str, ...]
    trainers: int = 4
    patience_s: float = PATIENCE_S
    is_delivered_again: bool = False
    away_s: float | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


def plan_of(
    seed: int,
    number: int,
    log: str,
    *,
    faults: int,
    among: Sequence[str],
    without: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan of a round.

    Args:
        seed: of the whole walk.
        number: of the round.
        log: where it is played.
        faults: how many.
        among: names to choose from; none are all that the log has.
        without: what cannot be done here, and why; None looks.

    Faults that this machine has no means for are left out of it afterwards: the seed gives the
    others as it does elsewhere.

    Raises:
        ValueError: the log has none of these faults, or the machine, or none is asked for.
    """
    rng = Random(f"{seed}/{log}/{number}")
    known = [name for name in faults_of(log) if not among or name in among]
    if not known or faults < 1:
        raise ValueError(
            f"a round on {log} needs one fault at least, of {', '.join(faults_of(log))}"
        )
    without = impossible(known) if without is None else without
    if not set(known) - set(without):
        raise ValueError("; ".join(f"{name}: {without[name]}" for name in known))
    chosen: list[str] = []
    while len(chosen) < faults:
        chosen += rng.sample(known, min(faults - len(chosen), len(known)))
    is_delivered_again = number % AGAIN_EVERY == 0
    return Plan(
        f"{seed}/{log}/{number}",
        tuple(name for name in chosen if name not in without),
        is_delivered_again=is_delivered_again,
        left_out={name: why for name, why in without.items() if name in chosen},
    )


@dataclass
class Outcome:
    """What became of a round.

    Args:
        findings: broken invariants.
        recoveries: by component the seconds until everything was applied again.
        calls: how many log calls were made, and the slowest in seconds.
    """

    findings: list[Finding] = field(default_factory=list)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    calls: int = 0
    slowest_s: float = 0.0


def play(stage: Stage, plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Play a round; what is needed to understand a finding is left in the folder.

    Args:
        stage: the service; it is left as it was found.
        plan: what to do.
        folder: an empty one.
        say: is told what happens.
    """
    name = "chaos-" + plan.seed.replace("/", "-")
    outcome = Outcome()
    scene = Scene(stage, folder, name, Random(plan.seed))
    scene.away_s = plan.away_s
    has_ended = False
    try:
        _strike(scene, plan, outcome, say)
        stage.heal()
        scene.end()
        has_ended = True
    except Exception:  # noqa: BLE001  whatever goes wrong amid a round is found, and kept
        outcome.findings.append(Finding("went on", name, traceback.format_exc()))
        stage.heal()
    finally:
        if not has_ended:
            scene.kill_all()
    outcome.findings += scene.findings
    outcome.findings += _quiet(stage, name, plan.patience_s)
    entries = stage.entries()
    _check(stage, scene, entries, outcome)
    if plan.is_delivered_again and not outcome.findings:
        outcome.findings += _deliver_again(stage)
    if outcome.findings:
        _keep(stage, plan, outcome, entries, folder)
    return outcome


def _strike(scene: Scene, plan: Plan, outcome: Outcome, say: Callable[[str], None]) -> None:
    scene.start(plan.trainers)
    scene.struck("start")
    scene.wait_recovered(plan.patience_s)
    for name in plan.faults:
        scene.keep_load()
        FAULTS[name](scene)
        component = scene.strikes[-1].component
        took_s = scene.wait_recovered(plan.patience_s)
        if took_s is None:
            said = f"{name}: not everything is applied within {plan.patience_s:g} s"
            outcome.findings.append(Finding("recovered", component, said))
            say(f"  {said}")
            scene.stage.heal()
        else:
            outcome.recoveries.setdefault(component, []).append(took_s)
            say(f"  {name}: {took_s:.2f} s")


def _quiet(stage: Stage, name: str, patience_s: float) -> list[Finding]:
    """Send what the dead left, and wait until nothing moves any more."""
    said = [sync(stage)]
    if said[0]:
        said.append(sync(stage))  # one that came while a spool's process was just ending
    findings = [Finding("synced", name, said[1])] if len(said) > 1 and said[1] else []

    def is_quiet() -> bool:
        return not checks.applied(stage.positions(), ends_of(stage.entries()))

    try:
        wait_until(is_quiet, "everything is applied", patience_s)
    except AssertionError:
        findings += checks.applied(stage.positions(), ends_of(stage.entries()))
    return findings


def sizes_in(checkpoint: Path | None) -> dict[int, int]:
    """Return of each partition of events how many records a checkpoint covers, or nothing."""
    if checkpoint is None:
        return {}
    text = json.loads(checkpoint.read_text(encoding="utf-8"))
    partitions = text["statement"]["partitions"]
    return {one["partition"]: one["records"] for one in partitions if one["topic"] == EVENTS}


def ends_of(entries: Sequence[Entry]) -> dict[str, int]:
    """Return by partition the offset behind the last record."""
    ends: dict[str, int] = {}
    for entry in entries:
        place = f"{entry.topic}:{entry.partition}"
        ends[place] = max(ends.get(place, 0), entry.offset + 1)
    return ends


def _check(stage: Stage, scene: Scene, entries: Sequence[Entry], outcome: Outcome) -> None:
    read = list(readable(entries))
    ledgers = scene.ledgers()
    outcome.findings += checks.sealed(ledgers, places_of(read), sizes_in(scene.checkpoint))
    effects = effects_of(record for _, record in read if record is not None)
    by_run: dict[str, list[Ledger]] = {}
    for ledger in ledgers:
        by_run.setdefault(ledger.run_name, []).append(ledger)
        outcome.calls += len(ledger.begun)
        outcome.slowest_s = max([outcome.slowest_s, *ledger.returned.values()])
    for run_name, of_run in sorted(by_run.items()):
        run_id = next((one.run_id for one in of_run if one.run_id), None)
        if run_id is None:
            continue  # killed while it entered
        evidence = Evidence(run_name, of_run, effects.get(run_id, RunEffects()))
        outcome.findings += checks.of_run(evidence)
    outcome.findings += checks.undisturbed(ledgers)
    outcome.findings += checks.quiet(scene.words())
    outcome.findings += checks.like_the_model(
        told(model_of(read)), told(tables_found(stage.tables()))
    )
    differing = verify(stage)
    if differing:
        outcome.findings.append(Finding("replay", stage.log, differing[:2000]))


def _deliver_again(stage: Stage) -> list[Finding]:
    """Read the whole log over the live tables: not one row is written."""
    before, series = stage.rows(), told(tables_found(stage.tables()))
    stage.faulty.deliver_again()
    after = stage.rows()
    findings = checks.like_the_model(series, told(tables_found(stage.tables())))
    findings += [
        Finding("again", table, f"{len(rows ^ after[table])} rows are others than before")
        for table, rows in before.items()
        if rows != after[table]
    ]
    return findings


def _keep(
    stage: Stage, plan: Plan, outcome: Outcome, entries: Sequence[Entry], folder: Path
) -> None:
    """Leave beside ledgers and programs' words what else tells of the findings."""
    lines = (
        json.dumps([one.topic, one.partition, one.offset, one.key, one.value.hex()])
        for one in sorted(entries)
    )
    (folder / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    tables = told(tables_found(stage.tables()))
    (folder / "tables.json").write_text(json.dumps(tables, indent=1), encoding="utf-8")
    said = [*stage.service.output, "-- second worker", *stage.second.output]
    (folder / "service.log").write_text("\n".join(said), encoding="utf-8")
    found = [f"{one.check} [{one.where}]: {one.text}" for one in outcome.findings]
    text = "\n".join([repr(plan), *found])
    (folder / "findings.txt").write_text(text, encoding="utf-8")
    with_spools = folder / "spool"
    if stage.session.spool_dir is not None and not with_spools.exists():
        shutil.copytree(stage.session.spool_dir, with_spools, dirs_exist_ok=True)
