"""What the tables must hold of a partition of the log, told naively: a model beside the projection.

It works everything out anew from the records in their order. What a run comes to is told by
`run_model`; what surrounds it (holes, dead and parked records, how far writers are) is told here.
Nothing of the product is used: an error there is none here as well.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tests.unit.schemas.run_model import (
    SMALL,
    Fact,
    Outcome,
    Parameters,
    Policy,
    Said,
    kind_of,
    outcome_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UNSTORABLE = "z"
"""The parameter that the rules accept and the tests' Postgres refuses: it quarantines its run."""


class Dreamed(NamedTuple):
    """An event of a type that nobody knows; it takes a seq and says nothing."""


class Call(NamedTuple):
    """One event in a writer's count, at its writer's time."""

    writer: int
    seq: int
    at_us: int
    said: Said | Dreamed


class Sent(NamedTuple):
    """A record: consecutive events of one writer of one run."""

    run: int
    calls: tuple[Call, ...]


class Rubbish(NamedTuple):
    """A record that nothing can be read from."""


Record: TypeAlias = Sent | Rubbish


class Summary(NamedTuple):
    """What is kept of a series besides its points."""

    points: int
    last: float
    last_step: int
    smallest: float | None
    largest: float | None


@dataclass
class RunRows:
    """What the tables hold of one run."""

    outcome: Outcome
    summaries: dict[str, Summary]
    series: dict[str, list[tuple[int, float]]]
    rejected: int
    log_offset: int


@dataclass
class Tables:
    """What the tables hold of a partition; runs and writers by their numbers."""

    runs: dict[int, RunRows] = field(default_factory=dict)
    writers: dict[tuple[int, int], int] = field(default_factory=dict)
    gaps: set[tuple[int, int, int, int, int]] = field(default_factory=set)
    index: set[tuple[int, int, int, int, int]] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    parked: set[int] = field(default_factory=set)


def tables_of(records: Sequence[Record], policies: Mapping[int, Policy] | None = None) -> Tables:
    """Work out from all records of a partition what the tables must hold.

    Args:
        records: in their order.
        policies: what the start of each run brings; the small policy where nothing is told.
    """
    known = policies or {}
    tables = Tables()
    seqs: dict[tuple[int, int], dict[int, int]] = {}
    histories: dict[int, list[Fact]] = {}
    last_offsets: dict[int, int] = {}
    quarantined: set[int] = set()
    for offset, record in enumerate(records):
        if isinstance(record, Rubbish):
            tables.dead.add(offset)
            continue
        history = histories.setdefault(record.run, [])
        if record.run in quarantined or _is_unstorable(history, record):
            quarantined.add(record.run)
            tables.parked.add(offset)
        elif _take(tables, seqs, offset, record):
            history += _facts(record)
            last_offsets[record.run] = offset
    for writer, came in seqs.items():
        tables.writers[writer] = max(came)
        tables.gaps |= {(*writer, *hole) for hole in _holes(came)}
    for run, offset in last_offsets.items():
        tables.runs[run] = _run_rows(outcome_of(histories[run], known.get(run, SMALL)), offset)
    return tables


def _facts(record: Sent) -> list[Fact]:
    return [
        Fact(call.writer, call.seq, call.at_us, Parameters(()))
        if isinstance(call.said, Dreamed)
        else Fact(call.writer, call.seq, call.at_us, call.said)
        for call in record.calls
    ]


def _is_unstorable(history: list[Fact], record: Sent) -> bool:
    names = [
        name
        for call in record.calls
        if isinstance(call.said, Parameters)
        for name, _ in call.said.values
    ]
    return UNSTORABLE in names and UNSTORABLE in outcome_of(history + _facts(record)).parameters


def _take(
    tables: Tables, seqs: dict[tuple[int, int], dict[int, int]], offset: int, record: Sent
) -> bool:
    """Note a record's place and which of a writer's seqs came where; tell whether any is new."""
    writer = (record.run, record.calls[0].writer)
    came = seqs.get(writer, {})
    fresh = [call for call in record.calls if call.seq not in came]
    if not fresh:
        return False
    if any(isinstance(call.said, Dreamed) for call in fresh):
        tables.dead.add(offset)
    tables.index.add((offset, *writer, record.calls[0].seq, len(record.calls)))
    seqs[writer] = came | {call.seq: offset for call in fresh}
    return True


def _holes(came: dict[int, int]) -> Iterator[tuple[int, int, int]]:
    """Yield first and last of each stretch of seqs that never came, and where it was noticed.

    That is where the first event came that is newer than it.
    """
    missing = sorted(set(range(1, max(came))) - came.keys())
    for seq in missing:
        if seq - 1 not in missing:
            last = next(one for one in itertools.count(seq) if one + 1 not in missing)
            yield seq, last, min(offset for newer, offset in came.items() if newer > last)


def _run_rows(outcome: Outcome, log_offset: int) -> RunRows:
    series: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in outcome.points:
        series.setdefault(name, []).append((step, value))
    outcome.points = []  # told by name: in which order two series grew is nowhere stored
    outcome.parameters = {name: kind_of(value) for name, value in outcome.parameters.items()}
    summaries = {name: _summary(points) for name, points in series.items()}
    return RunRows(outcome, summaries, series, len(outcome.refusals), log_offset)


def _summary(points: list[tuple[int, float]]) -> Summary:
    """The last point is the one of the highest step, then of the latest; no step is highest.

    What is no number is neither the smallest nor the largest.
    """
    last = max(range(len(points)), key=lambda at: (points[at][0] == -1, points[at][0], at))
    numbers = [value for _, value in points if not math.isnan(value)]
    smallest, largest = min(numbers, default=None), max(numbers, default=None)
    return Summary(len(points), points[last][1], points[last][0], smallest, largest)
