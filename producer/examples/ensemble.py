"""Trees that vote, each a run inside the ensemble's: `python ensemble.py [EXPERIMENT]`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

import trialog

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMBERS = 3
SEED = 7


def main(experiment_name: str) -> None:
    """Train each member on rows of its own, then log what they are together."""
    pixels, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(pixels, labels, random_state=SEED)
    random = np.random.default_rng(SEED)
    with trialog.Run(experiment_name) as ensemble:
        votes, accuracies = [], []
        for member in range(MEMBERS):
            rows = random.choice(len(train), len(train))  # drawn with replacement: a bootstrap
            with trialog.Run(experiment_name, f"{ensemble.run_name}-{member}") as run:
                run.log_parameters({"member": member, "rows": len(np.unique(rows))})
                run.log_artifact("rows", ",".join(map(str, rows)), "text/csv", is_output=False)
                tree = DecisionTreeClassifier(random_state=member)
                tree.fit(train[rows], train_labels[rows])
                votes.append(tree.predict(test))
                accuracies.append(float(np.mean(votes[-1] == test_labels)))
                run.log_metric("accuracy", accuracies[-1])
            ensemble.log_metric("member:accuracy", accuracies[-1], member)
        ensemble.log_metric("accuracy", np.mean(majority(votes) == test_labels))
        ensemble.log_parameters({"members": MEMBERS, "best_member": int(np.argmax(accuracies))})
    ensemble.wait()
    print(f"{ensemble.run_name} is {ensemble.status}")


def majority(votes: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return for each row the class that most members voted for."""
    counts = np.eye(10)[np.array(votes)].sum(axis=0)
    winners: NDArray[np.int64] = np.argmax(counts, axis=1)
    return winners


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "ensemble")
