"""An ensemble's run and its members', as written for SageMaker's SDK, which nests no blocks."""

import sys

import numpy as np
from sagemaker.experiments import Run, load_run
from sagemaker.session import Session
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

experiment_name = sys.argv[1]
session = Session()
wines, makers = load_wine(return_X_y=True)
train, test, train_makers, test_makers = train_test_split(wines, makers, random_state=0)
random = np.random.default_rng(0)
with Run(experiment_name=experiment_name, run_name="parent", sagemaker_session=session) as parent:
    parent.log_parameter("members", 3)
    with load_run() as same:
        same.log_parameter("kind", "bagging")
votes = []
for member in range(3):
    rows = random.choice(len(train), len(train))
    with Run(
        experiment_name=experiment_name, run_name=f"child-{member}", sagemaker_session=session
    ) as run:
        run.log_parameters({"parent": "parent", "rows": len(np.unique(rows))})
        tree = DecisionTreeClassifier(random_state=member).fit(train[rows], train_makers[rows])
        votes.append(tree.predict(test))
        run.log_metric("accuracy", np.mean(votes[-1] == test_makers))
with load_run(
    run_name="parent", experiment_name=experiment_name, sagemaker_session=session
) as parent:
    winners = [np.bincount(column).argmax() for column in np.array(votes).T]
    parent.log_metric("accuracy", np.mean(winners == test_makers))
    parent.log_parameter("votes", "majority")
