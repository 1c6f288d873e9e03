"""24 trials in 4 processes, a run each: `python producer/examples/many_trials.py [EXPERIMENT]`."""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import trialog

RATES = (0.001, 0.01, 0.03, 0.1, 0.3, 0.5)
MOMENTA = (0.0, 0.5, 0.9, 0.99)
STEPS = 100


def search(experiment_name: str, setting: tuple[float, float]) -> float:
    """Be one trial: walk down a narrow valley, and log how deep it has come."""
    rate, momentum = setting
    x, y, dx, dy = 5.0, 5.0, 0.0, 0.0
    with trialog.Run(experiment_name) as run:
        run.log_parameters({"rate": rate, "momentum": momentum})
        for step in range(STEPS):
            dx, dy = momentum * dx - rate * 0.2 * x, momentum * dy - rate * 2.0 * y
            x, y = x + dx, y + dy
            run.log_metric("loss", 0.1 * x * x + y * y, step)
    run.wait()
    return run.metrics["loss"].last


def main(experiment_name: str = "many-trials") -> None:
    """Try every setting, and ask the service which was best."""
    settings = list(itertools.product(RATES, MOMENTA))
    with ProcessPoolExecutor(max_workers=4) as workers:
        losses = list(workers.map(partial(search, experiment_name), settings))
    df = trialog.compare(experiment_name, order_by="metrics.loss ASC", max_results=5)
    print(df[["run_name", "rate", "momentum", "loss"]].to_string(index=False))
    print(f"best of {len(losses)}: rate {df['rate'][0]}, momentum {df['momentum'][0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
