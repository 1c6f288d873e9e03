"""The whole service as a user starts it: `trialog up` in its own processes, killable by pid."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

import psutil

from tests.services.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

READY = "trialog ready at "
START_TIMEOUT_S = 45.0
STOP_TIMEOUT_S = 20.0


class TrialogService:
    """`trialog up` on a folder, on a free port, with the embedded log or on a Kafka broker."""

    def __init__(self, folder: Path, *arguments: str, kafka: str | None = None) -> None:
        self._data_dir = folder / "data"
        self._arguments = arguments
        self.kafka = kafka
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self.output: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def data_dir(self) -> Path:
        """The folder with everything the service keeps."""
        return self._data_dir

    @property
    def pid(self) -> int:
        """The process that serves the API and keeps the others."""
        if self._process is None:
            raise ServiceUnavailableError("trialog up was not started")
        return self._process.pid

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
        """The embedded Postgres' first process."""
        text = (self._data_dir / "postgres" / "postmaster.pid").read_text(encoding="utf-8")
        return int(text.splitlines()[0])

    def start(self, port: int = 0) -> None:
        """Start it, on the same port as before if it ran already, and wait until it is ready."""
        if port == 0 and self.url:
            port = int(self.url.rsplit(":", 1)[1])
        command = [sys.executable, "-m", "trialog_server", "up", "--port", str(port)]
        command += ["--data-dir", str(self._data_dir), *self._arguments]
        if self.kafka is not None:
            command += ["--kafka", self.kafka]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()
        self.url = self._wait_ready()

    def _read(self, process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        if process.stdout is None:
            raise ServiceUnavailableError("trialog up was started without a pipe for its output")
        for line in process.stdout:
            self.output.append(line.rstrip())
            lines.put(line.rstrip())
        process.stdout.close()
        lines.put(None)

    def _wait_ready(self) -> str:
        while True:
            try:
                line = self._lines.get(timeout=START_TIMEOUT_S)
            except queue.Empty:
                line = None
            if line is None:
                said = "\n".join(self.output[-15:])
                raise ServiceUnavailableError(f"trialog up was not ready:\n{said}")
            if line.startswith(READY):
                return line.removeprefix(READY).strip()

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
        self._process = None
        return status

    def kill(self) -> None:
        """SIGKILL the process that serves the API; its Postgres goes on until the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
