"""A pipeline of two steps, a process each: `python producer/examples/pipeline.py EXECUTION-ID`."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import trialog

EPOCHS = 20
POINTS = 200
RATE = 0.5


def prepare(path: Path) -> None:
    """Make points near a line, and log them as what the pipeline works on."""
    with path.open("w", newline="", encoding="utf-8") as file:
        for index in range(POINTS):
            x = index / POINTS
            csv.writer(file).writerow((x, 3 * x - 1 + 0.1 * math.sin(999 * x)))
    with trialog.load_run() as run:
        run.log_parameter("points", POINTS)
        run.log_file(path, "points.csv", is_output=False)


def train(path: Path) -> None:
    """Find the line again by gradient descent, and log how far off it is in every epoch."""
    with path.open(newline="", encoding="utf-8") as file:
        points = [(float(x), float(y)) for x, y in csv.reader(file)]
    slope = offset = 0.0
    with trialog.load_run() as run:
        run.log_parameters({"epochs": EPOCHS, "rate": RATE})
        for epoch in range(EPOCHS):
            errors = [(slope * x + offset - y, x) for x, y in points]
            slope -= RATE * sum(error * x for error, x in errors) / len(points)
            offset -= RATE * sum(error for error, _ in errors) / len(points)
            run.log_metric("loss", sum(error**2 for error, _ in errors) / len(points), epoch)


STEPS = {"prepare": prepare, "train": train}


def start(execution_id: str, experiment_name: str) -> None:
    """Run the steps one after the other, in the run of this execution."""
    config = trialog.PipelineExperimentConfig(experiment_name, execution_id)
    with config.run() as run, tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, str(Path(folder, "points.csv"))]
            subprocess.run(command, env={**os.environ, **config.environment}, check=True)
    run.wait()
    print(f"{run.run_name} is {run.status}")


def main(arguments: list[str]) -> None:
    """Be one step, or start the pipeline."""
    if not arguments:
        sys.exit("give the id of this execution: pipeline.py EXECUTION-ID [EXPERIMENT]")
    if arguments[0] == "--step":
        STEPS[arguments[1]](Path(arguments[2]))
    else:
        start(arguments[0], arguments[1] if len(arguments) > 1 else "pipeline")


if __name__ == "__main__":
    main(sys.argv[1:])
