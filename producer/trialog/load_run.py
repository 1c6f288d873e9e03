"""Find an existing run: by arguments, the current context, or the environment of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from trialog.as_of import as_of_text
from trialog.client import Client
from trialog.deadline import Deadline
from trialog.run import Run
from trialog.run_context import current_run
from trialog.run_lifecycle import find_run
from trialog.run_view import PastRun
from trialog.settings import job_run_names, named_variable, session_of
from trialog_schemas import names
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError, ValidationError

if TYPE_CHECKING:
    from trialog.as_of import AsOf
    from trialog.settings import Endpoint, Session


@overload
def load_run(
    experiment_name: str | None = None,
    run_name: str | None = None,
    session: Session | None = None,
    *,
    timeout_s: float | None = 0.0,
    as_of: None = None,
    sagemaker_session: Session | None = None,
) -> Run: ...


@overload
def load_run(
    experiment_name: str | None = None,
    run_name: str | None = None,
    session: Session | None = None,
    *,
    as_of: AsOf,
    sagemaker_session: Session | None = None,
) -> PastRun: ...


def load_run(
    experiment_name: str | None = None,
    run_name: str | None = None,
    session: Session | None = None,
    *,
    timeout_s: float | None = 0.0,
    as_of: AsOf | None = None,
    sagemaker_session: Session | None = None,
) -> Run | PastRun:
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
        as_of: as the run was at a time, or at positions (see `Run.list`): what comes back can be
            read, and neither entered nor deleted.
        sagemaker_session: another name for `session`.

    Raises:
        ValidationError: a run's name without its experiment's, or a name that is not legal.
        RuntimeError: no names are given and nothing else names a run.
        ResourceNotFoundError: there is no such run, or still none.
        UnavailableError: the service cannot be reached, or still not.
    """
    chosen, deadline = session_of(session, sagemaker_session), Deadline(timeout_s)
    then = as_of_text(as_of)
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
        return _load(chosen, (experiment_name, run_name), deadline, then)
    current = current_run()
    if current is not None and experiment_name in (None, current.experiment_name):
        if then is not None:
            return _load_past(current.endpoint, (current.experiment_name, current.run_name), then)
        return current.joined()
    job_experiment, job_run = job_run_names()
    is_job_meant = experiment_name is None or experiment_name == job_experiment
    if is_job_meant and job_experiment is not None and job_run is not None:
        return _load_of_job(chosen, (job_experiment, job_run), deadline, then)
    wanted = "" if experiment_name is None else f" of experiment {experiment_name!r}"
    raise RuntimeError(
        f"no run{wanted} is open here and TRIALOG_EXPERIMENT and TRIALOG_RUN name none; "
        "give experiment_name and run_name"
    )


def _load_of_job(
    session: Session, job: tuple[str, str], deadline: Deadline, then: str | None
) -> Run | PastRun:
    with named_variable("TRIALOG_EXPERIMENT"):
        experiment_name = names.check_experiment_name(job[0])
    with named_variable("TRIALOG_RUN"):
        run_name = names.check_run_name(job[1])
    try:
        return _load(session, (experiment_name, run_name), deadline, then)
    except ResourceNotFoundError as exc:
        raise ResourceNotFoundError(
            f"{exc.message}; TRIALOG_EXPERIMENT and TRIALOG_RUN name it: let one process enter "
            "it before the others, or give load_run a timeout_s to wait for it",
            field=exc.field,
            value=exc.value,
        ) from exc


def _load(
    session: Session, named: tuple[str, str], deadline: Deadline, then: str | None
) -> Run | PastRun:
    endpoint = session.resolve()
    if then is not None:
        return _load_past(endpoint, named, then)
    while True:
        try:
            return Run.existing(find_run(endpoint, *named), endpoint)
        except (ResourceNotFoundError, UnavailableError):
            if deadline.left_s <= 0:
                raise
        deadline.pause()


def _load_past(endpoint: Endpoint, named: tuple[str, str], then: str) -> PastRun:
    client = Client(endpoint, as_of=then)
    answer = client.run(*named)
    return PastRun(answer, endpoint, client.as_of or then)
