"""A rank of a distributed training, as launchers start it: its environment tells it everything.

Logs its own metrics into the job's run, says so, and ends as its standard input tells it.
"""

from __future__ import annotations

import os
import sys

import trialog

STEPS = 300
WAIT_S = 50.0


def loss_at(rank: int, step: int) -> float:
    """Return the value of a rank's step; every one is another."""
    return rank + 1.0 / (step + 1)


def handle(rank: int) -> trialog.Run:
    """Return this rank's way into the run: rank 0 creates it where no launcher has."""
    if rank == 0 and "CREATED_BY_RANK_0" in os.environ:
        names = os.environ["TRIALOG_EXPERIMENT"], os.environ["TRIALOG_RUN"]
        return trialog.Run(*names, resume=True)
    return trialog.load_run(timeout_s=WAIT_S)


def main() -> None:
    """Log, wait for a word, log once more or fail."""
    rank = int(os.environ["RANK"])
    with handle(rank) as run:
        run.log_parameter(f"rank{rank}/device", f"cuda:{os.environ['LOCAL_RANK']}")
        run.log_parameter("world_size", int(os.environ["WORLD_SIZE"]))
        for step in range(STEPS):
            run.log_metric(f"rank{rank}/loss", loss_at(rank, step), step)
        sys.stdout.write("logged\n")
        sys.stdout.flush()
        if sys.stdin.readline() == "fail\n":
            raise OSError(f"rank {rank} lost its GPU")
        run.log_metric(f"rank{rank}/loss", loss_at(rank, STEPS), STEPS)


if __name__ == "__main__":
    main()
