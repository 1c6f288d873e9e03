"""Reads the file that becomes an artifact, and only a regular one; must not log or name it.

A pipe has no end until its writer says so, and a device may have none: waiting for them would be
waiting within a log call.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from trialog_schemas.callers_code import CallersCodeError, ask, kind_name
from trialog_schemas.errors import ValidationError, WrongTypeError, shown

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""With O_NONBLOCK a pipe that takes the file's place between look and open is opened at once."""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


PIECE_BYTES = 1_048_576
"""How much of a file is read at once: a limit may be far beyond what there is to read."""


def artifact_path(given: object) -> Path:
    """Return the path of a file from what `open` takes for one, numbers of open files excepted.

    Raises:
        WrongTypeError: it is no path.
        ValidationError: no file can have it, or its home folder is not known.
    """
    try:
        path = str.__str__(ask(lambda: os.fsdecode(given)))  # type: ignore[arg-type]  # asked
    except CallersCodeError as exc:
        raise WrongTypeError(
            f"file_path is {shown(given)} of type {kind_name(given)}, allowed are texts, bytes and "
            "path objects; give the path of a file",
            field="file_path",
            value=given,
            limit="path",
        ) from exc.__cause__
    try:
        os.fsencode(path)
        expanded = Path(path).expanduser()
    except (RuntimeError, UnicodeEncodeError) as exc:
        raise _no_path(path) from exc
    if not path or "\0" in path:
        raise _no_path(path)
    return expanded


def _no_path(path: str) -> ValidationError:
    return ValidationError(
        f"file_path {shown(path)} is a path that no file can have: it is empty, has a NUL or a "
        "lone surrogate, or begins with a user who has no home; give the path of a file",
        field="file_path",
        value=path,
        limit="the path of a file",
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
        content = bytearray()
        # One byte more than is allowed tells that it is too much, however large it is.
        while len(content) <= bytes_max:
            piece = file.read(min(bytes_max + 1 - len(content), PIECE_BYTES))
            if not piece:  # its end, or nothing now of what is no real file
                break
            content += piece
    # What was read is the file: it may have been cut meanwhile, or say no size as in /proc.
    is_whole = len(content) <= bytes_max
    return bytes(content), len(content) if is_whole else max(len(content), found.st_size)


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
