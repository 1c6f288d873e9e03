"""Pipelines: each start is a run named by its execution's id, which the steps join."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.programs import environment_of
from tests.acceptance.refusals import illegal, refusal

EXAMPLE = Path(__file__).parents[2] / "producer" / "examples" / "pipeline.py"


def start_pipeline(session: trialog.Session, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start the example as its user does."""
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        env=environment_of(session),
        capture_output=True,
        text=True,
        check=False,
    )


# G3
@ON_ONE_LOG
@pytest.mark.slow(reason="starts a pipeline of two processes three times")
def test_each_start_of_a_pipeline_is_a_run_named_by_its_execution_id(
    session: trialog.Session, experiment_name: str
) -> None:
    """Both starts have what both steps logged; a start with a used id collides and adds nothing."""
    for execution_id in ("a1b2c3d4e5f6", "f6e5d4c3b2a1"):
        done = start_pipeline(session, execution_id, experiment_name)
        assert (done.returncode, done.stdout) == (0, f"{execution_id} is Completed\n"), done.stderr
    nameless = start_pipeline(session)
    assert (nameless.returncode, nameless.stderr[:29]) == (1, "give the id of this execution")
    again = start_pipeline(session, "a1b2c3d4e5f6", experiment_name)
    assert again.returncode == 1
    assert "ResourceInUseError" in again.stderr
    runs = trialog.Run.list(experiment_name, "Name", "Ascending", session=session)
    assert [run.run_name for run in runs] == ["a1b2c3d4e5f6", "f6e5d4c3b2a1"]
    for run in runs:
        assert run.status == "Completed"
        assert run.parameters == {"points": 200, "epochs": 20, "rate": 0.5}
        assert run.metrics["loss"].count == 20
        assert run.metrics["loss"].last == run.metrics["loss"].min
        assert [(one.name, one.is_output) for one in run.artifacts] == [("points.csv", False)]
    tables = [run.read_artifact("points.csv") for run in runs]
    assert tables[0] == tables[1]


# G3
def test_used_execution_id_is_a_collision(session: trialog.Session, experiment_name: str) -> None:
    """In the same program too, with the error's code; the first run stays as it is."""
    config = trialog.PipelineExperimentConfig(experiment_name, "execution-1")
    with config.run(session, tags={"trigger": "nightly"}) as first:
        first.log_parameter("lr", 0.1)
    first.wait()
    second = config.run(sagemaker_session=session)
    refusal(trialog.ResourceInUseError, "ResourceInUse", second.__enter__)
    (run,) = trialog.Run.list(experiment_name, session=session)
    assert (run.parameters, run.tags) == ({"lr": 0.1}, {"trigger": "nightly"})


# G3
def test_failed_step_makes_the_executions_run_failed(
    session: trialog.Session, experiment_name: str
) -> None:
    """The step's exception ends the pipeline, and its run says so."""
    config = trialog.PipelineExperimentConfig(experiment_name, "execution-1")
    step = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(subprocess.CalledProcessError), config.run(session) as run:
        subprocess.run(step, env={**os.environ, **config.environment}, check=True)
    run.wait()
    assert run.status == "Failed"
    assert "exit status 3" in str(run.failure_message)


# G3
def test_config_tells_its_names_and_can_be_sent_to_a_step() -> None:
    """SageMaker's request, the variables of a job, and a pickle that is equal."""
    config = trialog.PipelineExperimentConfig("my-pipeline", trial_name="a1b2c3d4e5f6")
    assert config.to_request() == {"ExperimentName": "my-pipeline", "TrialName": "a1b2c3d4e5f6"}
    assert config.environment == {
        "TRIALOG_EXPERIMENT": "my-pipeline",
        "TRIALOG_RUN": "a1b2c3d4e5f6",
    }
    assert pickle.loads(pickle.dumps(config)) == config


# G3
@pytest.mark.parametrize(
    "given", [("my pipeline", "a1"), ("my-pipeline", ""), ("my-pipeline", "arn:aws:x/y"), ("p", 7)]
)
def test_config_refuses_names_that_no_run_may_have(given: tuple[object, object]) -> None:
    """When it is made, before any step has started."""
    illegal(trialog.PipelineExperimentConfig, *given)
