"""Runs that can be repeated: `python reproducible.py [EXPERIMENT [SEED …]]`, a run for each seed.

Everything the result depends on is a parameter: the seed, the data, the code and the versions.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import trialog

EPOCHS = 5


def commit() -> str:
    """Return the commit of this checkout, with `-dirty` where a file was changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "no checkout"


def train(experiment_name: str, seed: int) -> str:
    """Train in a run of its own; return the run's name."""
    pixels, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(pixels, labels, random_state=seed)
    with trialog.Run(experiment_name) as run:
        run.log_parameters(
            {
                "seed": seed,
                "data_sha256": hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest(),
                "commit": commit(),
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scikit-learn": sklearn.__version__,
            }
        )
        model = SGDClassifier(random_state=seed)
        for epoch in range(EPOCHS):
            model.partial_fit(train, train_labels, classes=np.arange(10))
            run.log_metric("accuracy", model.score(test, test_labels), epoch)
    run.wait()
    return run.run_name


def main(experiment_name: str, seeds: list[int]) -> None:
    """Train with each seed, and tell what is not the same in all runs of the experiment."""
    for seed in seeds:
        train(experiment_name, seed)
    frame = trialog.compare(experiment_name).set_index("run_name").drop(columns="creation_time")
    same = frame.nunique(dropna=False) == 1
    print("the same in all runs: " + ", ".join(frame.columns[same]))
    print(frame.loc[:, ~same].to_string() if not same.all() else "nothing differs")


if __name__ == "__main__":
    name, *given = sys.argv[1:] or ["reproducible"]
    main(name, [int(seed) for seed in given] or [1, 1, 2])
