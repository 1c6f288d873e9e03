"""The places of an archive: whole objects, and one winner where two replace the same one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from obstore.store import S3Store

from tests.unit.consumer.archive_cases import bucket
from trialog.file_lock import FileLock
from trialog_schemas.errors import ResourceInUseError, UnavailableError, ValidationError
from trialog_server.archive.place import BucketPlace, FolderPlace, open_place

if TYPE_CHECKING:
    from pathlib import Path

    from trialog_server.archive.place import Place


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind that needs no network."""
    return FolderPlace(tmp_path / "new" / "archive") if request.param == "folder" else bucket()


async def test_object_comes_back_as_it_was_written(place: Place) -> None:
    """What was never written is not there; what was written is, under its name."""
    assert await place.read("a/b.parquet") is None
    assert await place.sizes("a") == {}
    await place.write("a/b.parquet", b"\x00\xff")
    stored = await place.read("a/b.parquet")
    assert stored is not None
    assert stored.content == b"\x00\xff"
    assert set(await place.sizes("a")) == {"a/b.parquet"}


async def test_object_is_replaced_by_who_has_seen_the_newest(place: Place) -> None:
    """Of several that have seen the same, one wins; the others are told and change nothing."""
    answers = await asyncio.gather(
        *(place.replace("manifest.json", f"{number}".encode(), None) for number in range(4)),
        return_exceptions=True,
    )
    assert sum(answer is None for answer in answers) == 1
    assert sum(isinstance(answer, ResourceInUseError) for answer in answers) == 3
    winner = answers.index(None)
    seen = await place.read("manifest.json")
    assert seen is not None
    assert seen.content == f"{winner}".encode()
    await place.replace("manifest.json", b"newer", seen)
    with pytest.raises(ResourceInUseError, match="another `trialog archive` has written"):
        await place.replace("manifest.json", b"late", seen)
    newest = await place.read("manifest.json")
    assert newest is not None
    assert newest.content == b"newer"


async def test_replacing_again_what_is_ours_already_is_no_conflict() -> None:
    """An object storage's client sends again what had no answer; the first may have arrived."""
    place = bucket()
    await place.replace("manifest.json", b"ours", None)
    await place.replace("manifest.json", b"ours", None)
    with pytest.raises(ResourceInUseError):
        await place.replace("manifest.json", b"other", None)


async def test_folder_that_others_write_in_all_the_time_is_given_up(tmp_path: Path) -> None:
    """A lock that is never free is no reason to wait for ever."""
    lock = FileLock(tmp_path / "manifest.lock")
    assert lock.take_nowait()
    with pytest.raises(ResourceInUseError):
        await FolderPlace(tmp_path, lock_wait_s=0.05).replace("manifest.json", b"x", None)
    lock.release()


async def test_folder_that_is_a_file_is_said_with_its_path(tmp_path: Path) -> None:
    """What a file system refuses is one sentence with the path and what to do."""
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(UnavailableError, match="look at that folder's rights") as caught:
        await FolderPlace(file).write("a", b"x")
    assert str(file) in caught.value.message


FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from trialog_schemas.errors import UnavailableError
from trialog_server.archive.place import FolderPlace

async def main():
    place = FolderPlace(Path(sys.argv[1]))
    await place.replace("manifest.json", b"before", None)
    seen = await place.read("manifest.json")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    large = bytes(2000)
    for write in (
        place.write("segments/a", large),
        place.replace("manifest.json", large, seen),
    ):
        try:
            await write
        except UnavailableError as error:
            print(error.message)

asyncio.run(main())
"""


def test_disk_that_is_full_leaves_what_was_there(tmp_path: Path) -> None:
    """One sentence has the system's reason; nothing half-written stays, the old manifest does."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    said = f"the archive in {tmp_path} cannot be used (File too large); make room on its disk, "
    assert [line.startswith(said) for line in done.stdout.splitlines()] == [True, True]
    assert (tmp_path / "manifest.json").read_bytes() == b"before"
    assert list((tmp_path / "segments").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {
        "manifest.json",
        "manifest.lock",
        "segments",
    }


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("backups", FolderPlace),
        ("/var/backups", FolderPlace),
        ("file:///var/backups", FolderPlace),
        ("s3://bucket/prefix", BucketPlace),
        ("memory:///", BucketPlace),
    ],
)
def test_address_names_a_folder_or_a_bucket(url: str, kind: type[Place]) -> None:
    """A path without a scheme is a folder; nothing is made by opening it."""
    assert isinstance(open_place(url), kind)


@pytest.mark.parametrize("url", ["ftp://host/folder", "nonsense://x", "file://host/folder"])
def test_address_of_no_store_is_refused(url: str) -> None:
    """What begins no known address says which ones do."""
    with pytest.raises(ValidationError) as caught:
        open_place(url)
    assert caught.value.field == "archive"


async def test_store_that_does_not_answer_is_one_sentence() -> None:
    """A connection that is refused is said in one line, with the address and without a trace."""
    store = S3Store(
        "bucket",
        endpoint="http://127.0.0.1:9",
        client_options={"allow_http": True},
        access_key_id="key",
        secret_access_key="secret",
        region="eu-west-1",
        retry_config={"max_retries": 0},
    )
    with pytest.raises(UnavailableError) as caught:
        await BucketPlace(store, "s3://bucket/prefix").read("manifest.json")
    assert "the archive at s3://bucket/prefix does not answer" in caught.value.message
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message
