"""A log of given records alone, of some partitions; for a replay of a few runs. Must not append."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from trialog_server.project.log_until import LogUntil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialog_server.log.base import Log, LogReader, LogRecord, Partition

RECORDS_AT_ONCE = 64
"""Records that are looked up together: of about 50 KB each, and of 1 MiB at most."""


class LogPicked(LogUntil):
    """Another log up to its ends; of some partitions only the records at given offsets.

    Args:
        log: the whole log; closing this one leaves it open.
        ends: the offset that each partition ends before; a partition without one is empty.
        picked: by partition the offsets of its records, ascending, all before its end; a partition
            that is missing here has all of its records.
    """

    def __init__(
        self,
        log: Log,
        ends: Mapping[Partition, int],
        picked: Mapping[Partition, Sequence[int]],
    ) -> None:
        super().__init__(log, ends)
        self._picked = picked
        self.targets = {
            **ends,
            **{place: offsets[-1] + 1 if offsets else 0 for place, offsets in picked.items()},
        }

    def reader(self) -> LogReader:
        """Return a new reader, without an assignment."""
        return _PickedReader(self, super().reader(), self._picked)

    @property
    def total(self) -> int:
        """How many records there are."""
        return self.count_before(self.targets)

    def count_before(self, positions: Mapping[Partition, int]) -> int:
        """Return how many of the records lie before the positions."""
        return sum(
            bisect.bisect_left(self._picked[place], position)
            if place in self._picked
            else min(position, self.targets.get(place, 0))
            for place, position in positions.items()
        )


class _PickedReader:
    """Reads what is picked by looking it up, one partition after the other; the rest as it is."""

    def __init__(
        self, log: LogPicked, reader: LogReader, picked: Mapping[Partition, Sequence[int]]
    ) -> None:
        self._log = log
        self._reader = reader
        self._picked = picked
        self._next: dict[Partition, int] = {}
        self._in_hand: list[LogRecord] = []

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Replace what is read: each partition with the offset to read next."""
        self._in_hand = []
        self._next = {
            place: bisect.bisect_left(self._picked[place], position)
            for place, position in positions.items()
            if place in self._picked
        }
        self._reader.assign(
            {place: position for place, position in positions.items() if place not in self._picked}
        )

    async def fetch(self, *, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return the next records, or an empty mapping after `wait_s`."""
        picked = await self._take(bytes_max)
        others = await self._reader.fetch(bytes_max=bytes_max, wait_s=0.0 if picked else wait_s)
        return {picked[0].partition: picked, **others} if picked else others

    async def _take(self, bytes_max: int) -> list[LogRecord]:
        """Move records out of hand, at least one if there is one left."""
        for place, index in self._next.items():
            offsets = self._picked[place][index : index + RECORDS_AT_ONCE]
            if offsets and not self._in_hand:
                self._in_hand = await self._log.read_at(place, offsets)
                self._next[place] += len(offsets)
                break
        size = count = 0
        for record in self._in_hand:
            size += len(record.value)
            if count and size > bytes_max:
                break
            count += 1
        taken, self._in_hand = self._in_hand[:count], self._in_hand[count:]
        return taken

    async def close(self) -> None:
        """Release the connections."""
        await self._reader.close()
