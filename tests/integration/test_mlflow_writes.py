"""What MLflow clients write, when the log fails, a worker is missing or several processes serve."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.integration.api_service import open_api
from tests.integration.projection_cases import count, projection_pool, running, wait_applied
from tests.unit.consumer.doubtful_log import DoubtfulLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

    from tests.integration.api_service import Api
    from trialog_server.postgres.pool import Pool

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

PREFIX = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def log() -> DoubtfulLog:
    """One log for all processes of this module."""
    return DoubtfulLog()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where artifacts are."""
    return tmp_path_factory.mktemp("artifacts")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(module_postgres_url: str, folder: Path, log: DoubtfulLog) -> AsyncIterator[Api]:
    """One process of the service."""
    async with open_api(module_postgres_url, folder, log=log) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(
    module_postgres_url: str, folder: Path, log: DoubtfulLog, api: Api
) -> AsyncIterator[Api]:
    """Another process of the same service."""
    assert api.log is log
    async with open_api(module_postgres_url, folder, log=log) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tables(module_postgres_url: str, api: Api, log: DoubtfulLog) -> AsyncIterator[Pool]:
    """The tables, while a worker keeps them up to date."""
    assert api.log is log
    async with projection_pool(module_postgres_url) as pool, running(pool, log):
        yield pool


async def post(api: Api, path: str, **fields: object) -> httpx2.Response:
    """Send what a client sends."""
    return await api.client.post(f"{PREFIX}{path}", json=fields)


async def new_run(api: Api) -> str:
    """Create a run and return its id."""
    answer = await post(api, "/runs/create", experiment_id="0", start_time=1)
    return str(answer.json()["run"]["info"]["run_id"])


def point(run_id: str, number: int) -> dict[str, object]:
    """Return the fields of a point."""
    return {"run_id": run_id, "key": "m", "value": number, "timestamp": 5, "step": number}


# L5
async def test_telemetry_counts_what_clients_write(api: Api, tables: Pool) -> None:
    """Each request that is recorded is a record over HTTP, a command of the catalog too."""
    assert tables is not None

    async def counted() -> tuple[float, float]:
        lines = (await api.client.get("/metrics")).text.splitlines()
        told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        records = told.get('trialog_ingest_records_total{outcome="accepted"}', 0)
        return float(records), float(told["trialog_ingest_bytes_total"])

    before = await counted()
    run_id = await new_run(api)
    created = await counted()
    assert created[0] - before[0] == 2  # the catalog's record, and the run's
    assert (await post(api, "/runs/log-metric", **point(run_id, 1))).status_code == 200
    logged = await counted()
    assert logged[0] - created[0] == 1
    assert before[1] < created[1] < logged[1]


async def points_of(tables: Pool, run_id: str) -> int:
    """Return how many points a run has."""
    found = await tables.fetchval("SELECT points FROM run_states WHERE run_id = $1", run_id)
    return int(found)


# J4 D12
@pytest.mark.parametrize("loss", ["lost_answers", "lost_records"])
@pytest.mark.parametrize("path", ["/runs/log-metric", "/runs/log-batch"])
async def test_point_whose_append_is_in_doubt_counts_once(
    api: Api, tables: Pool, log: DoubtfulLog, loss: str, path: str
) -> None:
    """The client is told to ask again, and when it does its point is there once, without a hole."""
    run_id = await new_run(api)
    fields = point(run_id, 1)
    if path == "/runs/log-batch":
        fields = {"run_id": run_id, "metrics": [point(run_id, 1)], "params": [{"key": "p"}]}
    setattr(log, loss, 1)
    refused = await post(api, path, **fields)
    assert (refused.status_code, refused.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert refused.headers["retry-after"]
    assert (await post(api, "/runs/log-metric", **point(run_id, 2))).status_code == 200
    for _ in range(2):  # the second time only the answer was lost
        assert (await post(api, path, **fields)).status_code == 200
    assert await points_of(tables, run_id) == 2
    assert await count(tables, "gaps") == 0


@pytest.mark.parametrize("loss", ["lost_answers", "lost_records"])
async def test_run_whose_creating_is_in_doubt_is_created_once(
    api: Api, tables: Pool, log: DoubtfulLog, loss: str
) -> None:
    """Who asks again in the same words gets that run; somebody else who asks so gets another."""
    setattr(log, loss, 1)
    fields = {"experiment_id": "0", "start_time": 77, "run_name": loss}
    before = await count(tables, "runs")
    assert (await post(api, "/runs/create", **fields)).status_code == 503
    made = [(await post(api, "/runs/create", **fields)).json() for _ in range(2)]
    assert len({one["run"]["info"]["run_id"] for one in made}) == 2
    await wait_applied(tables, log)
    assert await count(tables, "runs") == before + 2
    names = [(one["run"]["info"]["run_name"], one["run"]["info"]["status"]) for one in made]
    assert names == [(loss, "RUNNING")] * 2


async def test_processes_that_write_to_one_run_make_no_hole(
    api: Api, other: Api, tables: Pool
) -> None:
    """Each is a writer of its own, and each reads what the other was answered."""
    run_id = await new_run(api)
    answers = await asyncio.gather(
        *(
            post(one, "/runs/log-metric", **point(run_id, number))
            for number in range(15)
            for one in (api, other)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    assert await points_of(tables, run_id) == 30
    assert (await post(api, "/runs/log-parameter", run_id=run_id, key="p", value="1")).is_success
    second = await post(other, "/runs/log-parameter", run_id=run_id, key="p", value="2")
    assert second.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    writers = "SELECT count(*) FROM writers WHERE run_id = $1"
    assert await tables.fetchval(writers, run_id) == 2
    assert await count(tables, "gaps") == 0


# J4
async def test_values_that_come_at_once_have_one_winner(api: Api, other: Api, tables: Pool) -> None:
    """No early look sees the other; the projection, whose word counts, refuses all but one."""
    run_id = await new_run(api)
    answers = await asyncio.gather(
        *(
            post(one, "/runs/log-parameter", run_id=run_id, key="p", value=str(number))
            for number, one in enumerate([api, other] * 5)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
    (winner,) = [number for number, one in enumerate(answers) if one.status_code == 200]
    stored = "SELECT value FROM parameters WHERE run_id = $1"
    assert await tables.fetchval(stored, run_id) == f'"{winner}"'


# J5
async def test_what_is_kept_in_one_artifact_at_once_is_all_kept(api: Api, tables: Pool) -> None:
    """Long values and datasets of a run grow an artifact each; none is left out for another's."""
    run_id = await new_run(api)
    numbers = range(6)
    answers = await asyncio.gather(
        *(
            post(api, "/runs/log-parameter", run_id=run_id, key=f"p{number}", value="x" * 300)
            for number in numbers
        ),
        *(
            post(
                api,
                "/runs/log-inputs",
                run_id=run_id,
                datasets=[{"dataset": {"name": f"d{number}", "digest": "1"}}],
            )
            for number in numbers
        ),
    )
    assert {answer.status_code for answer in answers} == {200}
    kept = await api.client.get(
        f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/mlflow-long-values.json"
    )
    assert kept.json()["params"] == {f"p{number}": "x" * 300 for number in numbers}
    run = (await api.client.get(f"{PREFIX}/runs/get", params={"run_id": run_id})).json()["run"]
    names = [one["dataset"]["name"] for one in run["inputs"]["dataset_inputs"]]
    assert names == [f"d{number}" for number in numbers]


async def test_refused_calls_are_in_the_audit_trail(api: Api, tables: Pool) -> None:
    """What an early look refuses is recorded as the SDK records it; a slip of the pen is not."""
    run_id = await new_run(api)
    pair = {"run_id": run_id, "key": "p"}
    assert (await post(api, "/runs/log-parameter", **pair, value="1")).is_success
    assert (await post(api, "/runs/log-parameter", **pair, value="2")).status_code == 400
    assert (await post(api, "/runs/log-parameter", run_id=run_id, key="a,b")).status_code == 400
    await wait_applied(tables, api.log)
    rows = await tables.fetch("SELECT code, facts FROM rejections WHERE run_id = $1", run_id)
    assert [(row["code"], "raised" in row["facts"]) for row in rows] == [("param_immutable", True)]


async def test_upload_is_a_version_of_its_artifact(api: Api, tables: Pool) -> None:
    """Large ones wait in a file; the same bytes again are no version."""
    run_id = await new_run(api)
    address = f"/api/2.0/mlflow-artifacts/artifacts/1/{run_id}/artifacts/a/b c.bin"
    for content in (b"x" * 3_000_000, b"x" * 3_000_000, b""):
        assert (await api.client.put(address, content=content)).status_code == 200
    rows = await tables.fetch(
        "SELECT name, version, size FROM artifacts WHERE run_id = $1 ORDER BY version", run_id
    )
    assert [tuple(row) for row in rows] == [("a/b c.bin", 1, 3_000_000), ("a/b c.bin", 2, 0)]
