"""What may become an artifact: regular files, read up to the limit, without ever waiting."""

from __future__ import annotations

import os
import socket
from pathlib import Path, PosixPath

import pytest

import trialog
from trialog.artifact_file import read_artifact_file


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
