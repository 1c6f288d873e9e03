"""A script that tries settings, safe to start again: `python training_integration.py [EXPERIMENT]`.

Every start finds the experiment or creates it, and adds its three trials.
"""

from __future__ import annotations

import sys

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import trialog

PENALTIES = (0.01, 1.0, 100.0)


def find_or_create(experiment_name: str) -> trialog.Experiment:
    """Return the experiment, whether this start is the first or not."""
    try:
        return trialog.Experiment.create(experiment_name, "which C fits the tumours best")
    except trialog.ClientError as exc:
        if exc.response["Error"]["Code"] != "ResourceInUse":
            raise
        return trialog.Experiment.load(experiment_name)


def train(experiment_name: str, penalty: float) -> tuple[str, float]:
    """Train with one setting in a run of its own; return the run's name and how good it is."""
    cells, labels = load_breast_cancer(return_X_y=True)
    with trialog.Run(experiment_name) as run:
        run.log_parameters({"model": "SVC", "C": penalty})
        model = make_pipeline(StandardScaler(), SVC(C=penalty))
        folds = cross_validate(model, cells, labels, return_train_score=True)
        for fold, (train, test) in enumerate(
            zip(folds["train_score"], folds["test_score"], strict=True)
        ):
            run.log_metrics({"train:accuracy": train, "test:accuracy": test}, step=fold)
        accuracy = folds["test_score"].mean()
        run.log_metric("accuracy", accuracy)
    run.wait()
    return run.run_name, accuracy


def main(experiment_name: str) -> None:
    """Try each setting, and find the best one twice: by hand, and in the table of all runs."""
    experiment = find_or_create(experiment_name)
    best_name, best = "", 0.0
    for penalty in PENALTIES:
        run_name, accuracy = train(experiment.experiment_name, penalty)
        if accuracy > best:
            best_name, best = run_name, accuracy
    print(f"best of the loop  {best_name} {best:.4f}")
    frame = trialog.compare(experiment_name, order_by="metrics.accuracy DESC")
    print(f"best of the table {frame['run_name'][0]} {frame['accuracy'][0]:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tumours")
