"""A training that logs all a run can carry: `python producer/examples/basic.py [EXPERIMENT]`."""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss, precision_score, recall_score
from sklearn.model_selection import train_test_split

import trialog

EPOCHS = 10
PARAMETERS: dict[str, str | int | float] = {
    "model": "SGDClassifier",
    "loss": "log_loss",
    "penalty": "l2",
    "alpha": 1e-4,
    "epochs": EPOCHS,
    "test_share": 0.25,
    "seed": 7,
}


def main(experiment_name: str) -> None:
    """Train a linear classifier on handwritten digits and log how it went."""
    pixels, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        pixels / 16.0, labels, test_size=PARAMETERS["test_share"], random_state=PARAMETERS["seed"]
    )
    model = SGDClassifier(
        loss=PARAMETERS["loss"],
        penalty=PARAMETERS["penalty"],
        alpha=PARAMETERS["alpha"],
        random_state=PARAMETERS["seed"],
    )
    with trialog.Run(experiment_name) as run, tempfile.TemporaryDirectory() as folder:
        run.log_parameters(PARAMETERS)

        for epoch in range(EPOCHS):
            model.partial_fit(train, train_labels, classes=np.arange(10))
            run.log_metrics(
                {
                    "train:loss": log_loss(train_labels, model.predict_proba(train)),
                    "train:accuracy": model.score(train, train_labels),
                    "test:loss": log_loss(test_labels, model.predict_proba(test)),
                    "test:accuracy": model.score(test, test_labels),
                },
                step=epoch,
            )

        guessed = model.predict(test)
        run.log_metric("final:accuracy", model.score(test, test_labels))
        run.log_metric("final:precision", precision_score(test_labels, guessed, average="macro"))
        run.log_metric("final:recall", recall_score(test_labels, guessed, average="macro"))

        weights, guesses = Path(folder, "model.pkl"), Path(folder, "guesses.csv")
        weights.write_bytes(pickle.dumps(model))
        np.savetxt(guesses, np.column_stack((test_labels, guessed)), "%d", ",", header="is,guess")
        run.log_file(str(weights), media_type="application/octet-stream")
        run.log_file(str(guesses), media_type="text/csv")
        run.log_artifact("classes", json.dumps(model.classes_.tolist()), "application/json")
        run.log_model(
            "s3://models/digits/sgd.pkl", "classifier", "scikit-learn", sklearn.__version__
        )
    run.wait()
    print(f"{run.run_name} is {run.status}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "basic")
