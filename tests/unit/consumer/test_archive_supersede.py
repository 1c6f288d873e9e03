"""A log that has lost its end and its archive: what is appended, what is named, what stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.consumer.archive_cases import (
    all_archived,
    append_events,
    archived,
    bucket,
    chains,
    filled_log,
    unheard,
)
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError, ValidationError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.archive.check import check_archive, left_over, look_over
from trialog_server.archive.manifest import MANIFEST_NAME, Superseded, unpack_manifest
from trialog_server.archive.place import BucketPlace, FolderPlace
from trialog_server.archive.reading import Archive
from trialog_server.archive.supersede import APPEND_BYTES, Joined, supersede
from trialog_server.archive.write import archive_log
from trialog_server.log.base import LogRecord, NewRecord, Partition, topic_partitions
from trialog_server.log.memory import MemoryLog

if TYPE_CHECKING:
    from pathlib import Path

    from trialog_server.archive.manifest import Manifest
    from trialog_server.archive.place import Place, Stored

PLACE = Partition(EVENTS_TOPIC, 0)


async def manifest_of(place: Place) -> Manifest:
    """Return an archive's manifest as it is stored."""
    stored = await place.read(MANIFEST_NAME)
    assert stored is not None
    return unpack_manifest(stored.content, place.url)


class Full(BucketPlace):
    """A bucket whose manifest cannot be replaced."""

    async def replace(self, name: str, content: bytes, seen: Stored | None) -> None:
        """Fail."""
        raise UnavailableError(f"{len(content)} bytes for {name}: the bucket is full ({seen})")


async def lost(count: int, events: int = 20) -> tuple[MemoryLog, BucketPlace, list[bytes]]:
    """Return a log that was archived and then lost records, its archive, and what it lost."""
    log, place = await filled_log(events, partitions=1), bucket()
    await archived(log, place)
    stored = log.stored(PLACE)
    gone = [one.value for one in stored[-count:]]
    del stored[-count:]
    return log, place, gone


# K4 K6
@pytest.mark.parametrize("taken", [0, 1, 7, 30])
@pytest.mark.parametrize("count", [1, 2, 5, 6, 13, 20])
async def test_log_is_given_what_only_the_archive_has(count: int, taken: int) -> None:
    """Whatever stands there by now; then the archive is the log's again, and its files all stay."""
    log, place, gone = await lost(count)
    before = await manifest_of(place)
    await append_events(log, taken, "other")
    there = [one.value for one in log.stored(PLACE)]
    (joined,) = await supersede(log, Archive(place), unheard)
    assert joined == Joined(PLACE, 20 - count, count, count)
    assert [one.value for one in log.stored(PLACE)] == [*there, *gone]
    after = await manifest_of(place)
    assert after.end(PLACE) == 20 - count
    assert [one.segment for one in after.superseded] == [
        one for one in before.segments[PLACE] if one.end > 20 - count
    ]
    assert (await archived(log, place)).superseded == after.superseded
    assert await all_archived(place) == {one: log.stored(one) for one in topic_partitions(log)}
    manifest = await manifest_of(place)
    assert await check_archive(Archive(place), manifest, unheard) == []
    assert await look_over(place, manifest) == []
    assert await left_over(Archive(place), manifest) == set()
    assert await supersede(log, Archive(place), unheard) == []


# K4
async def test_more_than_is_appended_at_once_is_appended_in_order() -> None:
    """Batch by batch: not all that was lost is in memory."""
    log, place = MemoryLog(1), bucket()
    values = [bytes([number]) * (APPEND_BYTES // 5) for number in range(8)]
    await log.append([NewRecord(EVENTS_TOPIC, "run", value) for value in (b"kept", *values)])
    await archived(log, place)
    del log.stored(PLACE)[1:]
    (joined,) = await supersede(log, Archive(place), unheard)
    assert (joined.superseded, joined.appended) == (8, 8)
    assert [one.value for one in log.stored(PLACE)] == [b"kept", *values]


# K4
async def test_what_its_writers_have_sent_again_is_not_appended_twice() -> None:
    """Nor is what an earlier run appended that was killed before it wrote the manifest."""
    log, place, gone = await lost(5)
    await append_events(log, 3, "other")
    again = [one for one in await all_archived_of(place) if one.value in gone[2:4]]
    await log.append([NewRecord(EVENTS_TOPIC, one.key, one.value) for one in again])
    (joined,) = await supersede(log, Archive(place), unheard)
    assert (joined.superseded, joined.appended) == (5, 3)
    assert {one.value for one in log.stored(PLACE)} >= set(gone)
    assert len(log.stored(PLACE)) == 15 + 3 + 5


async def all_archived_of(place: Place) -> list[LogRecord]:
    """Return the archived records of the one partition of events."""
    return (await all_archived(place))[PLACE]


# K4
async def test_log_that_is_killed_amid_it_is_given_each_record_once() -> None:
    """The manifest is the last thing that is written; the next run finds what was appended."""
    log, place, gone = await lost(5)
    full = Full(place._store, place.url)
    with pytest.raises(UnavailableError):
        await supersede(log, Archive(full), unheard)
    (joined,) = await supersede(log, Archive(place), unheard)
    assert (joined.superseded, joined.appended) == (5, 0)
    assert [one.value for one in log.stored(PLACE)[15:]] == gone


# K4
async def test_released_log_that_lost_its_end_keeps_its_archived_beginning() -> None:
    """What only the archive has because the log dropped it is not superseded."""
    log, place, gone = await lost(3)
    await log.drop_before({PLACE: 14})
    (joined,) = await supersede(log, Archive(place), unheard)
    assert joined == Joined(PLACE, 17, 3, 3)
    manifest = await manifest_of(place)
    assert (manifest.end(PLACE), manifest.segments[PLACE][0].start) == (17, 0)
    done = await archive_log(log, place, {}, unheard)
    assert done.manifest.end(PLACE) == 20
    assert [one.value for one in await all_archived_of(place)][-3:] == gone


# K6
async def test_superseded_segments_are_signed_for_and_checked(tmp_path: Path) -> None:
    """By the archive's key alone; one that is edited or gone is found like any other."""
    log, place = await filled_log(20, partitions=1), FolderPlace(tmp_path)
    key = Ed25519PrivateKey.generate()
    await archive_log(log, place, chains(log), unheard, key=key, records_max=6)
    del log.stored(PLACE)[-3:]
    with pytest.raises(ValidationError, match="give that key with --key"):
        await supersede(log, Archive(place), unheard)
    assert await supersede(log, Archive(place), unheard, key=key)
    manifest = await manifest_of(place)
    assert manifest.signed_by == key.public_key().public_bytes_raw().hex()
    stored = await place.read(MANIFEST_NAME)
    assert stored is not None
    with pytest.raises(ValidationError, match="was changed after it was signed"):
        unpack_manifest(stored.content.replace(b'"end":20', b'"end":19'), "")
    gone = manifest.superseded[0]
    (tmp_path / gone.segment.name_in(gone.partition)).write_bytes(b"edited")
    (found,) = await check_archive(Archive(place), manifest, unheard)
    assert found.reason.endswith("(superseded, no log has it any more)")
    with pytest.raises(UnavailableError, match="is damaged"):
        await archive_log(log, place, {}, unheard, key=key)


# K4
async def test_archive_that_has_nothing_in_common_with_the_log_is_another_ones(
    tmp_path: Path,
) -> None:
    """A mistyped address must not have another log's records appended to this one."""
    log, place, _ = await lost(5)
    other = MemoryLog(1)
    await append_events(other, 9, "another")
    before = await place.read(MANIFEST_NAME)
    with pytest.raises(ValidationError, match="no record in common"):
        await supersede(other, Archive(place), unheard)
    with pytest.raises(ValidationError, match="partitions, the log"):
        await supersede(MemoryLog(3), Archive(place), unheard)
    with pytest.raises(ResourceNotFoundError):
        await supersede(log, Archive(FolderPlace(tmp_path / "none")), unheard)
    assert (len(other.stored(PLACE)), await place.read(MANIFEST_NAME)) == (9, before)


# K4
async def test_archived_segment_that_is_damaged_changes_nothing(tmp_path: Path) -> None:
    """The records that the log lacks cannot be read: it is said which file it takes."""
    log, place = await filled_log(20, partitions=1), FolderPlace(tmp_path)
    manifest = await archived(log, place)
    del log.stored(PLACE)[-3:]
    last = manifest.segments[PLACE][-1]
    (tmp_path / last.name_in(PLACE)).write_bytes(b"")
    with pytest.raises(UnavailableError, match="the archive is as it was: put an untouched copy"):
        await supersede(log, Archive(place), unheard)
    assert len(log.stored(PLACE)) == 17
    assert (await manifest_of(place)).superseded == ()


async def test_manifest_that_names_nothing_as_superseded_is_of_the_first_version() -> None:
    """Older releases read it; one that does they refuse, by its version."""
    _, place, _ = await lost(1)
    manifest = await manifest_of(place)
    assert b'"version":1' in manifest.statement()
    segment = manifest.segments[PLACE][0]
    more = replace(manifest, superseded=(Superseded(PLACE, segment, datetime.now(UTC)),))
    assert b'"version":2' in more.statement()
