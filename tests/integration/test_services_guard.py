"""No server outlives the test process, however that one ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.services.guard import GuardedProcess, Program

_ROOT = Path(__file__).parents[2]
_GONE_TIMEOUT_S = 10.0

# What a test process does: it starts a server, and here it also says which one.
_TEST_PROCESS = """
import sys, time
from tests.services.guard import GuardedProcess, Program
folder = sys.argv[1]
server = GuardedProcess(Program(command=["sleep", "600"], log_path=folder + ".log", folder=folder))
print(server.pid, flush=True)
time.sleep(600)
"""


def _program(folder: Path, *command: str) -> Program:
    return Program(command=list(command), log_path=str(folder / "log"), folder=str(folder))


def test_server_ends_when_its_test_process_is_killed(tmp_path: Path) -> None:
    """A test process killed by SIGKILL takes its server and the server's folder along."""
    folder = tmp_path / "server"
    folder.mkdir()
    command = [sys.executable, "-c", _TEST_PROCESS, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT) as process:
        assert process.stdout is not None
        server = psutil.Process(int(process.stdout.readline()))
        guard = server.parent()
        assert guard is not None
        process.kill()
    gone, alive = psutil.wait_procs([server, guard], timeout=_GONE_TIMEOUT_S)
    assert len(gone) == 2, alive
    assert not folder.exists()


def test_server_stopped_ends_by_the_signal_it_expects(tmp_path: Path) -> None:
    """A stop asks by signal, waits for the end and leaves the folder to its owner."""
    script = "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done"
    program = _program(tmp_path, "sh", "-c", script)
    server = GuardedProcess(program)
    while "ready" not in program.log_tail():
        assert server.is_running
    server.stop(signal.SIGTERM, timeout_s=10.0)
    assert not server.is_running
    assert program.log_tail().splitlines()[-1] == "bye"


def test_server_deaf_to_its_stop_is_killed(tmp_path: Path) -> None:
    """A server that ignores the stop is killed when its time is over."""
    program = _program(tmp_path, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    server = GuardedProcess(program)
    while "ready" not in program.log_tail():
        assert server.is_running
    server.stop(signal.SIGTERM, timeout_s=0.1)
    assert not server.is_running
    assert not psutil.pid_exists(server.pid)
