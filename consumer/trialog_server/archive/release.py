"""Removes from the log what the archive has: the log's retention, behind the archive only.

What must hold of a record before it goes
-----------------------------------------
* The manifest, read anew, names it; its segment, read anew, is whole and unchanged.
* The archive's record and the log's are the same: offset, time, key, bytes.
* The live tables have applied it.

Whole segments go, oldest first; the last record of the last one stays, so that log and archive can
always be told to belong together. Killed in between, less was removed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_server.archive.identity import check_same_log
from trialog_server.log.base import topic_partitions
from trialog_server.project.log_until import records_between

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trialog_server.archive.manifest import Segment
    from trialog_server.archive.reading import Archive
    from trialog_server.log.base import Log, Partition


async def release_log(
    log: Log,
    archive: Archive,
    applied: Mapping[Partition, int],
    on_progress: Callable[[int, int], None],
) -> dict[Partition, int]:
    """Remove from the log what the archive has and the live tables have applied.

    Args:
        log: the log itself, not one that reads the archive too.
        archive: its archive.
        applied: the next offset of each partition in the live tables; none is 0.
        on_progress: told from time to time how many records were compared, of how many.

    Returns:
        Of each partition where the log starts now.

    Raises:
        ValidationError: archive and log differ; what was not compared stays.
        UnavailableError: log or archive cannot be used, or a segment is not whole.
    """
    manifest = await archive.manifest()
    bounds = await check_same_log(log, manifest, archive.place.url)
    wanted = {
        partition: [
            segment
            for segment in manifest.segments.get(partition, ())
            if start < segment.end - 1 and segment.end <= applied.get(partition, 0)
        ]
        for partition, (start, _) in bounds.items()
    }
    total = sum(
        found[-1].end - bounds[partition][0] for partition, found in wanted.items() if found
    )
    done = 0
    for partition, segments in wanted.items():
        for segment in segments:
            start = max(bounds[partition][0], segment.start)
            await _compare(log, archive, (partition, segment), start)
            await log.drop_before({partition: segment.end - 1})
            done += segment.end - start
            on_progress(done, total)
    bounds = await log.bounds(topic_partitions(log))
    return {partition: start for partition, (start, _) in bounds.items()}


async def _compare(
    log: Log, archive: Archive, place: tuple[Partition, Segment], start: int
) -> None:
    """Hold a segment's records from an offset on against those of the log."""
    partition, segment = place
    name = segment.name_in(partition)
    try:
        archived = await archive.read_segment(partition, segment)
    except ValueError as exc:
        raise UnavailableError(
            f"{name} in the archive at {archive.place.url} {exc}; nothing that it holds is "
            "removed from the log: put an untouched copy of it there, or begin a new archive",
            field="archive",
            value=name,
        ) from exc
    expected = iter(archived[start - segment.start :])
    async with contextlib.aclosing(records_between(log, partition, start, segment.end)) as records:
        async for record in records:
            if record == next(expected):
                continue
            raise ValidationError(
                f"record {record.offset} of {partition.topic}:{partition.number} is another one in "
                f"the log than in {name}; it stays: find out which was changed with `trialog "
                "verify --archive`",
                field="archive",
                value=name,
            )
