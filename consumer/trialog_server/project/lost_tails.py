"""Logs that have lost records which are applied: how it is told, and which events those were.

A log loses its end when a broker loses its disk's last writes, when somebody cuts a topic. What
was applied by then is in the tables and in no replay, unless its writers sent it again. By whom it
was recorded the tables know; so that can be told to the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import CATALOG_TOPIC
from trialog_server.log.base import OffsetMissing, Partition
from trialog_server.postgres.queries import load_query
from trialog_server.project.decode import extend_chain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trialog_server.log.base import Log, LogRecord
    from trialog_server.postgres.pool import Connection
    from trialog_server.project.generations import Generation
    from trialog_server.project.lease import Claim


EVENTS_SHOWN_MAX = 50
"""Lines about lost events that are meant for people."""


PAUSE_S = 0.5
"""Without records for so long a log may have been away; no broker is killed and back sooner."""

PAUSES_MAX = 100
"""Pauses that are remembered until they are looked at."""


class Seen(NamedTuple):
    """A record that was applied: its offset, and a digest of its bytes."""

    offset: int
    digest: bytes


class TailLost(OffsetMissing):
    """The log does not have the last record that was applied: it is missing, or is another one.

    Args:
        partition: where.
        position: behind the last record that was applied.
        end: where the log ends, if that is before the position.
    """

    def __init__(self, partition: Partition, position: int, end: int | None = None) -> None:
        super().__init__(partition, position - 1, 0, position if end is None else end)
        where = f"{partition.topic} partition {partition.number}"
        what = (
            f"record {position - 1} is another one in the log than was applied"
            if end is None
            else f"the log ends at {end} and its first {position} records are applied"
        )
        self.message = (
            f"{where}: {what}: its end was lost, or it is another log; nothing more of it is "
            "applied. `trialog verify` tells what the tables hold beyond it, and `trialog rebuild "
            "--anew` makes them of what the log has"
        )
        self.args = (self.message,)


def check_applied(claim: Claim, record: LogRecord) -> None:
    """See that the last record that was applied is the one that the log has at its offset.

    Raises:
        TailLost: it is another one.
    """
    if claim.chain_before is None or extend_chain(claim.chain_before, [record]) == claim.chain:
        return
    raise TailLost(claim.partition, claim.next_offset)


async def check_made_of(log: Log, claims: Sequence[Claim]) -> None:
    """See that tables were made of the log's records; of each partition the last one tells.

    One that is beyond the log's end, or was dropped, cannot be looked at.

    Raises:
        TailLost: the log has another one.
        UnavailableError: the log does not answer.
    """
    bounds = await log.bounds([claim.partition for claim in claims]) if claims else {}
    for claim in claims:
        start, end = bounds[claim.partition]
        if start < claim.next_offset <= end:
            (record,) = await log.read_at(claim.partition, [claim.next_offset - 1])
            check_applied(claim, record)


class Pauses:
    """Which records of a partition were the last ones before nothing came for a while.

    A log that loses its end is away for a moment. If others' records take the places before this
    reader is there again, it goes on behind them and hears nothing; but the last record that it had
    applied before is another one then.
    """

    def __init__(self) -> None:
        self._last: Seen | None = None
        self._seen_at_s = 0.0
        self._before: list[Seen] = []

    def note(self, records: Sequence[LogRecord], now_s: float) -> None:
        """Note records that were applied at a time, in seconds of any clock."""
        if self._last is not None and now_s - self._seen_at_s > PAUSE_S:
            self._before = [*self._before[-PAUSES_MAX:], self._last]
        self._last, self._seen_at_s = Seen(records[-1].offset, _digest(records[-1])), now_s

    def to_look_at(self) -> list[Seen]:
        """Return those that were not found to be there yet, and behind them the newest record."""
        return self._before if self._last is None else [*self._before, self._last]

    def forget(self, seen: Sequence[Seen]) -> None:
        """Forget those that were found to be there; the newest stays, for the pause behind it."""
        self._before = [one for one in self._before if one not in seen[:-1]]


async def check_seen(log: Log, partition: Partition, pauses: Pauses) -> None:
    """Read records once more that were applied, and see that they are still those.

    A log that is away now is another matter, and said elsewhere; they wait for the next look.

    Raises:
        TailLost: one is another one, or is not there any more.
    """
    seen = pauses.to_look_at()
    digests = {one.offset: one.digest for one in seen}
    if not digests:
        return
    try:
        start, end = (await log.bounds([partition]))[partition]
        if end <= max(digests):
            raise TailLost(partition, max(digests) + 1, end)
        # What was dropped is in an archive.
        records = await log.read_at(partition, [one for one in digests if one >= start])
    except UnavailableError:
        return
    except OffsetMissing as exc:
        if isinstance(exc, TailLost):
            raise
        return  # dropped meanwhile; what else is missing the next look finds
    for record in records:
        if _digest(record) != digests[record.offset]:
            raise TailLost(partition, record.offset + 1)
    pauses.forget(seen)


def _digest(record: LogRecord) -> bytes:
    return extend_chain(b"", [record])


@dataclass(frozen=True, slots=True)
class Cut:
    """A partition whose log is not the applied one from an offset on.

    Args:
        partition: which.
        first_offset: the first record that is missing, or another one.
        applied: behind the last record that was applied.
        end: where the log ends.
    """

    partition: Partition
    first_offset: int
    applied: int
    end: int

    def __str__(self) -> str:
        where = f"{self.partition.topic} partition {self.partition.number}"
        count = self.applied - self.first_offset
        now = (
            f"the log ends at {self.end}"
            if self.end <= self.first_offset
            else f"the log has others from there on, to {self.end - 1}"
        )
        place = f"from offset {self.first_offset} on"
        if count == 1:
            return f"{where}: 1 record {place} was applied and is lost, {now}"
        return f"{where}: {count} records {place} were applied and are lost, {now}"


@dataclass(frozen=True, slots=True)
class LostEvents:
    """Consecutive events of a writer that tables hold and that are nowhere in the log.

    Args:
        run_id: whose; the catalog's own events have the run of all zeros.
        run_name: of that run, if there is one.
        experiment_name: of its experiment.
        is_catalog: what the catalog says of the run (that it was created, deleted).
        writer_id: who recorded them.
        first_seq: of the first one.
        last_seq: of the last one.
    """

    run_id: str
    run_name: str | None
    experiment_name: str | None
    is_catalog: bool
    writer_id: str
    first_seq: int
    last_seq: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last_seq - self.first_seq + 1

    def __str__(self) -> str:
        of_run = f"run {self.run_id}"
        if self.run_name is not None:
            of_run = f"{of_run} ({self.experiment_name}/{self.run_name})"
        if self.is_catalog:
            of_run = f"the catalog, about {of_run}" if self.run_name else "the catalog"
        seqs = f"{self.first_seq}"
        if self.count > 1:
            seqs = f"{self.first_seq} to {self.last_seq}"
        return f"{of_run}, writer {self.writer_id}: seq {seqs}"


@dataclass(frozen=True, slots=True)
class Loss:
    """What tables hold that the log does not have.

    Args:
        cuts: where the log is not the applied one.
        events: those that are nowhere in the log; none where all was sent again.
    """

    cuts: Sequence[Cut] = ()
    events: Sequence[LostEvents] = ()

    @property
    def count(self) -> int:
        """How many events are lost."""
        # An event of the catalog may be about many runs.
        told = {
            (None if one.is_catalog else one.run_id, one.writer_id, one.first_seq): one.count
            for one in self.events
        }
        return sum(told.values())

    @property
    def runs(self) -> int:
        """Of how many runs they are."""
        return len({one.run_id for one in self.events})

    def lines(self) -> Iterator[str]:
        """Say it, of very many events the first ones."""
        yield from map(str, self.cuts)
        for one in self.events[:EVENTS_SHOWN_MAX]:
            yield f"  nowhere in the log: {one}"
        more = len(self.events) - EVENTS_SHOWN_MAX
        if more > 0:
            yield f"  and {more} more; --json has all"
        if self.cuts and not self.events:
            yield "  every event that was applied is in the log, at another place"

    def json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "cuts": [
                {
                    "topic": one.partition.topic,
                    "partition": one.partition.number,
                    "first_offset": one.first_offset,
                    "applied": one.applied,
                    "end": one.end,
                }
                for one in self.cuts
            ],
            "events_count": self.count,
            "events": [
                {
                    "run_id": one.run_id,
                    "run_name": one.run_name,
                    "experiment_name": one.experiment_name,
                    "is_catalog": one.is_catalog,
                    "writer_id": one.writer_id,
                    "first_seq": one.first_seq,
                    "last_seq": one.last_seq,
                }
                for one in self.events
            ],
        }


class EventsLostError(UnavailableError):
    """Tables that were to take over lack events that the live ones hold.

    Args:
        loss: which events.
        is_back: the tables are the ones that were live before; the log may have those events.
    """

    def __init__(self, loss: Loss, *, is_back: bool = False) -> None:
        what = f"{loss.count} events of {loss.runs} runs that the live tables hold"
        super().__init__(
            f"the tables before lack {what}: the log has others in the places of what they were "
            "made of; the live tables stay as they are; with --accept-lost-events those before are "
            "live again, and stand still there"
            if is_back
            else f"the log lacks {what}: it "
            "is another log, or has lost its end; the tables stay as they are: have the writers "
            "that still have those events send them (`trialog sync`), or give the log what only an "
            "archive has (`trialog archive --supersede`), and rebuild then; with "
            "--accept-lost-events the tables are made of what the log has",
            field="log",
            value=loss.count,
        )
        self.loss = loss


async def find_loss(
    connection: Connection,
    live: Generation,
    made: Generation,
    applied: Mapping[Partition, int],
    ends: Mapping[Partition, int],
) -> Loss:
    """Return what live tables hold that is not in tables made of the whole log.

    Args:
        connection: sees both.
        live: the ones that may hold more.
        made: those made of the log, at least up to where the live ones stand, or to its end.
        applied: how far the live ones were when that was decided; later records are left out.
        ends: where the log ends.
    """
    asked = (live.schema_name, made.schema_name, *_columns(applied))
    found = {
        Partition(row["topic"], row["partition"]): row["first_offset"]
        for row in await connection.fetch(load_query("other_records"), *asked)
    }
    cuts = []
    for partition, position in sorted(applied.items()):
        end = ends.get(partition, 0)
        first = min(found.get(partition, position), end)
        if first < position:
            cuts.append(Cut(partition, first, position, end))
    rows = await connection.fetch(load_query("lost_events"), *asked) if cuts else []
    return Loss(
        cuts,
        [
            LostEvents(
                row["run_id"].hex,
                row["run_name"],
                row["experiment_name"],
                row["topic"] == CATALOG_TOPIC,
                row["writer_id"].hex,
                row["first_seq"],
                row["last_seq"],
            )
            for row in rows
        ],
    )


def check_told(
    loss: Loss, applied: Mapping[Partition, int], reached: Mapping[Partition, int]
) -> None:
    """See that a log has lost no more of what is applied than was found, before that is given up.

    Args:
        loss: what was found.
        applied: how far the live tables are.
        reached: how far tables of the log can come.

    Raises:
        UnavailableError: it has lost more since.
    """
    ends = {one.partition: one.end for one in loss.cuts}
    for partition, position in applied.items():
        at_least = min(position, ends.get(partition, position))
        if reached.get(partition, 0) < at_least:
            raise UnavailableError(
                f"{partition.topic} partition {partition.number}: the log has lost its end while "
                f"the tables were made, it ends before {at_least}; the live tables stay as they "
                "are, give the command again: it tells what is lost",
                field="log",
                value=reached.get(partition, 0),
                limit=at_least,
            )


async def forget_seals(connection: Connection, cuts: Sequence[Cut]) -> None:
    """Forget how far partitions are sealed whose log has other records than were signed."""
    places = {one.partition: one.first_offset for one in cuts}
    await connection.execute(load_query("forget_seals"), *_columns(places))


def _columns(places: Mapping[Partition, int]) -> tuple[list[str], list[int], list[int]]:
    return (
        [one.topic for one in places],
        [one.number for one in places],
        list(places.values()),
    )
