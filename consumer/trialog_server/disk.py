"""What the disk is asked for beside reading and writing."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def sync_names(folder: Path) -> None:
    """Bring the names in a folder to the disk; systems that have no such call do it themselves."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def expect_new(path: Path) -> None:
    """See that a file can be made there, before the work for its content.

    Raises:
        OSError: something is there already, or no folder that it could be in.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def write_new(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Make a file that is on the disk, whole; none where that fails.

    Raises:
        OSError: something is there already, or it cannot be written.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(file)
        sync_names(path.parent)
    except OSError as exc:
        path.unlink()
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
