"""Brings a log that has lost its end and its archive together again; removes no file, no record.

The archive has records that the log has lost, and by now others may stand at their offsets. For
each partition where that is so:

1. The first offset is looked for at which the two differ.
2. What the archive has from there on, and the log has nowhere behind it, is appended to the log
   once more, as writers that still have it do: the same bytes, so that each event counts once.
3. The manifest names its segments up to there only, and the others as superseded: an auditor finds
   them, and each may be read. The next `trialog archive` goes on with what the log has.

Killed at any moment, it is begun again: what was appended is found in the log.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trialog_schemas.errors import ResourceNotFoundError, UnavailableError
from trialog_server.archive.identity import check_partitions, other_log
from trialog_server.archive.manifest import (
    MANIFEST_NAME,
    Superseded,
    pack_manifest,
    unpack_manifest,
)
from trialog_server.archive.segments import pack_segment
from trialog_server.archive.write import check_signer
from trialog_server.log.base import NewRecord
from trialog_server.project.decode import extend_chain
from trialog_server.project.log_until import records_between

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from trialog_server.archive.manifest import Manifest, Segment
    from trialog_server.archive.reading import Archive
    from trialog_server.log.base import Log, LogRecord, Partition

APPEND_BYTES = 4_194_304
"""Bytes that are appended together."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of a partition.

    Args:
        partition: which.
        first_offset: where log and archive differed first.
        superseded: records of the archive from there on.
        appended: how many of them the log had nowhere, and has again.
    """

    partition: Partition
    first_offset: int
    superseded: int
    appended: int


async def supersede(
    log: Log,
    archive: Archive,
    on_progress: Callable[[int, int], None],
    *,
    key: Ed25519PrivateKey | None = None,
) -> list[Joined]:
    """Give the log what only the archive has, and have the archive end where the two differ.

    Args:
        log: the log itself, not one that reads the archive too.
        archive: of this log, before it lost its end.
        on_progress: told from time to time how many records were held against the log, of how many.
        key: signs the manifest.

    Returns:
        The partitions where they differed.

    Raises:
        ResourceNotFoundError: there is no archive.
        ValidationError: it is of another log: the two have no record in common.
        ResourceInUseError: an archiver has written meanwhile.
        UnavailableError: log or archive cannot be used, or a segment is not whole.
    """
    place = archive.place
    stored = await place.read(MANIFEST_NAME)
    if stored is None:
        raise ResourceNotFoundError(
            f"there is no archive at {place.url}; give the address of one",
            field="archive",
            value=place.url,
        )
    manifest = unpack_manifest(stored.content, place.url)
    check_signer(manifest, key, place.url)
    differing = await _differing(log, archive, manifest)
    joined: list[Joined] = []
    total = sum(manifest.end(partition) - first for partition, first in differing.items())
    done = 0
    for partition, first in differing.items():
        lost = manifest.end(partition) - first
        appended = await _append_lost(log, archive, manifest, partition, first)
        manifest = await _cut(archive, manifest, partition, first)
        joined.append(Joined(partition, first, lost, appended))
        done += lost
        on_progress(done, total)
    if joined:
        signer = None if key is None else key.public_key().public_bytes_raw().hex()
        manifest = replace(manifest, made_at=datetime.now(UTC), signed_by=signer)
        await place.replace(MANIFEST_NAME, pack_manifest(manifest, key), stored)
    return joined


async def _differing(log: Log, archive: Archive, manifest: Manifest) -> dict[Partition, int]:
    """Return of each partition where log and archive differ first, if they do.

    Raises:
        ValidationError: they have nothing in common.
    """
    check_partitions(log, manifest, archive.place.url)
    bounds = await log.bounds(manifest.partitions)
    found: dict[Partition, int] = {}
    is_related = not manifest.records
    for partition, segments in sorted(manifest.segments.items()):
        first = await _first_difference(log, archive, (partition, segments), bounds[partition])
        if first is not None:
            found[partition] = first
        same_to = manifest.end(partition) if first is None else first
        is_related = is_related or same_to > bounds[partition][0]
    if not is_related:
        raise other_log(archive.place.url, "the two have no record in common")
    return found


async def _first_difference(
    log: Log,
    archive: Archive,
    archived: tuple[Partition, Sequence[Segment]],
    bounds: tuple[int, int],
) -> int | None:
    """Return the first archived offset whose record the log does not have; None if it has all."""
    partition, segments = archived
    start, end = bounds

    async def is_same(segment: Segment) -> bool:
        if segment.end <= start:
            return True
        if segment.end > end:
            return False
        (record,) = await log.read_at(partition, [segment.end - 1])
        return (record.at_us, hashlib.sha256(record.value).hexdigest()) == (
            segment.last_at_us,
            segment.last_sha256,
        )

    # What the log has released is the archive's alone. From where they differ on, all do.
    low, high = 0, len(segments)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if await is_same(segments[middle]) else (low, middle)
    if low == len(segments):
        return None
    segment = segments[low]
    records = await _read(archive, partition, segment)
    position = min(max(segment.start, start), end)
    until = min(segment.end, end)
    async with contextlib.aclosing(records_between(log, partition, position, until)) as there:
        async for record in there:
            if record != records[record.offset - segment.start]:
                return record.offset
    return max(until, segment.start)


async def _read(archive: Archive, partition: Partition, segment: Segment) -> list[LogRecord]:
    try:
        return await archive.read_segment(partition, segment)
    except ValueError as exc:
        name = segment.name_in(partition)
        raise UnavailableError(
            f"{name} in the archive at {archive.place.url} {exc}; the archive is as it was: put an "
            "untouched copy of it there, or begin a new archive",
            field="archive",
            value=name,
        ) from exc


async def _archived_from(
    archive: Archive, manifest: Manifest, partition: Partition, first: int
) -> AsyncGenerator[LogRecord]:
    """Yield the archived records of a partition from an offset on; keeps a segment in memory."""
    for segment in manifest.segments[partition]:
        if segment.end > first:
            records = await _read(archive, partition, segment)
            for record in records[max(first - segment.start, 0) :]:
                yield record


async def _append_lost(
    log: Log, archive: Archive, manifest: Manifest, partition: Partition, first: int
) -> int:
    """Append what the log has nowhere from an offset on; return how many records that were."""
    digests: set[bytes] = set()
    async for record in _archived_from(archive, manifest, partition, first):
        digests.add(hashlib.sha256(record.value).digest())
    end = (await log.bounds([partition]))[partition][1]
    async with contextlib.aclosing(records_between(log, partition, first, end)) as there:
        async for record in there:
            digests.discard(hashlib.sha256(record.value).digest())
    appended = size = 0
    batch: list[NewRecord] = []
    async for record in _archived_from(archive, manifest, partition, first):
        digest = hashlib.sha256(record.value).digest()
        if digest not in digests:
            continue
        digests.discard(digest)
        batch.append(NewRecord(partition.topic, record.key, record.value))
        size += len(record.value)
        if size > APPEND_BYTES:
            await log.append(batch)
            appended, size, batch = appended + len(batch), 0, []
    if batch:
        await log.append(batch)
    return appended + len(batch)


async def _cut(archive: Archive, manifest: Manifest, partition: Partition, first: int) -> Manifest:
    """Return the manifest of an archive that ends at an offset; write what of a segment stays."""
    kept = [one for one in manifest.segments[partition] if one.end <= first]
    gone = [one for one in manifest.segments[partition] if one.end > first]
    if gone[0].start < first:
        head = (await _read(archive, partition, gone[0]))[: first - gone[0].start]
        chain = bytes.fromhex(kept[-1].chain) if kept else b""
        segment, content = pack_segment(head, extend_chain(chain, head))
        await archive.place.write(segment.name_in(partition), content)
        kept.append(segment)
    at = datetime.now(UTC)
    segments = {**manifest.segments, partition: tuple(kept)}
    if not kept:
        del segments[partition]
    return replace(
        manifest,
        segments=segments,
        superseded=(*manifest.superseded, *(Superseded(partition, one, at) for one in gone)),
    )
