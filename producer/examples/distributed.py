"""Ranks that share one run: `python producer/examples/distributed.py [EXPERIMENT [RANKS]]`.

The ranks find the run by their environment, as those do that torchrun, Slurm or MPI start.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys

import trialog

EPOCHS = 20
POINTS = 300
RATE = 0.5


def train(rank: int, world_size: int) -> None:
    """Be one rank: find a line through its share of the points, and log how far off it is."""
    share = [index / POINTS for index in range(rank, POINTS, world_size)]
    points = [(x, 3 * x - 1 + 0.1 * math.sin(999 * x)) for x in share]
    slope = offset = 0.0
    with trialog.load_run() as run:
        run.log_parameter("rate", RATE)  # the same value by every rank: one parameter
        run.log_parameter(f"rank{rank}/points", len(points))
        for epoch in range(EPOCHS):
            errors = [(slope * x + offset - y, x) for x, y in points]
            slope -= RATE * sum(error * x for error, x in errors) / len(points)
            offset -= RATE * sum(error for error, _ in errors) / len(points)
            loss = sum(error**2 for error, _ in errors) / len(points)
            run.log_metric(f"rank{rank}/loss", loss, epoch)


def launch(experiment_name: str, world_size: int) -> None:
    """Open the run, start the ranks in it, and end it when all of them have ended."""
    with trialog.Run(experiment_name) as run:
        run.log_parameter("world_size", world_size)
        job = {
            "TRIALOG_EXPERIMENT": run.experiment_name,
            "TRIALOG_RUN": run.run_name,
            "WORLD_SIZE": str(world_size),
        }
        ranks = [
            subprocess.Popen(
                [sys.executable, __file__], env={**os.environ, **job, "RANK": str(rank)}
            )
            for rank in range(world_size)
        ]
        failed = [rank for rank, process in enumerate(ranks) if process.wait() != 0]
        if failed:  # one that was killed could not say so itself
            raise RuntimeError(f"ranks {failed} of {world_size} failed")
    run.wait()
    print(f"{run.run_name} is {run.status}")


def main(experiment_name: str = "distributed", world_size: str = "3") -> None:
    """Be one rank, or start them."""
    if "RANK" in os.environ:
        train(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    else:
        launch(experiment_name, int(world_size))


if __name__ == "__main__":
    main(*sys.argv[1:])
