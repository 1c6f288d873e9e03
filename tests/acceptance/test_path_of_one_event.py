"""The whole path on each log: a log call becomes a row that can be compared."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import trialog
from trialog.adoption import sync_spools

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.trialog import TrialogService

KILLED = """
import os, signal, sys, trialog
session = trialog.Session(url=sys.argv[1], spool_dir=sys.argv[2])
run = trialog.Run(sys.argv[3], "killed", session).__enter__()
for step in range(5000):
    run.log_metric("loss", float(step), step)
os.kill(os.getpid(), signal.SIGKILL)
"""


# B9 C1 D2 D3 D7 E1 K1 L2
def test_run_logged_becomes_a_compared_row(session: trialog.Session, experiment_name: str) -> None:
    """Parameters, points and artifact of a run are what list, compare and series give."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameters({"lr": 0.1, "layers": [64, 32], "is_deep": True})
        for step in range(200):
            run.log_metrics({"loss": 1.0 / (step + 1), "validation:accuracy": step / 200}, step)
        run.log_metric("odd", math.nan)
        run.log_artifact("notes", "text", media_type="text/markdown")
    run.wait()
    assert run.status == "Completed"
    assert run.parameters == {"lr": 0.1, "layers": [64, 32], "is_deep": True}
    assert run.metric_series("loss")["value"] == [1.0 / (step + 1) for step in range(200)]
    assert math.isnan(run.metric_series("odd")["value"][0])
    assert run.read_artifact("notes") == b"text"
    frame = trialog.compare(experiment_name, session=session)
    best = frame.sort_values("validation:accuracy").iloc[-1]
    assert best["run_name"] == "one"
    assert best["loss"] == 1.0 / 200


# B5
def test_run_with_a_taken_name_is_refused_on_entering(
    session: trialog.Session, experiment_name: str
) -> None:
    """The second of one name raises ResourceInUse; the first stays as it was."""
    with trialog.Run(experiment_name, "one", session):
        pass
    second = trialog.Run(experiment_name, "one", session)
    with pytest.raises(trialog.ResourceInUseError), second:
        pass
    assert [run.run_name for run in trialog.Run.list(experiment_name, session=session)] == ["one"]


# B10
def test_run_left_by_an_exception_is_failed_and_the_exception_goes_on(
    session: trialog.Session, experiment_name: str
) -> None:
    """The program's own exception is what the program sees."""
    run = trialog.Run(experiment_name, "one", session)
    with pytest.raises(ZeroDivisionError), run:
        run.log_metric("loss", 1 / 0)
    run.wait()
    assert run.status == "Failed"


# C6
def test_parameter_of_two_values_is_refused_at_once_by_the_same_process(
    session: trialog.Session, experiment_name: str
) -> None:
    """What this process knows raises in the call, and nothing of the call is recorded."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("lr", 1)
        run.log_parameter("lr", 1.0)
        with pytest.raises(trialog.ParameterImmutableError, match="already 1"):
            run.log_parameters({"new": 1, "lr": 2})
        run.wait()
        assert run.parameters == {"lr": 1}


# K9
def test_run_killed_after_a_call_returned_is_complete_after_a_sync(
    service: TrialogService, session: trialog.Session, experiment_name: str
) -> None:
    """SIGKILL right after a log call loses none of 5,000 points and doubles none."""
    arguments = [service.url, str(session.spool_dir), experiment_name]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -9
    reports = asyncio.run(sync_spools(session.resolve()))
    assert [report.outcome for report in reports] == ["sent"]
    (found,) = trialog.Run.list(experiment_name, session=session)
    assert found.metrics["loss"].count == 5000


# B11
def test_run_without_a_service_is_kept_and_sent_later(
    service: TrialogService, tmp_path: Path, experiment_name: str
) -> None:
    """With nobody listening a run is entered, logged and left; a later sync brings it all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    code = KILLED.replace("5000", "10")
    spool = tmp_path / "offline"
    subprocess.run([sys.executable, "-c", code, nobody, str(spool), experiment_name], check=False)
    there = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=spool)
    reports = asyncio.run(sync_spools(there.resolve(), is_moved=True))
    assert [report.outcome for report in reports] == ["sent"]
    with trialog.Run(experiment_name, "after", there) as run:
        run.wait()
    names = {run.run_name for run in trialog.Run.list(experiment_name, session=there)}
    assert names == {"killed", "after"}
