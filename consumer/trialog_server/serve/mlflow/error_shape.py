"""Errors in the shape and with the codes that MLflow clients read; must not know routes.

What was refused and why is the same as everywhere; only the envelope differs:
`{"error_code", "message"}`, and some statuses, because clients try again at some of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# pydantic reads this class for the OpenAPI document; before 3.12 it needs this TypedDict.
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from trialog_schemas.errors import TrialogError

MLFLOW_PREFIXES = ("/api/2.0/", "/api/2.1/", "/api/3.0/", "/api/4.0/")
"""Under what MLflow clients ask; nothing of our own is there."""

INTERNAL_ERROR_CODE = "INTERNAL_ERROR"

_CODES = {
    "ValidationException": "INVALID_PARAMETER_VALUE",
    "ParameterImmutable": "INVALID_PARAMETER_VALUE",
    "ResourceLimitExceeded": "INVALID_PARAMETER_VALUE",
    "ResourceInUse": "RESOURCE_ALREADY_EXISTS",
    "ResourceNotFound": "RESOURCE_DOES_NOT_EXIST",
    "ServiceUnavailable": "TEMPORARILY_UNAVAILABLE",
    "RouteNotFound": "ENDPOINT_NOT_FOUND",
}
"""MLflow's code for each of ours; what is not here is a bad request."""

_ACCESS_CODES = {401: "UNAUTHENTICATED"}

_STATUSES = {"ParameterImmutable": 400, "ResourceInUse": 400}
"""Where MLflow has another status for what is the same."""

_ABSENT = {
    "traces": "trialog keeps no traces",
    "logged-models": "trialog keeps no logged models; log a model's files as artifacts",
    "registered-models": "trialog has no model registry",
    "model-versions": "trialog has no model registry",
    "datasets": "a run's datasets are told with the run alone",
    "webhooks": "trialog has no webhooks",
    "prompts": "trialog has no prompt registry",
    "gateway": "trialog is no gateway to language models",
    "mpu": "trialog takes an artifact in one PUT",
    "presigned": "trialog serves artifacts by itself",
}
"""What MLflow's own server has beyond experiments and runs, by a part of its address."""


class MlflowErrorJSON(TypedDict):
    """The body of every answer of 400 and above to an MLflow client."""

    error_code: str
    message: str


def is_mlflow_path(path: str) -> bool:
    """Tell whether who asks there reads MLflow's shape."""
    return path.startswith(MLFLOW_PREFIXES)


def mlflow_status(error: TrialogError, status: int) -> int:
    """Return the status that MLflow has for an error that has the given one here."""
    return _STATUSES.get(error.code, status)


def mlflow_error(error: TrialogError, status: int) -> MlflowErrorJSON:
    """Return an error as an MLflow client reads it."""
    code = _CODES.get(error.code, "BAD_REQUEST")
    message = error.message
    if error.code == "AccessRefused":
        code = _ACCESS_CODES.get(status, "PERMISSION_DENIED")
        if status in _ACCESS_CODES:
            message = f"{message}; MLflow clients take it from MLFLOW_TRACKING_TOKEN"
    return {"error_code": code, "message": message}


def no_such_endpoint(path: str) -> str | None:
    """Return what to say of an address of MLflow's that is not served; None: of another one."""
    if not is_mlflow_path(path):
        return None
    parts = path.split("/")
    why = next((text for part, text in _ABSENT.items() if part in parts), None)
    kept = "experiments, runs, parameters, metrics, tags and artifacts are served to MLflow clients"
    return f"{why}; {kept}" if why else kept
