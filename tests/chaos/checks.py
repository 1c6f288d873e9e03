"""What must hold after every fault: each invariant a pure function over ledgers, log and tables.

Each returns what it found, nothing when all is well. What they look at was read by others; no check
does I/O, so that each is tried on a history that breaks it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.ledgers import Call

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tests.chaos.effects import RunEffects
    from tests.chaos.ledgers import Ledger
    from tests.chaos.plain_spool import Hole

CALL_S_MAX = 2.0
"""No log call may take longer, whatever becomes of the service."""

MEMORY_BYTES_MAX = 32 * 1024 * 1024
"""No program may grow by more while it logs, whatever becomes of the service."""

SHOWN_MAX = 5
"""So many calls are named in a finding; all are counted."""


class Finding(NamedTuple):
    """A broken invariant: which, where, and what was seen."""

    check: str
    where: str
    text: str


class Evidence(NamedTuple):
    """What was gathered of one run.

    Args:
        ledgers: of all its programs.
        effects: what the log holds of it.
    """

    run_name: str
    ledgers: Sequence[Ledger]
    effects: RunEffects


def logged(calls: Sequence[Call] | Mapping[Call, float]) -> list[Call]:
    """Return the calls that log something: leaving a run does not."""
    return [call for call in calls if call.kind != "left"]


def found(evidence: Evidence) -> list[Finding]:
    """Every call that returned is in the log, but for those that the run itself counts as lost.

    And for what damage to a spool has cost, and what a lost machine had not sent: of such a program
    the log has the first calls, without a hole.
    """
    in_log = set(evidence.effects.calls)
    missing: list[Call] = []
    holes: list[Call] = []
    for ledger in evidence.ledgers:
        lacking = _lacking(ledger, in_log)
        if ledger.is_lost:
            calls = logged(ledger.returned)
            last = set(calls[len(calls) - len(lacking) :])
            holes += [call for call in lacking if call not in last]
        else:
            missing += lacking
    findings = _finding("found", evidence, "calls are not in the log, and later ones are", holes)
    if len(missing) != evidence.effects.dropped:
        told = f"{evidence.effects.dropped} are told"
        said = f"{len(missing)} returned calls are not in the log, {told}: {_shown(missing)}"
        findings.append(Finding("found", evidence.run_name, said))
    return findings


def _lacking(ledger: Ledger, in_log: Collection[Call]) -> list[Call]:
    calls = logged(ledger.returned)
    return [call for call in calls if call not in in_log and call not in ledger.lacks]


def told_in_place(evidence: Evidence) -> list[Finding]:
    """What a full disk has cost is told where it happened: neither earlier nor later calls count.

    The log has no names of such calls; each number that a writer tells stands between two calls.
    """
    by_mark = {ledger.mark: ledger for ledger in evidence.ledgers}
    in_log = set(evidence.effects.calls)
    findings = []
    for writer, told in evidence.effects.told.items():
        own = evidence.effects.by_writer.get(writer, [])
        ledger = by_mark[own[0].mark] if own else None
        if ledger is None:
            continue  # all of its calls are lost: of that `found` knows all there is
        place = {call: at for at, call in enumerate(ledger.begun)}
        lacking = [place[call] for call in _lacking(ledger, in_log)]
        for count, at in told:
            least = sum(one < place[own[at - 1]] for one in lacking) if at else 0
            most = sum(one < place[own[at]] for one in lacking) if at < len(own) else len(lacking)
            if not least <= count <= most:
                said = f"{count} lost calls are told where {least} to {most} are"
                findings.append(Finding("told in place", evidence.run_name, said))
    return findings


def promised(evidence: Evidence) -> list[Finding]:
    """Every call that was promised to be in the log, or in the tables, is in the log."""
    in_log = set(evidence.effects.calls)
    findings = []
    for stage in ("accepted", "applied"):
        broken = [
            call
            for ledger in evidence.ledgers
            for call in logged(ledger.promised_calls(stage))
            if call not in in_log
        ]
        said = f"calls were promised to be {stage} and are not in the log"
        findings += _finding("promised", evidence, said, broken)
    return findings


def applied_early(
    promises: Mapping[tuple[str, str], int], ticks: Mapping[tuple[str, str], int]
) -> list[Finding]:
    """What was promised to be applied is in the tables when they are looked at after that."""
    return [
        Finding("applied early", " ".join(key), f"{count} ticks are promised, {have} are there")
        for key, count in sorted(promises.items())
        if (have := ticks.get(key, 0)) < count
    ]


def sealed(
    ledgers: Sequence[Ledger],
    places: Mapping[str, Mapping[int, tuple[int, int]]],
    sizes: Mapping[int, int],
) -> list[Finding]:
    """Every event that was promised to be sealed is covered by the newest checkpoint.

    Args:
        ledgers: of all programs.
        places: by writer and seq the partition and offset of the event's first record.
        sizes: of each partition how many records the checkpoint covers.
    """
    findings = []
    for ledger in ledgers:
        for writer, events in ledger.sealed.items():
            beyond = [
                seq
                for seq in range(1, events + 1)
                if (at := places.get(writer, {}).get(seq)) is None or at[1] >= sizes.get(at[0], 0)
            ]
            if beyond:
                said = f"{len(beyond)} of {events} events are promised to be sealed and are not"
                findings.append(Finding("sealed", f"{ledger.run_name}{ledger.mark}", said))
    return findings


def reported(
    run_name: str, holes: Sequence[tuple[int, Hole]], told: Sequence[tuple[int, Hole]]
) -> list[Finding]:
    """What cannot be read of a damaged spool is told, byte by byte, and nothing else.

    Zeros at the end of a hole may be left out: nothing tells them from what was never written.

    Args:
        run_name: whose spool.
        holes: by segment what cannot be read.
        told: by segment what was said to be unreadable.
    """
    places = [(segment, hole.start) for segment, hole in holes]
    is_told = [(segment, hole.start) for segment, hole in told] == places and all(
        hole.start < said.stop <= hole.stop
        for (_, hole), (_, said) in zip(holes, told, strict=True)
    )
    said = f"{holes} cannot be read, {told} is told"
    return [] if is_told else [Finding("reported", run_name, said)]


def once(evidence: Evidence) -> list[Finding]:
    """No call has two effects."""
    doubled = [call for call, times in Counter(evidence.effects.calls).items() if times > 1]
    return _finding("once", evidence, "calls are in the log more than once", doubled)


def called(evidence: Evidence) -> list[Finding]:
    """No effect is without its call."""
    begun = {call for ledger in evidence.ledgers for call in ledger.begun}
    refused = {call for ledger in evidence.ledgers for call in ledger.refused}
    refused |= {call for ledger in evidence.ledgers for call in ledger.lacks}
    invented = [call for call in evidence.effects.calls if call not in begun or call in refused]
    return _finding("called", evidence, "calls are in the log that nobody made", invented)


def in_order(evidence: Evidence) -> list[Finding]:
    """Of each program the log has the calls in the order in which they were made."""
    swapped: list[Call] = []
    for ledger in evidence.ledgers:
        place = {call: at for at, call in enumerate(ledger.begun)}
        own = [call for call in evidence.effects.calls if call in place]
        places = [place[call] for call in own]
        swapped += [own[at] for at in range(1, len(own)) if places[at] < places[at - 1]]
    return _finding("in order", evidence, "calls are in the log behind later ones", swapped)


def right(evidence: Evidence) -> list[Finding]:
    """What is in the log has the values that the program gave, bit for bit."""
    wrong = evidence.effects.wrong
    said = f"{len(wrong)} calls have other values: {'; '.join(wrong[:SHOWN_MAX])}"
    return [Finding("right", evidence.run_name, said)] if wrong else []


def ended(evidence: Evidence) -> list[Finding]:
    """A run whose owner has left it was ended once; one that nobody left was not ended."""
    (owner,) = (ledger for ledger in evidence.ledgers if not ledger.mark)
    # An interrupted program leaves its block as well, and its ledger does not hear of it.
    least = int(Call("left", 0, "") in owner.returned)
    if least <= evidence.effects.endings <= 1:
        return []
    return [Finding("ended", evidence.run_name, f"was ended {evidence.effects.endings} times")]


def undisturbed(ledgers: Sequence[Ledger], call_s_max: float = CALL_S_MAX) -> list[Finding]:
    """No fault of the service raises into training, keeps it waiting or fills its memory."""
    findings = []
    for ledger in ledgers:
        where = f"{ledger.run_name}{ledger.mark}"
        findings += [Finding("undisturbed", where, line) for line in ledger.raised]
        if ledger.memory_bytes > MEMORY_BYTES_MAX:
            said = f"has grown by {ledger.memory_bytes} bytes"
            findings.append(Finding("undisturbed", where, said))
        slow = {call: s for call, s in ledger.returned.items() if s > call_s_max}
        if slow:
            worst = max(slow.values())
            said = f"{len(slow)} calls took more than {call_s_max:g} s, one {worst:.3f} s"
            findings.append(Finding("undisturbed", where, f"{said}: {_shown(list(slow))}"))
    return findings


def quiet(words: Mapping[str, str]) -> list[Finding]:
    """No program is told of what nobody in it can do anything about: asyncio's complaints.

    Args:
        words: by program what it has said.
    """
    complaints = ("was never retrieved", "Exception in callback", "was destroyed but it is pending")
    return [
        Finding("quiet", where, line)
        for where, text in sorted(words.items())
        for line in [one for one in text.splitlines() if any(c in one for c in complaints)][:1]
    ]


def applied(positions: Mapping[str, int], ends: Mapping[str, int]) -> list[Finding]:
    """After the quiet every partition is applied up to its end."""
    behind = {
        place: (positions.get(place, 0), end)
        for place, end in ends.items()
        if positions.get(place, 0) != end
    }
    return [
        Finding("applied", place, f"stands at {position}, its log ends at {end}")
        for place, (position, end) in sorted(behind.items())
    ]


def like_the_model(model: Mapping[str, str], tables: Mapping[str, str]) -> list[Finding]:
    """The tables hold what the independent model makes of the log, thing by thing.

    Of each kind of thing the first few are told.
    """
    findings: list[Finding] = []
    kinds: Counter[str] = Counter()
    for thing in sorted(model.keys() | tables.keys()):
        expected, actual = model.get(thing), tables.get(thing)
        kind = thing.split(" ")[0]
        if expected != actual and kinds[kind] < SHOWN_MAX:
            kinds[kind] += 1
            said = f"the model has {_part(expected, actual)}, the tables {_part(actual, expected)}"
            findings.append(Finding(f"model {kind}", thing, said))
    return findings


def _part(text: str | None, other: str | None) -> str:
    """Return where a text begins to differ from another."""
    if text is None:
        return "nothing"
    at = next(
        (at for at, (a, b) in enumerate(zip(text, other or "", strict=False)) if a != b),
        min(len(text), len(other or "")),
    )
    return f"({len(text)} characters) …{text[max(at - 80, 0) : at + 120]}"


def of_run(evidence: Evidence) -> list[Finding]:
    """All that is checked of one run."""
    checks = (found, told_in_place, promised, once, called, in_order, right, ended)
    return [finding for check in checks for finding in check(evidence)]


def _finding(check: str, evidence: Evidence, what: str, calls: list[Call]) -> list[Finding]:
    if not calls:
        return []
    return [Finding(check, evidence.run_name, f"{len(calls)} {what}: {_shown(calls)}")]


def _shown(calls: Sequence[Call]) -> str:
    shown = [f"{call.kind} {call.number}{call.mark}" for call in calls[:SHOWN_MAX]]
    return ", ".join([*shown, "…"] if len(calls) > SHOWN_MAX else shown)
