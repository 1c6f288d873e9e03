"""A log in this process's memory, for tests of what stands on a log. Nothing survives the process.

It keeps the port's promises but the durable one, and can be told to be away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import CATALOG_TOPIC, Position
from trialog_server.log.base import (
    LAPTOP_PARTITIONS,
    LogRecord,
    OffsetMissing,
    Partition,
    check_sizes,
    partition_for,
    share_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trialog_server.log.base import NewRecord


class MemoryLog:
    """A log that lives as long as this object.

    `is_away = True` makes every call raise `UnavailableError`, as a stopped store does; `clock`
    says in microseconds when a record is taken.
    """

    def __init__(self, events_partitions: int = LAPTOP_PARTITIONS) -> None:
        self._events_partitions = events_partitions
        self._records: dict[Partition, list[LogRecord]] = defaultdict(list)
        self._starts: dict[Partition, int] = defaultdict(int)
        self._appended = asyncio.Event()
        self.is_away = False
        self.clock: Callable[[], int] = lambda: time.time_ns() // 1000

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Store the records; return their positions."""
        check_sizes(records)
        self.check_here()
        positions = []
        at_us = self.clock()
        for record in records:
            partition = partition_for(self, record)
            stored = self._records[partition]
            offset = self.start(partition) + len(stored)
            stored.append(LogRecord(partition, offset, at_us, record.key, record.value))
            positions.append(Position(partition.topic, partition.number, offset))
        self._appended.set()
        self._appended = asyncio.Event()
        return positions

    def reader(self) -> MemoryLogReader:
        """Return a new reader, without an assignment."""
        return MemoryLogReader(self)

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return of each partition the first offset that is there and the next record's."""
        self.check_here()
        return {one: (self.start(one), self.end(one)) for one in partitions}

    async def ends_at(self, partitions: Collection[Partition], at_us: int) -> dict[Partition, int]:
        """Return where each partition ended at a time."""
        self.check_here()
        found = {}
        for partition in partitions:
            stored = self._records[partition]
            later = (record.offset for record in stored if record.at_us > at_us)
            found[partition] = next(later, self.end(partition))
        return found

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records at the given offsets, in ascending order of offset."""
        self.check_here()
        stored, start, end = self._records[partition], self.start(partition), self.end(partition)
        for offset in offsets:
            if not start <= offset < end:
                raise OffsetMissing(partition, offset, start, end)
        return [stored[offset - start] for offset in sorted(set(offsets))]

    async def drop_before(self, ends: Mapping[Partition, int]) -> None:
        """Remove the records before the given offsets."""
        self.check_here()
        for partition, end in ends.items():
            dropped = max(min(end, self.end(partition)) - self.start(partition), 0)
            del self._records[partition][:dropped]
            self._starts[partition] += dropped

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return 1 if topic == CATALOG_TOPIC else self._events_partitions

    async def close(self) -> None:
        """Do nothing; there are no connections."""

    def start(self, partition: Partition) -> int:
        """Return the offset of the first record that was not dropped."""
        return self._starts[partition]

    def end(self, partition: Partition) -> int:
        """Return the offset the next record will get."""
        return self._starts[partition] + len(self._records[partition])

    def stored(self, partition: Partition) -> list[LogRecord]:
        """Return what a partition holds; the list itself, so that a test can damage it."""
        return self._records[partition]

    def check_here(self) -> None:
        """Raise `UnavailableError` when the log was told to be away."""
        if self.is_away:
            raise UnavailableError("the log in memory was told to be away")

    def next_append(self) -> asyncio.Event:
        """Return an event that the next append sets; take it before looking for records."""
        return self._appended


class MemoryLogReader:
    """Reads a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._positions: dict[Partition, int] = {}

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Replace what is read: each partition with the offset to read next."""
        self._positions = dict(positions)

    async def fetch(self, *, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return the next records, or an empty mapping after `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        while True:
            appended = self._log.next_append()
            self._log.check_here()
            found = self._take(bytes_max)
            left_s = deadline_s - time.monotonic()
            if found or left_s <= 0:
                return found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(appended.wait(), left_s)

    async def close(self) -> None:
        """Do nothing; there are no connections."""

    def _take(self, bytes_max: int) -> dict[Partition, list[LogRecord]]:
        share = share_bytes(bytes_max, len(self._positions))
        found = {}
        for partition, position in self._positions.items():
            stored = self._log.stored(partition)
            start, end = self._log.start(partition), self._log.end(partition)
            if not start <= position <= end:
                raise OffsetMissing(partition, position, start, end)
            size = 0
            taken: list[LogRecord] = []
            for record in stored[position - start :]:
                if taken and size + len(record.value) > share:
                    break
                taken.append(record)
                size += len(record.value)
            if taken:
                found[partition] = taken
        for partition, taken in found.items():
            self._positions[partition] = taken[-1].offset + 1
        return found
