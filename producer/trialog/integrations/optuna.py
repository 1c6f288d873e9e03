"""Optuna: each trial of a study becomes a run. Needs Optuna: `pip install 'trialog[optuna]'`.

Asks nothing of a study but its public interface, and never changes it or its trials.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsFloat, TypeAlias

from trialog.integrations.trial_runs import enter_trial_run, run_name_of
from trialog.settings import session_of
from trialog_schemas import names
from trialog_schemas.arguments import check_several
from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.limits import TAG_VALUE_CHARS_MAX

try:
    import optuna
except ImportError as exc:
    raise ImportError(
        "trialog.integrations.optuna needs Optuna; pip install 'trialog[optuna]'"
    ) from exc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trialog.run import Run
    from trialog.settings import Session

Values: TypeAlias = float | Sequence[float]

INTERMEDIATE_METRIC = "intermediate_value"
"""What was told by `trial.report`, with its steps; Optuna's own word for it."""

_STATES = {
    optuna.trial.TrialState.COMPLETE: "complete",
    optuna.trial.TrialState.PRUNED: "pruned",
    optuna.trial.TrialState.FAIL: "failed",
}
_OWN_TAGS = ("optuna.study", "optuna.trial", "optuna.state", "optuna.started", "optuna.ended")


class _TrialFailedError(Exception):
    """Ends the run of a trial that failed without an exception of its own at hand."""


class TrialogCallback:
    """Makes a run of each trial of a study, as a callback or around the objective.

    As a callback, which is called when a trial has ended:

        study.optimize(objective, n_trials=20, callbacks=[TrialogCallback("search")])

    Around the objective, which then takes the open run and may log to it. A failed run has the
    exception's message, also where the exception ends the study, which Optuna tells no callback:

        def objective(trial, run): ...
        study.optimize(TrialogCallback("search").track(objective), n_trials=20)

    A run is named `STUDY-NUMBER`; where that is taken, a suffix is added. It has the trial's
    parameters, `trial.report`ed values as the metric `intermediate_value` with their steps, the
    final value of a complete trial as the metric `value`, and these tags:

    - `optuna.state`: `complete`, `pruned` or `failed`
    - `optuna.study`, `optuna.trial`: the study's name and the trial's number
    - `optuna.started`, `optuna.ended`: when, as Optuna tells it; of a tracked objective the run's
      own times are these

    The run of a failed trial is Failed. A pruned trial did what it should: its run is Completed
    and has no final value, so that a comparison by `value` is one of complete trials.

    One callback may serve several threads (`n_jobs`) and studies; processes make one each.

    Args:
        experiment_name: of the runs; it is created when missing.
        metric_names: of the final values, one for each objective; None takes those that the study
            was told by `set_metric_names`, else `value`, or `value_0`, `value_1` … of several.
        session: where and as whom; None takes the environment.
        tags: further tags of each run.

    Raises:
        ValidationError: a name or tag that is not legal; raised here, before the first trial. A
            parameter that is not legal (`Run.log_parameters`) is refused by the first trial.
    """

    def __init__(
        self,
        experiment_name: str,
        *,
        metric_names: Sequence[str] | None = None,
        session: Session | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._experiment_name = names.check_experiment_name(experiment_name)
        self._metric_names = (
            None
            if metric_names is None
            else [
                names.check_metric_name(name)
                for name in check_several("metric_names", metric_names, "a list of names")
            ]
        )
        self._session = session_of(session)
        self._tags = names.check_callers_tags(tags)
        names.check_tags({**self._tags, **dict.fromkeys(_OWN_TAGS, "")})
        self._tracked: set[tuple[str, int]] = set()

    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Make a run of a trial that has ended; Optuna calls this."""
        key = (study.study_name, trial.number)
        if key in self._tracked:  # it has its run
            self._tracked.discard(key)
            return
        with contextlib.suppress(_TrialFailedError), self._opened(*key) as run:
            _log(run, trial, trial.state)
            if trial.state == optuna.trial.TrialState.COMPLETE:
                self._log_values(run, study, trial.values)
            if trial.state == optuna.trial.TrialState.FAIL:
                raise _TrialFailedError(f"trial {trial.number} failed; Optuna's log says why")

    def track(
        self, objective: Callable[[optuna.Trial, Run], Values]
    ) -> Callable[[optuna.Trial], Values]:
        """Return an objective for Optuna that calls this one with the trial and its open run.

        The callback may be given to `optimize` as well; it then leaves these trials alone.
        """

        def tracked(trial: optuna.Trial) -> Values:
            key = (trial.study.study_name, trial.number)
            pruned: optuna.TrialPruned | None = None
            returned: Values = math.nan
            with contextlib.suppress(_TrialFailedError), self._opened(*key) as run:
                self._tracked.add(key)
                try:
                    returned = objective(trial, run)
                except optuna.TrialPruned as exc:
                    pruned = exc
                    _log_running(run, trial, optuna.trial.TrialState.PRUNED)
                except BaseException:
                    _log_running(run, trial, optuna.trial.TrialState.FAIL)
                    raise
                else:
                    self._log_returned(run, trial, returned)
            if pruned is not None:
                raise pruned
            return returned

        return tracked

    @contextlib.contextmanager
    def _opened(self, study_name: str, number: int) -> Iterator[Run]:
        name, session = run_name_of(study_name, number), self._session
        tags = {
            **self._tags,
            "optuna.study": study_name[:TAG_VALUE_CHARS_MAX],
            "optuna.trial": str(number),
        }
        run = enter_trial_run(self._experiment_name, name, session, tags)
        with contextlib.ExitStack() as stack:
            stack.push(run)
            yield run

    def _log_returned(self, run: Run, trial: optuna.Trial, returned: object) -> None:
        """Log a trial whose objective returned; Optuna fails it for what is no value."""
        values = _values_of(returned, len(trial.study.directions))
        if values is None:
            _log_running(run, trial, optuna.trial.TrialState.FAIL)
            raise _TrialFailedError(
                f"trial {trial.number} returned {shown(returned)}, which Optuna takes for no value"
            )
        _log_running(run, trial, optuna.trial.TrialState.COMPLETE)
        self._log_values(run, trial.study, values)

    def _log_values(self, run: Run, study: optuna.Study, values: Sequence[float]) -> None:
        metric_names = study.metric_names if self._metric_names is None else self._metric_names
        if metric_names is None:
            several = [f"value_{index}" for index in range(len(values))]
            metric_names = ["value"] if len(values) == 1 else several
        if len(metric_names) != len(values):
            raise ValidationError(
                f"metric_names has {len(metric_names)} names and study {study.study_name!r} "
                f"{len(values)} objectives; give one name for each",
                field="metric_names",
                value=metric_names,
                limit=len(values),
            )
        run.log_metrics(dict(zip(metric_names, values, strict=True)))


def _log_running(run: Run, trial: optuna.Trial, state: optuna.trial.TrialState) -> None:
    """Log a trial that Optuna does not yet know to have ended."""
    _log(run, trial.study.get_trials(deepcopy=False)[trial.number], state)


def _log(run: Run, trial: optuna.trial.FrozenTrial, state: optuna.trial.TrialState) -> None:
    times = {"optuna.started": trial.datetime_start, "optuna.ended": trial.datetime_complete}
    told = {name: time.astimezone().isoformat() for name, time in times.items() if time}
    run.set_tags({"optuna.state": _STATES[state], **told})
    run.log_parameters(trial.params)
    for step, value in sorted(trial.intermediate_values.items()):
        run.log_metric(INTERMEDIATE_METRIC, value, step)


def _values_of(returned: object, count: int) -> list[float] | None:
    """Return what an objective returned as Optuna takes it, or None for what it does not take."""
    several = returned if isinstance(returned, Sequence) else [returned]
    if isinstance(returned, str) or len(several) != count:
        return None
    try:
        values = [float(value) for value in several if isinstance(value, SupportsFloat)]
    except (TypeError, ValueError):
        return None
    is_taken = len(values) == count and not any(math.isnan(value) for value in values)
    return values if is_taken else None
