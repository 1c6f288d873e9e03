"""What a spool keeps and gives up by itself, on each log: killed programs, an absent service."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import structlog

import trialog
from tests.acceptance.dead_spools import POINTS, leave_dead_spools
from tests.services.ports import free_port
from tests.services.proxy import Proxy
from tests.services.trialog import wait_until
from trialog.client import Client
from trialog.spool_folder import writer_folders

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import EventDict

    from tests.services.trialog import TrialogService
    from trialog.run_view import RunView

LOSS = [step / 2 for step in range(POINTS)]

CALLS = ("log_metric", "log_metrics", "log_parameter", "log_artifact", "log_model", "set_tags")

ALONE = """
import sys, trialog
session = trialog.Session(url=sys.argv[1], spool_dir=sys.argv[2])
try:
    with trialog.Run("offline", "one", session) as run:
        for step in range(100):
            run.log_metric("loss", 0.5, step)
            run.flush(0.01)
        raise ZeroDivisionError("my own")
except ZeroDivisionError as exc:
    print("caught", exc)
"""


def folders(session: trialog.Session) -> list[Path]:
    """Return the spools on the disk."""
    return list(writer_folders(session.resolve().spool_dir))


def last_of(run: RunView) -> dict[str, object]:
    """Return what of a run is named `last`, by where it is."""
    found: dict[str, object] = {
        "metrics": run.metrics["last"].count if "last" in run.metrics else None,
        "parameters": run.parameters.get("last"),
        "tags": run.tags.get("last"),
        "artifacts": [one.name for one in run.artifacts],
    }
    return {name: value for name, value in found.items() if value}


# D12 K9
def test_calls_of_killed_processes_are_sent_by_the_next_process(
    session: trialog.Session, experiment_name: str
) -> None:
    """SIGKILL behind any kind of log call loses none; whoever runs next ships all, once."""
    leave_dead_spools(session, experiment_name, {name: name for name in CALLS})
    with trialog.Run(experiment_name, "next", session):
        wait_until(lambda: len(folders(session)) == 1, "only the living one's spool is left")
    runs = {run.run_name: run for run in trialog.Run.list(experiment_name, session=session)}
    assert {name: last_of(runs[name]) for name in CALLS} == {
        "log_metric": {"metrics": 1},
        "log_metrics": {"metrics": 1},
        "log_parameter": {"parameters": 1},
        "log_artifact": {"artifacts": ["last"]},
        "log_model": {"artifacts": ["models/last"]},
        "set_tags": {"tags": "1"},
    }
    for name in CALLS:
        assert runs[name].metric_series("loss")["value"] == LOSS
        assert (runs[name].status, runs[name].rejections) == ("InProgress", [])
    assert runs["log_artifact"].read_artifact("last") == b"text"


# K10
def test_long_run_gives_its_disk_back_while_it_goes_on(
    session: trialog.Session, experiment_name: str
) -> None:
    """Of some 5 MB that a living run has logged only the segment that it writes to is kept."""
    metrics = {f"m{number}": float(number) for number in range(20)}
    with trialog.Run(experiment_name, "long", session) as run:
        for step in range(24_000):
            run.log_metrics(metrics, step)
        (folder,) = folders(session)
        # On a busy machine some of the first ones are applied and gone by now.
        assert max(int(one.stem) for one in folder.glob("*.spool")) > 2
        run.wait(30)
        wait_until(lambda: len(list(folder.glob("*.spool"))) == 1, "applied segments are deleted")
        run.log_metric("m0", 0.0, 24_000)
    run.wait(30)
    told = Client(session.resolve()).run(experiment_name, "long")
    assert (told["points"], told["rejected_count"]) == (480_001, 0)
    assert run.metrics["m0"].count == 24_001


def said_of(logged: list[EventDict], what: str) -> list[dict[str, object]]:
    """Return the lines that say something, without how loud they are."""
    found = [dict(line) for line in logged if what in str(line["event"])]
    for line in found:
        line.pop("log_level")
    return found


def wait_said(logged: list[EventDict], what: str, times: int) -> None:
    """Wait until the sender has noticed and said it so often."""
    wait_until(lambda: len(said_of(logged, what)) == times, f"{what!r} is said")


def log_and_flush(run: trialog.Run, steps: range) -> None:
    """Log with nobody to send it to, and wait for it in vain."""
    for step in steps:
        run.log_metric("loss", float(step), step)
    assert [run.flush(0.15) for _ in range(3)] == [False] * 3


# B11 D12
def test_service_that_goes_and_comes_is_said_once_each_time(
    service: TrialogService, session: trialog.Session, experiment_name: str
) -> None:
    """With the address, where the data is meanwhile and why; all of it is there afterwards."""
    host, port = service.url.removeprefix("http://").split(":")
    with structlog.testing.capture_logs() as logged, Proxy((host, int(port))) as proxy:
        url = f"http://{proxy.address}"
        through = trialog.Session(url=url, spool_dir=session.spool_dir)
        with trialog.Run(experiment_name, "one", through) as run:
            for times, first in enumerate((0, 100), start=1):
                proxy.refuse()
                log_and_flush(run, range(first, first + 100))
                wait_said(logged, "cannot be reached", times)
                proxy.accept()
                assert run.flush(30)
                wait_said(logged, "is back", times)
        run.wait(30)
        assert run.metric_series("loss")["value"] == [float(step) for step in range(200)]
    (line, again) = said_of(logged, "cannot be reached")
    assert line == again
    assert line["address"] == url
    assert line["spool"] == str(session.spool_dir)
    assert line["event"] == "the log cannot be reached; events are kept in the spool and sent later"
    assert (
        said_of(logged, "is back")
        == [{"event": "the log is back; what was kept is sent", "address": url}] * 2
    )


# B11
def test_program_without_a_service_keeps_all_says_it_and_fails_by_its_own_error_only(
    tmp_path: Path,
) -> None:
    """One warning for the absence, one for what is kept; standard output is the program's own."""
    url, spool_dir = f"http://127.0.0.1:{free_port()}", tmp_path / "spool"
    command = [sys.executable, "-c", ALONE, url, str(spool_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "caught my own\n"
    away, kept = done.stderr.splitlines()
    assert "the log cannot be reached; events are kept in the spool and sent later" in away
    assert f"address={url}" in away
    assert f"1 run is kept in {spool_dir}; `trialog sync` or the next run sends them" in kept
