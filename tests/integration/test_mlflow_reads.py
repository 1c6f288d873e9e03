"""What MLflow clients read, asked over HTTP of the real application on a real Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.integration.api_service import open_api
from tests.integration.read_model_rows import START, RunRow, Series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.integration.api_service import Api

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

PREFIX = "/api/2.0/mlflow"
START_MS = int(START.timestamp() * 1000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service for the tests of this module; they use experiments of their own."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        yield opened


def refused(response: httpx2.Response, status: int, code: str) -> str:
    """The message of a refusal in MLflow's shape."""
    content = response.json()
    assert (response.status_code, content["error_code"]) == (status, code), content
    assert content.keys() == {"error_code", "message"}
    return str(content["message"])


# J2
async def test_experiment_is_found_by_id_and_by_name(api: Api) -> None:
    """Its id is its number; what does not exist has MLflow's code, and a near name is asked for."""
    await api.rows.experiment("digits")
    by_name = await api.client.get(
        f"{PREFIX}/experiments/get-by-name", params={"experiment_name": "digits"}
    )
    found = by_name.json()["experiment"]
    assert found == {
        "experiment_id": found["experiment_id"], "name": "digits",
        "artifact_location": f"mlflow-artifacts:/{found['experiment_id']}",
        "lifecycle_stage": "active", "creation_time": START_MS, "last_update_time": START_MS,
        "tags": [{"key": "team", "value": "red"}],
    }  # fmt: skip
    by_id = await api.client.get(
        f"{PREFIX}/experiments/get", params={"experiment_id": found["experiment_id"]}
    )
    assert by_id.json() == by_name.json()

    absent = "RESOURCE_DOES_NOT_EXIST"
    unknown = await api.client.get(f"{PREFIX}/experiments/get", params={"experiment_id": "999"})
    assert "'999'" in refused(unknown, 404, absent)
    near = await api.client.get(
        f"{PREFIX}/experiments/get-by-name", params={"experiment_name": "digit"}
    )
    assert "did you mean 'digits'?" in refused(near, 404, absent)


async def test_default_experiment_is_there_before_its_first_run(api: Api) -> None:
    """By its id and by its name alike, as with MLflow's own server; a near name is none."""
    by_id = await api.client.get(f"{PREFIX}/experiments/get", params={"experiment_id": "0"})
    by_name = f"{PREFIX}/experiments/get-by-name"
    named = await api.client.get(by_name, params={"experiment_name": "Default"})
    assert by_id.json() == named.json()
    shown = named.json()["experiment"]
    assert (shown["experiment_id"], shown["lifecycle_stage"]) == ("0", "active")
    other = await api.client.get(by_name, params={"experiment_name": "default"})
    refused(other, 404, "RESOURCE_DOES_NOT_EXIST")


# J2
async def test_run_is_found_by_id_whatever_the_field_is_called(api: Api) -> None:
    """Older clients say run_uuid; fields that a newer one sends are left alone."""
    experiment = await api.rows.experiment("runs")
    row = RunRow("r", parameters={"model": "svm"}, metrics={"acc": Series([0.5, 0.75])})
    run_id = (await api.rows.run(experiment, row)).hex
    answers = [
        (await api.client.get(f"{PREFIX}/runs/get", params=params)).json()
        for params in (
            {"run_id": run_id},
            {"run_uuid": run_id},
            {"run_id": run_id, "run_uuid": run_id, "newer_field": "1"},
        )
    ]
    assert answers[0] == answers[1] == answers[2]
    run = answers[0]["run"]
    assert (run["info"]["run_name"], run["info"]["status"]) == ("r", "FINISHED")
    assert run["data"]["params"] == [{"key": "model", "value": "svm"}]
    assert run["data"]["metrics"] == [
        {"key": "acc", "value": 0.75, "timestamp": START_MS, "step": 1}
    ]


async def test_deleted_run_is_still_told_of_as_deleted(api: Api) -> None:
    """MLflow clients ask for a run after deleting it; the others' doors stay shut."""
    experiment = await api.rows.experiment("deleted")
    run_id = (await api.rows.run(experiment, RunRow("r", is_deleted=True))).hex
    shown = await api.client.get(f"{PREFIX}/runs/get", params={"run_id": run_id})
    assert shown.json()["run"]["info"]["lifecycle_stage"] == "deleted"
    assert (await api.client.get(f"/api/v1/runs/{run_id}")).status_code == 404


async def test_ids_that_are_wrong_get_the_codes_of_mlflow(api: Api) -> None:
    """Missing, odd and unknown ids: a 4xx with a sentence, never a fault."""
    unknown = {"run_id": uuid4().hex}
    absent, invalid = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
    for path, params, status, code in (
        ("/runs/get", {}, 400, invalid),
        ("/runs/get", unknown, 404, absent),
        ("/runs/get", {"run_id": "x\0"}, 404, absent),
        ("/runs/get", {"run_id": "x" * 5000}, 404, absent),
        ("/experiments/get", {}, 400, invalid),
        ("/experiments/get", {"experiment_id": "default"}, 400, invalid),
        ("/experiments/get", {"experiment_id": "9" * 4000}, 400, invalid),
        ("/experiments/get-by-name", {}, 400, invalid),
        ("/experiments/get-by-name", {"experiment_name": "a\0"}, 400, invalid),
        ("/experiments/get-by-name", {"experiment_name": "\ud7ff🚀"}, 404, absent),
    ):
        answer = await api.client.get(f"{PREFIX}{path}", params=params)
        assert refused(answer, status, code)


async def test_address_of_mlflow_that_is_not_served_says_what_is(api: Api) -> None:
    """In the shape of MLflow, so that its clients fall back or tell their user why."""
    for path, why in (
        ("/api/3.0/mlflow/traces/search", "no traces"),
        ("/api/2.0/mlflow/registered-models/search", "no model registry"),
        ("/api/2.0/mlflow/nothing", "experiments, runs, parameters"),
    ):
        assert why in refused(await api.client.get(path), 404, "ENDPOINT_NOT_FOUND")
