"""A server process that ends with the test process, however that one ends.

Between the test process and the server stands a guard: this file, run as a program. It starts the
server, says its process id, and asks five times a second whether its own parent still is the test
process. If not, it kills the server and removes the server's folder. (Linux's parent death signal
would do it without a guard, but it fires when the *thread* that started the server ends.)

Only the standard library is imported here: the guard runs isolated from the environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_POLL_INTERVAL_S = 0.2
_LOG_TAIL_LINES = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, as whom, and what to leave behind: nothing."""

    command: list[str]
    log_path: str
    """The file that takes the program's output."""
    folder: str
    """Removed when the test process dies before it could do so itself."""
    user_id: int | None = None
    group_id: int | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the program as a child of this process, in a session of its own."""
        with Path(self.log_path).open("ab") as log:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",  # the program's user may not be allowed to stand in ours
                user=self.user_id,
                group=self.group_id,
                extra_groups=None if self.user_id is None else [],
                start_new_session=True,
            )

    def log_tail(self) -> str:
        """The end of what the program has said, for error messages."""
        try:
            text = Path(self.log_path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(no output)"
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:]) or "(no output)"


class GuardedProcess:
    """A running program under its guard."""

    def __init__(self, program: Program) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", __file__, str(os.getpid()), _to_json(program)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests, not for servers
        )
        assert self._guard.stdout is not None
        with self._guard.stdout as first_line:
            text = first_line.readline()
        if not text:
            self._guard.wait()
            raise RuntimeError(f"{program.command[0]} cannot be run; the guard's output says why")
        self.pid = int(text)
        """The process id of the program, not of its guard."""

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended."""
        return self._guard.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, unless it has ended."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> None:
        """Wait until the program has ended.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        self._guard.wait(timeout_s)

    def kill(self) -> None:
        """End the program by SIGKILL and wait until it is gone."""
        self.send_signal(signal.SIGKILL)
        self._guard.wait()

    def stop(self, number: signal.Signals, timeout_s: float) -> None:
        """Ask the program to end, by the signal it expects; kill it if it does not."""
        self.send_signal(number)
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()


def _to_json(program: Program) -> str:
    return json.dumps(dataclasses.asdict(program))


def _guard(parent_pid: int, program: Program) -> None:
    child = program.start()
    print(child.pid, flush=True)  # noqa: T201 - this line is what the test process waits for
    # Nothing more will be said; the test process must not wait for the end of this pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    while True:
        try:
            child.wait(_POLL_INTERVAL_S)
        except subprocess.TimeoutExpired:
            if os.getppid() == parent_pid:
                continue
            child.kill()
            child.wait()
            shutil.rmtree(program.folder, ignore_errors=True)
        return


if __name__ == "__main__":
    _guard(int(sys.argv[1]), Program(**json.loads(sys.argv[2])))
