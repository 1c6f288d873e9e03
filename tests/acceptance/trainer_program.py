"""A training program for the tests of faults: logs until its input ends, and keeps a ledger.

The ledger is a file to which one line is added after each log call has returned, straight into the
kernel. It is what a test compares the service with, and shares no code with what it proves.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import trialog

STEPS_PER_PAUSE = 3
PAUSE_S = 0.01
"""So many steps, then a pause: that leaves the processes that are tested their share."""

PARAMETER_EVERY = 50
PARAMETERS_MAX = 200
ARTIFACT_EVERY = 400
ARTIFACTS_MAX = 20


class Ledger:
    """A file of finished calls."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, line: str) -> None:
        """Add a line; it survives the end of this process, however that comes."""
        os.write(self._file, f"{line}\n".encode())


def loss_at(step: int) -> float:
    """Return the value of a step; every step has another one."""
    return 1000.0 / (step + 1)


def log_step(run: trialog.Run, step: int, ledger: Ledger) -> None:
    """Log what belongs to a step, one call after the other."""
    run.log_metrics({"loss": loss_at(step), "accuracy": step / 7}, step)
    ledger.note(f"step {step}")
    run.log_metric("tick", float(step))
    ledger.note(f"tick {step}")
    number, rest = divmod(step, PARAMETER_EVERY)
    if rest == 0 and number < PARAMETERS_MAX:
        run.log_parameter(f"p{number}", number / 3)
        ledger.note(f"parameter {number}")
    number, rest = divmod(step, ARTIFACT_EVERY)
    if rest == 0 and number < ARTIFACTS_MAX:
        run.log_artifact(f"a{number}", f"text {number}")
        ledger.note(f"artifact {number}")


def train(run: trialog.Run, ledger: Ledger) -> None:
    """Log inside the run's block until standard input ends."""
    ending = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ending.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    with run:
        ledger.note(f"run {run.run_id}")
        step = 0
        while not ending.is_set():
            log_step(run, step, ledger)
            step += 1
            if step % STEPS_PER_PAUSE == 0:
                time.sleep(PAUSE_S)
    ledger.note("left")
    run.wait(60.0)
    ledger.note("applied")


def main() -> None:
    """Train as the command line says: URL, Kafka or -, folder, experiment, run."""
    url, kafka, folder, experiment_name, run_name = sys.argv[1:]
    session = trialog.Session(
        url=url, kafka=None if kafka == "-" else kafka, spool_dir=Path(folder) / "spool"
    )
    ledger = Ledger(Path(folder) / f"{run_name}.ledger")
    train(trialog.Run(experiment_name, run_name, session), ledger)


if __name__ == "__main__":
    main()
