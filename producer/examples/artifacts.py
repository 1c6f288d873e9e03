"""A training that leaves a folder of files of many kinds: `python artifacts.py [EXPERIMENT]`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, confusion_matrix

import trialog


def train(folder: Path) -> float:
    """Train a classifier and leave its results in the folder, as training scripts do."""
    iris = load_iris()
    model = LogisticRegression(max_iter=500).fit(iris.data, iris.target)
    guessed = model.predict(iris.data)
    for name in ("model", "report/tables", "report/plots"):
        (folder / name).mkdir(parents=True)

    joblib.dump(model, folder / "model" / "iris.joblib")
    settings = json.dumps(model.get_params(), indent=2)
    (folder / "model" / "settings.json").write_text(settings)
    report = classification_report(iris.target, guessed, target_names=iris.target_names)
    (folder / "report" / "report.txt").write_text(report)
    (folder / "report" / "report.html").write_text(f"<h1>Irises</h1><pre>{report}</pre>")
    guesses = folder / "report" / "tables" / "guesses.csv"
    np.savetxt(guesses, np.column_stack((iris.target, guessed)), "%d", ",", header="is,guess")

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    figure.add_subplot().matshow(confusion_matrix(iris.target, guessed))
    figure.savefig(folder / "report" / "plots" / "confusion.png")
    return float(model.score(iris.data, iris.target))


def main(experiment_name: str) -> None:
    """Log every file of the folder under its path in there; the type is guessed by its ending."""
    with trialog.Run(experiment_name) as run, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run.log_metric("accuracy", train(folder))
        for path in sorted(folder.rglob("*.*")):
            run.log_file(path, path.relative_to(folder).as_posix())
    run.wait()
    print(f"{run.run_name} is {run.status}, with {len(run.artifacts)} artifacts")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "artifacts")
