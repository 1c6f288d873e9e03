"""How safe a writer's events are: the stages they pass, counted; must not wait or ask.

recorded   the log call returned: survives SIGKILL of the process
flushed    on this machine's disk, or further: survives a power failure here
accepted   the log has it: survives the loss of this machine. Should the log lose its end, the spool
           has it still and sends it again
applied    in the service's tables, accepted or refused by the rules: the spool may forget it
sealed     covered by a signed checkpoint: no later edit, deletion or swap of it goes unnoticed
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from trialog.progress import Mark, Marks
from trialog.spool import Place
from trialog.spool_ack import Ack
from trialog.spool_format import SEGMENT_HEAD
from trialog.stream import StreamReader
from trialog_schemas.errors import SpoolError, ValidationError, did_you_mean, shown
from trialog_schemas.wire import EVENTS_TOPIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trialog.shipper import Shipment
    from trialog.spool import Spool

Stage: TypeAlias = Literal["recorded", "flushed", "accepted", "applied", "sealed"]

STAGES: tuple[Stage, ...] = ("recorded", "flushed", "accepted", "applied", "sealed")
"""In the order in which an event comes to them."""

FLUSH_STAGES: tuple[Stage, ...] = ("flushed", "accepted")
"""Those that a flush brings events to; further ones are the service's."""


@dataclass(frozen=True, slots=True)
class StageCounts:
    """How many events came to a stage, and how many metric points are in them.

    One event holds the metric calls of some 50 ms; every other call is an event of its own.
    """

    events: int = 0
    points: int = 0

    def __str__(self) -> str:
        return f"{self.events} events with {self.points} points"


@dataclass(frozen=True, slots=True)
class Durability:
    """What has become of what this process logged to a run; `str` of it is for people.

    Args:
        writer_id: whose events these are: of this process in this run; None before it logs.
        recorded, flushed, accepted: how many came there, by what this process knows itself.
        applied, sealed: likewise, by what the service told last; points are rounded down.
        rejected: refusals of applied events by the rules' code, and events that the log itself
            would not take by that code.
        missing: events that the log had not got or has lost, as the service told; what the spool
            still has of them is sent again.
        given_up: events that the service lacks after they were sent again and again; they stay in
            the spool, and `trialog sync` sends them once this program has ended.
        dropped_calls: log calls that a full disk has cost.
        told_at: when the service told; None if it never did.
    """

    writer_id: str | None = None
    recorded: StageCounts = StageCounts()
    flushed: StageCounts = StageCounts()
    accepted: StageCounts = StageCounts()
    applied: StageCounts = StageCounts()
    sealed: StageCounts = StageCounts()
    rejected: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    missing: int = 0
    given_up: int = 0
    dropped_calls: int = 0
    told_at: datetime | None = None

    def __str__(self) -> str:
        told = "never told" if self.told_at is None else f"told at {self.told_at:%H:%M:%S} UTC"
        stages = [f"{stage} {getattr(self, stage)}" for stage in STAGES]
        others = [f"refused {count} {code}" for code, count in sorted(self.rejected.items())]
        others += [f"{count} {what}" for what, count in (
            ("events missing", self.missing), ("events given up", self.given_up),
            ("calls dropped", self.dropped_calls),
        ) if count]  # fmt: skip
        return "; ".join([*stages, *others, f"the service: {told}"])


def check_stage(stage: object, allowed: Sequence[Stage] = STAGES) -> Stage:
    """Return a stage by its name.

    Raises:
        ValidationError: there is no such stage, or not for this call.
    """
    if isinstance(stage, str) and stage in allowed:
        return cast("Stage", stage)
    names = ", ".join(map(repr, allowed))
    if isinstance(stage, str) and stage in STAGES:
        hint = f"; wait(stage={stage!r}) waits for it"
    elif stage == "rejected":
        hint = "; what was refused is in run.rejections, and wait() raises it"
    else:
        hint = did_you_mean(stage, allowed) if isinstance(stage, str) else ""
    raise ValidationError(
        f"stage {shown(stage)} is none of {names}{hint}", field="stage", value=stage, limit=names
    )


class Counting:
    """Counts what a spool holds beyond what the log has; each byte is looked at once.

    While the log takes events, that is what was logged in some 50 ms; while it is away, what came
    since the last count. Safe for threads.
    """

    def __init__(self, shipment: Shipment, spool: Spool) -> None:
        self._shipment = shipment
        self._spool = spool
        self._lock = threading.RLock()
        self._is_counting = False
        self._reader: StreamReader | None = None
        self._marks = Marks()

    def recorded(self) -> Mark:
        """Return how much was recorded so far."""
        with self._lock:
            end, taken = self._spool.cut(), self._shipment.marks.newest
            if taken.place >= end:
                return taken
            if self._is_counting:  # this is a signal's handler, amid a count of its own thread
                return max(taken, self._marks.newest, key=lambda mark: mark.seq)
            self._is_counting = True
            try:
                return self._count(taken, end)
            except (FileNotFoundError, SpoolError):  # its segment went: the log has it meanwhile
                self._reader = None
                return self._shipment.marks.newest
            finally:
                self._is_counting = False

    def flushed(self, recorded: Mark) -> Mark:
        """Return how much of it would survive a power failure."""
        taken, safe = self._shipment.marks.newest, self._shipment.synced
        if safe <= taken.place:
            return taken
        return recorded if safe >= recorded.place else self._marks.up_to_place(safe)

    def _count(self, taken: Mark, end: Place) -> Mark:
        segment, offset = taken.place
        offset = max(offset, SEGMENT_HEAD.size)
        start = Ack(segment, offset, taken.seq + 1, b"", points=taken.points)
        if self._reader is None:
            self._reader = StreamReader(self._shipment.folder, is_checked=False, start=start)
            self._marks.add(taken)
        elif Place(self._reader.ack.segment, self._reader.ack.offset) < taken.place:
            self._reader.go_to(start)
            self._marks.add(taken)
        for ack in self._reader.counts(end):
            self._marks.add(Mark(ack.seq, ack.points, Place(ack.segment, ack.offset)))
        return self._marks.newest


def durability_of(shipment: Shipment, spool: Spool, counting: Counting) -> Durability:
    """Return what is known of a writer's events now."""
    recorded = counting.recorded()
    known = Durability(
        writer_id=shipment.folder.meta.writer_id,
        recorded=_counts(recorded),
        flushed=_counts(counting.flushed(recorded)),
        accepted=_counts(shipment.marks.up_to_place(shipment.acked)),
        dropped_calls=spool.dropped_calls,
    )
    told, rejected = shipment.told, Counter[str]()
    for (first, last), code in shipment.refused:
        rejected[code] += last - first + 1
    if told is None:
        return replace(known, rejected=MappingProxyType(dict(rejected)))
    rejected.update(told.rejected)
    refused = [seqs for seqs, _ in shipment.refused]
    whole = shipment.marks.up_to_seq(told.first_not_applied(1, refused) - 1)
    return replace(
        known,
        applied=StageCounts(told.applied, whole.points),
        sealed=_counts(sealed_mark(shipment)),
        rejected=MappingProxyType(dict(rejected)),
        missing=told.missing_count,
        given_up=lacking_events(shipment) if shipment.is_given_up else 0,
        told_at=told.at,
    )


def lacking_events(shipment: Shipment) -> int:
    """Count the events that the log has taken and the service lacks, by what it told last."""
    applied = 0 if shipment.told is None else shipment.told.applied
    refused = sum(last - first + 1 for (first, last), _ in shipment.refused)
    return max(shipment.marks.newest.seq - applied - refused, 0)


def sealed_mark(shipment: Shipment) -> Mark:
    """Return up to where a writer's events are covered by the newest checkpoint that is known."""
    for position in shipment.positions.values():
        place = position.token().rpartition(":")[0]
        if position.topic == EVENTS_TOPIC and shipment.told and place in shipment.told.log:
            sealed = shipment.told.log[place]["sealed"]
            return shipment.marks.before(replace(position, offset=sealed))
    return Mark(0, 0, Place(1, 0))


def _counts(mark: Mark) -> StageCounts:
    return StageCounts(mark.seq, mark.points)
