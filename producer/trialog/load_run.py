"""Find an existing run: by arguments, the current context, or the environment of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.deadline import Deadline
from trialog.run import Run
from trialog.run_context import current_run
from trialog.run_lifecycle import find_run
from trialog.settings import job_run_names, named_variable, session_of
from trialog_schemas import names
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError, ValidationError

if TYPE_CHECKING:
    from trialog.settings import Session


def load_run(
    experiment_name: str | None = None,
    run_name: str | None = None,
    session: Session | None = None,
    *,
    timeout_s: float | None = 0.0,
    sagemaker_session: Session | None = None,
) -> Run:
    """Return a handle of an existing run, to read it or, in a `with` block, to log to it.

    Entered while the run is in progress the handle joins it: leaving never ends the run, but
    leaving with an exception makes it Failed, for good, when its owner ends it. Entered after the
    run has ended it resumes it, and ends it again.

    Args:
        experiment_name, run_name: which run. Without a run's name it is the one whose block this
            thread or task is in, then the one that `TRIALOG_EXPERIMENT` and `TRIALOG_RUN` name.
        session: where and as whom; None takes the environment, or the session of the current run.
        timeout_s: how long to wait for a run that another process is about to create, and for a
            service that is away; None waits as long as it takes.
        sagemaker_session: another name for `session`.

    Raises:
        ValidationError: a run's name without its experiment's, or a name that is not legal.
        RuntimeError: no names are given and nothing else names a run.
        ResourceNotFoundError: there is no such run, or still none.
        UnavailableError: the service cannot be reached, or still not.
    """
    chosen, deadline = session_of(session, sagemaker_session), Deadline(timeout_s)
    if experiment_name is not None:
        experiment_name = names.check_experiment_name(experiment_name)
    if run_name is not None:
        run_name = names.check_run_name(run_name)
        if experiment_name is None:
            raise ValidationError(
                f"run_name {run_name!r} is given without experiment_name; give both, a run's name "
                "is unique in its experiment only",
                field="experiment_name",
                limit="both or none",
            )
        return _load(chosen, experiment_name, run_name, deadline)
    current = current_run()
    if current is not None and experiment_name in (None, current.experiment_name):
        return current.joined()
    job_experiment, job_run = job_run_names()
    is_job_meant = experiment_name is None or experiment_name == job_experiment
    if is_job_meant and job_experiment is not None and job_run is not None:
        return _load_of_job(chosen, job_experiment, job_run, deadline)
    wanted = "" if experiment_name is None else f" of experiment {experiment_name!r}"
    raise RuntimeError(
        f"no run{wanted} is open here and TRIALOG_EXPERIMENT and TRIALOG_RUN name none; "
        "give experiment_name and run_name"
    )


def _load_of_job(session: Session, experiment: str, run: str, deadline: Deadline) -> Run:
    with named_variable("TRIALOG_EXPERIMENT"):
        experiment_name = names.check_experiment_name(experiment)
    with named_variable("TRIALOG_RUN"):
        run_name = names.check_run_name(run)
    try:
        return _load(session, experiment_name, run_name, deadline)
    except ResourceNotFoundError as exc:
        raise ResourceNotFoundError(
            f"{exc.message}; TRIALOG_EXPERIMENT and TRIALOG_RUN name it: let one process enter "
            "it before the others, or give load_run a timeout_s to wait for it",
            field=exc.field,
            value=exc.value,
        ) from exc


def _load(session: Session, experiment_name: str, run_name: str, deadline: Deadline) -> Run:
    endpoint = session.resolve()
    while True:
        try:
            return Run.existing(find_run(endpoint, experiment_name, run_name), endpoint)
        except (ResourceNotFoundError, UnavailableError):
            if deadline.left_s <= 0:
                raise
        deadline.pause()
