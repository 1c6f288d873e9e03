"""System calls that fail in a running process, by strace: where it is there and may attach."""

from __future__ import annotations

import functools
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ATTACH_TIMEOUT_S = 10.0
_POLL_S = 0.02
_ATTACHED = re.compile(r"Process (\d+) attached|ptrace\(PTRACE_SEIZE, (\d+)\)")


class Injection:
    """What strace has noted of the calls that it let fail."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def hits(self) -> int:
        """How many calls have failed so far."""
        return self._path.read_text(encoding="utf-8", errors="replace").count("(INJECTED)")


def failing_from_start(calls: str, when: str = "1+", error: str = "EIO") -> list[str]:
    """Return what stands before a command whose calls fail: it stays the caller's own child.

    Args:
        calls: names of system calls, with commas between.
        when: which of each of them, in strace's words.
        error: the name of the error.
    """
    return [
        *("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none"),
        *("-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}"),
    ]


@contextmanager
def failing(
    pids: Sequence[int], calls: str, paths: Sequence[Path] = (), *, follows: bool = True
) -> Iterator[Injection]:
    """Have system calls of processes fail with EIO for the time of the block.

    Args:
        pids: the processes; some may end meanwhile.
        calls: names of system calls, with commas between.
        paths: only calls on these files.
        follows: also those of their other threads, and of what they start meanwhile.

    Raises:
        ServiceUnavailableError: strace is not there, or may not attach.
    """
    if shutil.which("strace") is None:
        raise ServiceUnavailableError("strace is not installed")
    with tempfile.TemporaryDirectory(prefix="trialog-strace-") as folder:
        noted, said = Path(folder) / "noted", Path(folder) / "said"
        noted.touch()
        command = [
            "strace",
            *(["-f"] if follows else []),
            "-o",
            str(noted),
            "-e",
            "signal=none",
            "-e",
            f"trace={calls}",
        ]
        command += ["-e", f"inject={calls}:error=EIO"]
        command += [part for path in paths for part in ("-P", str(path))]
        command += [part for pid in pids for part in ("-p", str(pid))]
        with said.open("wb") as out:
            tracer = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            _wait_attached(tracer, said, set(pids))
            yield Injection(noted)
        finally:
            tracer.send_signal(signal.SIGINT)  # it lets go of the processes, which go on
            tracer.wait()


def _wait_attached(tracer: subprocess.Popen[bytes], said: Path, pids: set[int]) -> None:
    deadline_s = time.monotonic() + _ATTACH_TIMEOUT_S
    while True:
        text = said.read_text(encoding="utf-8", errors="replace")
        if pids <= {int(found[0] or found[1]) for found in _ATTACHED.findall(text)}:
            return
        if tracer.poll() is not None or time.monotonic() > deadline_s:
            raise ServiceUnavailableError(f"strace does not attach:\n{text[-500:]}")
        time.sleep(_POLL_S)


@functools.cache
def can_inject() -> bool:
    """Tell whether system calls of running processes can be made to fail here."""
    with subprocess.Popen(["sleep", "60"]) as victim:
        try:
            with failing([victim.pid], "fsync"):
                return True
        except ServiceUnavailableError:
            return False
        finally:
            victim.kill()
