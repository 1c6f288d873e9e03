"""A training that logs every epoch, as it is written for SageMaker's SDK."""

import json
import sys

import numpy as np
from botocore.exceptions import ClientError
from sagemaker.experiments import Experiment, Run, SortByType, SortOrderType, list_runs
from sagemaker.session import Session
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

experiment_name = sys.argv[1]
session = Session()
try:
    experiment = Experiment.create(
        experiment_name=experiment_name,
        description="tumours, benign or not",
        tags=[{"Key": "team", "Value": "pathology"}],
        sagemaker_session=session,
    )
except ClientError:
    experiment = Experiment.load(experiment_name=experiment_name, sagemaker_session=session)

cells, labels = load_breast_cancer(return_X_y=True)
train, test, train_labels, test_labels = train_test_split(cells, labels, random_state=0)
scaler = StandardScaler().fit(train)
for alpha in (1e-4, 1e-1):
    with Run(
        experiment_name=experiment.experiment_name,
        run_name=f"sgd-{alpha}".replace(".", "-"),
        sagemaker_session=session,
        tags=[{"Key": "team", "Value": "pathology"}],
    ) as run:
        run.log_parameter("alpha", alpha)
        run.log_parameters({"epochs": 5, "model": "SGDClassifier"})
        model = SGDClassifier(loss="log_loss", alpha=alpha, random_state=0)
        for epoch in range(5):
            model.partial_fit(scaler.transform(train), train_labels, classes=np.array([0, 1]))
            accuracy = model.score(scaler.transform(test), test_labels)
            run.log_metric(name="test:accuracy", value=accuracy, step=epoch)
        guessed = model.predict(scaler.transform(test))
        chances = model.predict_proba(scaler.transform(test))[:, 1]
        run.log_confusion_matrix(test_labels, guessed, title="confusion")
        run.log_roc_curve(test_labels, chances, title="roc")
        run.log_precision_recall(test_labels, chances, title="pr", positive_label=1)
        run.log_artifact(name="coefficients", value=json.dumps(model.coef_.tolist()))

for listed in list_runs(
    experiment_name=experiment_name,
    sagemaker_session=session,
    sort_by=SortByType.NAME,
    sort_order=SortOrderType.ASCENDING,
):
    print(listed.run_name, listed.experiment_name)
