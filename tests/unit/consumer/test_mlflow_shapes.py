"""Experiments, runs and errors as MLflow clients read them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from trialog_schemas.errors import (
    ParameterImmutableError,
    ResourceInUseError,
    ResourceNotFoundError,
    TrialogError,
    UnavailableError,
    WireError,
)
from trialog_schemas.errors import ValidationError as NotLegalError
from trialog_server.read.runs import MetricSummary, RunView
from trialog_server.serve.errors import RequestRefusedError, error_response
from trialog_server.serve.mlflow.artifact_paths import artifacts_address, parse_artifact_path
from trialog_server.serve.mlflow.error_shape import no_such_endpoint
from trialog_server.serve.mlflow.questions import Int64, experiment_number_of, run_id_of
from trialog_server.serve.mlflow.shapes import parameter_text, run_json

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
AT_MS = 1_767_323_045_678
RUN = UUID(int=7).hex


def run_of(**changed: object) -> RunView:
    """A run with one of everything, but for what is given."""
    parts: dict[str, object] = {
        "run_id": RUN,
        "account": "default",
        "run_name": "first",
        "experiment_id": UUID(int=2).hex,
        "experiment_name": "digits",
        "experiment_number": 3,
        "status": "InProgress",
        "failure_message": None,
        "created_at": AT,
        "deleted_at": None,
        "started_at": AT,
        "ended_at": None,
        "last_event_at": AT,
        "parent_run_id": None,
        "parent_run_name": None,
        "created_by": {"user": "ada", "host": "lab"},
        "tags": {"team": "red"},
        "parameters": {"lr": 0.1},
        "metrics": {"loss": MetricSummary(0.5, 0.5, 1.0, 0.75, 2, None, AT)},
        "artifacts": (),
        "rejected_count": 0,
        "missing_count": 0,
        "points": 2,
        "limits": None,
    }
    return RunView(**{**parts, **changed})  # type: ignore[arg-type]  # the parts of any run


# G9 J2
def test_run_has_the_fields_that_an_mlflow_client_reads() -> None:
    """Ids are texts, times milliseconds; an end that was not yet is left out, no step is 0."""
    assert run_json(run_of()) == {
        "info": {
            "run_id": RUN, "run_uuid": RUN, "run_name": "first", "experiment_id": "3",
            "user_id": "ada", "status": "RUNNING", "start_time": AT_MS,
            "artifact_uri": f"mlflow-artifacts:/3/{RUN}/artifacts", "lifecycle_stage": "active",
        },
        "data": {
            "metrics": [{"key": "loss", "value": 0.5, "timestamp": AT_MS, "step": 0}],
            "params": [{"key": "lr", "value": "0.1"}],
            "tags": [
                {"key": "mlflow.user", "value": "ada"},
                {"key": "team", "value": "red"},
                {"key": "mlflow.runName", "value": "first"},
            ],
        },
        "inputs": {"dataset_inputs": []},
    }  # fmt: skip


def test_ended_and_deleted_run_says_so() -> None:
    """Each status has MLflow's word, the end its time, a deleted run its stage."""
    for status, word in (("Completed", "FINISHED"), ("Failed", "FAILED")):
        info = run_json(run_of(status=status, ended_at=AT, deleted_at=AT))["info"]
        assert (info["status"], info["end_time"]) == (word, AT_MS)
        assert info["lifecycle_stage"] == "deleted"


def test_tag_that_a_client_gave_comes_before_what_the_run_says() -> None:
    """Name, user and parent are told by tags, unless the run has such a tag itself."""
    own = {"mlflow.runName": "renamed", "mlflow.user": "bob"}
    shown = run_json(run_of(parent_run_id="ab" * 16, tags=own))
    assert shown["info"]["run_name"] == "renamed"
    assert shown["info"]["user_id"] == "bob"
    assert {tag["key"]: tag["value"] for tag in shown["data"]["tags"]} == {
        **own, "mlflow.parentRunId": "ab" * 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "told"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_metric_that_json_has_no_number_for_is_a_text(value: float, told: str) -> None:
    """Protobuf's JSON has these three words for them."""
    summary = MetricSummary(value, None, None, None, 1, 4, AT)
    (metric,) = run_json(run_of(metrics={"loss": summary}))["data"]["metrics"]
    assert (metric["value"], metric["step"]) == (told, 4)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("sgd", "sgd"),
        ("true", "true"),
        (True, "True"),
        (False, "False"),
        (None, "None"),
        (1, "1"),
        (1.0, "1.0"),
        (1e-05, "1e-05"),
        ([1, "ä"], '[1,"ä"]'),
    ],
)
def test_parameter_is_told_as_an_mlflow_client_would_have_logged_it(
    value: object, text: str
) -> None:
    """Texts as they are, truth values and None in Python's words, the rest as JSON."""
    assert parameter_text(value) == text  # type: ignore[arg-type]  # each case is one


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotLegalError("m"), 400, "INVALID_PARAMETER_VALUE"),
        (ParameterImmutableError("m"), 400, "INVALID_PARAMETER_VALUE"),
        (ResourceInUseError("m"), 400, "RESOURCE_ALREADY_EXISTS"),
        (ResourceNotFoundError("m"), 404, "RESOURCE_DOES_NOT_EXIST"),
        (UnavailableError("m"), 503, "TEMPORARILY_UNAVAILABLE"),
        (WireError("m"), 400, "BAD_REQUEST"),
        (RequestRefusedError("m", code="RouteNotFound", status=404), 404, "ENDPOINT_NOT_FOUND"),
        (RequestRefusedError("m", code="AccessRefused", status=403), 403, "PERMISSION_DENIED"),
        (RequestRefusedError("m", code="RequestTimeout", status=408), 408, "BAD_REQUEST"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_error_has_the_shape_and_code_of_mlflow(
    error: TrialogError, status: int, code: str
) -> None:
    """Where MLflow clients ask; everywhere else an error keeps our shape."""
    answer = error_response(error, "/api/2.0/mlflow/runs/get")
    assert answer.status_code == status
    assert json.loads(bytes(answer.body)) == {"error_code": code, "message": "m"}
    assert json.loads(bytes(error_response(error, "/api/v1/runs").body))["error"]


def test_surface_that_is_not_there_is_named() -> None:
    """Who asks for traces or models learns that trialog keeps none, and what it serves."""
    for path, why in (
        ("/api/3.0/mlflow/traces/search", "keeps no traces"),
        ("/api/2.0/mlflow/logged-models", "logged models"),
        ("/api/2.0/mlflow/registered-models/create", "no model registry"),
    ):
        told = no_such_endpoint(path) or ""
        assert why in told
        assert "runs, parameters, metrics" in told
    assert no_such_endpoint("/api/v1/traces") is None


def test_artifact_path_leads_back_to_its_run() -> None:
    """What a run's artifact_uri begins with is read back; every other place is refused."""
    root = artifacts_address("3", RUN).removeprefix("mlflow-artifacts:/")
    assert parse_artifact_path(root) == (RUN, None)
    assert parse_artifact_path(f"{root}/") == (RUN, None)
    assert parse_artifact_path(f"{root}/plots/roc.png") == (RUN, "plots/roc.png")
    for odd in ("", "3", f"3/{RUN}", f"x/{RUN}/artifacts", "3/r/artifacts", f"3/{RUN}/models/a"):
        with pytest.raises(ResourceNotFoundError, match="artifact_uri"):
            parse_artifact_path(odd)


def test_ids_that_nothing_can_have_are_refused() -> None:
    """A missing id is a slip of the caller, an odd one of a run is not found."""
    assert run_id_of(RUN) == UUID(RUN)
    assert experiment_number_of("0") == 0
    for missing in (None, ""):
        with pytest.raises(NotLegalError, match="missing"):
            run_id_of(missing)
        with pytest.raises(NotLegalError, match="missing"):
            experiment_number_of(missing)
    for odd in ("r", "A" * 32, f"{{{RUN}}}", "0" * 33, "\0" * 32):
        with pytest.raises(ResourceNotFoundError):
            run_id_of(odd)
    for odd in ("-1", "1.0", "٣", "9" * 19 + "9", str(2**63), "default", " 1"):
        with pytest.raises(NotLegalError, match="no id of an experiment"):
            experiment_number_of(odd)


def test_whole_number_comes_as_a_number_or_as_its_digits() -> None:
    """As protobuf's JSON writes an int64, and R, which has no other number; nothing else is one."""
    read = TypeAdapter(Int64).validate_python
    whole = [read(value) for value in (5, "5", "-7", -(2**63), 2**63 - 1, 5.0, 1.7e12)]
    assert whole == [5, 5, -7, -(2**63), 2**63 - 1, 5, 1_700_000_000_000]
    assert {type(one) for one in whole} == {int}
    for odd in (True, 1.5, "1.0", "", "--1", 2**63, "9" * 30, None, [1], 2.0**63, math.inf):
        with pytest.raises(ValidationError):
            read(odd)
