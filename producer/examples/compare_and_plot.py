"""Six trainings compared: `python producer/examples/compare_and_plot.py [EXPERIMENT [PICTURE]]`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import trialog

if TYPE_CHECKING:
    import pandas as pd

LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
EPOCHS = 5


def train(experiment_name: str, learning_rate: float) -> None:
    """Train one classifier in a run of its own."""
    pixels, labels = load_digits(return_X_y=True)
    train, validation, train_labels, validation_labels = train_test_split(
        pixels / 16.0, labels, test_size=0.25, random_state=0
    )
    model = SGDClassifier(learning_rate="constant", eta0=learning_rate, random_state=0)
    with trialog.Run(experiment_name) as run:
        run.log_parameter("learning_rate", learning_rate)
        for epoch in range(EPOCHS):
            model.partial_fit(train, train_labels, classes=np.arange(10))
            accuracy = model.score(validation, validation_labels)
            run.log_metric("validation_accuracy", accuracy, epoch)
    run.wait()


def plot(df: pd.DataFrame, path: str) -> None:
    """Draw accuracy over learning rate, which wants a logarithmic axis."""
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    df.plot.scatter("learning_rate", "validation_accuracy", logx=True, ax=axes)
    figure.savefig(path)


def main(experiment_name: str, picture: str) -> None:
    """Train, ask for the table, take the best row, draw the rest."""
    for learning_rate in LEARNING_RATES:
        train(experiment_name, learning_rate)
    df = trialog.compare(experiment_name)
    best = df.loc[df["validation_accuracy"].idxmax()]  # type: ignore[call-overload]  # pandas' stubs
    print(df.to_string())
    print(f"best run {best['run_name']} with learning rate {best['learning_rate']}")
    plot(df, picture)


if __name__ == "__main__":
    main(*(sys.argv[1:] + ["learning-rates", "learning-rates.png"][len(sys.argv) - 1 :]))
