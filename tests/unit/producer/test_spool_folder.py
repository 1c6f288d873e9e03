"""A writer's folder on the disk: who holds it, what it says of itself, how far it is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import META, new_folder
from trialog.spool_ack import Ack
from trialog.spool_facts import CatalogEvent, SpoolMeta
from trialog.spool_folder import SpoolFolder, writer_folders
from trialog_schemas.errors import SpoolError

if TYPE_CHECKING:
    from pathlib import Path

CHAIN = bytes(range(32))


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    """A writer's folder in a spool of its own."""
    return new_folder(tmp_path / "spool")


def adopted(path: Path) -> SpoolFolder:
    """Return the folder of a dead writer."""
    found = SpoolFolder.adopt(path)
    assert found is not None
    return found


def ack(number: int) -> Ack:
    """Return an ack that differs from those of other numbers in every field."""
    return Ack(number, 16 * number, number + 1, CHAIN, number % 2 == 0, number + 2, number + 3)


def test_folder_is_named_after_its_writer_and_for_its_user_alone(folder: SpoolFolder) -> None:
    """What programs log is nobody else's business on a shared machine."""
    assert folder.path.name == folder.meta.writer_id
    assert folder.path.stat().st_mode & 0o077 == 0


def test_folder_that_cannot_be_made_names_path_reason_and_remedy(tmp_path: Path) -> None:
    """A file stands where the spool's folder should be."""
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(SpoolError, match=r"Not a directory; give another with TRIALOG_SPOOL_DIR"):
        new_folder(tmp_path / "spool")


def test_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """A second writer of one id is refused and leaves the first alone."""
    first = new_folder(tmp_path)
    (first.path / "000001.spool").write_bytes(b"x")
    with pytest.raises(SpoolError, match="cannot be made"):
        new_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [first.path.name]
    assert first.segments() == [1]


@pytest.mark.parametrize("catalog", [None, CatalogEvent(77, '{"run_name":"é"}')])
def test_facts_come_back_as_they_were(catalog: CatalogEvent | None) -> None:
    """An adopter knows whose stream it is and what the catalog still has to be told."""
    meta = replace(META, kafka="a:1", catalog=catalog)
    assert SpoolMeta.from_json(meta.to_json()) == meta


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"{}", b'{"catalog": null}', b'{"catalog": {"x": 1}}', b"\xff"],
)
def test_facts_that_are_damaged_are_an_error_and_never_a_guess(raw: bytes) -> None:
    """A truncated or foreign file says so, and what becomes of it."""
    with pytest.raises(SpoolError, match=r"meta\.json cannot be read .*; it stays for you"):
        SpoolMeta.from_json(raw)


def test_facts_of_another_version_are_left_to_its_release() -> None:
    """The message names both versions."""
    raw = replace(META, version=99).to_json()
    with pytest.raises(SpoolError, match="of version 99, known is 1; sync it with the release"):
        SpoolMeta.from_json(raw)


def test_folder_is_adopted_when_its_process_has_let_go(folder: SpoolFolder) -> None:
    """One at a time."""
    assert SpoolFolder.adopt(folder.path) is None
    folder.release()
    found = adopted(folder.path)
    assert found.meta == folder.meta
    assert SpoolFolder.adopt(folder.path) is None


def test_folder_that_is_not_there_is_not_adopted(tmp_path: Path) -> None:
    """Somebody else has removed it; nothing is made in its place."""
    assert SpoolFolder.adopt(tmp_path / "gone") is None
    assert list(tmp_path.iterdir()) == []


def test_ack_of_a_new_folder_is_none(folder: SpoolFolder) -> None:
    """Its room is there from the start, and says nothing."""
    assert (folder.path / "ack").stat().st_size > 0
    assert folder.read_ack() is None


def test_ack_is_the_last_one_written(folder: SpoolFolder) -> None:
    """For the process itself and for its adopter, whichever slot it is in."""
    for number in range(1, 6):
        folder.write_ack(ack(number))
        assert folder.read_ack() == ack(number)
    folder.release()
    assert adopted(folder.path).read_ack() == ack(5)


def test_ack_whose_write_was_torn_is_the_one_before(folder: SpoolFolder) -> None:
    """At each byte at which the machine may have stopped, one of the two is read."""
    folder.write_ack(ack(1))
    folder.write_ack(ack(2))
    before = (folder.path / "ack").read_bytes()
    folder.write_ack(ack(3))
    after = (folder.path / "ack").read_bytes()
    found = []
    for torn in range(len(after) + 1):
        (folder.path / "ack").write_bytes(after[:torn] + before[torn:])
        found.append(folder.read_ack())
    assert set(found) == {ack(2), ack(3)}
    assert (found[0], found[-1]) == (ack(2), ack(3))


def test_ack_after_adoption_goes_on_counting(folder: SpoolFolder) -> None:
    """An adopter's first note is newer than all of the dead process's."""
    for number in range(1, 4):
        folder.write_ack(ack(number))
    folder.release()
    second = adopted(folder.path)
    assert second.read_ack() == ack(3)
    second.write_ack(ack(4))
    second.release()
    assert adopted(folder.path).read_ack() == ack(4)


def test_segments_are_found_in_order_and_strangers_are_not(folder: SpoolFolder) -> None:
    """Only files that we name so are segments."""
    for name in ("000010.spool", "000002.spool", "1000000.spool", "x.spool", "000003.other"):
        (folder.path / name).write_bytes(b"")
    assert folder.segments() == [2, 10, 1_000_000]


def test_segment_is_read_in_whole_words_within_its_bounds(folder: SpoolFolder) -> None:
    """A file that ends amid a word, or before the place asked for, gives what is whole."""
    folder.segment_path(1).write_bytes(bytes(range(30)))
    assert folder.read_segment(1, 0) == bytes(range(24))
    assert folder.read_segment(1, 8, 20) == bytes(range(8, 16))
    assert folder.read_segment(1, 24) == b""
    assert folder.read_segment(1, 400, 800) == b""


def test_blob_is_kept_once_whatever_its_second_storing_brings(folder: SpoolFolder) -> None:
    """It is named by its digest; a half-written one has no name yet."""
    folder.store_blob("aa", b"content")
    folder.store_blob("aa", b"never written")
    (folder.path / "blobs" / ".bb").write_bytes(b"half")
    assert folder.blob_names() == ["aa"]
    assert folder.read_blob("aa") == b"content"
    assert folder.read_blob("bb") is None
    folder.delete_blob("aa")
    folder.delete_blob("aa")
    assert folder.blob_names() == []


def test_folder_without_artifacts_has_none(folder: SpoolFolder) -> None:
    """Most runs log none, and need no folder for them."""
    assert folder.blob_names() == []
    assert not (folder.path / "blobs").exists()


def test_damaged_segment_is_kept_beyond_its_deletion(folder: SpoolFolder) -> None:
    """Once, as it was found; a segment that is gone is no error."""
    folder.segment_path(1).write_bytes(b"damaged")
    assert not folder.has_refused
    folder.keep_segment(1)
    folder.delete_segment(1)
    folder.keep_segment(1)
    folder.keep_segment(2)
    assert (folder.path / "refused" / "000001.spool").read_bytes() == b"damaged"
    assert folder.has_refused


def test_disk_sync_takes_segments_facts_and_artifacts_and_what_is_gone(
    folder: SpoolFolder,
) -> None:
    """Segments may be deleted, and artifacts uploaded, while the disk is still at work."""
    folder.segment_path(1).write_bytes(b"x")
    folder.store_blob("aa", b"content")
    folder.sync_to_disk([1, 2, 3])
    folder.delete_segment(1)
    folder.delete_blob("aa")
    folder.sync_to_disk([1])
    (folder.path / "meta.json").unlink()
    folder.sync_to_disk([])
    folder.sync_ack_to_disk()


def test_folder_that_is_removed_is_gone_and_its_lock_free(folder: SpoolFolder) -> None:
    """Nothing that looks like a spool stays."""
    folder.write_ack(ack(1))
    folder.store_blob("aa", b"content")
    folder.remove()
    assert list(folder.path.parent.iterdir()) == []


def test_writers_are_found_oldest_first_and_unborn_ones_are_not(tmp_path: Path) -> None:
    """Folders whose name begins with a dot are being made or removed; files are no folders."""
    for name in ("02", "01", ".03", ".removed-04"):
        (tmp_path / name).mkdir()
    (tmp_path / "05").write_bytes(b"")
    assert [path.name for path in writer_folders(tmp_path)] == ["01", "02"]
    assert list(writer_folders(tmp_path / "gone")) == []
    assert list(writer_folders(tmp_path / "05")) == []


def test_folder_whose_facts_cannot_be_opened_says_so(folder: SpoolFolder) -> None:
    """It is named with the system's reason and with what to do, and let go of."""
    folder.release()
    (folder.path / "meta.json").unlink()
    (folder.path / "meta.json").mkdir()
    for _ in range(2):
        with pytest.raises(SpoolError, match=r"cannot be opened: Is a directory; let this user"):
            SpoolFolder.adopt(folder.path)
