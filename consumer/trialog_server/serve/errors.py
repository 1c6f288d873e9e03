"""The one mapping of errors to HTTP answers; an answer never holds a stack trace.

MLflow clients get the same errors in the shape that they read, see `mlflow/error_shape.py`.

ValidationError, WireError, other ClientErrors   400    AccessRefusedError      403
ResourceNotFoundError                            404    UnavailableError        503
ResourceInUseError, ParameterImmutableError      409    anything else           500
RequestRefusedError                              its own: 401, 403, 404, 405, 408, 413, 415, 421
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, TypedDict

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    ErrorFacts,
    ParameterImmutableError,
    ResourceInUseError,
    ResourceNotFoundError,
    TrialogError,
    UnavailableError,
    ValidationError,
    WireError,
    did_you_mean,
    shown,
)
from trialog_server.serve.mlflow.error_shape import (
    INTERNAL_ERROR_CODE,
    MlflowErrorJSON,
    is_mlflow_path,
    mlflow_error,
    mlflow_status,
    no_such_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request

_telemetry = structlog.get_logger("trialog_server.serve")

OPENAPI_PATH = "/api/openapi.json"
"""Where the routes and their fields are described; what a message sends people to."""

BAD_REQUEST = 400
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
INTERNAL_ERROR = 500
UNAVAILABLE = 503

_STATUSES: tuple[tuple[type[TrialogError], int], ...] = (
    (ResourceNotFoundError, NOT_FOUND),
    (ResourceInUseError, 409),
    (ParameterImmutableError, 409),
    (AccessRefusedError, 403),
    (UnavailableError, UNAVAILABLE),
    (ClientError, BAD_REQUEST),
    (WireError, BAD_REQUEST),
)


_HEX_PATTERN = re.compile(r"\^\[0-9a-f\]\{([0-9]+)\}\$")


class ErrorDetailJSON(ErrorFacts):
    """What an error says: its stable code, its sentence, and the parts that are known."""

    code: str
    message: str


class DefectDetailJSON(TypedDict):
    """What a defect of ours says: the service's log has its trace under the request id."""

    code: str
    message: str
    request_id: str


class ErrorJSON(TypedDict):
    """The body of every answer of 400 and above."""

    error: ErrorDetailJSON | DefectDetailJSON


class RequestRefusedError(ClientError):
    """A request that HTTP itself has a status for: too large, too slow, without its key."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        facts: ErrorFacts | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        known = facts or {}
        super().__init__(
            message,
            field=known.get("field"),
            value=known.get("value"),
            limit=known.get("limit"),
            code=code,
        )
        self.status = status
        self.headers = dict(headers or {})


def error_response(error: TrialogError, path: str = "") -> Response:
    """Return the answer for an error that was raised on purpose by a request to that path."""
    headers: dict[str, str] = {}
    status = _status(error)
    if isinstance(error, RequestRefusedError):
        headers = error.headers
    elif status == UNAVAILABLE:
        headers = {"Retry-After": "1"}
    if is_mlflow_path(path):
        status = mlflow_status(error, status)
        packed = orjson.dumps(mlflow_error(error, status))
        return Response(packed, status, headers, "application/json")
    facts = error.facts if isinstance(error, ClientError) else ErrorFacts()
    content: ErrorJSON = {"error": {"code": error.code, "message": error.message, **facts}}
    return Response(orjson.dumps(content), status, headers, "application/json")


def add_error_handlers(app: Starlette) -> None:
    """Make the application answer every error through this module."""
    app.add_exception_handler(TrialogError, _on_trialog_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_defect)


def invalid_request(errors: Sequence[Mapping[str, object]]) -> ValidationError:
    """Return the error for the first complaint of pydantic, with field, value and limit."""
    first = errors[0]
    location = first.get("loc", ())
    parts = [str(part) for part in location] if isinstance(location, tuple | list) else []
    field = ".".join(part for part in parts if part not in ("query", "body", "path")) or "body"
    context = first.get("ctx")
    bounds = context if isinstance(context, dict) else {}
    message = str(first.get("msg", "is not valid"))
    value = first.get("input")
    if first.get("type") == "missing":
        return ValidationError(
            f"{field} is missing; give it, see {OPENAPI_PATH} for what it may be",
            field=field,
            limit="required",
        )
    if first.get("type") == "extra_forbidden":
        return ValidationError(
            f"{field!r} is no field of this request; see {OPENAPI_PATH} for those it has",
            field=field,
            value=value,
            limit=f"the fields of {OPENAPI_PATH}",
        )
    digits = _HEX_PATTERN.fullmatch(str(bounds.get("pattern")))
    if digits is not None:
        limit = f"{digits[1]} hex digits"
        return ValidationError(
            f"{field} is {shown(value)}, which is not {limit} (0-9 and a-f, no capitals); give it "
            "whole, as the service has told it",
            field=field,
            value=value,
            limit=limit,
        )
    hint = f"; see {OPENAPI_PATH} for what it may be"
    if isinstance(value, str) and "expected" in bounds:
        choices = str(bounds["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        hint = did_you_mean(value, choices) or hint
    return ValidationError(
        f"{field} is {shown(value)}: {message[:1].lower()}{message[1:]}{hint}",
        field=field,
        value=value,
        limit=next((str(bound) for bound in bounds.values()), message),
    )


async def _on_trialog_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, TrialogError):
        raise error
    if _status(error) == INTERNAL_ERROR:
        return await _on_defect(request, error)
    return error_response(error, request.url.path)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return error_response(invalid_request(error.errors()), request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer Starlette's own refusals: no such route, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    code = {NOT_FOUND: "RouteNotFound", METHOD_NOT_ALLOWED: "MethodNotAllowed"}
    path = request.url.path
    remedy = no_such_endpoint(path) or f"see {OPENAPI_PATH} for what there is"
    return error_response(
        RequestRefusedError(
            f"{request.method} {shown(path)} is refused: {error.detail.lower()}; {remedy}",
            code=code.get(error.status_code, "BadRequest"),
            status=error.status_code,
            facts=_refused_part(request, error.status_code),
            headers=dict(error.headers or {}),
        ),
        path,
    )


def _refused_part(request: Request, status: int) -> ErrorFacts:
    if status == METHOD_NOT_ALLOWED:
        return {"field": "method", "value": request.method}
    return {"field": "path", "value": request.url.path}


async def _on_defect(request: Request, error: Exception) -> Response:
    """Answer for a defect of ours: the trace goes to the service's log, never to the client."""
    request_id = uuid.uuid4().hex
    _telemetry.error(
        "a request failed by a defect",
        request_id=request_id,
        method=request.method,
        path=request.url.path,
        exc_info=error,
    )
    message = (
        "the service failed at this request by a defect of its own; "
        f"its log has the details under request_id {request_id}"
    )
    content: ErrorJSON | MlflowErrorJSON = {
        "error": {"code": "InternalError", "message": message, "request_id": request_id}
    }
    if is_mlflow_path(request.url.path):
        content = {"error_code": INTERNAL_ERROR_CODE, "message": message}
    return Response(orjson.dumps(content), INTERNAL_ERROR, None, "application/json")


def _status(error: TrialogError) -> int:
    if isinstance(error, RequestRefusedError):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), INTERNAL_ERROR)
