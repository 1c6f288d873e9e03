"""A lock that a living process holds on a file and that ends with it, however it ends.

Used for spools (is their writer still alive?) and for the service's data folder. The `filelock`
package is not used because a child made by fork must drop the inherited file without giving the
parent's lock up, which it has no public way for: a lock that lived on in a child would make its
dead parent look alive.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class FileLock:
    """An exclusive lock on one file; the file is made when missing and left behind.

    Not for threads: two instances in one process exclude each other like two processes. A child
    made by fork holds none of its parent's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def is_held(self) -> bool:
        """Tell whether this instance holds the lock."""
        return self._file is not None

    def take_nowait(self) -> bool:
        """Take the lock if it is free; tell whether it is held now.

        Raises:
            OSError: the file cannot be made or opened.
        """
        if self._file is not None:
            return True
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(file)
        except OSError:  # BlockingIOError on POSIX, PermissionError on Windows: somebody holds it
            os.close(file)
            return False
        self._file = file
        _taken.add(self)
        return True

    def release(self) -> None:
        """Give the lock up."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


_taken: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _drop_in_child() -> None:
    # A flock belongs to the open file, which the parent still has open: it goes on holding it.
    for lock in list(_taken):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_in_child)


def _lock(file: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
