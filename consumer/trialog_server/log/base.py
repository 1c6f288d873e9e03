"""The port to the log: the ordered, durable store of records. Must not know an adapter.

Who calls what
--------------
The gateway calls `append`. A projection worker makes one `reader`, gives it the positions its
leases say, and fetches in a loop. Reads call `read_at` with positions from the record index.

What holds for every adapter
----------------------------
* Offsets of a partition are 0, 1, 2 … without holes, in the order in which readers see them. What
  `drop_before` has removed is missing at the beginning alone.
* The times of a partition's records do not go back, as far as the adapter can see to it.
* When `append` returns, the records survive SIGKILL of every process, the store's own included.
* When `append` raises `UnavailableError`, any part of the records may be in the log nevertheless;
  appending all of them again is right, because the projection drops duplicates by their seq.
* No method waits for ever: with the store away each raises `UnavailableError` after a bound, and
  works again by itself once the store is back.
* A reader belongs to one task at a time; everything else may be shared by tasks of one loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trialog_schemas.errors import LimitExceededError, TrialogError
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, partition_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trialog_schemas.wire import Position

LAPTOP_PARTITIONS = 4
"""Partitions of the events topic where one machine does everything."""


class Partition(NamedTuple):
    """One ordered part of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to append; its partition follows from topic and key."""

    topic: str
    key: str
    value: bytes


class LogRecord(NamedTuple):
    """A record as it stands in the log.

    `at_us` is when the log took it, in microseconds since the epoch: the only clock that every
    reader agrees about. A named tuple, because a worker sees hundreds of thousands of them.
    """

    partition: Partition
    offset: int
    at_us: int
    key: str
    value: bytes


class OffsetMissing(TrialogError):  # noqa: N818  the contract's word; it names what is the case
    """A record that must be in the log is not: data was lost. Never continue behind it."""

    code = "OffsetMissing"

    def __init__(self, partition: Partition, offset: int, start: int, end: int) -> None:
        there = f"{start} to {end - 1}" if start < end else "nothing"
        super().__init__(
            f"offset {offset} of {partition.topic} partition {partition.number} is missing, the "
            f"log has {there}; restore the log, or give the archive that has it with --archive or "
            "TRIALOG_ARCHIVE, to the service as well: nothing behind it is read without it"
        )
        self.partition = partition
        self.offset = offset
        self.start = start
        self.end = end


class LogReader(Protocol):
    """Reads partitions from given positions on; remembers how far it is."""

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Replace what is read: each partition with the offset to read next."""
        ...

    async def fetch(self, *, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return the next records, in order per partition, without empty lists.

        Returns as soon as anything is there, and an empty mapping after `wait_s`. The values
        together stay near `bytes_max`; a partition gives at least one record if it has one.

        Raises:
            OffsetMissing: the next offset was lost, or lies beyond the end of the log.
            UnavailableError: the store does not answer.
        """
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


class Log(Protocol):
    """An append-only store of records in partitions."""

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Store the records durably, in their order per partition; return their positions.

        Raises:
            UnavailableError: the store does not answer; append all of them again later.
            LimitExceededError: a record is larger than RECORD_BYTES_MAX; none is stored.
        """
        ...

    def reader(self) -> LogReader:
        """Return a new reader, without an assignment."""
        ...

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return of each partition the first offset that is there and the next record's.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    async def ends_at(self, partitions: Collection[Partition], at_us: int) -> dict[Partition, int]:
        """Return where each partition ended at a time: the first offset that the log took later.

        Raises:
            UnavailableError: the store does not answer.
        """
        ...

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records at the given offsets, in ascending order of offset.

        Raises:
            OffsetMissing: one of them is not there.
            UnavailableError: the store does not answer.
        """
        ...

    async def drop_before(self, ends: Mapping[Partition, int]) -> None:
        """Remove the records before the given offsets, for ever; later ones keep their offsets.

        An adapter may keep more than it is told to, never less. Only for records that are known to
        be stored elsewhere.

        Raises:
            UnavailableError: the store does not answer; any part may be removed.
        """
        ...

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has; fixed when the log is first opened."""
        ...

    async def close(self) -> None:
        """Finish what is under way and release the connections. The store runs on."""
        ...


def topic_partitions(log: Log) -> list[Partition]:
    """Return every partition of both topics, the catalog first."""
    return [
        Partition(topic, number)
        for topic in (CATALOG_TOPIC, EVENTS_TOPIC)
        for number in range(log.partition_count(topic))
    ]


def partition_for(log: Log, record: NewRecord) -> Partition:
    """Return the partition that a record belongs to."""
    number = partition_of(record.key, log.partition_count(record.topic))
    return Partition(record.topic, number)


def check_sizes(records: Sequence[NewRecord]) -> None:
    """Refuse a record that is larger than any adapter takes.

    Raises:
        LimitExceededError: a record has more than RECORD_BYTES_MAX bytes.
    """
    for record in records:
        if len(record.value) > RECORD_BYTES_MAX:
            raise LimitExceededError(
                f"a record of {len(record.value)} bytes cannot be appended, allowed are "
                f"{RECORD_BYTES_MAX}; send fewer events in one record",
                field="record",
                limit=RECORD_BYTES_MAX,
            )


def share_bytes(bytes_max: int, partitions: int) -> int:
    """Return how many bytes each partition may give to a fetch, so that none starves another."""
    return max(bytes_max // max(partitions, 1), 1)
