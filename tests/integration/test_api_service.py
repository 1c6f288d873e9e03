"""The service about itself: health, telemetry, errors, and life without Postgres."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from http.client import HTTPConnection
from importlib import resources
from typing import TYPE_CHECKING

import pytest
import structlog
from fastapi import FastAPI
from starlette.routing import Route

from tests.integration.api_service import open_api, open_socket
from tests.services.ports import LOOPBACK
from tests.services.postgres import fresh_database
from trialog_schemas.errors import TrialogError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.postgres.migrate import migrate
from trialog_server.serve.page_files import FILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

    from tests.integration.api_service import Api
    from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.postgres


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """A service with an empty read model."""
    async with open_api(postgres_url, tmp_path) as opened:
        yield opened


# L5
async def test_health_and_readiness_answer(api: Api) -> None:
    """The process lives, and the tables are there."""
    alive = await api.client.get("/healthz")
    ready = await api.client.get("/readyz")

    assert (alive.status_code, ready.status_code) == (200, 200)
    assert ready.json() == {"status": "ready", "generation": 1}


async def test_policy_shows_the_limits_of_new_runs(api: Api) -> None:
    """A client learns the numbers from the service."""
    policy = (await api.client.get("/api/v1/policy")).json()

    assert policy["limits"]["points_max"] == 500_000
    assert policy["rules_version"] == 1


# L5
async def test_telemetry_counts_requests_by_route_and_shows_the_lag(api: Api) -> None:
    """Prometheus sees routes, never single addresses, and how far the projection is."""
    await api.rows.applied(EVENTS_TOPIC, 0, 0)
    for path in (f"/api/v1/runs/{'0' * 32}", "/api/v1/experiments", "/nothing/here", "/"):
        await api.client.get(path)

    text = (await api.client.get("/metrics")).text

    assert 'requests_total{method="GET",route="/api/v1/runs/{run_id}",status="404"} 1.0' in text
    assert 'requests_total{method="GET",route="/api/v1/experiments",status="200"} 1.0' in text
    assert 'requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'requests_total{method="GET",route="/",status="200"} 1.0' in text
    assert 'trialog_projection_lag_records{partition="0",topic="events"} 0.0' in text
    assert "trialog_database_up 1.0" in text


# K6 L5
async def test_telemetry_shows_a_log_that_has_lost_what_was_applied(api: Api) -> None:
    """The lag is below 0 by so many records, and the measurement says what that means."""
    await api.rows.applied(EVENTS_TOPIC, 0, 3)
    text = (await api.client.get("/metrics")).text
    assert 'trialog_projection_lag_records{partition="0",topic="events"} -3.0' in text
    assert "Below 0: the log has lost what was applied, see `trialog verify`." in text


# K8
async def test_telemetry_counts_what_an_older_release_could_not_read(api: Api) -> None:
    """Records listed as unknown that this release reads; what nobody can read is not among them."""
    for offset, reason in enumerate(
        ("unknown_event tags_set of version 1", "unknown_event run_teleported of version 1", "no")
    ):
        await api.rows.dead(offset, reason)

    assert "trialog_unapplied_records 1.0" in (await api.client.get("/metrics")).text


# L5
async def test_openapi_describes_every_route(api: Api) -> None:
    """The document names the routes, their answers, and no query field is a surprise."""
    document = (await api.client.get("/api/openapi.json")).json()

    assert {"/api/v1/experiments", "/api/v1/runs/{run_id}/series"} <= document["paths"].keys()
    listing = document["paths"]["/api/v1/experiments"]["get"]
    assert {p["name"] for p in listing["parameters"]} == {
        "sort_by", "sort_order", "max_results", "next_token", "as_of",
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    assert "RunPageJSON" in schemas
    assert not [name for name in schemas if "__" in name]  # two classes of one name


# L1
async def test_requests_that_wait_when_the_service_stops_are_to_be_sent_again(api: Api) -> None:
    """503 with the time to wait, also for a client of MLflow; no defect, no trace in the log."""
    paths = ["/api/v1/waits", "/api/2.0/mlflow/waits"]
    arrived = asyncio.Semaphore(0)

    async def wait(_request: Request) -> None:
        arrived.release()
        await asyncio.Event().wait()

    def ask(port: int, path: str) -> tuple[int, str | None, str]:
        with contextlib.closing(HTTPConnection(LOOPBACK, port)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"], answer.read().decode()

    assert isinstance(api.app, FastAPI)
    api.app.router.routes.extend(Route(path, wait) for path in paths)
    with structlog.testing.capture_logs() as logged:
        async with open_socket(api.app, stop_s=1) as port:
            asking = [asyncio.create_task(asyncio.to_thread(ask, port, path)) for path in paths]
            for _ in paths:
                await arrived.acquire()
        native, mlflow = await asyncio.gather(*asking)
    assert native[:2] == mlflow[:2] == (503, "1")
    assert '{"error":{"code":"ServiceUnavailable","message":"the service stops' in native[2]
    assert '"error_code":"TEMPORARILY_UNAVAILABLE"' in mlflow[2]
    assert logged == []


async def test_unknown_route_and_method_are_typed_errors(api: Api) -> None:
    """Also what no route takes is answered in the one shape of errors."""
    missing = await api.client.get("/api/v1/nothing")
    wrong = await api.client.post("/api/v1/experiments", json={})

    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "RouteNotFound")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "MethodNotAllowed")
    assert "GET" in wrong.headers["allow"]


@pytest.mark.parametrize("defect", [RuntimeError("secret-detail"), TrialogError("secret-detail")])
async def test_a_defect_of_ours_shows_no_trace(api: Api, defect: Exception) -> None:
    """An unexpected failure is a 500 whose trace is in the log under the answer's request id."""

    async def break_down(_request: Request) -> None:
        raise defect

    assert isinstance(api.app, FastAPI)
    api.app.router.routes.append(Route("/broken", break_down))

    with structlog.testing.capture_logs() as logged:
        response = await api.client.get("/broken")

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (500, "InternalError")
    assert "secret-detail" not in response.text
    assert "Traceback" not in response.text
    (line,) = [entry for entry in logged if entry.get("request_id") == error["request_id"]]
    assert (line["path"], line["exc_info"]) == ("/broken", defect)
    assert error["request_id"] in error["message"]


@pytest.mark.parametrize("address", FILES)
async def test_page_file_comes_from_the_package_with_a_strict_policy(
    api: Api, address: str
) -> None:
    """Every file of the page is in the package, and none may run foreign script."""
    response = await api.client.get(address)

    assert response.status_code == 200
    assert response.headers["content-type"] == FILES[address][1]
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


def test_page_scripts_never_write_html() -> None:
    """Names are put into the page as text: the ways to write HTML do not occur in our files."""
    folder = resources.files("trialog_server.serve") / "page"
    names = [one.name for one in folder.iterdir() if one.name.endswith((".js", ".html"))]
    assert {"page.js", "run.js", "plots.js", "index.html"} <= set(names)
    for name in names:
        text = (folder / name).read_text(encoding="utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, (name, way)
        assert "<script>" not in text
        assert "style=" not in text


def test_vendored_files_are_those_of_the_notice() -> None:
    """The files that are not ours have the digests, versions and licence that we say."""
    folder = resources.files("trialog_server.serve") / "page" / "vendor"
    notice = (folder / "README.md").read_text(encoding="utf-8")

    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert f"| {name} | npm `uplot` (https://github.com/leeoniya/uPlot) | 1.6.32 |" in notice
        assert digest in notice
    assert "MIT License" in (folder / "uPlot.LICENSE").read_text(encoding="utf-8")


async def test_postgres_away_is_said_quickly_and_it_recovers(
    private_postgres: PostgresServer, tmp_path: Path
) -> None:
    """With Postgres killed every question is a quick 503; once it is back they work again."""
    with fresh_database(private_postgres.url) as url:
        await migrate(url)
        async with open_api(url, tmp_path) as api:
            await api.rows.experiment("e")
            assert (await api.client.get("/api/v1/experiments/e")).status_code == 200

            private_postgres.kill()
            started_s = time.monotonic()
            away = await api.client.get("/api/v1/experiments/e")
            ready = await api.client.get("/readyz")
            waiting = await api.client.get("/api/v1/applied?position=events:0:0&wait_s=5")
            text = (await api.client.get("/metrics")).text
            took_s = time.monotonic() - started_s

            await asyncio.to_thread(private_postgres.start)
            back = await api.client.get("/api/v1/experiments/e")
            asking = asyncio.create_task(
                api.client.get("/api/v1/applied?position=events:0:0&wait_s=10")
            )
            await asyncio.sleep(0)
            await api.rows.applied(EVENTS_TOPIC, 0, 1)
            applied = (await asking).json()["applied"]

    for response in (away, ready, waiting):
        assert (response.status_code, response.json()["error"]["code"]) == (
            503,
            "ServiceUnavailable",
        )
    assert "trialog_database_up 0.0" in text
    assert took_s < 5
    assert (back.status_code, applied) == (200, True)
