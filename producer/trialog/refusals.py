"""What the rules refused: values, errors, and the events that tell of it; must not judge or ask."""

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
from trialog_schemas.events import CALLS_FACT, CallRefused, Rejection

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

REFUSED_CALLS_MAX = 100
"""Refused calls of a writer that are recorded one by one. Beyond them the 200th, the 400th and so
on stand for those between, and at the end one for what is left: a loop that tries again and again
costs an event for each doubling."""


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


def counted_refusals(count: int) -> str:
    """Return how many refusals there are, for a message."""
    return "1 refusal" if count == 1 else f"{count} refusals"


def rejected_error(run_name: str, rejections: Sequence[Rejection]) -> RunRejectedError:
    """Return the error that `wait()` raises for all refusals of a handle."""
    counted = counted_refusals(len(rejections))
    return RunRejectedError(
        f"{counted} in run {run_name!r}, the first: {rejections[0].message}",
        rejections,
        [refusal_error(rejection) for rejection in rejections],
    )


class RefusedCalls:
    """Counts a writer's refused calls, and makes the events that tell of all of them."""

    def __init__(self) -> None:
        self._last: Rejection | None = None
        self._calls = self._told = 0

    def count(self, refusal: Rejection) -> CallRefused | None:
        """Count a call that is refused so; return what is to be recorded now, or None."""
        self._last = refusal
        self._calls += 1
        is_due = self._calls <= REFUSED_CALLS_MAX or self._calls >= 2 * self._told
        return self.rest() if is_due else None

    def rest(self) -> CallRefused | None:
        """Return what tells of the calls that nothing recorded stands for; None if there are none.

        It has the parts of the last one, and the fact how many it stands for if they are several.
        """
        last, calls = self._last, self._calls - self._told
        if last is None or calls <= 0:
            return None
        self._told = self._calls
        message, facts = last.message, last.facts
        if calls > 1:
            message = f"{message} (the last of {calls} refused calls)"
            facts = {**facts, CALLS_FACT: calls}
        return CallRefused(last.code, message, last.name, last.value, facts)
