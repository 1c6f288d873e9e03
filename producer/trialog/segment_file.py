"""The file of a segment: of real blocks, so that writing into its mapping never fails; no records.

A sparse file would be filled by page faults, and a full disk then ends the program by a signal.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def allocate(path: Path, size: int) -> mmap.mmap:
    """Make a file of real, zeroed blocks and map it.

    Raises:
        OSError: there is no room.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            fill(file, size)
        return mmap.mmap(file, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def fill(file: int, size: int) -> None:
    """Give an empty file real blocks where the system has no call for it.

    Raises:
        OSError: there is no room.
    """
    written = os.write(file, bytes(size))
    if written < size:  # what still had room was written
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def whole_pages(size: int) -> int:
    """Return the size in bytes rounded up to whole pages."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
