"""The one mapping of errors to HTTP answers."""

from __future__ import annotations

import json

import pytest

from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    LimitExceededError,
    NotNumericError,
    ParameterImmutableError,
    ResourceInUseError,
    ResourceNotFoundError,
    TrialogError,
    UnavailableError,
    ValidationError,
    WireError,
)
from trialog_server.serve.errors import RequestRefusedError, error_response, invalid_request


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValidationError("m"), 400),
        (NotNumericError("m"), 400),
        (LimitExceededError("m"), 400),
        (ClientError("m"), 400),
        (WireError("m"), 400),
        (ResourceNotFoundError("m"), 404),
        (ResourceInUseError("m"), 409),
        (ParameterImmutableError("m"), 409),
        (AccessRefusedError("m"), 403),
        (UnavailableError("m"), 503),
        (RequestRefusedError("m", code="TooHot", status=418), 418),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_error_has_its_status_and_its_code(error: TrialogError, status: int) -> None:
    """Each class has one status, and the body repeats its code and its sentence."""
    response = error_response(error)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    content = json.loads(bytes(response.body))["error"]
    assert (content["code"], content["message"]) == (error.code, error.message)


def test_error_carries_the_parts_it_knows_and_no_others() -> None:
    """Field, value and limit are data beside the sentence; what is unknown is left out."""
    whole = ValidationError("m", field="lr", value=0.5, limit="0..1")
    part = ValidationError("m", field="lr")

    assert json.loads(bytes(error_response(whole).body))["error"] == {
        "code": "ValidationException", "message": "m",
        "field": "lr", "value": "0.5", "limit": "0..1",
    }  # fmt: skip
    assert json.loads(bytes(error_response(part).body))["error"].keys() == {
        "code", "message", "field",
    }  # fmt: skip


def test_unavailable_says_when_to_ask_again() -> None:
    """A client that retries knows how long to wait."""
    assert error_response(UnavailableError("m")).headers["retry-after"] == "1"


def test_refusal_keeps_its_own_headers() -> None:
    """A refusal that must close the connection, or ask for a key, does so."""
    refusal = RequestRefusedError("m", code="c", status=413, headers={"Connection": "close"})
    assert error_response(refusal).headers["connection"] == "close"


@pytest.mark.parametrize(
    ("complaint", "field", "says"),
    [
        ({"loc": ("query", "max_results"), "msg": "Too large", "input": "101",
          "ctx": {"le": 100}}, "max_results", "max_results is '101': too large"),
        ({"loc": ("body",), "msg": "Wrong", "input": []}, "body", "body is []: wrong"),
        ({"loc": ("query", "sort_by"), "msg": "No", "input": "Nam",
          "ctx": {"expected": "'CreationTime' or 'Name'"}}, "sort_by", "did you mean 'Name'?"),
        ({"type": "extra_forbidden", "loc": ("query", "max_result"), "input": "5"},
         "max_result", "is no field of this request"),
        ({}, "body", "is not valid"),
    ],
)  # fmt: skip
def test_complaint_of_pydantic_becomes_our_sentence(
    complaint: dict[str, object], field: str, says: str
) -> None:
    """The first complaint names field, value, limit and, where a name nearly fits, the name."""
    error = invalid_request([complaint, {"loc": ("never", "looked", "at")}])

    assert error.field == field
    assert says in error.message
    assert error.limit
