"""Names of MLflow's clients beside trialog's."""

from __future__ import annotations

import pytest

from trialog_schemas.names import check_experiment_name, check_run_name
from trialog_server.mlflow_names import (
    EXPERIMENT_NAME_TAG,
    RUN_NAME_TAG,
    mlflow_experiment_id,
    mlflow_experiment_name,
    mlflow_run_name,
    native_experiment_name,
    native_run_name,
)

NAMES = ("r", "a b", "./results", "x" * 121, "x" * 500, "größe", "🙂", "...", " ", "a/b", "-", "_")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_name_becomes_a_legal_one(name: str) -> None:
    """Whatever a client calls a run or an experiment has a name here, the same each time."""
    assert check_run_name(native_run_name(name)) == native_run_name(name)
    experiment = native_experiment_name(name)
    assert check_experiment_name(experiment) == experiment == native_experiment_name(name)


def test_legal_name_stays_and_no_two_experiments_become_one() -> None:
    """A name that both take is one name; names that look alike here stay two."""
    for name in ("digits", "A_b-3", "x" * 120):
        assert native_run_name(name) == native_experiment_name(name) == name
    assert native_run_name("a b") == "a-b"
    assert native_experiment_name("a b").startswith("a-b-")
    alike = {native_experiment_name(name) for name in ("a b", "a/b", "a-b", "x" * 121, "x" * 122)}
    assert len(alike) == 5


def test_name_that_clients_see_is_their_own_where_there_is_one() -> None:
    """What was logged by trialog's SDK has its one name."""
    assert mlflow_run_name("a-b", {RUN_NAME_TAG: "a b"}) == "a b"
    assert mlflow_run_name("a-b", {}) == mlflow_run_name("a-b", {RUN_NAME_TAG: ""}) == "a-b"
    assert mlflow_experiment_name("a-b-1f", {EXPERIMENT_NAME_TAG: "a b"}) == "a b"
    assert mlflow_experiment_name("a", {}) == "a"


def test_default_experiment_is_zero_and_every_other_its_number() -> None:
    """Numbers count from 1, so that no other experiment is 0."""
    assert mlflow_experiment_id("Default", 7) == "0"
    assert mlflow_experiment_id("default", 7) == "7"
