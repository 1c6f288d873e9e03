"""Points and artifacts as MLflow clients read them, over HTTP of the real application."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.integration.api_service import open_api
from tests.integration.read_model_rows import START, ArtifactRow, RunRow, Series
from tests.integration.test_mlflow_reads import PREFIX, refused
from trialog_server.read.metric_series import SERIES_PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.api_service import Api

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

HISTORY = f"{PREFIX}/metrics/get-history"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
ABSENT, INVALID = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
AT_MS = int(START.timestamp()) * 1000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service for the tests of this module; they use experiments of their own."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        yield opened


# J2
async def test_history_has_every_point_in_order(api: Api) -> None:
    """By step, then as they came; what has no step has 0, and no number its name."""
    experiment = await api.rows.experiment("history")
    series = Series([0.5, math.nan, math.inf, 0.25], steps=[2, 0, 1, -1])
    run_id = (await api.rows.run(experiment, RunRow("r", metrics={"loss": series}))).hex
    asked = {"run_id": run_id, "metric_key": "loss"}
    points = (await api.client.get(HISTORY, params=asked)).json()["metrics"]
    assert [(one["step"], one["value"]) for one in points] == [
        (0, "NaN"), (1, "Infinity"), (2, 0.5), (0, 0.25),
    ]  # fmt: skip
    assert {one["key"] for one in points} == {"loss"}
    assert {one["timestamp"] for one in points} == {AT_MS}


# J2
async def test_history_comes_in_pages_of_the_asked_size(api: Api) -> None:
    """The token of a page gives the next; the last has none."""
    experiment = await api.rows.experiment("pages")
    series = Series([number / 4 for number in range(10)], chunk_points=3)
    run_id = (await api.rows.run(experiment, RunRow("r", metrics={"loss": series}))).hex
    found: list[float] = []
    asked: dict[str, Any] = {"run_uuid": run_id, "metric_key": "loss", "max_results": 4}
    sizes = []
    while True:
        page = (await api.client.get(HISTORY, params=asked)).json()
        sizes.append(len(page["metrics"]))
        found += [one["value"] for one in page["metrics"]]
        if "next_page_token" not in page:
            break
        asked["page_token"] = page["next_page_token"]
    assert (sizes, found) == ([4, 4, 2], list(series.values))


async def test_history_that_fits_no_answer_is_never_cut_in_silence(api: Api) -> None:
    """A client that asks for all and knows no pages is told; one that pages gets everything."""
    experiment = await api.rows.experiment("long")
    values = [0.5] * (SERIES_PAGE_MAX + 1)
    row = RunRow("r", metrics={"loss": Series(values, chunk_points=len(values))})
    asked: dict[str, Any] = {
        "run_id": (await api.rows.run(experiment, row)).hex,
        "metric_key": "loss",
    }
    says = refused(await api.client.get(HISTORY, params=asked), 400, INVALID)
    assert "100001 points" in says
    assert "max_results" in says
    asked["max_results"] = SERIES_PAGE_MAX
    first = (await api.client.get(HISTORY, params=asked)).json()
    asked["page_token"] = first["next_page_token"]
    rest = (await api.client.get(HISTORY, params=asked)).json()
    assert (len(first["metrics"]), len(rest["metrics"])) == (SERIES_PAGE_MAX, 1)


async def test_history_of_what_is_not_there_is_empty_or_refused(api: Api) -> None:
    """An unknown metric of a run has no points, as with MLflow; the rest is a 4xx."""
    experiment = await api.rows.experiment("absent")
    run_id = (await api.rows.run(experiment, RunRow("r"))).hex
    nothing = await api.client.get(HISTORY, params={"run_id": run_id, "metric_key": "loss"})
    assert nothing.json() == {"metrics": []}
    for params, status, code in (
        ({"metric_key": "loss"}, 400, INVALID),
        ({"run_id": run_id}, 400, INVALID),
        ({"run_id": run_id, "metric_key": "a\0"}, 400, INVALID),
        ({"run_id": run_id, "metric_key": "a" * 300}, 400, INVALID),
        ({"run_id": uuid4().hex, "metric_key": "loss"}, 404, ABSENT),
        ({"run_id": run_id, "metric_key": "a", "max_results": 0}, 400, INVALID),
        ({"run_id": run_id, "metric_key": "a", "max_results": SERIES_PAGE_MAX + 1}, 400, INVALID),
        ({"run_id": run_id, "metric_key": "a", "max_results": "x"}, 400, INVALID),
        ({"run_id": run_id, "metric_key": "a", "page_token": "x"}, 400, INVALID),
    ):
        assert refused(await api.client.get(HISTORY, params=params), status, code)  # type: ignore[arg-type]


# J2
async def test_artifacts_are_listed_and_fetched_by_folders(api: Api) -> None:
    """By the run's id and by its artifact_uri; the newest version's bytes, under safe headers."""
    experiment = await api.rows.experiment("artifacts")
    run_id = await api.rows.run(experiment, RunRow("r"))
    content = b"<script>"
    digest = hashlib.sha256(content).hexdigest()
    stored = await api.client.put(f"/api/v1/artifacts/{digest}", content=content)
    assert stored.status_code in (200, 201)
    await api.rows.artifact(run_id, "plots/roc.html", sha256="cd" * 32)
    newest = ArtifactRow("plots/roc.html", 2, media_type="text/html")
    await api.rows.version(run_id, newest, sha256=digest, size=len(content))
    await api.rows.artifact(run_id, "notes.txt")
    await api.rows.version(run_id, ArtifactRow("model", kind="model", uri="s3://b/m"))

    root = await api.client.get(f"{PREFIX}/artifacts/list", params={"run_id": run_id.hex})
    address = root.json()["root_uri"]
    assert root.json()["files"] == [
        {"path": "notes.txt", "is_dir": False, "file_size": 5},
        {"path": "plots", "is_dir": True},
    ]
    inner = await api.client.get(
        f"{PREFIX}/artifacts/list", params={"run_uuid": run_id.hex, "path": "plots"}
    )
    file = {"path": "plots/roc.html", "is_dir": False, "file_size": len(content)}
    assert inner.json()["files"] == [file]
    place = address.removeprefix("mlflow-artifacts:/")
    told = await api.client.get(FILES, params={"path": f"{place}/plots"})
    assert told.json() == {"files": [{**file, "path": "roc.html"}]}

    got = await api.client.get(f"{FILES}/{place}/plots/roc.html")
    assert (got.status_code, got.content) == (200, content)
    assert got.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in got.headers["content-security-policy"]


async def test_artifacts_that_are_not_there_are_refused_in_mlflows_shape(api: Api) -> None:
    """No run, no name, a model elsewhere, ways out of the folder: a 4xx, never a fault."""
    experiment = await api.rows.experiment("none")
    run_id = await api.rows.run(experiment, RunRow("r"))
    await api.rows.version(run_id, ArtifactRow("model", kind="model", uri="s3://b/m"))
    place = f"1/{run_id.hex}/artifacts"
    for address, status, code, says in (
        (f"{FILES}/{place}/nope", 404, ABSENT, "no artifact 'nope'"),
        (f"{FILES}/{place}/model", 404, ABSENT, "s3://b/m"),
        (f"{FILES}/{place}", 400, INVALID, "names no artifact"),
        (f"{FILES}/1/{uuid4().hex}/artifacts/a", 404, ABSENT, "does not exist"),
        (f"{FILES}/{place}/..%2f..%2fetc%2fpasswd", 404, ABSENT, "no artifact"),
        (f"{FILES}/..%2f..%2fetc", 404, ABSENT, "artifact_uri"),
        (f"{FILES}/{place}/{'a' * 300}", 400, INVALID, "300 characters"),
        (f"{FILES}/{place}/%00", 400, INVALID, "NUL"),
        (FILES, 400, INVALID, "path is missing"),
        (f"{FILES}?path=nope", 404, ABSENT, "artifact_uri"),
        (f"{FILES}?path={place}/%00", 400, INVALID, "NUL"),
        (f"{PREFIX}/artifacts/list", 400, INVALID, "run_id is missing"),
        (f"{PREFIX}/artifacts/list?run_id={uuid4().hex}", 404, ABSENT, "does not exist"),
        (f"{PREFIX}/artifacts/list?run_id={run_id.hex}&path=%00", 400, INVALID, "NUL"),
    ):
        assert says in refused(await api.client.get(address), status, code), address


async def test_what_clients_ask_on_the_way_is_answered(api: Api) -> None:
    """No workspaces, no uploads in parts, no logged models: said, not left to be guessed."""
    info = (await api.client.get("/api/3.0/mlflow/server-info")).json()
    assert set(info.values()) == {False}
    assert {"workspaces_enabled", "multipart_uploads_enabled"} < info.keys()
    models = await api.client.post(f"{PREFIX}/logged-models/search", json={"experiment_ids": ["1"]})
    assert models.json() == {"models": []}
