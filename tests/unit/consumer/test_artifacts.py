"""The artifact store: content-addressed, whole or not at all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.services.disks import small_disk
from trialog_schemas.errors import (
    LimitExceededError,
    ResourceNotFoundError,
    UnavailableError,
    ValidationError,
)
from trialog_server.artifacts import PART_BYTES, ArtifactStore, check_sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SIZE_MAX = 10_000_000


@pytest.fixture(params=["folder", "memory", "url"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A store of every kind that needs no network."""
    if request.param == "memory":
        return ArtifactStore.in_memory()
    if request.param == "url":
        return ArtifactStore.at_url((tmp_path / "new folder").as_uri())
    return ArtifactStore.in_folder(tmp_path)


async def parts_of(content: bytes, part_bytes: int = 65_536) -> AsyncIterator[bytes]:
    """Content in parts, as a request's body comes."""
    for at in range(0, len(content), part_bytes):
        yield content[at : at + part_bytes]


async def put(store: ArtifactStore, content: bytes) -> str:
    """Store content under its digest."""
    digest = hashlib.sha256(content).hexdigest()
    assert await store.put_stream(digest, parts_of(content), SIZE_MAX) == len(content)
    return digest


# E1 E3
@pytest.mark.parametrize("size", [0, 1, 5_242_880, 2 * PART_BYTES + 1])
async def test_store_gives_back_what_was_put(store: ArtifactStore, size: int) -> None:
    """Any size comes back bit for bit, in parts, and is known to be there."""
    content = bytes(index % 251 for index in range(size))

    digest = await put(store, content)

    assert await store.has(digest) == size
    assert b"".join([part async for part in await store.get_stream(digest)]) == content


async def test_store_without_the_bytes_says_so(store: ArtifactStore) -> None:
    """What was never put is not there, and cannot be read."""
    assert await store.has("a" * 64) is None
    with pytest.raises(ResourceNotFoundError, match="upload them again"):
        await store.get_stream("a" * 64)


async def test_store_refuses_bytes_of_another_digest(store: ArtifactStore) -> None:
    """Nothing becomes visible under a digest that is not its own."""
    with pytest.raises(ValidationError, match="have sha256"):
        await store.put_stream("a" * 64, parts_of(b"hello"), SIZE_MAX)

    assert await store.has("a" * 64) is None


async def test_store_stops_reading_at_the_byte_too_much(store: ArtifactStore) -> None:
    """A body above the limit is not read to its end."""
    seen = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal seen
        while True:
            seen += 1000
            yield b"x" * 1000

    with pytest.raises(LimitExceededError, match="more than 5000 bytes"):
        await store.put_stream("a" * 64, endless(), 5000)

    assert seen == 6000
    assert await store.has("a" * 64) is None


async def test_store_after_an_upload_that_broke_has_nothing(
    store: ArtifactStore, tmp_path: Path
) -> None:
    """A client that leaves in the middle of its upload leaves no file behind."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise ConnectionResetError("gone")

    with pytest.raises((UnavailableError, ConnectionResetError)):
        await store.put_stream("a" * 64, broken(), 5000)

    assert [found for found in tmp_path.rglob("*") if found.is_file()] == []  # noqa: ASYNC240


async def test_store_whose_folder_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    """A disk that went away is an error to retry, not a crash."""
    folder = tmp_path / "store"
    store = ArtifactStore.in_folder(folder)
    folder.rmdir()
    folder.write_bytes(b"a file stands here now")

    for doing in (store.has("a" * 64), store.get_stream("a" * 64), put(store, b"x")):
        with pytest.raises(UnavailableError, match="artifact store"):
            await doing


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own that has no room for an artifact."""
    with small_disk(tmp_path, 65_536) as folder:
        yield folder


async def test_store_on_a_full_disk_says_so(full_disk: Path) -> None:
    """Not that it does not answer: no client's patience makes room."""
    store = ArtifactStore.in_folder(full_disk)
    with pytest.raises(UnavailableError, match="disk is full; make room"):
        await put(store, b"x" * 100_000)
    assert await put(store, b"x" * 1_000)  # there is room for this one: nothing was left behind


@pytest.mark.parametrize(
    "text", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "../" * 21 + "a", "é" * 64]
)
def test_check_sha256_of_anything_but_a_digest_is_refused(text: str) -> None:
    """Only 64 lower-case hex digits ever become part of a path."""
    with pytest.raises(ValidationError, match="64 lower-case hex digits"):
        check_sha256(text)


@pytest.mark.parametrize(
    "url", ["", "plain", "/tmp/plain", "ftp://h/d", "s3://", "http://x y", "key:s3cret@h/d"]
)
def test_address_of_no_store_is_refused_with_the_forms_there_are(url: str) -> None:
    """A slip in TRIALOG_ARTIFACTS is one sentence, which repeats nothing that may be a key."""
    with pytest.raises(ValidationError) as caught:
        ArtifactStore.at_url(url)
    assert caught.value.field == "artifacts"
    assert "s3://" in caught.value.message
    assert "s3cret" not in f"{caught.value.message} {caught.value.value}"


def test_address_of_a_folder_that_cannot_be_made_names_it(tmp_path: Path) -> None:
    """A folder below a file is no folder: the sentence names the path and the flag."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="--artifacts") as caught:
        ArtifactStore.at_url((tmp_path / "file" / "store").as_uri())
    assert str(tmp_path) in (caught.value.value or "")
