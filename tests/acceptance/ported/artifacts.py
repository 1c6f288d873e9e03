"""Files of many kinds, in and out, as it is written for SageMaker's SDK."""

import json
import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sagemaker.experiments.run import Run
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

iris = load_iris()
with (
    tempfile.TemporaryDirectory() as folder,
    Run(experiment_name=sys.argv[1], run_name="artifacts") as run,
):
    np.savetxt(f"{folder}/irises.csv", iris.data, delimiter=",")
    run.log_file(f"{folder}/irises.csv", name="data", is_output=False)
    run.log_artifact(
        name="source", value="s3://bucket/iris.csv", media_type="text/csv", is_output=False
    )
    model = LogisticRegression(max_iter=500).fit(iris.data, iris.target)
    run.log_metric("accuracy", model.score(iris.data, iris.target))
    Path(f"{folder}/model.pkl").write_bytes(pickle.dumps(model))
    run.log_file(file_path=f"{folder}/model.pkl", name="model", is_output=True)
    run.log_artifact("model_uri", "s3://bucket/models/iris.tar.gz")
    figure = Figure()
    FigureCanvasAgg(figure)
    figure.add_subplot().scatter(iris.data[:, 0], iris.data[:, 1], c=iris.target)
    figure.savefig(f"{folder}/irises.png")
    run.log_file(f"{folder}/irises.png")
    Path(f"{folder}/settings.json").write_text(json.dumps(model.get_params()))
    run.log_file(f"{folder}/settings.json", media_type="application/json")
