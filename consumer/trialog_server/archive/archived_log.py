"""A log whose beginning is in an archive: what the log has dropped is read from there.

Readers of this log see one partition from offset 0 on: the archive's records, then the log's, with
the same offsets and times. What is in both is read from the log, which is nearer. The manifest is
read again whenever an offset is asked for that neither has: an archiver may have been there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trialog_schemas.errors import ResourceNotFoundError, UnavailableError, ValidationError
from trialog_server.archive.identity import check_same_log
from trialog_server.archive.reading import SEGMENTS_KEPT
from trialog_server.log.base import OffsetMissing, share_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trialog_schemas.wire import Position
    from trialog_server.archive.manifest import Manifest, Segment
    from trialog_server.archive.reading import Archive
    from trialog_server.log.base import Log, LogReader, LogRecord, NewRecord, Partition


class ArchivedLog:
    """A log and the archive of its beginning.

    Args:
        log: where records are appended; closed with this one.
        archive: may not be there yet: then it holds nothing.
    """

    def __init__(self, log: Log, archive: Archive) -> None:
        self._log = log
        self._archive = archive
        self._manifest: Manifest | None = None

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Store the records durably in the log; return their positions."""
        return await self._log.append(records)

    def reader(self) -> LogReader:
        """Return a new reader, without an assignment."""
        return _ArchivedReader(self, self._log)

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return of each partition the first offset that archive or log have, and the next one."""
        bounds = await self._log.bounds(partitions)
        return {
            partition: (0 if await self._reaches(partition, start) else start, end)
            for partition, (start, end) in bounds.items()
        }

    async def ends_at(self, partitions: Collection[Partition], at_us: int) -> dict[Partition, int]:
        """Return where each partition ended at a time: in the archive where the log is younger."""
        ends = await self._log.ends_at(partitions, at_us)
        bounds = await self._log.bounds(partitions)
        for partition, (start, _) in bounds.items():
            # The log knows nothing before its start: the time may lie there.
            if 0 < start >= ends[partition]:
                ends[partition] = await self._archived_end(partition, start, at_us)
        return ends

    async def _archived_end(self, partition: Partition, end: int, at_us: int) -> int:
        """Return the first archived offset before an end whose record came later than a time."""
        await self._segment(partition, end - 1)
        segments = () if self._manifest is None else self._manifest.segments.get(partition, ())
        for segment in segments:
            if segment.last_at_us > at_us:
                records = await self._archive.records(partition, segment)
                later = (record.offset for record in records if record.at_us > at_us)
                return min(next(later, segment.end), end)
        return end

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records at the given offsets, in ascending order of offset."""
        wanted = sorted(set(offsets))
        start = (await self._log.bounds([partition]))[partition][0]
        while True:
            found = [
                record
                for offset in wanted
                if 0 <= offset < start and (record := await self.archived(partition, offset))
            ]
            archived = {record.offset for record in found}
            rest = [offset for offset in wanted if offset not in archived]
            try:
                return found + (await self._log.read_at(partition, rest) if rest else [])
            except OffsetMissing as exc:
                if exc.start <= start:
                    raise await self.missing(exc) from exc
                start = exc.start  # the log has dropped more meanwhile

    async def drop_before(self, ends: Mapping[Partition, int]) -> None:
        """Remove the records before the given offsets from the log; the archive keeps them."""
        await self._log.drop_before(ends)

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return self._log.partition_count(topic)

    async def close(self) -> None:
        """Close the log; the archive has no connections."""
        await self._log.close()

    async def archived(self, partition: Partition, offset: int) -> LogRecord | None:
        """Return the archived record at an offset, or None if the archive does not have it."""
        records = await self.archived_from(partition, offset)
        return records[0] if records else None

    async def missing(self, error: OffsetMissing) -> OffsetMissing:
        """Return what the log says is missing, with the bounds of log and archive."""
        bounds = await self.bounds([error.partition])
        return OffsetMissing(error.partition, error.offset, *bounds[error.partition])

    async def archived_from(self, partition: Partition, offset: int) -> Sequence[LogRecord]:
        """Return the archived records from an offset on, to the end of its segment."""
        segment = await self._segment(partition, offset)
        if segment is None:
            return ()
        records = await self._archive.records(partition, segment)
        return records[offset - segment.start :]

    async def _segment(self, partition: Partition, offset: int) -> Segment | None:
        if self._manifest is not None:
            found = self._manifest.segment_at(partition, offset)
            if found is not None:
                return found
        await self._look()
        return None if self._manifest is None else self._manifest.segment_at(partition, offset)

    async def _reaches(self, partition: Partition, start: int) -> bool:
        """Tell whether the archive comes up to where the log starts."""
        return start == 0 or await self._segment(partition, start - 1) is not None

    async def _look(self) -> None:
        try:
            manifest = await self._archive.manifest()
            await check_same_log(self._log, manifest, self._archive.place.url)
            self._manifest = manifest
        except ResourceNotFoundError:
            self._manifest = None
        except ValidationError as exc:  # to be mended where it is kept: it is tried again
            raise UnavailableError(exc.message, field=exc.field) from exc


class _ArchivedReader:
    """Reads the archive below the log's start, and the log from there on."""

    def __init__(self, archived: ArchivedLog, log: Log) -> None:
        self._archived = archived
        self._log = log
        self._reader = log.reader()
        self._positions: dict[Partition, int] = {}
        self._below: dict[Partition, int] = {}
        self._is_split = False

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Replace what is read: each partition with the offset to read next."""
        self._positions = dict(positions)
        self._below = {}
        self._is_split = False

    async def fetch(self, *, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return the next records, or an empty mapping after `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        while True:
            if not self._is_split:
                await self._split()
            try:
                return await self._fetch(bytes_max, max(deadline_s - time.monotonic(), 0.0))
            except OffsetMissing as exc:
                # The log may have dropped what it had when we looked: the archive has it then.
                if exc.partition in self._below:
                    raise
                await self._split()
                if exc.partition not in self._below:
                    raise await self._archived.missing(exc) from exc

    async def close(self) -> None:
        """Release the connections."""
        await self._reader.close()

    async def _split(self) -> None:
        """See which positions the log does not have any more, and assign the others to it."""
        bounds = await self._log.bounds(list(self._positions)) if self._positions else {}
        self._below = {
            partition: start
            for partition, (start, _) in bounds.items()
            if 0 <= self._positions[partition] < start
        }
        self._reader.assign(
            {one: at for one, at in self._positions.items() if one not in self._below}
        )
        self._is_split = True

    async def _fetch(self, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        share = share_bytes(bytes_max, len(self._positions))
        taken = sorted(self._below)[:SEGMENTS_KEPT]  # a segment each in memory, not one of each
        found = {partition: await self._take(partition, share) for partition in taken}
        left = max(bytes_max - share * len(found), 1)
        # Nothing is awaited after this: a reader that is cancelled here has lost no record.
        found |= await self._reader.fetch(bytes_max=left, wait_s=0 if found else wait_s)
        for partition, records in found.items():
            self._positions[partition] = records[-1].offset + 1
        if any(self._positions[one] >= start for one, start in self._below.items()):
            self._is_split = False
        return found

    async def _take(self, partition: Partition, bytes_max: int) -> list[LogRecord]:
        """Return the next archived records of a partition, at least one."""
        position = self._positions[partition]
        records = await self._archived.archived_from(partition, position)
        if not records:
            start, end = (await self._log.bounds([partition]))[partition]
            raise OffsetMissing(partition, position, start, end)
        size = 0
        for count, record in enumerate(records):
            size += len(record.value)
            if count and size > bytes_max:
                return list(records[:count])
        return list(records)
