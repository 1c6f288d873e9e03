"""The whole service as a user starts it: real commands in their own processes, killable by pid."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import psutil

from tests.services.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

READY = "trialog ready at "
START_TIMEOUT_S = 45.0
STOP_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.02

_PID_LINE, _SOCKET_DIR_LINE = 0, 4  # of Postgres' postmaster.pid
_SAID_LINES = 15


def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait until a condition holds; fail with what was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_INTERVAL_S)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def interpreter_for(user: int) -> tuple[str, dict[str, str]]:
    """Return a Python that a user may run, and the variables that give it what ours has.

    Raises:
        ServiceUnavailableError: every Python here lies in a folder that only root may enter.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for path in (sys.executable, shutil.which(version, path=os.defpath)):
        if path is not None:
            with contextlib.suppress(PermissionError):
                subprocess.run(
                    [path, "-c", "import trialog_server"],
                    env={**os.environ, **variables},
                    user=user,
                    group=user,
                    extra_groups=[],
                    check=True,
                )
                return path, variables
    raise ServiceUnavailableError(f"user {user} may run no {version} of this machine")


class ServiceProcess:
    """One command of the service: `up`, `api` or `worker`, with what it says.

    Args:
        arguments: the command and its flags.
        environment: variables beside those of the tests.
        user: the id of the user and group that it runs as; None is ours.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        self.arguments = list(arguments)
        self.output: list[str] = []
        self._environment = dict(environment or {})
        self._user = user
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Self:
        self.launch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The first process of the command."""
        if self._process is None:
            raise ServiceUnavailableError(f"trialog {self.arguments[0]} was not started")
        return self._process.pid

    def launch(self) -> None:
        """Start the command; do not wait."""
        interpreter, variables = sys.executable, dict[str, str]()
        if self._user is not None:
            interpreter, variables = interpreter_for(self._user)
        self._process = subprocess.Popen(
            [interpreter, "-m", "trialog_server", *self.arguments],
            stdin=subprocess.PIPE,  # its end tells a worker that its parent is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables, **self._environment},
            start_new_session=True,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()

    def _read(self, process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        if process.stdout is None:
            raise ServiceUnavailableError("a command was started without a pipe for its output")
        for line in process.stdout:
            self.output.append(line.rstrip())
            lines.put(line.rstrip())
        process.stdout.close()
        lines.put(None)

    def wait_ready(self) -> str:
        """Wait for the line that says the service can be used; return its address."""
        while True:
            try:
                line = self._lines.get(timeout=START_TIMEOUT_S)
            except queue.Empty:
                line = None
            if line is None:
                said = "\n".join(self.output[-_SAID_LINES:])
                raise ServiceUnavailableError(f"{self.arguments[0]} was not ready:\n{said}")
            if line.startswith(READY):
                return line.removeprefix(READY).strip()

    def wait_ended(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until the command has ended by itself and everything it said is in `output`."""
        if self._process is None:
            raise ServiceUnavailableError(f"trialog {self.arguments[0]} was not started")
        status = self._process.wait(timeout_s)
        while self._lines.get(timeout=timeout_s) is not None:
            pass
        self._forget()
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it cleanly and return its exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._forget()
        return status

    def kill(self) -> None:
        """SIGKILL the first process of the command, and nothing else."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def kill_whole(self) -> None:
        """SIGKILL every process of the command at once, as a machine that goes down does."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.kill()

    def family(self) -> list[psutil.Process]:
        """Return the command's processes that live: its first one and those below."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]


class TrialogService(ServiceProcess):
    """`trialog up` on a folder, on a free port, with the embedded log or on a Kafka broker."""

    def __init__(
        self, folder: Path, *arguments: str, kafka: str | None = None, user: int | None = None
    ) -> None:
        super().__init__("up", "--data-dir", str(folder / "data"), *arguments, user=user)
        self._data_dir = folder / "data"
        self._flags = list(self.arguments)
        self.kafka = kafka
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self.end_remains()

    @property
    def data_dir(self) -> Path:
        """The folder with everything the service keeps."""
        return self._data_dir

    @property
    def worker_pid(self) -> int:
        """The projection worker's process."""
        for child in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.Error):
                if "worker" in child.cmdline():
                    return child.pid
        raise ServiceUnavailableError("trialog up has no worker at the moment")

    @property
    def postgres_pid(self) -> int:
        """The embedded Postgres' first process, the last one that ran."""
        return int(self._pid_file_lines()[_PID_LINE])

    @property
    def postgres_url(self) -> str:
        """The address of the embedded Postgres, for looking at its tables."""
        socket_dir = quote(self._pid_file_lines()[_SOCKET_DIR_LINE].strip(), safe="/")
        return f"postgresql://postgres@/postgres?host={socket_dir}"

    def family(self) -> list[psutil.Process]:
        """Return the processes that live: `up` and its worker, and Postgres with its own."""
        postgres = psutil.Process(self.postgres_pid)
        return [*super().family(), postgres, *postgres.children(recursive=True)]

    def start(self, port: int = 0) -> None:
        """Start it, on the same port as before if it ran already, and wait until it is ready."""
        if port == 0 and self.url:
            port = int(self.url.rsplit(":", 1)[1])
        self.arguments = [*self._flags, "--port", str(port)]
        if self.kafka is not None:
            self.arguments += ["--kafka", self.kafka]
        self.launch()
        self.url = self.wait_ready()

    def end_remains(self) -> None:
        """End a Postgres that a killed service left behind."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            process = psutil.Process(self.postgres_pid)
            if str(self._data_dir / "postgres") in process.cmdline():
                process.send_signal(signal.SIGQUIT)
                process.wait(STOP_TIMEOUT_S)

    def _pid_file_lines(self) -> list[str]:
        path = self._data_dir / "postgres" / "postmaster.pid"
        return path.read_text(encoding="utf-8").splitlines()
