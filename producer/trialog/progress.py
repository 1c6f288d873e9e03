"""How far a writer's events are, as its process knows it: what the log took and the service told.

Pure bookkeeping in seqs; must not ask, send or read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from trialog.spool import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trialog.answers import LogAnswer, ProgressAnswer
    from trialog_schemas.wire import Position

MARKS_MAX = 512
"""Places of a stream that are remembered with their counts; beyond it every second one goes, so
that counts of a stage are rounded down to the mark before."""

Seqs = tuple[int, int]
"""First and last seq of consecutive events."""


class Mark(NamedTuple):
    """A place in a stream: what stands before it, and where its newest record is in the log."""

    seq: int
    points: int
    place: Place
    position: Position | None = None


@dataclass(slots=True)
class Marks:
    """The places up to which a stream was taken, in order; the newest is always there."""

    _marks: list[Mark] = field(default_factory=lambda: [Mark(0, 0, Place(1, 0))])

    @property
    def newest(self) -> Mark:
        """The furthest one."""
        return self._marks[-1]

    def add(self, mark: Mark) -> None:
        """Remember a place, and forget those at and behind it: they were told anew."""
        while len(self._marks) > 1 and self._marks[-1].place >= mark.place:
            self._marks.pop()
        self._marks.append(mark)
        if len(self._marks) > MARKS_MAX:
            self._marks = [*self._marks[:-1:2], mark]

    def up_to_seq(self, seq: int) -> Mark:
        """Return the furthest place before which there is nothing newer than an event."""
        return next((one for one in reversed(self._marks) if one.seq <= seq), self._marks[0])

    def up_to_place(self, place: Place) -> Mark:
        """Return the furthest place that is not behind another."""
        return next((one for one in reversed(self._marks) if one.place <= place), self._marks[0])

    def before(self, end: Position) -> Mark:
        """Return the furthest place whose newest record is before a position of its partition."""
        for mark in reversed(self._marks):
            at = mark.position
            if at is None or (at.topic, at.partition) != (end.topic, end.partition):
                continue
            if at.offset < end.offset:
                return mark
        return self._marks[0]


@dataclass(frozen=True, slots=True)
class Told:
    """What the service told of a writer.

    Args:
        last_seq: of its newest event in the tables, 0 before the first.
        missing: first and last seq of holes before that.
        missing_count: events of all holes; more than those of `missing` when there are many.
        is_parked: the run is quarantined: later events are in the log and not applied.
        is_known: the run exists.
        rejected: refusals of its events by code.
        log: how far the partitions are that its records lie in, by `topic:partition`.
        at: when it was told.
    """

    last_seq: int
    missing: Sequence[Seqs]
    missing_count: int
    is_parked: bool
    is_known: bool
    rejected: Mapping[str, int]
    log: Mapping[str, LogAnswer]
    at: datetime

    @classmethod
    def of(cls, answer: ProgressAnswer, log: Sequence[LogAnswer], at: datetime) -> Told:
        """Return what an answer tells."""
        return cls(
            answer["last_seq"],
            [(first, last) for first, last in answer["missing"]],
            answer["missing_count"],
            answer["is_parked"],
            answer["is_known"],
            answer["rejected"],
            {one["partition"]: one for one in log},
            at,
        )

    @property
    def applied(self) -> int:
        """How many events are in the tables."""
        return self.last_seq - self.missing_count

    def first_not_applied(self, start: int, refused: Sequence[Seqs] = ()) -> int:
        """Return the first seq from a start on that the tables lack and the log has not refused."""
        seq = start
        while True:
            past = [last for first, last in refused if first <= seq <= last]
            if past:
                seq = max(past) + 1
                continue
            if not self._is_applied(seq):
                return seq
            seq = min((first for first, _ in self.missing if first > seq), default=self._end)

    def _is_applied(self, seq: int) -> bool:
        return seq < self._end and not any(first <= seq <= last for first, last in self.missing)

    @property
    def _end(self) -> int:
        """The seq behind the newest event, or behind the last hole that is named of too many."""
        named = sum(last - first + 1 for first, last in self.missing)
        return self.last_seq + 1 if named == self.missing_count else self.missing[-1][1] + 1
