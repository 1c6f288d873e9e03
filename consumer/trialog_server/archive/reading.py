"""Reads an archive: its manifest as it is now, and single segments, each checked by its hash."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from trialog_schemas.errors import ResourceNotFoundError
from trialog_server.archive.manifest import MANIFEST_NAME, unpack_manifest
from trialog_server.archive.segments import need_pyarrow, unpack_segment
from trialog_server.log.base import OffsetMissing

if TYPE_CHECKING:
    from trialog_server.archive.manifest import Manifest, Segment
    from trialog_server.archive.place import Place
    from trialog_server.log.base import LogRecord, Partition

SEGMENTS_KEPT = 4
"""Segments that are kept in memory; a reader of one partition comes to each once."""


class SegmentDamaged(OffsetMissing):
    """Records that the archive must have are lost: it takes an untouched copy of their segment."""

    def __init__(self, partition: Partition, segment: Segment, why: str) -> None:
        super().__init__(partition, segment.start, segment.end, segment.end)
        self.message = (
            f"records {segment.start} to {segment.end - 1} of {partition.topic}:"
            f"{partition.number} are lost: in the archive {why}; put an untouched copy of it there"
        )
        self.args = (self.message,)


class Archive:
    """What an archive holds, read when it is asked for.

    Raises:
        UnavailableError: pyarrow is not installed.
    """

    def __init__(self, place: Place) -> None:
        need_pyarrow()
        self.place = place
        self._kept: OrderedDict[str, list[LogRecord]] = OrderedDict()

    async def manifest(self) -> Manifest:
        """Return the manifest as it is now.

        Raises:
            ResourceNotFoundError: there is none.
            ValidationError: it cannot be read, is of another version, or was changed.
            UnavailableError: the place cannot be used.
        """
        stored = await self.place.read(MANIFEST_NAME)
        if stored is None:
            raise ResourceNotFoundError(
                f"there is no archive at {self.place.url}; give the address of one, or make it "
                "with `trialog archive --to`",
                field="archive",
                value=self.place.url,
            )
        return unpack_manifest(stored.content, self.place.url)

    async def records(self, partition: Partition, segment: Segment) -> list[LogRecord]:
        """Return the records of a segment.

        Raises:
            SegmentDamaged: it is missing, or is not what the manifest says.
            UnavailableError: the place cannot be used.
        """
        name = segment.name_in(partition)
        if name not in self._kept:
            try:
                self._kept[name] = await self.read_segment(partition, segment)
            except ValueError as exc:
                raise SegmentDamaged(partition, segment, f"{name} {exc}") from exc
        self._kept.move_to_end(name)
        found = self._kept[name]
        while len(self._kept) > SEGMENTS_KEPT:
            self._kept.popitem(last=False)
        return found

    async def read_segment(self, partition: Partition, segment: Segment) -> list[LogRecord]:
        """Return the records of a segment, read now.

        Raises:
            ValueError: it is not what the manifest says; the message goes on after its name.
            UnavailableError: the place cannot be used.
        """
        stored = await self.place.read(segment.name_in(partition))
        if stored is None:
            raise ValueError("is missing")
        return await asyncio.to_thread(_checked, stored.content, partition, segment)


def _checked(content: bytes, partition: Partition, segment: Segment) -> list[LogRecord]:
    if len(content) != segment.size:
        raise ValueError(f"has {len(content)} bytes and had {segment.size}")
    found = hashlib.sha256(content).hexdigest()
    if found != segment.sha256:
        raise ValueError(f"was changed: its sha256 is {found} and was {segment.sha256}")
    try:
        records = unpack_segment(content, partition)
    except ValueError as exc:
        raise ValueError(f"cannot be read: {exc}") from exc
    if [record.offset for record in records] != list(range(segment.start, segment.end)):
        raise ValueError(f"does not hold the records {segment.start} to {segment.end - 1}")
    return records
