"""What the rules refused, as values and as the errors that say it; must not judge or ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog_schemas.errors import (
    ClientError,
    LimitExceededError,
    ParameterImmutableError,
    ResourceInUseError,
    ResourceNotFoundError,
    RunRejectedError,
    ValidationError,
)
from trialog_schemas.events import Rejection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog.answers import RejectionAnswer

ERRORS_BY_CODE: dict[str, type[ClientError]] = {
    "artifact_limit": LimitExceededError,
    "artifact_size": LimitExceededError,
    "experiment_limit": LimitExceededError,
    "experiment_name_in_use": ResourceInUseError,
    "experiment_not_empty": ResourceInUseError,
    "experiment_not_found": ResourceNotFoundError,
    "invalid": ValidationError,
    "param_immutable": ParameterImmutableError,
    "param_limit": LimitExceededError,
    "point_limit": LimitExceededError,
    "run_name_in_use": ResourceInUseError,
    "run_not_found": ResourceNotFoundError,
    "tag_limit": LimitExceededError,
}
"""What each code of a refusal is raised as."""


def rejection_of(answer: RejectionAnswer) -> Rejection:
    """Return a refusal that the service tells as the value that users see."""
    return Rejection(
        answer["code"], answer["message"], answer["name"], answer["value"], answer["facts"]
    )


def refusal_error(rejection: Rejection) -> ClientError:
    """Return the error for a refusal: one class, whether it is found early or by the projection."""
    kind = ERRORS_BY_CODE.get(rejection.code, ClientError)
    field = str(rejection.facts.get("field", rejection.name or "")) or None
    error = kind(rejection.message, field=field, limit=rejection.facts.get("limit"))
    error.value = rejection.value
    return error


def rejected_error(run_name: str, rejections: Sequence[Rejection]) -> RunRejectedError:
    """Return the error that `wait()` raises for all refusals of a handle."""
    return RunRejectedError(
        f"{len(rejections)} refusals in run {run_name!r}, the first: {rejections[0].message}",
        rejections,
        [refusal_error(rejection) for rejection in rejections],
    )
