"""A log that ends where it is told to: what comes later is not there yet. Must not append."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from trialog_schemas.wire import Position
    from trialog_server.log.base import Log, LogReader, LogRecord, NewRecord, Partition


READ_BYTES = 8_388_608
"""Bytes that are asked for at once where a log is read from end to end."""

SILENCE_S_MAX = 10.0
"""How long a log may give nothing of what it has."""


async def records_between(
    log: Log, partition: Partition, start: int, end: int
) -> AsyncGenerator[LogRecord]:
    """Yield the records of a partition from an offset to another one, which the log has.

    Raises:
        OffsetMissing: one of them is not there.
        UnavailableError: the log does not answer.
    """
    reader, position = LogUntil(log, {partition: end}).reader(), start
    reader.assign({partition: start})
    try:
        while position < end:
            found = await reader.fetch(bytes_max=READ_BYTES, wait_s=SILENCE_S_MAX)
            if not found:
                raise UnavailableError(
                    f"the log has not answered for {SILENCE_S_MAX:g} s at record {position} of "
                    f"{partition.topic}:{partition.number}; give the command again"
                )
            for record in found[partition]:
                yield record
            position = found[partition][-1].offset + 1
    finally:
        await reader.close()


class LogUntil:
    """Another log, of each partition up to an offset; for reading only.

    Args:
        log: the whole log; closing this one leaves it open.
        ends: the offset that each partition ends before; a partition without one is empty.
    """

    def __init__(self, log: Log, ends: Mapping[Partition, int]) -> None:
        self._log = log
        self._ends = ends

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Refuse: what comes later is not there yet."""
        raise NotImplementedError(f"{len(records)} records for a log that is only read")

    def reader(self) -> LogReader:
        """Return a new reader, without an assignment."""
        return _ReaderUntil(self._log.reader(), self._ends)

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return of each partition the first offset that is there and where it ends here."""
        bounds = await self._log.bounds(partitions)
        return {
            partition: (start, min(end, self._ends.get(partition, 0)))
            for partition, (start, end) in bounds.items()
        }

    async def ends_at(self, partitions: Collection[Partition], at_us: int) -> dict[Partition, int]:
        """Return where each partition ended at a time, at most where it ends here."""
        ends = await self._log.ends_at(partitions, at_us)
        return {
            partition: min(end, self._ends.get(partition, 0)) for partition, end in ends.items()
        }

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records at the given offsets, in ascending order of offset."""
        return await self._log.read_at(partition, offsets)

    async def drop_before(self, ends: Mapping[Partition, int]) -> None:
        """Refuse: this log is only read."""
        raise NotImplementedError(f"{len(ends)} partitions to be cut of a log that is only read")

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return self._log.partition_count(topic)

    async def close(self) -> None:
        """Do nothing; the whole log is somebody else's."""


class _ReaderUntil:
    """Reads only partitions that have not come to their end."""

    def __init__(self, reader: LogReader, ends: Mapping[Partition, int]) -> None:
        self._reader = reader
        self._ends = ends
        self._positions: dict[Partition, int] = {}

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Replace what is read: each partition with the offset to read next."""
        self._positions = {
            partition: position
            for partition, position in positions.items()
            if position < self._ends.get(partition, 0)
        }
        self._reader.assign(self._positions)

    async def fetch(self, *, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return the next records before the ends, or an empty mapping after `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        while True:
            left_s = max(deadline_s - time.monotonic(), 0.0)
            if not self._positions:
                await asyncio.sleep(left_s)
                return {}
            found = await self._reader.fetch(bytes_max=bytes_max, wait_s=left_s)
            kept = {partition: self._cut(partition, found[partition]) for partition in found}
            if any(records[-1].offset + 1 >= self._ends[one] for one, records in found.items()):
                self.assign(self._positions)
            if any(kept.values()) or not left_s:
                return {partition: records for partition, records in kept.items() if records}

    def _cut(self, partition: Partition, records: Sequence[LogRecord]) -> list[LogRecord]:
        self._positions[partition] = records[-1].offset + 1
        return [record for record in records if record.offset < self._ends[partition]]

    async def close(self) -> None:
        """Release the connections."""
        await self._reader.close()
