"""Archiving a log: what is planned, what is refused, what is left when it ends early."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
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
from trialog.file_lock import FileLock
from trialog_schemas.errors import ResourceInUseError, UnavailableError, ValidationError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.archive.check import look_over
from trialog_server.archive.manifest import MANIFEST_NAME, SEGMENTS_PREFIX, unpack_manifest
from trialog_server.archive.place import LOCK_NAME, BucketPlace, FolderPlace
from trialog_server.archive.segments import pack_segment, unpack_segment
from trialog_server.archive.write import SEGMENT_BYTES_MAX, archive_log
from trialog_server.log.base import LogRecord, NewRecord, Partition, topic_partitions
from trialog_server.log.memory import MemoryLog
from trialog_server.project.checkpoint import Checkpoint, broken_partitions

if TYPE_CHECKING:
    from pathlib import Path

    from trialog_server.archive.place import Place, Stored

PARTITION = Partition(EVENTS_TOPIC, 1)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind that needs no network."""
    return FolderPlace(tmp_path / "archive") if request.param == "folder" else bucket()


def test_segment_gives_back_records_bit_for_bit() -> None:
    """Any key, any bytes, none at all, and any time come back, as a producer may log them."""
    records = [
        LogRecord(PARTITION, 7, 1_700_000_000_123_456, "0" * 32, bytes(range(256))),
        LogRecord(PARTITION, 8, -1000, "\0ключ\ufffd", b""),
        LogRecord(PARTITION, 9, 0, "", b"\xff" * 70_000),
    ]
    segment, content = pack_segment(records, b"\1" * 32)
    assert unpack_segment(content, PARTITION) == records
    assert (segment.start, segment.end, segment.size) == (7, 10, len(content))
    with pytest.raises(ValueError, match="another partition"):
        unpack_segment(content, Partition(EVENTS_TOPIC, 0))


async def test_archive_holds_what_the_log_holds(place: Place) -> None:
    """Every record is in it with its offset, time and key; its chains are those of the log."""
    log = await filled_log()
    manifest = await archived(log, place)
    found = await all_archived(place)
    assert found == {one: log.stored(one) for one in topic_partitions(log)}
    assert manifest.chains() == chains(log)
    checkpoint = Checkpoint(manifest.made_at, manifest.chains())
    assert await broken_partitions(log, checkpoint, unheard) == []
    sizes = [one.end - one.start for part in manifest.segments.values() for one in part]
    assert max(sizes) == 6
    assert len(await place.sizes(SEGMENTS_PREFIX)) == len(sizes)


async def test_segment_is_closed_before_it_is_too_large() -> None:
    """Large records make a segment full long before it has many."""
    log = MemoryLog(1)
    value = bytes(1_000_000)
    await log.append([NewRecord(EVENTS_TOPIC, "0" * 32, value) for _ in range(20)])
    manifest = await archived(log, bucket(), records_max=1000)
    first, second = manifest.segments[Partition(EVENTS_TOPIC, 0)]
    assert first.end == -(-SEGMENT_BYTES_MAX // len(value))
    assert second.end == 20


async def test_next_run_adds_what_is_new_and_rewrites_nothing(place: Place) -> None:
    """Segments are never changed; a run with nothing new does not touch the manifest either."""
    log = await filled_log()
    before = await archived(log, place)
    names = set(await place.sizes(SEGMENTS_PREFIX))
    stored = await place.read(MANIFEST_NAME)
    again = await archive_log(log, place, chains(log), unheard)
    assert (again.records, again.segments) == (0, 0)
    assert await place.read(MANIFEST_NAME) == stored
    await append_events(log, 9, "more")
    after = await archive_log(log, place, chains(log), unheard)
    assert after.records == 9
    assert names < set(await place.sizes(SEGMENTS_PREFIX))
    for partition, segments in before.segments.items():
        assert after.manifest.segments[partition][: len(segments)] == segments
    assert await all_archived(place) == {one: log.stored(one) for one in topic_partitions(log)}


# K6
@pytest.mark.parametrize("is_gone", [True, False])
async def test_segment_that_is_missing_or_short_is_told_by_the_next_run(
    tmp_path: Path, is_gone: bool
) -> None:
    """By a look at names and sizes alone; nothing is added to a damaged archive."""
    log, place = await filled_log(), FolderPlace(tmp_path)
    manifest = await archived(log, place)
    first, second = (one.name_in(PARTITION) for one in manifest.segments[PARTITION][:2])
    path, stored = tmp_path / second, await place.read(MANIFEST_NAME)
    whole = path.read_bytes()
    path.unlink()
    if not is_gone:
        path.write_bytes(whole[:-1])
    (tmp_path / first).write_bytes(b"")
    await append_events(log, 9, "more")
    with pytest.raises(UnavailableError, match=f"{first} has 0 bytes and had .*, and 1 more are"):
        await archived(log, place)
    assert await place.read(MANIFEST_NAME) == stored
    assert [one.name for one in await look_over(place, manifest)] == [first, second]


async def test_what_a_killed_archiver_left_of_its_manifest_is_removed(tmp_path: Path) -> None:
    """Also where there is nothing new; not while somebody holds the lock, and writes just that."""
    log, place = await filled_log(), FolderPlace(tmp_path)
    await archived(log, place)
    part = tmp_path / f"{MANIFEST_NAME}.part-x"
    part.write_bytes(b"half")
    lock = FileLock(tmp_path / LOCK_NAME)
    assert lock.take_nowait()
    await archived(log, place)
    assert part.exists()
    lock.release()
    await archived(log, place)
    assert not part.exists()


class _Failing(BucketPlace):
    """A bucket that takes so many writes and then none."""

    def __init__(self, place: BucketPlace, writes: int) -> None:
        super().__init__(place._store, place.url)
        self.left = writes

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise UnavailableError("the bucket is full")

    async def write(self, name: str, content: bytes) -> None:
        """Store an object, or fail."""
        self._spend()
        await super().write(name, content)

    async def replace(self, name: str, content: bytes, seen: Stored | None) -> None:
        """Replace an object, or fail."""
        self._spend()
        await super().replace(name, content, seen)


async def test_archive_that_ends_at_any_write_is_whole_and_gone_on_with() -> None:
    """After each number of writes the manifest names whole segments only; the rest is added."""
    log = await filled_log(20)
    everything = {one: log.stored(one) for one in topic_partitions(log)}
    for writes in range(1, 100):
        place = bucket()
        with contextlib.suppress(UnavailableError):
            await archived(log, _Failing(place, writes), records_max=3)
            break
        if await place.read(MANIFEST_NAME) is not None:
            for partition, records in (await all_archived(place)).items():
                assert records == everything[partition][: len(records)]
        await archived(log, place, records_max=3)
        assert await all_archived(place) == everything
    assert writes > 10
    assert await all_archived(place) == everything


async def test_two_archivers_at_once_do_not_both_win(place: Place) -> None:
    """Each whole run either says that it was second, or its records are in the archive."""
    log = await filled_log(60)
    answers = await asyncio.gather(
        *(archived(log, place, records_max=2 + turn) for turn in range(3)), return_exceptions=True
    )
    assert all(isinstance(one, ResourceInUseError) for one in answers if isinstance(one, Exception))
    assert any(isinstance(one, ResourceInUseError) for one in answers)
    await archived(log, place)
    assert await all_archived(place) == {one: log.stored(one) for one in topic_partitions(log)}


async def test_archive_of_another_log_is_refused(place: Place) -> None:
    """Other records, a log that is shorter, other partitions: nothing is added to the archive."""
    log = await filled_log()
    await archived(log, place)
    stored = await place.read(MANIFEST_NAME)
    other = MemoryLog(2)
    await append_events(other, 50, "other")
    await other.append([NewRecord("trialog.catalog.v1", "default", b"other catalog")])
    for wrong, why in (
        (other, "record 0 of trialog.catalog.v1:0 is another one"),
        (await filled_log(partitions=3), "it has 3 partitions, the log 4"),
        (log, "it reaches to .* the log to"),
    ):
        log.stored(PARTITION).pop()
        with pytest.raises(ValidationError, match=f"is of another log: {why}"):
            await archived(wrong, place)
    assert await place.read(MANIFEST_NAME) == stored


async def test_records_that_were_not_applied_so_are_not_archived() -> None:
    """A log that was edited since its records were applied does not come into the archive."""
    log, place = await filled_log(), bucket()
    applied = chains(log)
    partition = max(applied, key=lambda one: applied[one][0])
    stored = log.stored(partition)
    stored[3] = stored[3]._replace(value=b"forged")
    with pytest.raises(ValidationError, match="are not those that the live tables were made of"):
        await archive_log(log, place, applied, unheard)
    # The same where the archive is as far as the tables: nothing has to be read to see it.
    await archived(log, place)
    with pytest.raises(ValidationError, match="are not those that the live tables were made of"):
        await archive_log(log, place, applied, unheard)


async def test_hole_between_archive_and_log_is_said() -> None:
    """What the log has lost before it was archived is in neither; no archive hides that."""
    log, place = await filled_log(), bucket()
    await archived(log, place)
    await append_events(log, 40)
    at = {one: log.end(one) - 2 for one in topic_partitions(log) if one.topic == EVENTS_TOPIC}
    await log.drop_before(at)
    with pytest.raises(UnavailableError, match="what was between is in neither"):
        await archive_log(log, place, {}, unheard)
    with pytest.raises(UnavailableError, match="the archive at memory: ends at 0"):
        await archive_log(log, bucket(), {}, unheard)


async def test_signed_archive_is_gone_on_with_by_its_key_alone(place: Place) -> None:
    """A signature is neither dropped nor replaced; an archive without one may get one."""
    log, key, other = await filled_log(), Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    await archived(log, place)
    for _ in range(2):
        done = await archive_log(log, place, chains(log), unheard, key=key)
        assert done.manifest.signed_by == key.public_key().public_bytes_raw().hex()
        stored = await place.read(MANIFEST_NAME)
        assert stored is not None
        assert unpack_manifest(stored.content, "").signed_by == done.manifest.signed_by
    await append_events(log, 3)
    for wrong in (None, other):
        with pytest.raises(ValidationError, match="give that key with --key"):
            await archive_log(log, place, chains(log), unheard, key=wrong)
    assert (await archive_log(log, place, chains(log), unheard, key=key)).records == 3


async def test_manifest_is_not_written_more_than_the_segments(tmp_path: Path) -> None:
    """All manifests of a run together weigh no more than its segments and two manifests."""

    class Weighing(FolderPlace):
        weight = 0

        async def replace(self, name: str, content: bytes, seen: Stored | None) -> None:
            """Replace an object and weigh it."""
            Weighing.weight += len(content)
            await super().replace(name, content, seen)

    log, place = await filled_log(400, partitions=1), Weighing(tmp_path)
    done = await archive_log(log, place, chains(log), unheard, records_max=2)
    stored = await place.read(MANIFEST_NAME)
    assert stored is not None
    assert done.segments == 201
    assert Weighing.weight <= done.size + 2 * len(stored.content)


async def test_manifest_that_cannot_be_read_stops_the_archiver(place: Place) -> None:
    """What is there and is no manifest is not replaced."""
    log = await filled_log()
    await place.replace(MANIFEST_NAME, b"somebody's notes", None)
    with pytest.raises(ValidationError, match="is no manifest of version 1"):
        await archived(log, place)
    await archived(log, bucket())
    stored = await place.read(MANIFEST_NAME)
    assert stored is not None
    assert stored.content == b"somebody's notes"
    later = orjson.dumps({"statement": {"version": 9}, "signed": None})
    await place.replace(MANIFEST_NAME, later, stored)
    with pytest.raises(ValidationError, match="is of version 9"):
        await archived(log, place)


def test_segment_may_not_be_told_by_its_name_alone() -> None:
    """Two segments from one offset with other records do not share a name."""
    first = LogRecord(PARTITION, 0, 5, "key", b"first")
    one, _ = pack_segment([first], b"\1" * 32)
    other, _ = pack_segment([first._replace(at_us=6)], b"\1" * 32)
    assert one.name_in(PARTITION) != other.name_in(PARTITION)
    assert replace(one, size=1).name_in(PARTITION) == one.name_in(PARTITION)
