"""Reads the file that becomes an artifact, and only a regular one; must not log or name it.

A pipe has no end until its writer says so, and a device may have none: waiting for them would be
waiting within a log call.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from trialog_schemas.errors import ValidationError, shown

if TYPE_CHECKING:
    from pathlib import Path

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""With O_NONBLOCK a pipe that takes the file's place between look and open is opened at once."""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_artifact_file(path: Path, bytes_max: int) -> tuple[bytes, int]:
    """Return a file's bytes and its size; of one with too many bytes, one more than the limit.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ValidationError: it is a pipe, a device or a socket.
    """
    # Looked at twice: opening a device may do something, and the name may come to mean another.
    _check_regular(path, path.stat().st_mode)
    with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as file:
        found = os.fstat(file.fileno())
        _check_regular(path, found.st_mode)
        # One byte more than is allowed tells that it is too much, however large it is.
        content = file.read(bytes_max + 1)
    return content, max(len(content), found.st_size)


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(
            errno.EISDIR, "is a folder; log its files one by one, or an archive", str(path)
        )
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")
    raise ValidationError(
        f"file_path {shown(str(path))} is {kind}, allowed are regular files; write what it gives "
        "into a file, or log it with log_artifact",
        field="file_path",
        value=str(path),
        limit="a regular file",
    )
