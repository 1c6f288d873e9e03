"""A log whose beginning is in an archive: read as one, checked, and let go only when it is safe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.services.blocking import run_blocking
from tests.unit.consumer.archive_cases import (
    append_events,
    archived,
    bucket,
    filled_log,
    unheard,
)
from trialog_schemas.errors import (
    ResourceInUseError,
    ResourceNotFoundError,
    UnavailableError,
    ValidationError,
)
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.archive.archived_log import ArchivedLog
from trialog_server.archive.check import check_archive
from trialog_server.archive.manifest import MANIFEST_NAME, Manifest, pack_manifest
from trialog_server.archive.reading import Archive, SegmentDamaged
from trialog_server.archive.release import release_log
from trialog_server.archive.restore import restore
from trialog_server.archive.segments import pack_segment
from trialog_server.log.base import OffsetMissing, Partition, topic_partitions
from trialog_server.log.moments import find_moment, parse_moment
from trialog_server.project.decode import extend_chain
from trialog_server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trialog_server.archive.manifest import Segment
    from trialog_server.archive.place import Place
    from trialog_server.log.base import Log, LogReader, LogRecord
    from trialog_server.log.memory import MemoryLog

PARTITION = Partition(EVENTS_TOPIC, 0)


async def read_all(log: Log, starts: Mapping[Partition, int]) -> dict[Partition, list[LogRecord]]:
    """Return everything from some offsets on."""
    found: dict[Partition, list[LogRecord]] = {one: [] for one in starts}
    reader = log.reader()
    reader.assign(starts)
    while batches := await fetched(reader):
        for partition, records in batches.items():
            found[partition] += records
    await reader.close()
    return found


async def fetched(reader: LogReader) -> dict[Partition, list[LogRecord]]:
    """Return what a reader has now."""
    return await reader.fetch(bytes_max=40, wait_s=0)


async def released(log: MemoryLog, place: Place) -> dict[Partition, int]:
    """Release all that is archived, as applied by live tables; return where the log starts."""
    applied = {one: log.end(one) for one in all_of(log)}
    return await release_log(log, Archive(place), applied, unheard)


def all_of(log: Log) -> list[Partition]:
    """Return every partition."""
    return topic_partitions(log)


async def test_archive_and_tail_are_read_as_one_log() -> None:
    """From any offset: the same records, whether the archive, the log or both have them."""
    log, place = await filled_log(), bucket()
    await archived(log, place)
    await append_events(log, 10, "tail")
    whole = {one: list(log.stored(one)) for one in all_of(log)}
    reading = ArchivedLog(log, Archive(place))
    assert await read_all(reading, dict.fromkeys(whole, 0)) == whole
    assert (await released(log, place))[PARTITION] > 10
    assert await reading.bounds(all_of(log)) == {
        one: (0, len(records)) for one, records in whole.items()
    }
    for start in range(len(whole[PARTITION]) + 1):
        assert (await read_all(reading, {PARTITION: start}))[PARTITION] == whole[PARTITION][start:]
    assert await read_all(reading, dict.fromkeys(whole, 0)) == whole
    offsets = [len(whole[PARTITION]) - 1, 0, 3, 3]
    found = await reading.read_at(PARTITION, offsets)
    assert found == [whole[PARTITION][offset] for offset in sorted(set(offsets))]
    with pytest.raises(OffsetMissing):
        await reading.read_at(PARTITION, [0, len(whole[PARTITION])])


async def test_reader_goes_on_when_the_log_drops_what_it_was_about_to_read() -> None:
    """A release under a reader is no loss: it finds the rest in the archive."""
    log, place = await filled_log(), bucket()
    await archived(log, place)
    whole = list(log.stored(PARTITION))
    reading = ArchivedLog(log, Archive(place))
    reader = reading.reader()
    reader.assign({PARTITION: 0})
    found = (await fetched(reader))[PARTITION]
    await released(log, place)
    while batches := await fetched(reader):
        found += batches[PARTITION]
    assert found == whole


async def test_record_that_neither_has_is_missing_until_the_archive_has_it() -> None:
    """Without an archive the loss is said; one that appears later is seen without a restart."""
    log, place = await filled_log(), bucket()
    kept, copy = list(log.stored(PARTITION)), await filled_log()
    for partition in all_of(log):
        copy.stored(partition)[:] = log.stored(partition)
    reading = ArchivedLog(log, Archive(place))
    await log.drop_before({PARTITION: 8})
    reader = reading.reader()
    reader.assign({PARTITION: 2})
    with pytest.raises(
        OffsetMissing, match="give the archive that has it with --archive or TRIALOG_ARCHIVE"
    ) as caught:
        await fetched(reader)
    assert (caught.value.offset, caught.value.start) == (2, 8)
    assert (await reading.bounds([PARTITION]))[PARTITION][0] == 8
    await archived(copy, place)
    assert (await fetched(reader))[PARTITION][0] == kept[2]


async def test_release_keeps_what_is_not_archived_applied_and_the_same() -> None:
    """Whole segments go that the tables have applied; never a record that is nowhere else."""
    log, place = await filled_log(), bucket()
    manifest = await archived(log, place)
    ends = [one.end for one in manifest.segments[PARTITION]]
    applied = {PARTITION: ends[1] + 1}
    starts = await release_log(log, Archive(place), applied, unheard)
    assert starts == {one: ends[1] - 1 if one == PARTITION else 0 for one in all_of(log)}
    await append_events(log, 10, "not archived")
    starts = await released(log, place)
    assert starts == {one: manifest.end(one) - 1 for one in all_of(log)}
    assert await released(log, place) == starts


# K6
async def test_release_of_a_log_that_differs_from_its_archive_removes_nothing() -> None:
    """One record with another time in the log stays there, and so does everything behind it."""
    log, place = await filled_log(), bucket()
    manifest = await archived(log, place)
    stored = log.stored(PARTITION)
    stored[7] = stored[7]._replace(at_us=stored[7].at_us + 1)
    with pytest.raises(ValidationError, match=r"record 7 of trialog.events.v1:0 is another one"):
        await released(log, place)
    assert log.start(PARTITION) == manifest.segments[PARTITION][0].end - 1 == 5


async def test_release_reads_the_archive_again_before_anything_goes() -> None:
    """A segment that rotted since it was written keeps its records in the log."""
    log, place = await filled_log(), bucket()
    manifest = await archived(log, place)
    name = manifest.segments[PARTITION][0].name_in(PARTITION)
    await place.write(name, b"rotten")
    with pytest.raises(UnavailableError, match="nothing that it holds is removed from the log"):
        await released(log, place)
    assert log.start(PARTITION) == 0


async def content_of(place: Place, name: str) -> bytes:
    """Return the bytes of an object that is there."""
    stored = await place.read(name)
    assert stored is not None
    return stored.content


async def edit_byte(place: Place, manifest: Manifest) -> None:
    """Change one bit of a record."""
    name = manifest.segments[PARTITION][1].name_in(PARTITION)
    content = bytearray(await content_of(place, name))
    content[len(content) // 3] ^= 1
    await place.write(name, bytes(content))


async def truncate(place: Place, manifest: Manifest) -> None:
    """Take the last byte away."""
    name = manifest.segments[PARTITION][1].name_in(PARTITION)
    await place.write(name, (await content_of(place, name))[:-1])


async def swap(place: Place, manifest: Manifest) -> None:
    """Put a neighbour in the place of a segment."""
    first, second = manifest.segments[PARTITION][:2]
    content = await content_of(place, first.name_in(PARTITION))
    await place.write(second.name_in(PARTITION), content)


async def forge(
    place: Place, manifest: Manifest, edit: Callable[[list[LogRecord]], list[LogRecord]]
) -> None:
    """Write a segment anew, and the manifest so that it fits that file and nothing else."""
    first, second = manifest.segments[PARTITION][:2]
    records = edit(await Archive(place).read_segment(PARTITION, second))
    chain = extend_chain(bytes.fromhex(first.chain), records)
    forged, content = pack_segment(records, chain)
    await place.write(forged.name_in(PARTITION), content)
    await renamed(place, manifest, replace(forged, start=second.start, end=second.end))


async def renamed(place: Place, manifest: Manifest, segment: Segment) -> None:
    """Have the manifest name another second segment."""
    stored = await place.read(MANIFEST_NAME)
    segments = list(manifest.segments[PARTITION])
    segments[1] = segment
    forged = replace(manifest, segments={**manifest.segments, PARTITION: tuple(segments)})
    await place.replace(MANIFEST_NAME, pack_manifest(forged, None), stored)


async def change_record(place: Place, manifest: Manifest) -> None:
    """Forge a record's value: the chain of the next segment does not follow."""
    await forge(place, manifest, lambda all_: [all_[0]._replace(value=b"forged"), *all_[1:]])


async def drop_record(place: Place, manifest: Manifest) -> None:
    """Leave a record out."""
    await forge(place, manifest, lambda all_: all_[:-1])


async def swap_records(place: Place, manifest: Manifest) -> None:
    """Let two records change their places, offsets included."""
    await forge(
        place,
        manifest,
        lambda all_: [
            all_[1]._replace(offset=all_[0].offset),
            all_[0]._replace(offset=all_[1].offset),
            *all_[2:],
        ],
    )


async def change_chain(place: Place, manifest: Manifest) -> None:
    """Have the manifest tell another chain."""
    await renamed(place, manifest, replace(manifest.segments[PARTITION][1], chain="ab" * 32))


async def change_time(place: Place, manifest: Manifest) -> None:
    """Have the manifest tell another time."""
    await renamed(place, manifest, replace(manifest.segments[PARTITION][1], last_at_us=5))


EDITS: dict[str, tuple[Callable[[Place, Manifest], object], int, str]] = {
    "a byte": (edit_byte, 1, "was changed: its sha256 is"),
    "the end": (truncate, 1, "bytes and had"),
    "a neighbour": (swap, 1, "bytes and had|was changed"),
    "a forged record": (change_record, 2, "does not follow the one before"),
    "a record left out": (drop_record, 1, "does not hold the records 6 to 11"),
    "two records swapped": (swap_records, 2, "does not follow the one before"),
    "the manifest's chain": (change_chain, 1, "does not follow the one before"),
    "the manifest's time": (change_time, 1, "other records at its ends"),
}


# K6
@pytest.mark.parametrize("what", EDITS)
async def test_edit_of_an_archive_is_found_where_it_was_made(what: str) -> None:
    """Each planted edit is found and located; what was not touched is not named."""
    log, place = await filled_log(), bucket()
    manifest = await archived(log, place)
    archive = Archive(place)
    assert await check_archive(archive, manifest, unheard) == []
    edit, number, reason = EDITS[what]
    await edit(place, manifest)  # type: ignore[misc]  # each is a coroutine function
    found = await check_archive(archive, await archive.manifest(), unheard)
    expected = manifest.segments[PARTITION][number]
    assert (found[0].partition, found[0].start) == (PARTITION, expected.start)
    assert {one.partition for one in found} == {PARTITION}
    assert len(found) == (2 if what in {"the manifest's chain", "a record left out"} else 1)
    assert any(part in found[0].reason for part in reason.split("|")), found


# K6
async def test_missing_segment_is_found_and_stops_its_partition_alone() -> None:
    """A file that is gone is named; whoever reads there is told, others read on."""
    log, place = await filled_log(), bucket()
    manifest = await archived(log, place)
    gone = manifest.segments[PARTITION][1]
    lost = bucket()
    for name in await place.sizes(""):
        if name != gone.name_in(PARTITION):
            await lost.write(name, await content_of(place, name))
    (found,) = await check_archive(Archive(lost), manifest, unheard)
    assert (found.start, found.end, found.reason) == (gone.start, gone.end, "is missing")
    await released(log, place)
    reading = ArchivedLog(log, Archive(lost))
    assert len(await reading.read_at(PARTITION, [0, gone.start - 1])) == 2
    with pytest.raises(SegmentDamaged, match=f"{gone.name_in(PARTITION)} is missing"):
        await reading.read_at(PARTITION, [gone.start])
    reader = reading.reader()
    reader.assign({PARTITION: gone.start})
    with pytest.raises(OffsetMissing, match="put an untouched copy of it there") as caught:
        await fetched(reader)
    assert caught.value.partition == PARTITION
    with pytest.raises(UnavailableError, match="put an untouched copy of it there"):
        await find_moment(reading, parse_moment(f"events:0:{gone.start}", 2**60))


async def test_archive_of_another_log_is_not_read_for_this_one() -> None:
    """A wrong address brings no foreign records into the tables: why is said."""
    log, place, other = await filled_log(), bucket(), bucket()
    await archived(log, place)
    await released(log, place)
    await archived(await filled_log(), other)
    reading = ArchivedLog(log, Archive(other))
    for asked in (reading.bounds(all_of(log)), reading.read_at(PARTITION, [0])):
        with pytest.raises(UnavailableError, match="is of another log"):
            await asked


async def test_manifest_that_rots_under_a_reader_is_no_defect_of_ours() -> None:
    """A service that reads an archive waits until it is mended, as for a store that is away."""
    log, place = await filled_log(), bucket()
    await archived(log, place)
    await released(log, place)
    stored = await place.read(MANIFEST_NAME)
    await place.replace(MANIFEST_NAME, b"{}", stored)
    reading = ArchivedLog(log, Archive(place))
    with pytest.raises(UnavailableError, match="is no manifest of version 1"):
        await reading.read_at(PARTITION, [0])


def test_restore_replaces_no_service(tmp_path: Path) -> None:
    """A folder with data is refused before anything is done in it."""
    (tmp_path / "postgres").mkdir()
    restoring = restore(
        ServerSettings(data_dir=tmp_path), Archive(bucket()), Manifest(1), (unheard, unheard)
    )
    with pytest.raises(ResourceInUseError, match="holds a service's data already"):
        run_blocking(restoring)
    assert list(tmp_path.iterdir()) == [tmp_path / "postgres"]


async def test_place_without_an_archive_says_so() -> None:
    """A mistyped address is no empty archive for who wants to read one."""
    with pytest.raises(ResourceNotFoundError, match="there is no archive at memory:"):
        await Archive(bucket()).manifest()


@pytest.mark.parametrize(("end", "there"), [(0, "nothing"), (3, "0 to 2")])
def test_missing_offset_is_told_with_those_that_are_there(end: int, there: str) -> None:
    """Of an empty partition as of another one."""
    message = OffsetMissing(Partition(EVENTS_TOPIC, 1), 7, 0, end).message
    assert f"offset 7 of {EVENTS_TOPIC} partition 1 is missing, the log has {there}; " in message
