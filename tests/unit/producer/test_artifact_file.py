"""What may become an artifact: regular files, read up to the limit, without ever waiting."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.unit.schemas.hostile_objects import Lying, Raising, RaisingText
from trialog.artifact_file import PIECE_BYTES, artifact_path, read_artifact_file
from trialog_schemas.errors import WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.mark.parametrize(
    ("content", "given"), [(b"", b""), (b"abc", b"abc"), (b"abcd", b"abcd"), (b"abcdef", b"abcde")]
)
def test_file_is_read_to_one_byte_beyond_the_limit(
    tmp_path: Path, content: bytes, given: bytes
) -> None:
    """The size is always the file's own, so that a message can tell it."""
    path = tmp_path / "weights"
    path.write_bytes(content)
    (tmp_path / "link").symlink_to(path)
    assert read_artifact_file(path, 4) == (given, len(content))
    assert read_artifact_file(tmp_path / "link", 4) == (given, len(content))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(10)
@pytest.mark.parametrize("is_linked", [False, True])
def test_pipe_is_refused_at_once(tmp_path: Path, is_linked: bool) -> None:
    """Nobody writes into it: opening it as a file would wait for ever."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    if is_linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    with pytest.raises(trialog.ValidationError, match="is a pipe, allowed are regular") as caught:
        read_artifact_file(path, 4)
    assert (caught.value.field, caught.value.limit) == ("file_path", "a regular file")


class _SwappedPath(PosixPath):
    """A file that becomes a pipe right after it was looked at."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Look, then swap."""
        found = super().stat(follow_symlinks=follow_symlinks)
        self.unlink()
        os.mkfifo(self)
        return found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(10)
def test_pipe_that_takes_a_files_place_is_refused_at_once(tmp_path: Path) -> None:
    """Between the look and the opening the name may come to mean another thing."""
    path = _SwappedPath(tmp_path / "weights")
    Path(path).write_bytes(b"abc")
    with pytest.raises(trialog.ValidationError, match="is a pipe"):
        read_artifact_file(path, 4)


def test_device_and_socket_are_refused(tmp_path: Path) -> None:
    """The first has no end, the second cannot be opened at all."""
    with pytest.raises(trialog.ValidationError, match="is a device"):
        read_artifact_file(Path("/dev/zero"), 4)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(trialog.ValidationError, match="is a socket"):
            read_artifact_file(tmp_path / "s", 4)


def test_folder_and_nothing_are_what_python_calls_them(tmp_path: Path) -> None:
    """As with open(): a folder says what to do instead, a missing file is missing."""
    with pytest.raises(IsADirectoryError, match="log its files one by one"):
        read_artifact_file(tmp_path, 4)
    with pytest.raises(FileNotFoundError):
        read_artifact_file(tmp_path / "nothing", 4)


@contextlib.contextmanager
def meanwhile(change: Callable[[], object]) -> Iterator[None]:
    """Have another thread change something again and again."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            change()

    thread = threading.Thread(target=work)
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(switch_s)


# E10
def test_file_that_shrinks_and_grows_is_what_was_read(tmp_path: Path) -> None:
    """Whatever becomes of it meanwhile, its size is that of the bytes that are kept."""
    path = tmp_path / "weights"
    half, sizes = 4 * PIECE_BYTES, iter(range(10**9))
    path.write_bytes(bytes(2 * half))
    with meanwhile(lambda: os.truncate(path, half + next(sizes) % 2 * half)):
        for _ in range(20):
            content, size = read_artifact_file(path, 3 * half)
            assert size == len(content)


# E9
def test_file_that_grows_beyond_the_limit_is_one_byte_too_large(tmp_path: Path) -> None:
    """It is read no further than that tells, though it has no end."""
    path = tmp_path / "log"
    path.write_bytes(b"")
    with path.open("ab") as file, meanwhile(lambda: file.write(b"x" * 1000)):
        while path.stat().st_size < 5000:
            pass
        content, size = read_artifact_file(path, 100)
    assert len(content) == 101
    assert size >= 5000


class _ReplacedPath(PosixPath):
    """A file that is another one after it was looked at, or none."""

    becomes: bytes | None

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Look, then replace."""
        found = super().stat(follow_symlinks=follow_symlinks)
        self.unlink()
        if self.becomes is not None:
            Path(self).write_bytes(self.becomes)
        return found


def test_file_that_is_replaced_or_deleted_is_the_one_that_was_opened(tmp_path: Path) -> None:
    """Its bytes are those of one file; a file that is gone is missing."""
    path = _ReplacedPath(tmp_path / "weights")
    for becomes in (b"", b"other"):
        Path(path).write_bytes(b"abc")
        path.becomes = becomes
        assert read_artifact_file(path, 10) == (becomes, len(becomes))
    path.becomes = None
    with pytest.raises(FileNotFoundError):
        read_artifact_file(path, 10)
    (tmp_path / "weights").write_bytes(b"abc")
    descriptor = os.open(tmp_path / "weights", os.O_RDONLY)
    (tmp_path / "weights").unlink()
    opened = Path(f"/proc/self/fd/{descriptor}")
    if opened.exists():  # a name for a file that has none any more
        assert read_artifact_file(opened, 10) == (b"abc", 3)
    os.close(descriptor)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_file_of_the_system_that_says_no_size_is_read() -> None:
    """What the kernel makes when it is read has the size 0 until then."""
    path = Path("/proc/sys/kernel/ostype")
    assert path.stat().st_size == 0
    assert read_artifact_file(path, 10) == (b"Linux\n", 6)
    content, size = read_artifact_file(Path("/proc/self/status"), 10)
    assert (len(content), size) == (11, 11)


def test_limit_beyond_all_memory_reads_what_there_is(tmp_path: Path) -> None:
    """A policy may allow more than any file has."""
    (tmp_path / "small").write_bytes(b"abc")
    assert read_artifact_file(tmp_path / "small", 2**63 - 1) == (b"abc", 3)


def test_links_that_lead_nowhere_are_what_the_system_calls_them(tmp_path: Path) -> None:
    """A dangling link is a missing file; a loop and a path beyond the system's bound are errors."""
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FileNotFoundError):
        read_artifact_file(tmp_path / "dangling", 4)
    for path in (tmp_path / "loop", tmp_path / ("x" * 5000), tmp_path / "loop" / "x"):
        with pytest.raises(OSError, match=r"loop|x{80}"):
            read_artifact_file(path, 4)


class _Named:
    """A path object, as packages have them."""

    def __init__(self, path: str | bytes) -> None:
        self._path = path

    def __fspath__(self) -> str | bytes:
        return self._path


def test_path_is_what_open_takes_for_one() -> None:
    """Texts, bytes and path objects of either; `~` is the home folder."""
    for given in ("a/b", b"a/b", Path("a/b"), _Named("a/b"), _Named(b"a/b"), RaisingText("a/b")):
        assert artifact_path(given) == Path("a/b")
    assert artifact_path("~/a") == Path.home() / "a"


def test_what_is_no_path_is_refused() -> None:
    """The number of an open file is none: it would be read from wherever it stands."""
    wrong = (0, 1, True, None, 1.5, ["a"], bytearray(b"a"), _Named(7), Raising(), Lying(Path))  # type: ignore[arg-type]
    for given in wrong:
        with pytest.raises(WrongTypeError, match="file_path is") as caught:
            artifact_path(given)
        assert (caught.value.field, caught.value.limit) == ("file_path", "path")
        assert isinstance(caught.value, TypeError)
    for text in ("", b"", "a\0b", "\ud800", "~nobody-at-all/a"):
        with pytest.raises(trialog.ValidationError, match="no file can have") as refused:
            artifact_path(text)
        assert refused.value.field == "file_path"
