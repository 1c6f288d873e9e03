"""Which run a start of a pipeline is, for ported pipelines; must not start or schedule anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog.run import Run
from trialog.settings import session_of
from trialog_schemas import names

if TYPE_CHECKING:
    from trialog.run_logging import Tags
    from trialog.settings import Session


@dataclass(frozen=True, slots=True)
class PipelineExperimentConfig:
    """Experiment and run of one start of a pipeline: a run is named by the execution's id.

    What starts the pipeline enters the run, and gives its steps `environment`, by which
    `trialog.load_run()` finds it in their processes:

        config = PipelineExperimentConfig("my-pipeline", execution_id)
        with config.run():
            subprocess.run(step, env={**os.environ, **config.environment}, check=True)

    Args:
        experiment_name: usually the pipeline's name; 1–120 of `A-Z a-z 0-9 - _`.
        trial_name: the id of this execution; likewise. It becomes the run's name.

    Raises:
        ValidationError: a name that is not legal.
    """

    experiment_name: str
    trial_name: str

    def __post_init__(self) -> None:
        # As plain texts: the environment of a process takes no others.
        set_field = object.__setattr__
        set_field(self, "experiment_name", names.check_experiment_name(self.experiment_name))
        set_field(self, "trial_name", names.check_run_name(self.trial_name))

    def run(
        self,
        session: Session | None = None,
        *,
        tags: Tags | None = None,
        sagemaker_session: Session | None = None,
    ) -> Run:
        """Return the run of this execution, to be entered by `with`.

        Entering raises ResourceInUseError when the execution's id was used before.
        """
        chosen = session_of(session, sagemaker_session)
        return Run(self.experiment_name, self.trial_name, chosen, tags=tags)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a step's `load_run()` finds the run."""
        return {"TRIALOG_EXPERIMENT": self.experiment_name, "TRIALOG_RUN": self.trial_name}

    def to_request(self) -> dict[str, str]:
        """Return the names in the form that SageMaker's class of this name gives them."""
        return {"ExperimentName": self.experiment_name, "TrialName": self.trial_name}
