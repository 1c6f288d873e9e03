"""Behaviour of the rules of the catalog."""

from __future__ import annotations

import pytest

from tests.unit.schemas.factories import event
from trialog_schemas.catalog_rules import (
    CatalogState,
    RunEntry,
    decide_catalog,
    evolve_catalog,
    kept_names,
)
from trialog_schemas.events import (
    CatalogBody,
    ExperimentCreated,
    ExperimentDeleted,
    RunCreated,
    RunDeleted,
)
from trialog_schemas.rules import Verdict

E1, E2, R1, R2 = "e1" * 16, "e2" * 16, "a1" * 16, "b2" * 16


def judged(*bodies: CatalogBody) -> tuple[CatalogState, list[Verdict]]:
    """Return the catalog after the bodies, and their verdicts."""
    state, verdicts = CatalogState(), []
    for body in bodies:
        verdicts.append(decide_catalog(state, event(body)))
        state = evolve_catalog(state, verdicts[-1])
    return state, verdicts


def codes(verdict: Verdict) -> list[str]:
    """Return the codes of what was refused."""
    return [rejection.code for rejection in verdict.rejections]


# A3
def test_experiment_with_a_taken_name_is_refused() -> None:
    """Of two creations of one name exactly the first in the log wins."""
    state, verdicts = judged(ExperimentCreated(E1, "exp"), ExperimentCreated(E2, "exp"))
    assert codes(verdicts[1]) == ["experiment_name_in_use"]
    assert list(state.experiments) == [E1]


# D12
def test_experiment_created_twice_under_one_id_is_a_no_op() -> None:
    """The same command again, from another writer, changes and refuses nothing."""
    _, verdicts = judged(ExperimentCreated(E1, "exp"), ExperimentCreated(E1, "exp"))
    assert verdicts[1] == Verdict(None)


# B3
def test_run_of_a_missing_experiment_creates_it_once() -> None:
    """The second run of a new experiment joins the one the first created."""
    state, verdicts = judged(RunCreated(R1, "exp", "r1", E1), RunCreated(R2, "exp", "r2", E2))
    assert state.live_experiments == 1
    assert state.experiments[E1].live_runs == 2
    assert isinstance(verdicts[1].accepted, RunCreated)
    assert verdicts[1].accepted.experiment_id == E1


# B5
def test_run_with_a_taken_name_is_refused_and_the_first_untouched() -> None:
    """A name collision creates nothing."""
    state, verdicts = judged(RunCreated(R1, "exp", "r", E1), RunCreated(R2, "exp", "r", E2))
    assert codes(verdicts[1]) == ["run_name_in_use"]
    assert list(state.runs) == [R1]


def test_run_recorded_without_an_answer_is_kept_under_another_name() -> None:
    """Nothing logged is lost to a name, and the rejection says where it is."""
    state, verdicts = judged(RunCreated(R1, "exp", "r", E1), RunCreated(R2, "exp", "r", E2, "keep"))
    assert state.runs[R2].name == f"r-{R2[:6]}"
    assert codes(verdicts[1]) == ["run_name_in_use"]
    assert verdicts[1].rejections[0].facts["kept_as"] == f"r-{R2[:6]}"


def test_run_recorded_without_an_answer_finds_a_name_even_if_its_first_is_taken() -> None:
    """The names to fall back on grow until one is free."""
    first = kept_names("r", R2)[0]
    state, _ = judged(
        RunCreated(R1, "exp", "r", E1),
        RunCreated("c3" * 16, "exp", first, E1),
        RunCreated(R2, "exp", "r", E1, "keep"),
    )
    assert state.runs[R2].name == f"r-{R2[:12]}"


def test_run_that_shares_its_name_is_accepted_beside_others() -> None:
    """MLflow's clients may use one name many times; a native run then finds it taken."""
    state, verdicts = judged(
        RunCreated(R1, "exp", "r", E1),
        RunCreated(R2, "exp", "r", E2, "share"),
        RunDeleted(R1),
        RunCreated("c3" * 16, "exp", "r", E2),
    )
    assert [codes(verdict) for verdict in verdicts] == [[], [], [], ["run_name_in_use"]]
    assert (state.runs[R2].name, state.runs[R2].experiment_id) == ("r", E1)


@pytest.mark.parametrize("run_name", ["r", "x" * 120])
def test_kept_names_are_legal(run_name: str) -> None:
    """However long the name was, the kept one is at most 120 characters."""
    assert all(len(name) <= 120 and name.endswith(R1[:6]) for name in kept_names(run_name, R1)[:1])
    assert all(len(name) <= 120 for name in kept_names(run_name, R1))


def test_run_created_twice_under_one_id_is_a_no_op() -> None:
    """A re-send, or the second try after an answer was lost, changes nothing."""
    _, verdicts = judged(RunCreated(R1, "exp", "r", E1), RunCreated(R1, "exp", "r", E1, "keep"))
    assert verdicts[1] == Verdict(None)


def test_run_deleted_frees_its_name() -> None:
    """A deleted run is gone and its name can be used again."""
    state, verdicts = judged(
        RunCreated(R1, "exp", "r", E1),
        RunDeleted(R1),
        RunDeleted(R1),
        RunCreated(R2, "exp", "r", E1),
    )
    assert codes(verdicts[2]) == ["run_not_found"]
    assert state.runs[R1] == RunEntry(R1, E1, "r", is_deleted=True)
    assert not state.runs[R2].is_deleted


def test_experiment_with_runs_is_not_deleted() -> None:
    """Deleting is refused while a live run is there, and works afterwards."""
    state, verdicts = judged(
        RunCreated(R1, "exp", "r", E1), ExperimentDeleted(E1), RunDeleted(R1), ExperimentDeleted(E1)
    )
    assert [codes(verdict) for verdict in verdicts] == [[], ["experiment_not_empty"], [], []]
    assert state.live_experiments == 0


def test_experiments_are_bounded_and_deleting_makes_room() -> None:
    """One above the limit is refused, by either way of creating one, and deleting makes room."""
    _, verdicts = judged(
        ExperimentCreated(E1, "a", experiments_max=1),
        ExperimentCreated(E2, "b", experiments_max=1),
        RunCreated(R1, "b", "r", E2, experiments_max=1),
        ExperimentDeleted(E1),
        ExperimentCreated(E2, "b", experiments_max=1),
    )
    limit = ["experiment_limit"]
    assert [codes(verdict) for verdict in verdicts] == [[], limit, limit, [], []]


@pytest.mark.parametrize(
    "body",
    [
        ExperimentCreated(E1, "no space"),
        ExperimentCreated(E1, "exp", "x" * 3073),
        RunCreated(R1, "exp", "no/slash", E1),
        RunCreated(R1, "", "r", E1),
    ],
)
def test_names_of_foreign_producers_are_judged_again(body: CatalogBody) -> None:
    """What the SDK would not have sent is refused by the projection."""
    _, (verdict,) = judged(body)
    assert codes(verdict) == ["invalid"]


@pytest.mark.parametrize("body", [ExperimentDeleted(E1), RunDeleted(R1)])
def test_deleting_what_is_not_there_is_refused(body: CatalogBody) -> None:
    """An unknown id is named in the refusal."""
    _, (verdict,) = judged(body)
    assert codes(verdict)[0].endswith("_not_found")
