"""The law of the catalog: names are unique, experiments are bounded, only empty ones are deleted.

Pure, like `rules.py`. The state is a slice of the catalog: whatever the events of a batch name.
The one who loads the slice must load, for each account in the batch, the count of live
experiments, every experiment and run the batch names by id, every experiment it names by name,
and for each run to be created the live runs that have its name or one of `kept_names`: all of
them, or as many that one is left whatever the batch deletes. A run that shares its name needs none.

    event                refused as               when
    -------------------- ------------------------ ----------------------------------------------
    experiment_created   invalid                  name, description or tags are illegal
                         experiment_name_in_use   a live experiment has the name
                         experiment_limit         the account has experiments_max live ones
    run_created          invalid                  names or tags are illegal, an id is taken
                         experiment_limit         as above, of a missing experiment
                         run_name_in_use          a live run of the experiment has the name; with
                                                  `if_taken` keep it is kept under another name,
                                                  with share it has the name as well
    experiment_deleted   experiment_not_found     no live experiment has the id
                         experiment_not_empty     it has live runs
    run_deleted          run_not_found            no live run has the id

Creating under an id that exists already is a re-send: neither accepted nor refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trialog_schemas import names
from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.events import (
    ExperimentCreated,
    ExperimentDeleted,
    Rejection,
    RunCreated,
    RunDeleted,
)
from trialog_schemas.illegal import invalid
from trialog_schemas.limits import NAME_CHARS_MAX
from trialog_schemas.rules import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trialog_schemas.events import Event


@dataclass(frozen=True, slots=True)
class ExperimentEntry:
    """An experiment as the catalog's rules see it."""

    experiment_id: str
    name: str
    live_runs: int = 0
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run as the catalog's rules see it."""

    run_id: str
    experiment_id: str
    name: str
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class CatalogState:
    """The slice of one account's catalog that a batch needs.

    Args:
        live_experiments: how many live experiments the account has.
        experiments: by id, deleted ones included.
        runs: by id, deleted ones included.
    """

    live_experiments: int = 0
    experiments: Mapping[str, ExperimentEntry] = field(default_factory=dict)
    runs: Mapping[str, RunEntry] = field(default_factory=dict)

    def live_experiment(self, name: str) -> ExperimentEntry | None:
        """Return the live experiment of this name."""
        for entry in self.experiments.values():
            if entry.name == name and not entry.is_deleted:
                return entry
        return None

    def has_live_run(self, experiment_id: str, name: str) -> bool:
        """Tell whether a live run of the experiment has this name."""
        return any(
            entry.experiment_id == experiment_id and entry.name == name and not entry.is_deleted
            for entry in self.runs.values()
        )


def kept_names(run_name: str, run_id: str) -> tuple[str, ...]:
    """Return the names, best first, for a run recorded without an answer whose name was taken.

    The first has 6 hex digits of the run's id; the others are there in case that is taken too.
    """
    suffixes = [f"-{run_id[:digits]}" for digits in (6, 12, 32)]
    return tuple(run_name[: NAME_CHARS_MAX - len(suffix)] + suffix for suffix in suffixes)


def decide_catalog(state: CatalogState, event: Event) -> Verdict:
    """Judge an event of the catalog.

    An accepted `RunCreated` carries the id of the experiment it really joins and the name the run
    really has; its experiment is to be created if the state does not know that id.
    """
    body = event.body
    if isinstance(body, ExperimentCreated):
        return _decide_experiment(state, body)
    if isinstance(body, RunCreated):
        return _decide_run(state, body)
    if isinstance(body, ExperimentDeleted):
        return _decide_experiment_deleted(state, body)
    if isinstance(body, RunDeleted):
        return _decide_run_deleted(state, body)
    return _refused(
        "invalid",
        f"event {event.type!r} is none of the catalog; send it to its run's partition",
        event.type,
    )


def evolve_catalog(state: CatalogState, verdict: Verdict) -> CatalogState:
    """Return the slice after an accepted event."""
    body = verdict.accepted
    if isinstance(body, ExperimentCreated):
        return _with_experiment(state, ExperimentEntry(body.experiment_id, body.name), created=1)
    if isinstance(body, RunCreated):
        experiment = state.experiments.get(body.experiment_id)
        created = experiment is None
        entry = experiment or ExperimentEntry(body.experiment_id, body.experiment_name)
        grown = replace(entry, live_runs=entry.live_runs + 1)
        run = RunEntry(body.run_id, body.experiment_id, body.run_name)
        return replace(
            _with_experiment(state, grown, created=int(created)),
            runs={**state.runs, run.run_id: run},
        )
    if isinstance(body, ExperimentDeleted):
        gone = replace(state.experiments[body.experiment_id], is_deleted=True)
        return _with_experiment(state, gone, created=-1)
    if isinstance(body, RunDeleted):
        run = replace(state.runs[body.run_id], is_deleted=True)
        home = state.experiments[run.experiment_id]
        shrunk = replace(home, live_runs=home.live_runs - 1)
        return replace(
            _with_experiment(state, shrunk, created=0), runs={**state.runs, run.run_id: run}
        )
    return state


def _with_experiment(state: CatalogState, entry: ExperimentEntry, created: int) -> CatalogState:
    return replace(
        state,
        live_experiments=state.live_experiments + created,
        experiments={**state.experiments, entry.experiment_id: entry},
    )


def _decide_experiment(state: CatalogState, body: ExperimentCreated) -> Verdict:
    try:
        names.check_experiment_name(body.name)
        names.check_description(body.description)
        names.check_tags(body.tags)
    except ValidationError as exc:
        return Verdict(None, (invalid(exc, body.name[:128]),))
    if body.experiment_id in state.experiments:
        return Verdict(None)
    if state.live_experiment(body.name) is not None:
        return _refused(
            "experiment_name_in_use",
            f"experiment {body.name!r} exists already; load it or choose another name",
            body.name,
        )
    refusal = _refuse_one_more(state, body.name, body.experiments_max)
    return Verdict(None, (refusal,)) if refusal else Verdict(body)


def _refuse_one_more(state: CatalogState, name: str, experiments_max: int) -> Rejection | None:
    if state.live_experiments < experiments_max:
        return None
    return Rejection(
        "experiment_limit",
        f"experiment {name!r} is refused, the account may have {experiments_max} live experiments "
        "and that is the limit; delete one",
        name,
        None,
        {"limit": experiments_max},
    )


def _decide_run(state: CatalogState, body: RunCreated) -> Verdict:
    try:
        names.check_experiment_name(body.experiment_name)
        names.check_run_name(body.run_name)
        names.check_tags(body.tags)
    except ValidationError as exc:
        return Verdict(None, (invalid(exc, body.run_name[:128]),))
    if body.run_id in state.runs:
        return Verdict(None)
    experiment = state.live_experiment(body.experiment_name)
    if experiment is None:
        if body.experiment_id in state.experiments:
            return _refused(
                "invalid",
                f"experiment id {body.experiment_id!r} of the missing experiment "
                f"{body.experiment_name!r} is in use; make another id",
                body.experiment_name,
            )
        refusal = _refuse_one_more(state, body.experiment_name, body.experiments_max)
        return Verdict(None, (refusal,)) if refusal else Verdict(body)
    joined = replace(body, experiment_id=experiment.experiment_id)
    is_free = not state.has_live_run(experiment.experiment_id, body.run_name)
    if is_free or body.if_taken == "share":
        return Verdict(joined)
    taken = Rejection(
        "run_name_in_use",
        f"run {body.run_name!r} exists already in experiment {body.experiment_name!r}; "
        "resume it or choose another name",
        body.run_name,
    )
    if body.if_taken == "refuse":
        return Verdict(None, (taken,))
    for name in kept_names(body.run_name, body.run_id):
        if not state.has_live_run(experiment.experiment_id, name):
            return _kept(joined, taken, name)
    # Only runs that were named after this run's whole id on purpose get here.
    return Verdict(None, (taken,))


def _kept(joined: RunCreated, taken: Rejection, name: str) -> Verdict:
    kept = replace(
        taken,
        message=f"run name {joined.run_name!r} was taken when this run arrived; "
        f"it is kept as {name!r}",
        facts={"kept_as": name},
    )
    return Verdict(replace(joined, run_name=name), (kept,))


def _decide_experiment_deleted(state: CatalogState, body: ExperimentDeleted) -> Verdict:
    entry = state.experiments.get(body.experiment_id)
    if entry is None or entry.is_deleted:
        return _refused(
            "experiment_not_found",
            f"experiment {shown(body.experiment_id)} does not exist, or no more; "
            "list the experiments there are",
            body.experiment_id,
        )
    if entry.live_runs:
        return _refused(
            "experiment_not_empty",
            f"experiment {entry.name!r} has {entry.live_runs} runs; delete them first",
            entry.name,
        )
    return Verdict(body)


def _decide_run_deleted(state: CatalogState, body: RunDeleted) -> Verdict:
    entry = state.runs.get(body.run_id)
    if entry is None or entry.is_deleted:
        return _refused(
            "run_not_found",
            f"run {shown(body.run_id)} does not exist, or no more; list the runs there are",
            body.run_id,
        )
    return Verdict(body)


def _refused(code: str, message: str, name: str) -> Verdict:
    return Verdict(None, (Rejection(code, message, name[:128]),))
