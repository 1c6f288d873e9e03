"""The rules of the catalog beside an independent model, with restarts and broken rules.

The model keeps two lists and searches them from end to end; it shares no code with the rules.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.unit.schemas.factories import event
from trialog_schemas.catalog_rules import (
    CatalogState,
    ExperimentEntry,
    RunEntry,
    decide_catalog,
    evolve_catalog,
)
from trialog_schemas.events import (
    CatalogBody,
    Event,
    ExperimentCreated,
    ExperimentDeleted,
    RunCreated,
    RunDeleted,
    TagsSet,
)
from trialog_schemas.rules import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

AT_MOST = 2
"""Live experiments of the account in these walks."""

EXPERIMENT_IDS = tuple(f"e{number}" * 16 for number in range(4))
RUN_IDS = tuple(f"a{number}" * 16 for number in range(5))
ILLEGAL = "no/slash"

_EXPERIMENT_NAMES = st.sampled_from(["exp", "EXP", "other", "exp", ILLEGAL])
_RUN_NAMES = st.sampled_from(["r", "R", "r", f"r-{RUN_IDS[0][:6]}", ILLEGAL])
_EXPERIMENT_IDS = st.sampled_from(EXPERIMENT_IDS)
_RUN_IDS = st.sampled_from(RUN_IDS)


@dataclass
class Named:
    """An experiment or a run of the model; a run has a home."""

    id: str
    name: str
    home: str = ""
    is_live: bool = True
    if_taken: str = "refuse"


@dataclass
class Model:
    """What the catalog must hold, and the code of the last refusal."""

    experiments: list[Named] = field(default_factory=list)
    runs: list[Named] = field(default_factory=list)

    def create_experiment(self, experiment_id: str, name: str) -> str | None:
        """Create an experiment; return why not, or None."""
        if name == ILLEGAL:
            return "invalid"
        if any(one.id == experiment_id for one in self.experiments):
            return None
        if any(one.name == name and one.is_live for one in self.experiments):
            return "experiment_name_in_use"
        if sum(one.is_live for one in self.experiments) >= AT_MOST:
            return "experiment_limit"
        self.experiments.append(Named(experiment_id, name))
        return None

    def create_run(self, run: Named, experiment_name: str) -> str | None:
        """Create a run, and its experiment when it is missing; return what was refused, or None."""
        if ILLEGAL in (experiment_name, run.name):
            return "invalid"
        if any(one.id == run.id for one in self.runs):
            return None
        homes = [one for one in self.experiments if one.name == experiment_name and one.is_live]
        if not homes:
            if any(one.id == run.home for one in self.experiments):
                return "invalid"
            refused = self.create_experiment(run.home, experiment_name)
            if refused is None:
                self.runs.append(run)
            return refused
        siblings = [one for one in self.runs if one.home == homes[0].id and one.is_live]
        taken = {one.name for one in siblings}
        if run.name not in taken or run.if_taken == "share":
            self.runs.append(replace(run, home=homes[0].id))
            return None
        if run.if_taken == "keep":
            tries = [f"{run.name}-{run.id[:6]}", f"{run.name}-{run.id[:12]}"]
            name = next(one for one in tries if one not in taken)
            self.runs.append(replace(run, name=name, home=homes[0].id))
        return "run_name_in_use"

    def delete_experiment(self, experiment_id: str) -> str | None:
        """Delete an empty experiment; return why not, or None."""
        for one in self.experiments:
            if one.id == experiment_id and one.is_live:
                if any(run.home == one.id and run.is_live for run in self.runs):
                    return "experiment_not_empty"
                one.is_live = False
                return None
        return "experiment_not_found"

    def delete_run(self, run_id: str) -> str | None:
        """Delete a run; return why not, or None."""
        for one in self.runs:
            if one.id == run_id and one.is_live:
                one.is_live = False
                return None
        return "run_not_found"


def restored(state: CatalogState) -> CatalogState:
    """Return a state after it was kept as text and read again."""
    told = json.loads(json.dumps(asdict(state)))
    return CatalogState(
        told["live_experiments"],
        {key: ExperimentEntry(**one) for key, one in told["experiments"].items()},
        {key: RunEntry(**one) for key, one in told["runs"].items()},
    )


@dataclass(frozen=True)
class Law:
    """The rules of the catalog, or broken ones."""

    judge: Callable[[CatalogState, Event], Verdict] = decide_catalog
    grow: Callable[[CatalogState, Verdict], CatalogState] = evolve_catalog


class Catalog(RuleBasedStateMachine):
    """Creates and deletes under few names and ids, so that they meet all the time."""

    law = Law()

    def __init__(self) -> None:
        super().__init__()
        self.state = CatalogState()
        self.model = Model()

    def _say(self, body: CatalogBody, expected: str | None) -> None:
        verdict = self.law.judge(self.state, event(body))
        self.state = self.law.grow(self.state, verdict)
        assert [one.code for one in verdict.rejections] == ([] if expected is None else [expected])

    @rule(experiment_id=_EXPERIMENT_IDS, name=_EXPERIMENT_NAMES)
    def create_experiment(self, experiment_id: str, name: str) -> None:
        """Create an experiment: new, again, under a taken name, one too many."""
        body = ExperimentCreated(experiment_id, name, experiments_max=AT_MOST)
        self._say(body, self.model.create_experiment(experiment_id, name))

    @rule(
        run_id=_RUN_IDS,
        names=st.tuples(_EXPERIMENT_NAMES, _RUN_NAMES),
        experiment_id=_EXPERIMENT_IDS,
        if_taken=st.sampled_from(["refuse", "keep", "share"]),
    )
    def create_run(
        self,
        run_id: str,
        names: tuple[str, str],
        experiment_id: str,
        if_taken: Literal["refuse", "keep", "share"],
    ) -> None:
        """Create a run in an experiment that is there, or is not yet."""
        body = RunCreated(run_id, *names, experiment_id, if_taken, experiments_max=AT_MOST)
        run = Named(run_id, names[1], experiment_id, if_taken=if_taken)
        self._say(body, self.model.create_run(run, names[0]))

    @rule(experiment_id=_EXPERIMENT_IDS)
    def delete_experiment(self, experiment_id: str) -> None:
        """Delete an experiment, empty or not, there or not."""
        self._say(ExperimentDeleted(experiment_id), self.model.delete_experiment(experiment_id))

    @rule(run_id=_RUN_IDS)
    def delete_run(self, run_id: str) -> None:
        """Delete a run, there or not."""
        self._say(RunDeleted(run_id), self.model.delete_run(run_id))

    @rule()
    def restart(self) -> None:
        """Go on from what was stored."""
        self.state = restored(self.state)

    @invariant()
    def state_equals_model(self) -> None:
        """The catalog holds what the model holds, name by name and home by home."""
        state, model = self.state, self.model
        assert [
            (one.experiment_id, one.name, not one.is_deleted) for one in state.experiments.values()
        ] == [(one.id, one.name, one.is_live) for one in model.experiments]
        assert [
            (one.run_id, one.name, one.experiment_id, not one.is_deleted)
            for one in state.runs.values()
        ] == [(one.id, one.name, one.home, one.is_live) for one in model.runs]
        assert state.live_experiments == sum(one.is_live for one in model.experiments) <= AT_MOST
        for entry in state.experiments.values():
            of_it = [one for one in model.runs if one.home == entry.experiment_id and one.is_live]
            assert entry.live_runs == len(of_it)

    @invariant()
    def live_names_are_unique(self) -> None:
        """No two live experiments, and no two live runs that do not share, have one name."""
        live = [one.name for one in self.state.experiments.values() if not one.is_deleted]
        assert len(live) == len(set(live))
        sharing = {one.id for one in self.model.runs if one.if_taken == "share"}
        runs = [
            (one.experiment_id, one.name)
            for one in self.state.runs.values()
            if not one.is_deleted and one.run_id not in sharing
        ]
        assert len(runs) == len(set(runs))


_STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)


# A3 A11 B3 B5 B21
def test_catalog_equals_the_model_on_every_walk() -> None:
    """Names meet, experiments fill up and empty: rules and model agree on each verdict."""
    run_state_machine_as_test(Catalog, settings=settings(_STEADY, max_examples=60))


def _ignoring_case(state: CatalogState, told: Event) -> Verdict:
    """Compare the names of experiments without regard to case."""
    body = told.body
    if isinstance(body, ExperimentCreated):
        live = [one.name.lower() for one in state.experiments.values() if not one.is_deleted]
        if body.name.lower() in live and body.experiment_id not in state.experiments:
            return decide_catalog(state, event(ExperimentCreated("f0" * 16, body.name)))
    return decide_catalog(state, told)


def _with_limit(by: int) -> Callable[[CatalogState, Event], Verdict]:
    def judge(state: CatalogState, told: Event) -> Verdict:
        body = told.body
        if isinstance(body, ExperimentCreated | RunCreated):
            told = event(replace(body, experiments_max=body.experiments_max + by))
        return decide_catalog(state, told)

    return judge


def _deleting_what_has_runs(state: CatalogState, told: Event) -> Verdict:
    empty = {key: replace(one, live_runs=0) for key, one in state.experiments.items()}
    return decide_catalog(replace(state, experiments=empty), told)


def _remembering_deleted_names(state: CatalogState, told: Event) -> Verdict:
    runs = {key: replace(one, is_deleted=False) for key, one in state.runs.items()}
    return decide_catalog(replace(state, runs=runs), told)


def _counting_deleted_experiments(state: CatalogState, told: Event) -> Verdict:
    return decide_catalog(replace(state, live_experiments=len(state.experiments)), told)


def _losing_what_has_no_name(state: CatalogState, told: Event) -> Verdict:
    verdict = decide_catalog(state, told)
    return replace(verdict, accepted=None) if verdict.rejections else verdict


def _never_sharing(state: CatalogState, told: Event) -> Verdict:
    body = told.body
    if isinstance(body, RunCreated) and body.if_taken == "share":
        told = event(replace(body, if_taken="refuse"))
    return decide_catalog(state, told)


def _overlooking_shared(state: CatalogState, told: Event) -> Verdict:
    body = told.body
    if isinstance(body, RunCreated) and body.if_taken == "refuse":
        told = event(replace(body, if_taken="share"))
    return decide_catalog(state, told)


def _never_joining(state: CatalogState, told: Event) -> Verdict:
    verdict = decide_catalog(state, told)
    if isinstance(verdict.accepted, RunCreated) and isinstance(told.body, RunCreated):
        own = replace(verdict.accepted, experiment_id=told.body.experiment_id)
        return replace(verdict, accepted=own)
    return verdict


def _never_freeing(state: CatalogState, verdict: Verdict) -> CatalogState:
    grown = evolve_catalog(state, verdict)
    return replace(grown, live_experiments=max(grown.live_experiments, state.live_experiments))


CANARIES = {
    "case does not count": Law(judge=_ignoring_case),
    "one experiment more": Law(judge=_with_limit(1)),
    "one experiment less": Law(judge=_with_limit(-1)),
    "experiments with runs are deleted": Law(judge=_deleting_what_has_runs),
    "a deleted run keeps its name": Law(judge=_remembering_deleted_names),
    "deleted experiments count": Law(judge=_counting_deleted_experiments),
    "a run is lost to a name": Law(judge=_losing_what_has_no_name),
    "a run makes its own experiment": Law(judge=_never_joining),
    "a name is shared with nobody": Law(judge=_never_sharing),
    "a name is taken by nobody": Law(judge=_overlooking_shared),
    "deleting makes no room": Law(grow=_never_freeing),
}


@pytest.mark.parametrize("canary", CANARIES)
def test_broken_rules_of_the_catalog_are_noticed(canary: str) -> None:
    """Each rule that is broken on purpose makes the model disagree."""
    broken = type("Broken", (Catalog,), {"law": CANARIES[canary]})
    found = settings(_STEADY, max_examples=2000, phases=[Phase.generate], print_blob=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=found)


def test_run_whose_every_name_was_taken_on_purpose_is_refused() -> None:
    """Only runs named after a whole run id get here; nothing breaks, the refusal is told."""
    state = CatalogState()
    wanted = RunCreated(RUN_IDS[0], "exp", "r", EXPERIMENT_IDS[0], "keep")
    takers = ["r", *(f"r-{RUN_IDS[0][:digits]}" for digits in (6, 12, 32))]
    for run_id, name in zip(RUN_IDS[1:], takers, strict=True):
        taker = event(RunCreated(run_id, "exp", name, EXPERIMENT_IDS[0]))
        state = evolve_catalog(state, decide_catalog(state, taker))
    verdict = decide_catalog(state, event(wanted))
    assert verdict.accepted is None
    assert [one.code for one in verdict.rejections] == ["run_name_in_use"]


def test_event_of_a_run_is_refused_by_the_catalog() -> None:
    """The catalog judges nothing of a run's own stream."""
    verdict = decide_catalog(CatalogState(), event(TagsSet({"k": "v"})))
    assert verdict.accepted is None
    assert [one.code for one in verdict.rejections] == ["invalid"]
