"""Behaviour of a lock on a file: who holds it, and how it ends with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trialog.file_lock import FileLock

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 30.0

HOLDER = """
import sys
from pathlib import Path
from trialog.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.take_nowait(), flush=True)
sys.stdin.read()
"""

FORKED = """
import os, sys
from pathlib import Path
from trialog.file_lock import FileLock
path = Path(sys.argv[1])
lock = FileLock(path)
lock.take_nowait()
told_read, told_write = os.pipe()
if os.fork() == 0:
    print("held", lock.is_held, "free", FileLock(path).take_nowait(), flush=True)
    os.write(told_write, b"x")
    sys.stdin.read()
    os._exit(0)
os.read(told_read, 1)
was_held = lock.is_held
lock.release()
print("released", was_held, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a lock, not made yet."""
    return tmp_path / "lock"


def hold(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "True"
    return holder


def test_lock_is_taken_once_and_taking_it_again_is_no_second_time(path: Path) -> None:
    """One release gives it up, however often its holder has asked for it."""
    lock = FileLock(path)
    held = [lock.is_held]
    assert lock.take_nowait()
    assert lock.take_nowait()
    held.append(lock.is_held)
    lock.release()
    held.append(lock.is_held)
    assert held == [False, True, False]
    assert FileLock(path).take_nowait()


def test_lock_that_is_held_is_refused_to_another_instance(path: Path) -> None:
    """Two instances in one process exclude each other like two processes."""
    first, second = FileLock(path), FileLock(path)
    assert first.take_nowait()
    assert not second.take_nowait()
    assert not second.is_held
    first.release()
    assert second.take_nowait()


def test_lock_leaves_its_file_behind_readable_by_its_owner_only(path: Path) -> None:
    """The file is not removed: a second process might hold the one that is gone."""
    lock = FileLock(path)
    lock.take_nowait()
    lock.release()
    assert path.exists()
    assert path.stat().st_mode & 0o077 == 0


def test_lock_released_without_being_taken_is_no_error(path: Path) -> None:
    """Whoever cleans up need not know how far it came."""
    lock = FileLock(path)
    lock.release()
    assert not path.exists()


def test_lock_in_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It is not mistaken for one that somebody holds."""
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "gone" / "lock").take_nowait()


def test_lock_of_a_process_ends_with_it_also_by_sigkill(path: Path) -> None:
    """While another process lives its lock holds; when it is killed the lock is free at once."""
    with hold(path) as holder:
        lock = FileLock(path)
        assert not lock.take_nowait()
        holder.send_signal(signal.SIGKILL)
        holder.wait(DEADLINE_S)
        assert lock.take_nowait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_lock_of_a_parent_neither_binds_nor_outlives_it_in_a_child(path: Path) -> None:
    """A child made by fork holds nothing; its parent does, until it gives the lock up itself."""
    command = [sys.executable, "-c", FORKED, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().split() == ["held", "False", "free", "False"]
        assert parent.stdout.readline().split() == ["released", "True"]
        assert FileLock(path).take_nowait(), "the child, which still lives, holds it too"
        parent.communicate()


def test_lock_is_not_inherited_by_a_program_that_is_started(path: Path) -> None:
    """A subprocess of a training program does not make its dead parent look alive."""
    lock = FileLock(path)
    assert lock.take_nowait()
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        lock.release()
        assert FileLock(path).take_nowait()
        child.communicate()
