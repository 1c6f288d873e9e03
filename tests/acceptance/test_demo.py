"""`trialog demo` as a user runs it: table, best run, ready line, and nothing left after Ctrl-C."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

import trialog
from trialog.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEMO = "from trialog_server.demo import demo; demo(prog_name='trialog demo')"
LINE_WAIT_S = 100.0
STOP_WAIT_S = 20.0


class _Demo:
    """A demo in a session of its own, whose output is read line by line."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._data_dir = folder
        self.lines: list[str] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", DEMO, "--data-dir", str(folder), "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "TRIALOG_KAFKA": "127.0.0.1:1", "TRIALOG_URL": "http://127.0.0.1:1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def wait_line(self, start: str) -> str:
        """Wait for the line that begins so, and return it."""
        while True:
            line = self._coming.get(timeout=LINE_WAIT_S)
            assert line is not None, "\n".join(self.lines)
            self.lines.append(line)
            if line.startswith(start):
                return line

    def members(self) -> list[psutil.Process]:
        """Every process that the demo has started, direct or not."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def postgres(self) -> psutil.Process:
        """The first process of the demo's Postgres, which is no child of the demo."""
        text = (self._data_dir / "postgres" / "postmaster.pid").read_text(encoding="utf-8")
        return psutil.Process(int(text.splitlines()[0]))

    def end(self, number: signal.Signals) -> None:
        """Send the signal to the whole group, as a terminal does, and read what is still said."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        self._process.wait(STOP_WAIT_S)
        self._reader.join(STOP_WAIT_S)
        while (line := self._coming.get(timeout=STOP_WAIT_S)) is not None:
            self.lines.append(line)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[type[_Demo]]:
    """What starts a demo; none is left when the test is through."""
    started: list[_Demo] = []

    class Started(_Demo):
        def __init__(self, folder: Path, *arguments: str) -> None:
            super().__init__(folder, *arguments)
            started.append(self)

    yield Started
    for one in started:
        if one._process.poll() is None:
            one.end(signal.SIGTERM)


# L1
@pytest.mark.slow(reason="starts the service and trains two networks")
@pytest.mark.timeout(240)
def test_demo_searches_compares_serves_and_leaves_nothing(
    start: type[_Demo], tmp_path: Path
) -> None:
    """Two trials are a table with a best run, their artifacts can be read, Ctrl-C ends all."""
    demo = start(tmp_path / "demo", "--trials", "2", "--processes", "2")
    best = demo.wait_line("best run ").split()[2]
    url = demo.wait_line("trialog ready at ").removeprefix("trialog ready at ")
    table = "\n".join(demo.lines)
    assert "validation:accuracy" in table
    assert "2 of 2 trials done" in table
    session = trialog.Session(url=url, spool_dir=tmp_path / "spool")
    frame = trialog.compare("digits", session=session)
    assert list(frame["status"]) == ["Completed", "Completed"]
    accuracies = dict(zip(frame["run_name"], frame["validation:accuracy"], strict=True))
    assert accuracies[best] == max(accuracies.values())
    client = Client(session.resolve())
    run_id = client.run("digits", best)["run_id"]
    assert client.read_artifact(run_id, "confusion-matrix.png", None).startswith(b"\x89PNG")
    assert client.read_artifact(run_id, "model.pkl", None).startswith(b"\x80")
    left = [*demo.members(), demo.postgres()]
    demo.end(signal.SIGINT)
    assert psutil.wait_procs(left, timeout=STOP_WAIT_S)[1] == []
    assert "Traceback" not in "\n".join(demo.lines)


@pytest.mark.slow(reason="starts the service three times and trains a few networks")
@pytest.mark.timeout(240)
def test_demo_ended_in_the_middle_of_its_search_leaves_no_open_run(
    start: type[_Demo], tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM end the search too; another demo finds its runs, each of them ended."""
    for number in (signal.SIGINT, signal.SIGTERM):
        ended = start(tmp_path / "demo", "--trials", "8", "--processes", "2")
        ended.wait_line("2 of 8 trials done")
        left = [*ended.members(), ended.postgres()]
        ended.end(number)
        assert psutil.wait_procs(left, timeout=STOP_WAIT_S)[1] == []
        assert ended.lines[-1] == "trialog: stopped"
        assert "Traceback" not in "\n".join(ended.lines)
    last = start(tmp_path / "demo", "--trials", "1", "--processes", "1")
    url = last.wait_line("trialog ready at ").removeprefix("trialog ready at ")
    session = trialog.Session(url=url, spool_dir=tmp_path / "spool")
    statuses = list(trialog.compare("digits", session=session)["status"])
    assert 5 <= len(statuses) < 17
    assert set(statuses) <= {"Completed", "Failed"}


@pytest.mark.slow(reason="starts the service")
def test_second_demo_in_one_folder_is_refused_with_a_word(
    start: type[_Demo], tmp_path: Path
) -> None:
    """While the first demo holds the folder, the second says so and what to do."""
    first = start(tmp_path / "demo", "--trials", "1", "--processes", "1")
    first.wait_line("trialog: starting")
    second = start(tmp_path / "demo")
    said = second.wait_line("Error: ")
    assert "another trialog already serves" in said
    assert "--data-dir" in said
