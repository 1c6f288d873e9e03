"""Experiment tracking: what users import; everything is re-exported from its own module."""

import typing

from trialog.compare import compare
from trialog.durability import Durability
from trialog.experiment import Experiment
from trialog.legacy_names import legacy_name as _legacy_name
from trialog.list_runs import SortByType, SortOrderType, list_runs
from trialog.load_run import load_run
from trialog.pipeline import PipelineExperimentConfig
from trialog.run import Run
from trialog.settings import Session
from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    LimitExceededError,
    ParameterImmutableError,
    RejectionWarning,
    ResourceInUseError,
    ResourceNotFoundError,
    RunRejectedError,
    SpoolError,
    TrialogError,
    UnavailableError,
    ValidationError,
)

__all__ = [
    "AccessRefusedError",
    "ClientError",
    "Durability",
    "Experiment",
    "LimitExceededError",
    "ParameterImmutableError",
    "PipelineExperimentConfig",
    "RejectionWarning",
    "ResourceInUseError",
    "ResourceNotFoundError",
    "Run",
    "RunRejectedError",
    "Session",
    "SortByType",
    "SortOrderType",
    "SpoolError",
    "TrialogError",
    "UnavailableError",
    "ValidationError",
    "compare",
    "list_runs",
    "load_run",
]

if typing.TYPE_CHECKING:
    from trialog.legacy_names import _RunContext as _RunContext
    from trialog.legacy_names import _Trial as _Trial
    from trialog.legacy_names import _TrialComponent as _TrialComponent
else:
    # Not for type checkers, which would take every misspelt name for one of these.
    def __getattr__(name: str) -> object:
        return _legacy_name(name)
