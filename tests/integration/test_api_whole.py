"""From a record over HTTP to every question about it, with the real projection in between."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.integration.api_service import AT_US, open_api, record_of
from tests.integration.projection_cases import QUICK, running
from trialog_schemas.events import (
    NIL_ID,
    ArtifactLogged,
    ExperimentCreated,
    LongBlock,
    MetricsLogged,
    ParametersLogged,
    RunCreated,
    RunEnded,
    RunStarted,
)
from trialog_schemas.wire import frame
from trialog_server.postgres.pool import PoolSettings, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.api_service import Api
    from trialog_schemas.events import Body

pytestmark = pytest.mark.postgres

RECORDS = {"Content-Type": "application/x-trialog-records"}


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """A service with a worker beside it."""
    async with open_api(postgres_url, tmp_path) as opened:
        pool = await open_pool(postgres_url, PoolSettings(search_path=QUICK.search_path))
        async with running(pool, opened.log):
            yield opened
        await pool.close()


async def command(api: Api, body: Body) -> dict[str, object]:
    """Send one catalog event and return its verdict."""
    record = record_of(NIL_ID, uuid4().hex, body)
    response = await api.client.post("/api/v1/commands", content=frame([record]), headers=RECORDS)
    answer: dict[str, object] = response.json()
    assert answer["applied"] is True
    return answer


async def test_run_logged_over_http_answers_every_question(api: Api) -> None:
    """What was sent is listed, searched, drawn, downloaded and audited, right after it."""
    run_id, writer, content = uuid4().hex, uuid4().hex, b"hello"
    digest = hashlib.sha256(content).hexdigest()
    created = await command(api, ExperimentCreated(uuid4().hex, "e", "about e"))
    entered = await command(api, RunCreated(run_id, "e", "r", uuid4().hex))
    await api.client.put(f"/api/v1/artifacts/{digest}", content=content)
    steps = struct.pack("<3q", 0, 1, 2)
    block = LongBlock(
        ("loss",),
        3,
        bytes(12),
        steps,
        struct.pack("<3q", *[AT_US] * 3),
        struct.pack("<3d", 0.5, float("nan"), 0.25),
    )
    record = record_of(
        run_id,
        writer,
        RunStarted("e", "r"),
        ParametersLogged({"lr": 0.1}),
        ParametersLogged({"lr": 0.2}),
        MetricsLogged((block,)),
        ArtifactLogged("notes", "artifact", "text/plain", sha256=digest, size=5),
        RunEnded("Completed"),
    )
    sent = await api.client.post("/api/v1/records", content=frame([record]), headers=RECORDS)
    position = {"Trialog-Position": sent.json()["receipts"][0]["position"]}

    run = (await api.client.get("/api/v1/experiments/e/runs/r", headers=position)).json()

    assert created["experiment"]["description"] == "about e"  # type: ignore[index]
    assert entered["run"]["status"] == "InProgress"  # type: ignore[index]
    assert (run["status"], run["parameters"], run["rejected_count"]) == (
        "Completed",
        {"lr": 0.1},
        1,
    )
    assert run["metrics"]["loss"] == {
        "last": 0.25, "min": 0.25, "max": 0.5, "mean": 0.375, "count": 3, "last_step": 2,
    }  # fmt: skip
    await check_details(api, run, content)


async def check_details(api: Api, run: dict[str, object], content: bytes) -> None:
    """Ask everything that a run's own routes answer."""
    path = f"/api/v1/runs/{run['run_id']}"
    found = await api.client.post(
        "/api/v1/experiments/e/runs/search",
        json={"filter": "params.lr = 0.1 and metrics.loss.min <= 0.25 and status = 'Completed'"},
    )
    series = (await api.client.get(f"{path}/series?name=loss")).json()
    buckets = (await api.client.get(f"{path}/series?name=loss&buckets=10")).json()["buckets"]
    artifact = await api.client.get(f"{path}/artifacts/content?name=notes")
    refused = (await api.client.get(f"{path}/rejections")).json()["rejections"]
    events = (await api.client.get(f"{path}/events")).json()["events"]

    assert found.json()["runs"] == [run]
    assert (series["steps"], series["values"]) == ([0, 1, 2], [0.5, "NaN", 0.25])
    assert series["times"] == [AT_US] * 3
    assert (buckets["min"], buckets["last"]) == ([0.5, None, 0.25], [0.5, "NaN", 0.25])
    assert artifact.content == content
    assert [rejection["code"] for rejection in refused] == ["param_immutable"]
    assert [event["type"] for event in events] == [
        "run_created",
        "run_started",
        "parameters_logged",
        "parameters_logged",
        "metrics_logged",
        "artifact_logged",
        "run_ended",
    ]
    assert [event["verdict"] for event in events].count("refused") == 1


# A3 B5
async def test_taken_name_is_a_verdict_of_the_command(api: Api) -> None:
    """A second experiment of one name, and a second run, are refused in the answer."""
    await command(api, ExperimentCreated(uuid4().hex, "e"))
    await command(api, RunCreated(uuid4().hex, "e", "r", uuid4().hex))

    experiment = await command(api, ExperimentCreated(uuid4().hex, "e"))
    run = await command(api, RunCreated(uuid4().hex, "e", "r", uuid4().hex))

    codes = [answer["rejections"][0]["code"] for answer in (experiment, run)]  # type: ignore[index]
    assert codes == ["experiment_name_in_use", "run_name_in_use"]
    assert (experiment["experiment"], run["run"]) == (None, None)
    assert run["experiment"]["run_count"] == 1  # type: ignore[index]


# L5
async def test_metrics_show_that_the_projection_has_caught_up(api: Api) -> None:
    """The lag of the catalog is zero once its command was answered."""
    await command(api, ExperimentCreated(uuid4().hex, "e"))

    text = (await api.client.get("/metrics")).text

    assert 'trialog_projection_lag_records{partition="0",topic="catalog"} 0.0' in text
