"""A pipeline's start, and its two steps as jobs, as it is written for SageMaker's SDK."""

import sys

import numpy as np
from sagemaker.experiments import Run, load_run
from sagemaker.processing import ScriptProcessor
from sagemaker.session import Session
from sagemaker.sklearn import SKLearn
from sagemaker.workflow.pipeline_experiment_config import PipelineExperimentConfig

session = Session()
x = np.linspace(-1, 1, 100)
y = 3 * x**2 - x + np.random.default_rng(0).normal(0, 0.1, 100)


def prepare() -> None:
    """Look at the data, in a job of its own."""
    with load_run(sagemaker_session=session) as run:
        run.log_parameter("points", len(x))


def train() -> None:
    """Fit polynomials, in a job of its own."""
    with load_run(sagemaker_session=session) as run:
        for degree in range(1, 4):
            error = y - np.polyval(np.polyfit(x, y, degree), x)
            run.log_metric(name="loss", value=np.mean(error**2), step=degree)


def start(experiment_name: str, execution_id: str) -> None:
    """Start the steps as jobs, which find the run by what their job is given."""
    config = PipelineExperimentConfig(experiment_name=experiment_name, trial_name=execution_id)
    with Run(config.experiment_name, config.trial_name, sagemaker_session=session) as run:
        run.log_parameter("execution", execution_id)
        ScriptProcessor(command=["python3"]).run("prepare", experiment_config=run.experiment_config)
        SKLearn(entry_point="train").fit(experiment_config=run.experiment_config)


if sys.argv[1:2] == ["--step"]:
    {"prepare": prepare, "train": train}[sys.argv[2]]()
else:
    start(sys.argv[1], "execution-1")
