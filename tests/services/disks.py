"""Small disks that can be full, where the system lets us mount them: usually root alone."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LEFT_BYTES = 64 * 1024
"""So little is left of a disk that is filled: no page of a table and no segment fits for long."""


def mount_small(folder: Path, size: int) -> bool:
    """Mount a disk of so many bytes over a folder; tell whether that was allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(mount, check=False, capture_output=True).returncode == 0
    return False


def unmount(folder: Path) -> None:
    """Take a disk away, also while somebody still stands in it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Have a folder on a disk of its own of so many bytes; skip the test where nobody may mount."""
    if not mount_small(folder, size):
        pytest.skip("only root may mount a disk")
    try:
        yield folder
    finally:
        unmount(folder)


@functools.cache
def can_mount() -> bool:
    """Tell whether a small disk can be mounted here."""
    with tempfile.TemporaryDirectory(prefix="trialog-mount-") as folder:
        if not mount_small(Path(folder), 4096):
            return False
        unmount(Path(folder))
    return True


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[Callable[[], None]]:
    """Fill the disk of a folder with ballast for the time of the block.

    Yields:
        What takes the room that others have given back since.
    """
    ballast = folder / "ballast"
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def fill_up() -> None:
        # Others take room meanwhile, so that there may be less than was seen.
        with contextlib.suppress(OSError):
            while (free := shutil.disk_usage(folder).free - _LEFT_BYTES) > 0:
                os.posix_fallocate(file, os.fstat(file).st_size, free)

    try:
        fill_up()
        yield fill_up
    finally:
        os.close(file)
        ballast.unlink()
