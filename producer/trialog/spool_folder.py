"""One writer's folder on disk: its lock, its facts, its segments and how far they are sent.

    <spool_dir>/<writer_id>/lock            held by the process that writes or ships it
                            meta.json       whose stream it is
                            000001.spool …  segments, see `spool_format`
                            reserve         room for the run's end, should the disk be full
                            ack             how far the log has taken it, and from where on it
                                            can be sent again
                            blobs/<sha256>  bytes of artifacts that are not uploaded yet
                            refused/        what the log would not take and segments that are
                                            damaged, kept for people

Must not know what records mean.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trialog.file_lock import FileLock
from trialog.spool_ack import ACK_BYTES, AckFile
from trialog.spool_facts import SpoolMeta
from trialog.spool_format import SEGMENT_HEAD, SEGMENT_MAGIC
from trialog_schemas.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trialog.spool_ack import Ack

_SEGMENT_SUFFIX = ".spool"
_UNBORN_NAMES = ("meta.json", "ack", "reserve", f"000001{_SEGMENT_SUFFIX}", "lock")
_REMOVED_PREFIX = ".removed-"
_UNBORN_S_MIN = 60.0
"""Age of a folder that nobody has locked before it counts as left behind, not as just made."""


class SpoolFolder:
    """The folder of one writer, whose lock this process holds."""

    def __init__(self, path: Path, meta: SpoolMeta, lock: FileLock) -> None:
        self.path = path
        self.meta = meta
        self._lock = lock
        self.acks = AckFile(path)
        self._synced: set[Path] = set()

    @classmethod
    def create(cls, spool_dir: Path, meta: SpoolMeta) -> SpoolFolder:
        """Make the folder of a new writer and take its lock.

        Raises:
            SpoolError: the folder cannot be made there.
        """
        folder = prepare_folder(spool_dir, meta)
        bear_folder(folder, meta)
        return folder

    @classmethod
    def adopt(cls, path: Path) -> SpoolFolder | None:
        """Return the folder if its process is dead and nobody else has adopted it.

        Raises:
            SpoolError: it is free, but its facts cannot be read.
        """
        for part in (path, path / "lock", path / "meta.json", path / "ack"):
            _check_plain(part)
        lock = FileLock(path / "lock")
        try:
            if not lock.take_nowait():
                return None
            meta = SpoolMeta.from_json((path / "meta.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError) as exc:
            lock.release()
            if not path.is_dir():
                return None  # removed while we looked
            raise SpoolError(
                f"spool {path} has no meta.json to say whose it is; it stays for you to look at"
            ) from exc
        except OSError as exc:
            lock.release()
            raise SpoolError(
                f"spool {path} cannot be opened: {exc.strerror}; let this user read and write it"
            ) from exc
        except SpoolError as exc:
            lock.release()
            raise SpoolError(f"{exc.message}: {path}") from exc
        folder = cls(path, meta, lock)
        try:
            for number in folder.segments():
                _check_plain(folder.segment_path(number))
        except SpoolError:
            lock.release()
            raise
        return folder

    def segment_path(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.path / f"{number:06d}{_SEGMENT_SUFFIX}"

    def segments(self) -> list[int]:
        """Return the numbers of the segments that are there, ascending."""
        return sorted(
            int(entry.stem)
            for entry in self.path.iterdir()
            if entry.suffix == _SEGMENT_SUFFIX and entry.stem.isdigit()
        )

    def read_segment(self, number: int, start: int, end: int | None = None) -> bytes:
        """Return a segment's bytes from `start` to `end` (or its own end), whole words only."""
        file = os.open(self.segment_path(number), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            size = os.fstat(file).st_size
            stop = size if end is None else min(end, size)
            os.lseek(file, start, os.SEEK_SET)
            return _read_all(file, max(stop - start, 0) & -8)
        finally:
            os.close(file)

    def has_sound_head(self, number: int) -> bool:
        """Tell whether a segment begins as it should, or was never begun: then it is all zeros."""
        with self.segment_path(number).open("rb") as file:
            head = file.read(SEGMENT_HEAD.size)
        return head == SEGMENT_HEAD.pack(SEGMENT_MAGIC, number) or not head.strip(b"\0")

    @property
    def reserve_path(self) -> Path:
        """Return the file whose room is kept for the run's end."""
        return self.path / "reserve"

    def truncate_segment(self, number: int, size: int) -> None:
        """Give back the room a sealed segment did not need, where the system lets us."""
        with contextlib.suppress(OSError):  # Windows does not while it is mapped
            os.truncate(self.segment_path(number), size)

    def delete_segment(self, number: int) -> None:
        """Remove a segment that nobody needs any more."""
        self.segment_path(number).unlink(missing_ok=True)

    def read_ack(self) -> Ack | None:
        """Return how far the stream was taken, or None if nothing ever was."""
        return self.acks.read()

    def write_ack(self, ack: Ack) -> None:
        """Note how far the stream is taken."""
        self.acks.write(ack)

    def store_blob(self, sha256: str, content: bytes) -> None:
        """Keep an artifact's bytes until they are uploaded; whole or not at all.

        Raises:
            OSError: the disk is full or broken.
        """
        folder = self.path / "blobs"
        if (folder / sha256).exists():
            return
        folder.mkdir(exist_ok=True)
        unborn = folder / f".{sha256}"
        try:
            unborn.write_bytes(content)
            unborn.rename(folder / sha256)
        except OSError:
            unborn.unlink(missing_ok=True)
            raise

    def read_blob(self, sha256: str) -> bytes | None:
        """Return an artifact's bytes, or None if they were uploaded and deleted already."""
        try:
            return (self.path / "blobs" / sha256).read_bytes()
        except FileNotFoundError:
            return None

    def blob_names(self) -> list[str]:
        """Return the digests of the artifacts whose bytes are here."""
        try:
            names = [path.name for path in (self.path / "blobs").iterdir()]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.startswith("."))

    def delete_blob(self, sha256: str) -> None:
        """Remove bytes that are uploaded and whose event is in the log."""
        (self.path / "blobs" / sha256).unlink(missing_ok=True)

    def keep_refused(self, name: str, content: bytes) -> None:
        """Keep what the log or the store would not take, so that it is not lost for people."""
        folder = self.path / "refused"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    def keep_segment(self, number: int) -> None:
        """Keep a damaged segment as it is, beyond the deletion of the spool's own."""
        source, kept = self.segment_path(number), self.path / "refused" / f"{number:06d}.spool"
        if kept.exists() or not source.exists():
            return
        kept.parent.mkdir(exist_ok=True)
        try:
            kept.hardlink_to(source)
        except OSError:  # a file system without links
            shutil.copyfile(source, kept)

    @property
    def has_refused(self) -> bool:
        """Tell whether something was refused here, so that the folder must stay."""
        return (self.path / "refused").exists()

    def sync_to_disk(self, numbers: Iterable[int]) -> None:
        """Make segments, and all they need, survive a power failure; slow, not for the caller.

        What is gone meanwhile has no need of it any more.
        """
        segments = [self.segment_path(number) for number in numbers]
        blobs = [self.path / "blobs" / name for name in self.blob_names()]
        # These are written once and whole, a segment again and again.
        fixed = [path for path in (self.path / "meta.json", *blobs) if path not in self._synced]
        for path in (*fixed, *segments):
            with contextlib.suppress(FileNotFoundError):
                _sync_file(path)
        there = {self.path / "meta.json", *blobs, *segments}
        for folder in {path.parent for path in there - self._synced}:
            _sync_entries(folder)
        if not self._synced:
            _sync_entries(self.path.parent)
        self._synced = there

    def sync_ack_to_disk(self) -> None:
        """Make the ack survive a power failure; before a segment is deleted it has to."""
        if self.acks.path.exists():
            _sync_file(self.acks.path)

    def release(self) -> None:
        """Let go of the folder; it stays for whoever adopts it."""
        self.acks.close()
        self._lock.release()

    def forget_in_child(self) -> None:
        """Drop what a child made by fork inherited; the parent goes on holding the folder."""
        self.acks.close()

    def remove(self) -> None:
        """Delete the folder; everything in it is applied."""
        self.acks.close()
        # Under another name first: a deletion that is cut short leaves nothing that looks like a
        # spool, and nobody finds the lock's file gone and takes a new one.
        dead = self.path.with_name(f"{_REMOVED_PREFIX}{self.path.name}")
        try:
            self.path.rename(dead)
        except OSError:  # Windows, while the lock's file is open
            dead = self.path
        self._lock.release()
        shutil.rmtree(dead, ignore_errors=True)


def _check_plain(path: Path) -> None:
    """Refuse a link, a pipe or a device: to open it may lead elsewhere or never end.

    Raises:
        SpoolError: it is one. What is missing, or a folder, is told by whoever opens it.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SpoolError(
            f"spool {path} is {stat.filemode(mode)} and no plain file; links, pipes and devices "
            "are not followed, it stays for you to look at"
        )


def prepare_folder(spool_dir: Path, meta: SpoolMeta) -> SpoolFolder:
    """Make a folder that nobody adopts, and take its lock; `bear_folder` makes it a writer's.

    Raises:
        SpoolError: the folder cannot be made there.
    """
    # Made under another name, so that nobody can adopt it before its lock is taken.
    unborn = spool_dir / f".{meta.writer_id}"
    lock = FileLock(unborn / "lock")
    try:
        unborn.mkdir(parents=True, mode=0o700)
        if not lock.take_nowait():
            raise SpoolError(
                f"spool folder {unborn} cannot be locked: its file system has no locks; give "
                "another with TRIALOG_SPOOL_DIR or Session(spool_dir=…)"
            )
        (unborn / "meta.json").write_bytes(meta.to_json())
        # With its room from the start: to send what fills a disk must not need any.
        (unborn / "ack").write_bytes(bytes(ACK_BYTES))
    except OSError as exc:
        lock.release()
        _delete_unborn(unborn)
        raise no_place(spool_dir, exc.strerror) from exc
    return SpoolFolder(unborn, meta, lock)


def bear_folder(folder: SpoolFolder, meta: SpoolMeta) -> None:
    """Give a prepared folder its facts and its name: from now on it outlives this process.

    Raises:
        SpoolError: it cannot be renamed; nothing of it is left.
    """
    path = folder.path.with_name(meta.writer_id)
    try:
        if meta != folder.meta:
            (folder.path / "meta.json").write_bytes(meta.to_json())
        folder.path.rename(path)
    except OSError as exc:
        discard_folder(folder)
        raise no_place(path.parent, exc.strerror) from exc
    folder.path, folder.meta, folder.acks.folder = path, meta, path


def discard_folder(folder: SpoolFolder) -> None:
    """Delete a folder that was prepared and never became a writer's."""
    _delete_unborn(folder.path)
    folder.release()


def _delete_unborn(path: Path) -> None:
    """Delete a folder without opening it: too many open files may be why it is not needed."""
    with contextlib.suppress(OSError):  # it is not there, or the next process sweeps it
        for name in _UNBORN_NAMES:
            (path / name).unlink(missing_ok=True)
        path.rmdir()


def no_place(path: Path, why: str | None) -> SpoolError:
    """Return the error for a folder, or what belongs into it, that cannot be made."""
    return SpoolError(
        f"spool folder {path} cannot be made: {why}; give another with TRIALOG_SPOOL_DIR or "
        "Session(spool_dir=…)"
    )


def writer_folders(spool_dir: Path) -> Iterator[Path]:
    """Yield the folders of writers in a spool folder, oldest first; none if it does not exist."""
    try:
        names = sorted(entry.name for entry in os.scandir(spool_dir) if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if not name.startswith("."):
            yield spool_dir / name


def sweep_removed(spool_dir: Path) -> None:
    """Delete what is left of folders whose removal was cut short, or whose process died before."""
    for path in spool_dir.glob(f"{_REMOVED_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in spool_dir.glob(f".{'[0-9a-f]' * 32}"):
        with contextlib.suppress(OSError):  # born or removed meanwhile
            lock = FileLock(path / "lock")
            if time.time() - path.stat().st_mtime > _UNBORN_S_MIN and lock.take_nowait():
                shutil.rmtree(path, ignore_errors=True)
                lock.release()


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDWR)
    try:
        getattr(os, "fdatasync", os.fsync)(file)
    finally:
        os.close(file)


def _sync_entries(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where the system lets us."""
    with contextlib.suppress(OSError):  # Windows does not, nor do some network file systems
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _read_all(file: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = os.read(file, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    whole = b"".join(parts)
    return whole[: len(whole) & -8]
