"""Writes what the log has and the archive has not, in closed segments; changes nothing in the log.

1. The manifest is read, and held against the log: it must be the one that was archived. Of the
   segments that it names none may be missing, or have another size; what is in them is
   `trialog verify --archive`'s to read.
2. Partition by partition, records are read up to where the log ended at the start. Whenever a
   segment is full it is written, and never changed.
3. The manifest is replaced by one that names the new segments too: at the end, and before that
   whenever the new segments outweigh it, so that all manifests of a run weigh no more than its
   segments.

Killed at any moment, the manifest names whole segments only and the next run goes on behind them.
Segments that no manifest names are left over and do no harm.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_server.archive.check import look_over
from trialog_server.archive.identity import check_follows
from trialog_server.archive.manifest import (
    MANIFEST_NAME,
    Manifest,
    pack_manifest,
    unpack_manifest,
)
from trialog_server.archive.place import changed_meanwhile
from trialog_server.archive.segments import need_pyarrow, pack_segment
from trialog_server.log.base import topic_partitions
from trialog_server.project.decode import extend_chain
from trialog_server.project.log_until import records_between

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from trialog_server.archive.place import Place, Stored
    from trialog_server.log.base import Log, LogRecord, Partition

RECORDS_MAX = 50_000
"""Records of a segment, however small they are."""

SEGMENT_BYTES_MAX = 16_777_216
"""Bytes of a segment's values: a writer and a reader have about two segments in memory."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What an archiver came to: the manifest, and what it has added to it."""

    manifest: Manifest
    records: int
    segments: int
    size: int


async def archive_log(
    log: Log,
    place: Place,
    applied: Mapping[Partition, tuple[int, str]],
    on_progress: Callable[[int, int], None],
    *,
    key: Ed25519PrivateKey | None = None,
    records_max: int = RECORDS_MAX,
) -> Archived:
    """Bring an archive to where the log ends now.

    Args:
        log: what is archived.
        place: where to; empty, or an archive of this log.
        applied: of each partition how far the live tables are and their chain there (hex): what
            was applied must be what is archived.
        on_progress: told from time to time how many records were archived, of how many.
        key: signs the manifest.
        records_max: records of a segment.

    Raises:
        ValidationError: the place holds no manifest of this version, or that of another log.
        ResourceInUseError: another archiver has written meanwhile.
        UnavailableError: log or place cannot be used, records are in neither, or segments are not
            what the archive had.
    """
    need_pyarrow()
    await place.tidy(MANIFEST_NAME)
    stored = await place.read(MANIFEST_NAME)
    manifest = Manifest(log.partition_count(topic_partitions(log)[-1].topic))
    if stored is not None:
        manifest = unpack_manifest(stored.content, place.url)
        check_signer(manifest, key, place.url)
        await _check_segments(place, manifest)
    ends = await check_follows(log, manifest, place.url)
    writer = _Writer(place, manifest, stored, key)
    total = sum(ends[one] - manifest.end(one) for one in ends)
    for partition in topic_partitions(log):
        found = _segments(
            log, manifest, (partition, ends[partition]), applied.get(partition), records_max
        )
        async with contextlib.aclosing(found):
            async for records, chain in found:
                await writer.add(partition, records, chain)
                on_progress(writer.records, total)
    await writer.commit()
    return Archived(writer.manifest, writer.records, writer.segments, writer.size)


class _Writer:
    """Adds segments to an archive and names them in its manifest."""

    def __init__(
        self, place: Place, manifest: Manifest, stored: Stored | None, key: Ed25519PrivateKey | None
    ) -> None:
        self.manifest = manifest
        self.records = self.segments = self.size = 0
        self._place = place
        self._stored = stored
        self._key = key
        self._unnamed = 0

    async def add(self, partition: Partition, records: list[LogRecord], chain: bytes) -> None:
        """Write some records as the next segment of their partition."""
        segment, content = pack_segment(records, chain)
        await self._place.write(segment.name_in(partition), content)
        known = self.manifest.segments.get(partition, ())
        self.manifest = replace(
            self.manifest, segments={**self.manifest.segments, partition: (*known, segment)}
        )
        self.records += len(records)
        self.segments += 1
        self.size += len(content)
        self._unnamed += len(content)
        if self._unnamed >= len(self._stored.content if self._stored else b""):
            await self.commit()

    async def commit(self) -> None:
        """Replace the manifest, unless it says already what there is to say, and is signed."""
        signed_by = None if self._key is None else self._key.public_key().public_bytes_raw().hex()
        if self._stored and not self._unnamed and self.manifest.signed_by == signed_by:
            return
        self.manifest = replace(self.manifest, made_at=datetime.now(UTC), signed_by=signed_by)
        content = pack_manifest(self.manifest, self._key)
        await self._place.replace(MANIFEST_NAME, content, self._stored)
        self._stored = await self._place.read(MANIFEST_NAME)
        if self._stored is None or self._stored.content != content:
            raise changed_meanwhile(self._place.url)
        self._unnamed = 0


async def _segments(
    log: Log,
    manifest: Manifest,
    until: tuple[Partition, int],
    applied: tuple[int, str] | None,
    records_max: int,
) -> AsyncGenerator[tuple[list[LogRecord], bytes]]:
    """Yield the records of the next segments of a partition, each with the chain at its end."""
    partition, end = until
    chain, position = manifest.chain(partition), manifest.end(partition)
    _check_chain(partition, position, chain, applied)
    waiting: list[LogRecord] = []
    size = 0
    async with contextlib.aclosing(records_between(log, partition, position, end)) as records:
        async for record in records:
            waiting.append(record)
            size += len(record.value)
            chain, position = extend_chain(chain, [record]), record.offset + 1
            _check_chain(partition, position, chain, applied)
            if len(waiting) >= records_max or size >= SEGMENT_BYTES_MAX or position == end:
                yield waiting, chain
                waiting, size = [], 0


def _check_chain(
    partition: Partition, position: int, chain: bytes, applied: tuple[int, str] | None
) -> None:
    if applied is None or applied[0] != position or applied[1] == chain.hex():
        return
    raise ValidationError(
        f"the first {position} records of {partition.topic}:{partition.number} in archive and log "
        f"are not those that the live tables were made of (chain {chain.hex()}, applied was "
        f"{applied[1]}): the archive is of another log, or records were changed; find out with "
        "`trialog verify` before anything is archived",
        field="archive",
        value=chain.hex(),
        limit=applied[1],
    )


async def _check_segments(place: Place, manifest: Manifest) -> None:
    """Refuse to add to an archive that has lost what it had: who archives daily hears it today."""
    found = await look_over(place, manifest)
    if found:
        more = f", and {len(found) - 1} more are not what they were" if len(found) > 1 else ""
        raise UnavailableError(
            f"the archive at {place.url} is damaged: {found[0].name} {found[0].reason}{more}; "
            "nothing was archived: put untouched copies there (`trialog verify --archive` names "
            "all), or begin a new archive, which takes what the log still has",
            field="archive",
            value=found[0].name,
        )


def check_signer(manifest: Manifest, key: Ed25519PrivateKey | None, url: str) -> None:
    """Refuse to drop a signature, or to put another in its place."""
    signer = None if key is None else key.public_key().public_bytes_raw().hex()
    if manifest.signed_by not in {None, signer}:
        raise ValidationError(
            f"the archive at {url} is signed by key {manifest.signed_by}, not by "
            f"{signer or 'none'}; give that key with --key",
            field="key",
            value=signer,
            limit=manifest.signed_by,
        )
