"""Spools of processes that SIGKILL ended: real programs, killed as soon as a log call returned."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from trialog.spool_folder import writer_folders

if TYPE_CHECKING:
    from pathlib import Path

    import trialog

POINTS = 500
"""Points of the metric `loss` in each run, with the steps from 0 on and half the step as value."""

# One interpreter for all: its children are forked before the SDK has a thread, and each kills
# itself in the statement behind the one call that is to be its last.
_KILLED = """
import json, os, signal, sys
import trialog

LAST = {
    "log_metric": lambda run: run.log_metric("last", 1.0),
    "log_metrics": lambda run: run.log_metrics({"last": 1.0, "other": 2.0}),
    "log_parameter": lambda run: run.log_parameter("last", 1),
    "log_artifact": lambda run: run.log_artifact("last", "text"),
    "log_model": lambda run: run.log_model("s3://models/last"),
    "set_tags": lambda run: run.set_tags({"last": "1"}),
}

def child(fields, experiment, name, points, last):
    # A spool folder of its own: one that lives a little longer would adopt and send the others'.
    session = trialog.Session(**{**fields, "spool_dir": f"{fields['spool_dir']}-{name}"})
    run = trialog.Run(experiment, name, session).__enter__()
    for step in range(points):
        run.log_metric("loss", step / 2, step)
    LAST[last](run)
    os.kill(os.getpid(), signal.SIGKILL)

task = json.loads(sys.argv[1])
for name, last in task["runs"].items():
    if os.fork() == 0:
        child(task["session"], task["experiment"], name, task["points"], last)
for _ in task["runs"]:
    _, status = os.wait()
    assert os.WTERMSIG(status) == signal.SIGKILL
"""


def leave_dead_spools(
    session: trialog.Session, experiment: str, runs: dict[str, str]
) -> list[Path]:
    """Run a process for each run that is killed right after a call; return the spools left.

    Args:
        session: what the processes log with.
        experiment: whose runs.
        runs: each run's name with its last call, for example `log_metric`.
    """
    fields = {"url": session.url, "kafka": session.kafka, "spool_dir": str(session.spool_dir)}
    task = {"session": fields, "experiment": experiment, "runs": runs, "points": POINTS}
    command = [sys.executable, "-c", _KILLED, json.dumps(task)]
    spool_dir = session.resolve().spool_dir
    spool_dir.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    left = []
    for name in runs:
        (path,) = writer_folders(spool_dir.with_name(f"{spool_dir.name}-{name}"))
        left.append(path.rename(spool_dir / path.name))
    return sorted(left)
