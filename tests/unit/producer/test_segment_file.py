"""The file of a segment: its blocks are there before anything is written into them."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trialog.segment_file import allocate, fill, whole_pages

if TYPE_CHECKING:
    from pathlib import Path

TOO_LARGE = """
import resource, sys
from pathlib import Path
from trialog.segment_file import allocate
resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
try:
    allocate(Path(sys.argv[1]), 1_048_576)
except OSError as exc:
    print(type(exc).__name__, Path(sys.argv[1]).exists())
"""


def test_segment_is_zeros_that_have_their_blocks(tmp_path: Path) -> None:
    """No page of it is still to be found on the disk when a log call writes into it."""
    path = tmp_path / "000001.spool"
    memory = allocate(path, 1_048_576)
    assert bytes(memory) == bytes(1_048_576)
    status = path.stat()
    assert status.st_blocks * 512 >= 1_048_576
    assert status.st_mode & 0o077 == 0
    memory[:5] = b"bytes"
    assert path.read_bytes()[:5] == b"bytes"


def test_segment_of_a_name_that_is_taken_is_never_overwritten(tmp_path: Path) -> None:
    """Whoever made it keeps what is in it."""
    path = tmp_path / "000001.spool"
    path.write_bytes(b"records")
    with pytest.raises(FileExistsError):
        allocate(path, 4096)
    assert path.read_bytes() == b"records"


def test_segment_without_room_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    """A real limit of the system stands for a full disk; the next attempt may use the name."""
    path = tmp_path / "000001.spool"
    command = [sys.executable, "-c", TOO_LARGE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "OSError False\n"


def test_file_is_filled_with_zeros_where_the_system_has_no_call_for_it(tmp_path: Path) -> None:
    """The blocks are written, which takes longer and gives the same."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        fill(file.fileno(), 300_000)
    assert path.read_bytes() == bytes(300_000)


def test_file_that_takes_only_a_part_of_the_zeros_has_no_room() -> None:
    """A disk that is nearly full takes what still fits and says so by a number only."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with pytest.raises(OSError, match="No space left") as caught:
        fill(write, 1_000_000)
    assert caught.value.errno == errno.ENOSPC
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(("size", "pages"), [(1, 1), (mmap.PAGESIZE, 1), (mmap.PAGESIZE + 1, 2)])
def test_size_is_rounded_up_to_whole_pages(size: int, pages: int) -> None:
    """A mapping has no others."""
    assert whole_pages(size) == pages * mmap.PAGESIZE
