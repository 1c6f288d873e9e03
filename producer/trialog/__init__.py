"""Experiment tracking: what users import; everything is re-exported from its own module."""

from trialog.compare import compare
from trialog.experiment import Experiment
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
    TrialogError,
    UnavailableError,
    ValidationError,
)

__all__ = [
    "AccessRefusedError",
    "ClientError",
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
    "TrialogError",
    "UnavailableError",
    "ValidationError",
    "compare",
    "list_runs",
    "load_run",
]
