"""Where artifacts' bytes are kept: by their SHA-256, in a folder or in object storage.

Nothing that a client names becomes part of a path but 64 checked hex digits. Bytes become visible
whole or not at all: an upload that ends early, is too long or does not have the promised digest
leaves nothing behind.
"""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError as StoreError
from obstore.store import LocalStore, MemoryStore

from trialog_schemas.errors import (
    LimitExceededError,
    ResourceNotFoundError,
    UnavailableError,
    ValidationError,
    shown,
)
from trialog_server.object_stores import ARTIFACTS, store_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from obstore.store import ObjectStore

SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")

PART_BYTES = 1_048_576
"""Bytes handed on at once when an artifact is read."""


def check_sha256(text: str) -> str:
    """Return the digest if it is 64 lower-case hex digits.

    Raises:
        ValidationError: it is anything else.
    """
    if not SHA256_PATTERN.fullmatch(text):
        raise ValidationError(
            f"sha256 {shown(text)} is not 64 lower-case hex digits; give the digest of the bytes",
            field="sha256",
            value=text,
            limit="[0-9a-f]{64}",
        )
    return text


class ArtifactStore:
    """Content-addressed bytes over one object store; what is there is never changed."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def in_folder(cls, folder: Path) -> ArtifactStore:
        """Return a store in a folder, which is created when missing."""
        return cls(LocalStore(folder, mkdir=True))

    @classmethod
    def in_memory(cls) -> ArtifactStore:
        """Return a store that ends with the process, for tests."""
        return cls(MemoryStore())

    @classmethod
    def at_url(cls, url: str) -> ArtifactStore:
        """Return a store at an address such as `file:///folder` or `s3://bucket/prefix`.

        Raises:
            ValidationError: it is no address of a store.
            UnavailableError: the folder cannot be made.
        """
        found = store_at(url, ARTIFACTS)
        if not isinstance(found, Path):
            return cls(found)
        try:
            return cls.in_folder(found)
        except OSError as exc:
            raise UnavailableError(
                f"the folder of artifacts {str(found)!r} cannot be made ({exc}); make it this "
                "user's, or give another with --artifacts or TRIALOG_ARTIFACTS",
                field="artifacts",
                value=str(found),
            ) from exc

    async def has(self, sha256: str) -> int | None:
        """Return the size of the stored bytes, or None if there are none."""
        try:
            meta = await obstore.head_async(self._store, _path(sha256))
        except FileNotFoundError:
            return None
        except (StoreError, OSError) as exc:
            raise _away(exc) from exc
        return meta["size"]

    async def put_stream(self, sha256: str, chunks: AsyncIterator[bytes], size_max: int) -> int:
        """Store the bytes under their digest and return their number.

        Raises:
            LimitExceededError: more than `size_max` bytes came; the rest was not read.
            ValidationError: the bytes have another digest.
            UnavailableError: the store does not answer.
        """
        path = _path(sha256)
        checked = _Checked(sha256, chunks, size_max)
        try:
            await obstore.put_async(self._store, path, checked.parts())
        except (StoreError, OSError) as exc:
            # What `parts` raises comes back as it is and ends the upload; see the tests.
            raise _away(exc) from exc
        return checked.size

    async def get_stream(self, sha256: str) -> AsyncIterator[bytes]:
        """Return the stored bytes part by part.

        Raises:
            ResourceNotFoundError: there are none under this digest.
            UnavailableError: the store does not answer.
        """
        try:
            found = await obstore.get_async(self._store, _path(sha256))
        except FileNotFoundError as exc:
            raise ResourceNotFoundError(
                f"no bytes are stored under sha256 {sha256}; upload them again",
                field="sha256",
                value=sha256,
            ) from exc
        except (StoreError, OSError) as exc:
            raise _away(exc) from exc
        return (bytes(part) async for part in found.stream(min_chunk_size=PART_BYTES))


class _Checked:
    """Passes an upload on, counting and hashing it; its last step is to refuse a wrong one."""

    def __init__(self, sha256: str, chunks: AsyncIterator[bytes], size_max: int) -> None:
        self.size = 0
        self._sha256 = sha256
        self._chunks = chunks
        self._size_max = size_max

    async def parts(self) -> AsyncIterator[bytes]:
        """Give the chunks; raise instead of ending when they are not what was promised."""
        digest = hashlib.sha256()
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._size_max:
                raise _too_large(self._size_max)
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self._sha256:
            raise ValidationError(
                f"the bytes have sha256 {digest.hexdigest()}, not {self._sha256}; "
                "send the bytes that the digest was made of",
                field="sha256",
                value=self._sha256,
                limit=digest.hexdigest(),
            )


def _too_large(size_max: int) -> LimitExceededError:
    return LimitExceededError(
        f"the artifact has more than {size_max} bytes; keep large files in your own storage and "
        "log their address with log_model",
        field="body",
        limit=size_max,
    )


def _path(sha256: str) -> str:
    digest = check_sha256(sha256)
    return f"sha256/{digest[:2]}/{digest[2:4]}/{digest}"


def _away(exc: Exception) -> UnavailableError:
    # The store's library has no class of its own for it, and the system's words are translated.
    if isinstance(exc, StoreError) and f"(os error {errno.ENOSPC})" in str(exc):
        return UnavailableError(
            "the artifact store's disk is full; make room on it and send the same again"
        )
    return UnavailableError(
        f"the artifact store does not answer ({type(exc).__name__}); try again in a moment"
    )
