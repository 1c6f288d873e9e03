"""Searches that tell of their trials by hooks: each trial becomes a run. Needs no other package."""

from __future__ import annotations

import contextvars
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from trialog.integrations.trial_runs import enter_trial_run, run_name_of
from trialog_schemas import names
from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.limits import TAG_VALUE_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import SupportsFloat, SupportsIndex

    from trialog.run import Run
    from trialog.settings import Session

_OWN_TAGS = ("tuner.search", "tuner.trial")


class _TrialFailedError(Exception):
    """Ends the run of a trial that failed without an exception of its own at hand."""


@dataclass(slots=True)
class _Trial:
    """An open trial: its run, once it is entered, and the context that the run is current in."""

    context: contextvars.Context
    run: Run | None = None


class TunerCallback:
    """Makes a run of each trial of a search, by four hooks that are named as in Ray Tune.

        with TunerCallback("search") as callback:
            for number, parameters in enumerate(candidates):
                callback.on_trial_start(number, parameters)
                try:
                    for epoch in range(10):
                        callback.on_trial_result(number, {"loss": train(parameters)}, epoch)
                except ArithmeticError as exc:
                    callback.on_trial_error(number, exc)
                else:
                    callback.on_trial_complete(number, {"accuracy": test(parameters)})

    Hooks may be called from any thread, and many trials may be open at once. A trial that failed is
    a Failed run. Trials that are still open when the `with` block is left, or at `end`, are Failed,
    too; without either their runs would stay in progress.

    A run is named `SEARCH-TRIAL`; where that is taken, as when a search is started again, a suffix
    is added. Its tags `tuner.search` and `tuner.trial` say which trial it is. If the callback is
    made inside a run's block, the trials are children of that run.

    The hooks of a library are connected in a few lines, see the README of the producer.

    Args:
        experiment_name: of the runs; it is created when missing.
        search_name: what the trials of this search have in common.
        session: where and as whom; None takes the environment.
        tags: further tags of each run, at most 48.

    Raises:
        ValidationError: a name or tag that is not legal; raised here, before the first trial.
    """

    def __init__(
        self,
        experiment_name: str,
        search_name: str = "trial",
        session: Session | None = None,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._experiment_name = names.check_experiment_name(experiment_name)
        self._search_name = names.check_run_name(search_name)
        self._session = session
        self._tags = names.check_callers_tags(tags)
        names.check_tags({**self._tags, **dict.fromkeys(_OWN_TAGS, "")})
        self._lock = threading.Lock()
        self._trials: dict[str, _Trial] = {}
        self._context = contextvars.copy_context()

    def on_trial_start(self, trial_id: int | str, parameters: Mapping[str, object]) -> Run:
        """Begin the run of a trial, and log its parameters; return the run, which is open.

        Asks the service, as entering any run does.

        Raises:
            ValidationError: this trial is open already, or a parameter is not legal. A run with
                such a parameter is Failed.
        """
        key = str(trial_id)
        # Each run is current in a context of its own: no trial becomes another one's child.
        trial = _Trial(self._context.copy())
        with self._lock:
            if self._trials.setdefault(key, trial) is not trial:
                raise _no_such(key, "is open already; end it before it is started again")
        tags = {
            **self._tags,
            "tuner.search": self._search_name,
            "tuner.trial": key[:TAG_VALUE_CHARS_MAX],
        }
        name = run_name_of(self._search_name, key)
        try:
            run = trial.context.run(
                enter_trial_run, self._experiment_name, name, self._session, tags
            )
            trial.run = run
            run.log_parameters(parameters)
        except BaseException as exc:
            self._leave(key, exc)
            raise
        return run

    def on_trial_result(
        self,
        trial_id: int | str,
        metrics: Mapping[str, SupportsFloat],
        step: SupportsIndex | None = None,
    ) -> None:
        """Log values that a trial has reached so far; see `Run.log_metrics`.

        Raises:
            ValidationError: this trial is not open, or a name, value or step is not legal.
        """
        self._run_of(trial_id).log_metrics(metrics, step)

    def on_trial_complete(
        self, trial_id: int | str, metrics: Mapping[str, SupportsFloat] | None = None
    ) -> None:
        """End a trial that did what it should; its final values, if any, have no step.

        Raises:
            ValidationError: this trial is not open; or a value is not legal, and it stays open.
        """
        self._run_of(trial_id).log_metrics(metrics or {})
        self._leave(str(trial_id), None)

    def on_trial_error(self, trial_id: int | str, error: BaseException | str | None = None) -> None:
        """End a trial that failed: its run is Failed with the exception's text, or this one.

        Raises:
            ValidationError: this trial is not open.
        """
        self._run_of(trial_id)
        failed = (
            error
            if isinstance(error, BaseException)
            else _TrialFailedError(error or "the trial failed")
        )
        self._leave(str(trial_id), failed)

    def end(self, error: BaseException | None = None) -> None:
        """End the search: trials that are open are Failed, with this exception if there is one."""
        with self._lock:
            left = [key for key, trial in self._trials.items() if trial.run is not None]
        for key in left:
            self._leave(key, error or _TrialFailedError("the search ended before its trial"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)

    def __reduce__(self) -> tuple[partial[TunerCallback], tuple[()]]:
        """Make the copy that a library sends about: of the same settings, with no trial open."""
        again = partial(
            TunerCallback, self._experiment_name, self._search_name, self._session, tags=self._tags
        )
        return again, ()

    def _run_of(self, trial_id: int | str) -> Run:
        trial = self._trials.get(str(trial_id))
        if trial is None or trial.run is None:
            raise _no_such(str(trial_id), "is not open; on_trial_start comes first")
        return trial.run

    def _leave(self, key: str, error: BaseException | None) -> None:
        with self._lock:
            trial = self._trials.pop(key, None)
        if trial is not None and trial.run is not None:
            traceback = None if error is None else error.__traceback__
            trial.context.run(
                trial.run.__exit__, None if error is None else type(error), error, traceback
            )


def _no_such(key: str, why: str) -> ValidationError:
    return ValidationError(
        f"trial {shown(key)} {why}", field="trial_id", value=key, limit="one start, one end"
    )
