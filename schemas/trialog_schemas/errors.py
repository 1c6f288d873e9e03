"""The public error tree. Holds classes and their wording helpers; must not do I/O or know HTTP.

    TrialogError                        everything that trialog raises on purpose
    ├── ClientError                     the caller can act on it; `.response["Error"]["Code"]`
    │   ├── ValidationError             a value that is not legal (also ValueError)
    │   │   ├── WrongTypeError          a value of another type than is asked for (also TypeError)
    │   │   └── NotNumericError         a metric value that is no number (also TypeError)
    │   ├── LimitExceededError          a limit of the policy is reached (also ValueError)
    │   ├── ParameterImmutableError     another value for a logged parameter (also ValueError)
    │   ├── ResourceInUseError          the name is taken, or the thing is not empty
    │   ├── ResourceNotFoundError       no such experiment, run, artifact
    │   ├── RunRejectedError            `wait()` found refusals; `.rejections` lists them
    │   ├── AccessRefusedError          the service does not know this key, host or origin
    │   └── UnavailableError            the log or the service cannot be reached; try again later
    │       └── SnapshotPendingError    tables of the past are being made; the SDK waits for them
    ├── WireError                       bytes that are not an event; `.reason` says why
    ├── SpoolError                      a spool file is damaged or cannot be used
    └── InternalError                   a defect of trialog itself

Catch by what to do next: `ValueError` for a wrong value, `UnavailableError` to retry,
`ClientError` with its code for the rest.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypedDict

from trialog_schemas import callers_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trialog_schemas.events import Rejection


shown = callers_code.shown


class ErrorFacts(TypedDict, total=False):
    """The parts of a refusal as data: what was refused, its value, the limit it met."""

    field: str
    value: str
    limit: str


class ErrorDetail(TypedDict):
    """The inner part of `ClientError.response`."""

    Code: str
    Message: str


class ErrorResponse(TypedDict):
    """What `ClientError.response` holds; the shape that botocore's users know."""

    Error: ErrorDetail


class TrialogError(Exception):
    """Everything that trialog raises on purpose."""

    code: str = "TrialogError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ClientError(TrialogError):
    """A refusal the caller can act on.

    `response["Error"]["Code"]` and `["Message"]` are stable; `field`, `value` and `limit` repeat
    the parts of the message as text, where there are such parts.
    """

    code = "ClientError"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        limit: object = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.field = field
        self.value = None if value is None else shown(value)
        self.limit = None if limit is None else str(limit)

    @property
    def response(self) -> ErrorResponse:
        """The error as botocore's `ClientError` gives it."""
        return {"Error": {"Code": self.code, "Message": self.message}}

    @property
    def facts(self) -> ErrorFacts:
        """The parts that are known, for the HTTP API."""
        facts: ErrorFacts = {}
        if self.field is not None:
            facts["field"] = self.field
        if self.value is not None:
            facts["value"] = self.value
        if self.limit is not None:
            facts["limit"] = self.limit
        return facts


class ValidationError(ClientError, ValueError):
    """A value that is not legal; nothing was recorded."""

    code = "ValidationException"


class WrongTypeError(ValidationError, TypeError):
    """An argument of a type that the call does not take; nothing was recorded."""


class NotNumericError(ValidationError, TypeError):
    """A metric value that is no number."""


class LimitExceededError(ClientError, ValueError):
    """A limit of the policy in force is reached; what was there stays."""

    code = "ResourceLimitExceeded"


class ParameterImmutableError(ClientError, ValueError):
    """A parameter has a value already, and this is another one."""

    code = "ParameterImmutable"


class ResourceInUseError(ClientError):
    """The name is taken, or the experiment still has runs."""

    code = "ResourceInUse"


class ResourceNotFoundError(ClientError):
    """No such experiment, run or artifact."""

    code = "ResourceNotFound"


class RunRejectedError(ClientError):
    """The projection refused some of what this handle logged; `rejections` lists it.

    Each has `.code`, `.message`, `.name` and `.value`; iterating gives them, `len()` counts them.
    `errors` has for each the error that its call would have raised, had its process known.
    """

    code = "RunRejected"

    def __init__(
        self,
        message: str,
        rejections: Sequence[Rejection] = (),
        errors: Sequence[ClientError] = (),
    ) -> None:
        super().__init__(message)
        self.rejections = tuple(rejections)
        self.errors = tuple(errors)

    def __iter__(self) -> Iterator[Rejection]:
        return iter(self.rejections)

    def __len__(self) -> int:
        return len(self.rejections)

    def __bool__(self) -> bool:
        return True  # an error is one, however many it tells of


class RejectionWarning(UserWarning):
    """A block was left and some of what it logged was refused; filter it by this class."""


class AccessRefusedError(ClientError):
    """The service does not accept this key, host or origin."""

    code = "AccessRefused"


class UnavailableError(ClientError):
    """The log or the service cannot be reached now; what was recorded is kept."""

    code = "ServiceUnavailable"


class SnapshotPendingError(UnavailableError):
    """The tables as they were at a moment are being made from the log; ask again."""

    code = "SnapshotPending"


class WireError(TrialogError):
    """Bytes that are not an event of a version we read; `reason` is one short phrase."""

    code = "Undecodable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SpoolError(TrialogError):
    """A spool file is damaged or cannot be used; the message names the file and what is kept."""

    code = "SpoolDamaged"


class InternalError(TrialogError):
    """A defect of trialog itself; please report it."""

    code = "InternalError"


_BY_CODE: dict[str, type[ClientError]] = {
    kind.code: kind
    for kind in (
        ValidationError,
        LimitExceededError,
        ParameterImmutableError,
        ResourceInUseError,
        ResourceNotFoundError,
        AccessRefusedError,
        UnavailableError,
        SnapshotPendingError,
    )
}


def error_from_code(code: str, message: str, facts: ErrorFacts | None = None) -> ClientError:
    """Rebuild the error that a service's answer describes; an unknown code gives `ClientError`."""
    known = facts or {}
    kind = _BY_CODE.get(code, ClientError)
    error = kind(message, field=known.get("field"), limit=known.get("limit"), code=code)
    error.value = known.get("value")  # shown already, by the service
    return error


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for a near miss, or an empty string."""
    known = list(candidates)
    # Names that differ in case alone resemble each other however few letters they have.
    near = [one for one in known if one.casefold() == name.casefold()]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]!r}?" if near else ""
