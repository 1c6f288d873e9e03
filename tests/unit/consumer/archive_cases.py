"""What tests of the archive share: a log in memory with records, an archive of it, ways to edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obstore.store import MemoryStore

from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.archive.place import BucketPlace
from trialog_server.archive.reading import Archive
from trialog_server.archive.write import archive_log
from trialog_server.log.base import NewRecord, topic_partitions
from trialog_server.log.memory import MemoryLog
from trialog_server.project.decode import extend_chain

if TYPE_CHECKING:
    from trialog_server.archive.manifest import Manifest
    from trialog_server.archive.place import Place
    from trialog_server.log.base import LogRecord, Partition


def unheard(_done: int, _total: int) -> None:
    """Take what is told of the progress, and say nothing."""


def bucket() -> BucketPlace:
    """Return a place that ends with the process."""
    return BucketPlace(MemoryStore(), "memory:")


async def filled_log(events: int = 40, partitions: int = 2) -> MemoryLog:
    """Return a log with one record of the catalog and some of events, on all partitions."""
    log = MemoryLog(partitions)
    await log.append([NewRecord(CATALOG_TOPIC, "default", b"catalog")])
    await append_events(log, events)
    return log


async def append_events(log: MemoryLog, count: int, mark: str = "") -> None:
    """Append records of eight runs."""
    records = [
        NewRecord(EVENTS_TOPIC, f"{number % 8:032x}", f"{mark}{number}\0\xff".encode("latin-1"))
        for number in range(count)
    ]
    await log.append(records)


async def archived(log: MemoryLog, place: Place, records_max: int = 6) -> Manifest:
    """Archive a log whose records are all applied; return the manifest."""
    done = await archive_log(log, place, chains(log), unheard, records_max=records_max)
    return done.manifest


def chains(log: MemoryLog) -> dict[Partition, tuple[int, str]]:
    """Return how far live tables would be that have applied a whole log, which starts at 0."""
    return {
        one: (len(log.stored(one)), extend_chain(b"", log.stored(one)).hex())
        for one in topic_partitions(log)
        if log.start(one) == 0
    }


async def all_archived(place: Place) -> dict[Partition, list[LogRecord]]:
    """Return every record of an archive."""
    archive = Archive(place)
    manifest = await archive.manifest()
    return {
        partition: [
            record
            for segment in segments
            for record in await archive.read_segment(partition, segment)
        ]
        for partition, segments in manifest.segments.items()
    }
