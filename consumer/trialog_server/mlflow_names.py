"""Whose name is whose: what MLflow's clients call a run or an experiment, and what trialog does.

MLflow takes any text as a name and numbers as an experiment's id; trialog's names are short and of
few characters. Pure; knows no route and no table.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from trialog_schemas.limits import NAME_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_NAME_TAG = "mlflow.runName"
"""The tag of a run that holds its name as MLflow's clients know it; MLflow's own key."""

PARENT_RUN_TAG = "mlflow.parentRunId"
"""The tag with which MLflow's clients say whose child a new run is; MLflow's own key."""

EXPERIMENT_NAME_TAG = "trialog.mlflow_name"
"""The tag of an experiment that holds a name of MLflow's that is no legal name here."""

DEFAULT_EXPERIMENT = "Default"
"""The experiment of clients that name none."""

DEFAULT_EXPERIMENT_ID = "0"
"""Its id for them; numbers of experiments count from 1."""

KILLED = "KILLED"
"""The failure message of a run that a client ended as killed, which trialog has no status for."""

HASH_DIGITS = 6
"""Hex digits of a name's digest that tell experiments apart whose names look alike here."""

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")


def native_run_name(name: str) -> str:
    """Return the name of a run here: MLflow's, with `-` for what is not legal; others may share."""
    return _legal_part(name)[:NAME_CHARS_MAX] or "run"


def native_experiment_name(name: str) -> str:
    """Return the name of an experiment here: the same each time, another one for another name.

    A legal name stays. Any other has a piece of its digest behind it, since no two experiments may
    have one name.
    """
    legal = _legal_part(name)
    if name == legal and len(name) <= NAME_CHARS_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:HASH_DIGITS]
    return f"{legal[: NAME_CHARS_MAX - HASH_DIGITS - 1] or 'experiment'}-{digest}"


def _legal_part(name: str) -> str:
    if not _ILLEGAL.search(name):
        return name
    return _ILLEGAL.sub("-", name).strip("-")


def mlflow_run_name(run_name: str, tags: Mapping[str, str]) -> str:
    """Return what MLflow's clients call a run: what they have named it, else its name here."""
    return tags.get(RUN_NAME_TAG) or run_name


def mlflow_experiment_name(experiment_name: str, tags: Mapping[str, str]) -> str:
    """Return what MLflow's clients call an experiment."""
    return tags.get(EXPERIMENT_NAME_TAG) or experiment_name


def mlflow_experiment_id(experiment_name: str, number: int) -> str:
    """Return the id of an experiment for MLflow's clients."""
    return DEFAULT_EXPERIMENT_ID if experiment_name == DEFAULT_EXPERIMENT else str(number)
