"""Behaviour of refusals: one error, whether it is found early or by the projection."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from trialog.deadline import Deadline
from trialog.refusals import refusal_error, rejected_error, rejection_of
from trialog.run_values import Artifact, MetricSummary, time_of
from trialog_schemas.errors import (
    ClientError,
    LimitExceededError,
    ParameterImmutableError,
    ResourceInUseError,
    ResourceNotFoundError,
    ValidationError,
)
from trialog_schemas.events import Rejection

if TYPE_CHECKING:
    from trialog.answers import ArtifactAnswer, RejectionAnswer


# C4 C8 E8 A3 A14
@pytest.mark.parametrize(
    ("code", "kind", "public_code"),
    [
        ("param_immutable", ParameterImmutableError, "ParameterImmutable"),
        ("param_limit", LimitExceededError, "ResourceLimitExceeded"),
        ("point_limit", LimitExceededError, "ResourceLimitExceeded"),
        ("artifact_limit", LimitExceededError, "ResourceLimitExceeded"),
        ("artifact_size", LimitExceededError, "ResourceLimitExceeded"),
        ("experiment_limit", LimitExceededError, "ResourceLimitExceeded"),
        ("experiment_name_in_use", ResourceInUseError, "ResourceInUse"),
        ("run_name_in_use", ResourceInUseError, "ResourceInUse"),
        ("experiment_not_empty", ResourceInUseError, "ResourceInUse"),
        ("experiment_not_found", ResourceNotFoundError, "ResourceNotFound"),
        ("run_not_found", ResourceNotFoundError, "ResourceNotFound"),
        ("invalid", ValidationError, "ValidationException"),
        ("tag_limit", LimitExceededError, "ResourceLimitExceeded"),
        ("of_a_later_release", ClientError, "ClientError"),
    ],
)
def test_refusal_becomes_the_error_of_its_code(
    code: str, kind: type[ClientError], public_code: str
) -> None:
    """The class says what to do, the parts of the message are attributes."""
    error = refusal_error(Rejection(code, "no 'lr' because", "lr", "0.2", {"limit": 300}))
    assert type(error) is kind
    assert error.response == {"Error": {"Code": public_code, "Message": "no 'lr' because"}}
    assert (error.field, error.value, error.limit) == ("lr", "0.2", "300")


def test_illegal_value_has_the_field_of_its_error() -> None:
    """What a call names as the field is what the refusal of the log names, with its limit."""
    facts: dict[str, str | int] = {"field": "parameter name", "limit": "1..256"}
    error = refusal_error(Rejection("invalid", "no", "a*", "'a*'", facts))
    assert (error.field, error.value, error.limit) == ("parameter name", "'a*'", "1..256")
    nameless = refusal_error(Rejection("point_limit", "no", facts={"limit": 7, "points": 1}))
    assert (nameless.field, nameless.value, nameless.limit) == (None, None, "7")


def test_refusal_of_an_answer_is_the_value_that_users_see() -> None:
    """`.code .message .name .value` are what the service said; the aggregate has them all."""
    answer: RejectionAnswer = {
        "writer_id": "ab" * 16,
        "seq": 3,
        "code": "param_immutable",
        "message": "parameter 'lr' is already 1",
        "name": "lr",
        "value": "2",
        "facts": {"is": "1"},
        "time": "2026-01-01T00:00:00Z",
        "position": "events:0:1",
    }
    rejection = rejection_of(answer)
    error = rejected_error("r", [rejection, rejection])
    assert (rejection.code, rejection.name, rejection.value) == ("param_immutable", "lr", "2")
    assert error.rejections == tuple(error) == (rejection, rejection)
    assert [(type(one), str(one)) for one in error.errors] == [
        (ParameterImmutableError, rejection.message)
    ] * len(error)
    back = pickle.loads(pickle.dumps(error))
    assert (back.rejections, len(back), len(back.errors)) == (error.rejections, 2, 2)
    alone = rejected_error("r", [rejection])
    assert str(alone) == "1 refusal in run 'r', the first: parameter 'lr' is already 1"
    assert str(error) == "2 refusals in run 'r', the first: parameter 'lr' is already 1"


# D7 D13
def test_summary_of_nothing_but_nan_has_no_bounds() -> None:
    """NaN, an infinity and no value at all come back as floats."""
    summary = MetricSummary.of(
        {"last": "NaN", "min": None, "max": "Infinity", "mean": 2, "count": 3, "last_step": None}
    )
    assert str(summary) == (
        "MetricSummary(last=nan, min=nan, max=inf, mean=2.0, count=3, last_step=None)"
    )


# E7
def test_artifact_of_a_model_has_what_was_said_of_it() -> None:
    """A model has an address and facts, and no bytes."""
    answer: ArtifactAnswer = {
        "name": "m",
        "version": 2,
        "kind": "model",
        "media_type": "application/octet-stream",
        "size": None,
        "sha256": None,
        "is_output": True,
        "uri": "s3://m",
        "model": {"model_type": "cnn", "framework": "torch", "framework_version": None},
        "time": None,
    }
    artifact = Artifact.of(answer)
    assert (artifact.uri, artifact.size, artifact.version) == ("s3://m", None, 2)
    assert (artifact.model_type, artifact.framework, artifact.framework_version) == (
        "cnn",
        "torch",
        None,
    )


def test_time_of_an_answer_is_in_utc_and_nothing_is_none() -> None:
    """Times know their zone."""
    at = time_of("2026-01-02T03:04:05.000006Z")
    assert at is not None
    assert at.isoformat() == "2026-01-02T03:04:05.000006+00:00"
    assert (time_of(None), time_of("")) == (None, None)


# B20
def test_deadline_of_no_seconds_is_over_at_once_and_one_of_none_never() -> None:
    """The error says what is missing and how long was waited."""
    with pytest.raises(TimeoutError, match="it is not there after 0 s"):
        Deadline(0).check("it is not there")
    endless = Deadline(None)
    endless.check("nobody waits so long")
    assert endless.left_s > 1e9
    assert Deadline(float("inf")).left_s > 1e9
