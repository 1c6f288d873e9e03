"""Where an archive is kept: a folder or a bucket, under one small port. Knows no manifest.

What holds for both
-------------------
* `write` and `replace` show an object whole or not at all, and return when it is durable: in a
  folder it is on the disk, its name included.
* `replace` changes an object only if nobody has changed it since it was read, so that of two
  archivers at once one wins and the other is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.exceptions import BaseError as StoreError

from trialog.file_lock import FileLock
from trialog_schemas.errors import ResourceInUseError, UnavailableError
from trialog_server.disk import sync_names
from trialog_server.object_stores import ARCHIVE, store_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from obstore import UpdateVersion
    from obstore.store import ObjectStore

LOCK_WAIT_S = 10.0
"""How long a folder's lock is waited for; it is held while one small file is written."""

LOCK_NAME = "manifest.lock"

_LOCK_LOOK_S = 0.05
_PART_MARK = ".part-"


class Stored(NamedTuple):
    """An object's bytes, and what tells later whether it is still the same one."""

    content: bytes
    tag: str


class Place(Protocol):
    """Keeps objects under names such as `segments/a.parquet`.

    Every method raises `UnavailableError` when the place cannot be used.
    """

    url: str

    async def read(self, name: str) -> Stored | None:
        """Return an object, or None if there is none."""
        ...

    async def write(self, name: str, content: bytes) -> None:
        """Store an object; whoever wrote the same name wrote the same bytes."""
        ...

    async def replace(self, name: str, content: bytes, seen: Stored | None) -> None:
        """Store an object in the place of the one that was seen.

        Raises:
            ResourceInUseError: it is another one by now; nothing was changed.
        """
        ...

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the names of all objects below a prefix, each with its bytes; reads none."""
        ...

    async def tidy(self, name: str) -> None:
        """Remove what somebody left who was killed while replacing an object."""
        ...


def open_place(url: str) -> Place:
    """Return the place of an address, or of a folder's path. Nothing is made before it is written.

    Raises:
        ValidationError: it is no address of a store.
    """
    if "://" not in url and not url.startswith("file:"):
        return FolderPlace(Path(url))
    found = store_at(url, ARCHIVE)
    return FolderPlace(found) if isinstance(found, Path) else BucketPlace(found, url)


class FolderPlace:
    """An archive in a folder of this machine, or of one that is mounted."""

    def __init__(self, folder: Path, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self._folder = folder.expanduser().resolve()
        self._lock_wait_s = lock_wait_s
        self.url = str(self._folder)

    async def read(self, name: str) -> Stored | None:
        """Return an object, or None if there is none."""
        with self._usable():
            return await asyncio.to_thread(self._read, name)

    async def write(self, name: str, content: bytes) -> None:
        """Store an object."""
        with self._usable():
            await asyncio.to_thread(self._write, name, content)

    async def replace(self, name: str, content: bytes, seen: Stored | None) -> None:
        """Store an object in the place of the one that was seen."""
        with self._usable():
            await asyncio.to_thread(self._replace, name, content, seen)

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the names of all objects below a prefix, each with its bytes."""
        with self._usable():
            return await asyncio.to_thread(self._sizes, prefix)

    async def tidy(self, name: str) -> None:
        """Remove half-written objects of a name; whoever holds the lock is just writing one."""
        with self._usable():
            await asyncio.to_thread(self._tidy, name)

    def _replace(self, name: str, content: bytes, seen: Stored | None) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock, deadline_s = FileLock(self._folder / LOCK_NAME), time.monotonic() + self._lock_wait_s
        while not lock.take_nowait():
            if time.monotonic() > deadline_s:
                raise changed_meanwhile(self.url)
            time.sleep(_LOCK_LOOK_S)
        try:
            found = self._read(name)
            if (found and found.tag) != (seen and seen.tag):
                raise changed_meanwhile(self.url)
            self._write(name, content)
        finally:
            lock.release()

    def _tidy(self, name: str) -> None:
        if not self._folder.is_dir():
            return
        lock = FileLock(self._folder / LOCK_NAME)
        if lock.take_nowait():
            try:
                for part in self._folder.glob(f"{name}{_PART_MARK}*"):
                    part.unlink()
            finally:
                lock.release()

    def _sizes(self, prefix: str) -> dict[str, int]:
        return {
            path.relative_to(self._folder).as_posix(): path.stat().st_size
            for path in (self._folder / prefix).rglob("*")
            if path.is_file()
        }

    def _read(self, name: str) -> Stored | None:
        try:
            content = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return Stored(content, hashlib.sha256(content).hexdigest())

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        new = [path.parent, *path.parent.parents]
        new = [folder for folder in new if not folder.is_dir()]
        path.parent.mkdir(parents=True, exist_ok=True)
        file, part = tempfile.mkstemp(prefix=f"{path.name}{_PART_MARK}", dir=path.parent)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)  # there only if it did not take its place
        for folder in (path.parent, *(made.parent for made in new)):
            sync_names(folder)

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise UnavailableError(
                f"the archive in {self.url} cannot be used ({exc.strerror or exc}); make room on "
                "its disk, or look at that folder's rights",
                field="archive",
                value=self.url,
            ) from exc


class BucketPlace:
    """An archive in an object storage that can replace an object on a condition."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self.url = url

    async def read(self, name: str) -> Stored | None:
        """Return an object, or None if there is none."""
        with self._answering():
            try:
                found = await obstore.get_async(self._store, name)
            except FileNotFoundError:
                return None
            return Stored(bytes(await found.bytes_async()), found.meta["e_tag"] or "")

    async def write(self, name: str, content: bytes) -> None:
        """Store an object."""
        with self._answering():
            await obstore.put_async(self._store, name, content)

    async def replace(self, name: str, content: bytes, seen: Stored | None) -> None:
        """Store an object in the place of the one that was seen."""
        mode: Literal["create"] | UpdateVersion = "create"
        if seen is not None:
            mode = {"e_tag": seen.tag}
        with self._answering():
            try:
                await obstore.put_async(self._store, name, content, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError) as exc:
                found = await self.read(name)
                # The answer to a write of ours may have been lost, and the write sent once more.
                if found is None or found.content != content:
                    raise changed_meanwhile(self.url) from exc

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the names of all objects below a prefix, each with its bytes."""
        with self._answering():
            found = await obstore.list(self._store, prefix).collect_async()
        return {one["path"]: one["size"] for one in found}

    async def tidy(self, name: str) -> None:
        """Do nothing: an object storage shows no half of an object."""

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (StoreError, OSError) as exc:
            reason = str(exc).partition("\n")[0]
            raise UnavailableError(
                f"the archive at {self.url} does not answer ({reason}); look at its address and "
                "keys, and try again",
                field="archive",
                value=self.url,
            ) from exc


def changed_meanwhile(url: str) -> ResourceInUseError:
    """Return the error of whoever came second."""
    return ResourceInUseError(
        f"another `trialog archive` has written to {url} meanwhile; nothing is lost: wait for its "
        "end, then give the command again",
        field="archive",
        value=url,
    )
