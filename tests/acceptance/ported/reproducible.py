"""Two runs that must be the same, as it is written for SageMaker's SDK."""

import hashlib
import platform
import sys

import numpy as np
import sklearn
from sagemaker.experiments import Run
from sagemaker.session import Session
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

session = Session()
pixels, labels = load_digits(return_X_y=True)
for _ in range(2):
    with Run(sys.argv[1], sagemaker_session=session) as run:
        run.log_parameter("seed", 7)
        run.log_parameter("data", hashlib.sha256(pixels.tobytes()).hexdigest())
        run.log_parameter("python", platform.python_version())
        run.log_parameter("scikit-learn", sklearn.__version__)
        train, test, train_labels, test_labels = train_test_split(pixels, labels, random_state=7)
        model = SGDClassifier(random_state=7)
        for epoch in range(3):
            model.partial_fit(train, train_labels, classes=np.arange(10))
            run.log_metric("accuracy", model.score(test, test_labels), step=epoch)
        print(run.run_name)
