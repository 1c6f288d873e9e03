"""A random search of 5 trials, as it is written for SageMaker's SDK."""

import sys

import sagemaker
from sagemaker.experiments.run import Run, list_runs
from scipy.stats import loguniform
from sklearn.datasets import load_iris
from sklearn.model_selection import ParameterSampler, cross_val_score
from sklearn.svm import SVC

experiment_name = sys.argv[1]
session = sagemaker.Session()
flowers, kinds = load_iris(return_X_y=True)
space = {"C": loguniform(1e-2, 1e2), "gamma": loguniform(1e-3, 1e1)}
best = {"trial": None, "accuracy": 0.0}
for trial, parameters in enumerate(ParameterSampler(space, n_iter=5, random_state=1)):
    with Run(
        experiment_name=experiment_name, run_name=f"trial-{trial}", sagemaker_session=session
    ) as run:
        run.log_parameters(parameters)
        scores = cross_val_score(SVC(**parameters), flowers, kinds)
        for fold, score in enumerate(scores):
            run.log_metric("fold:accuracy", score, step=fold)
        run.log_metric("objective", scores.mean())
        if scores.mean() > best["accuracy"]:
            best = {"trial": run.run_name, "accuracy": scores.mean()}
print(len(list_runs(experiment_name)), best["trial"])
