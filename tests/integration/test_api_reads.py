"""Questions over HTTP: shapes, pages, bounds, and how mistakes are answered."""

from __future__ import annotations

import math
import random
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from tests.integration.api_service import AT_US, open_api, record_of
from tests.integration.read_model_rows import RunRow, Series
from trialog_schemas.events import LongBlock, MetricsLogged, ParametersLogged
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.log.base import NewRecord
from trialog_server.read.run_events import PAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.api_service import Api

pytestmark = pytest.mark.postgres

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """A service with an empty read model."""
    async with open_api(postgres_url, tmp_path) as opened:
        yield opened


async def make_run(api: Api, row: RunRow) -> UUID:
    """A run in an experiment `e`."""
    return await api.rows.run(await api.rows.experiment("e"), row)


# A1 A10
async def test_experiments_are_listed_with_their_facts(api: Api) -> None:
    """A listed experiment carries everything that A1 names, and so does a single one."""
    await make_run(api, RunRow())

    page = (await api.client.get("/api/v1/experiments")).json()
    single = (await api.client.get("/api/v1/experiments/e")).json()

    assert (page["total"], page["next_token"], page["experiments"]) == (1, None, [single])
    assert single["experiment_arn"] == f"arn:trialog:experiment/default/{single['experiment_id']}"
    assert single["creation_time"] == "2026-01-02T03:04:05.678901Z"
    assert single["created_by"] == {"user": "ada", "host": "lab"}
    assert (single["number"], single["run_count"], single["tags"]) == (1, 1, {"team": "red"})


# D7 D13
async def test_run_json_names_numbers_that_json_cannot_hold(api: Api) -> None:
    """NaN and infinities are texts, absent things are null, NaN spoils no minimum."""
    metrics = {"nan": Series([math.nan]), "inf": Series([1.0, -math.inf])}
    run_id = await make_run(api, RunRow(metrics=metrics, parameters={"x": 1.0, "n": 1}))

    run = (await api.client.get(f"/api/v1/runs/{run_id.hex}")).json()

    assert run["metrics"]["nan"] == {
        "last": "NaN",
        "min": None,
        "max": None,
        "mean": None,
        "count": 1,
        "last_step": 0,
    }
    assert run["metrics"]["inf"]["min"] == "-Infinity"
    assert run["run_arn"] == f"arn:trialog:run/default/{run_id.hex}"
    assert '"x":1.0' in (await api.client.get(f"/api/v1/runs/{run_id.hex}")).text
    assert (await api.client.get("/api/v1/experiments/e/runs/run")).json() == run
    assert (await api.client.get("/api/v1/experiments/e/runs")).json()["runs"] == [run]


# A8 A9
@pytest.mark.parametrize(
    ("query", "field", "value", "limit"),
    [
        ("max_results=0", "max_results", "'0'", "1"),
        ("max_results=101", "max_results", "'101'", "100"),
        ("max_results=-1", "max_results", "'-1'", "1"),
        ("max_results=5x", "max_results", "'5x'", "integer"),
        ("max_results=", "max_results", "''", "integer"),
        ("sort_by=Nam", "sort_by", "'Nam'", "'CreationTime' or 'Name'"),
        ("sort_order=Up", "sort_order", "'Up'", "'Ascending' or 'Descending'"),
        ("next_token=zzz", "next_token", "'zzz'", "token"),
        ("max_result=5", "max_result", "'5'", "openapi"),
    ],
)
async def test_a_wrong_query_names_field_value_and_limit(
    api: Api, query: str, field: str, value: str, limit: str
) -> None:
    """A page that cannot be is a 400 with the parts of the mistake."""
    await api.rows.experiment("e")

    for path in ("/api/v1/experiments", "/api/v1/experiments/e/runs"):
        response = await api.client.get(f"{path}?{query}")
        error = response.json()["error"]

        assert (response.status_code, error["code"]) == (400, "ValidationException")
        assert (error["field"], error["value"]) == (field, value)
        assert limit in error["limit"]


# A6 F2
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/experiments/nothing",
        "/api/v1/experiments/nothing/runs",
        "/api/v1/experiments/e/runs/nothing",
        f"/api/v1/runs/{'0' * 32}",
        f"/api/v1/runs/{'0' * 32}/series?name=m",
        f"/api/v1/runs/{'0' * 32}/rejections",
        f"/api/v1/runs/{'0' * 32}/events",
        f"/api/v1/runs/{'0' * 32}/artifacts",
        f"/api/v1/runs/{'0' * 32}/artifacts/content?name=a",
    ],
)
async def test_what_is_not_there_is_not_found(api: Api, path: str) -> None:
    """Unknown experiments, runs, metrics and artifacts are 404 ResourceNotFound."""
    await api.rows.experiment("e")

    response = await api.client.get(path)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "ResourceNotFound")


@pytest.mark.parametrize(
    "path",
    ["/api/v1/runs/abc", "/api/v1/runs/" + "A" * 32, "/api/v1/runs/" + "0" * 32 + "%0a",
     "/api/v1/experiments/a%00b", "/api/v1/experiments/" + "a" * 300,
     f"/api/v1/runs/{'0' * 32}/series", f"/api/v1/runs/{'0' * 32}/series?name=",
     f"/api/v1/runs/{'0' * 32}/series?name=a&buckets=0",
     f"/api/v1/runs/{'0' * 32}/series?name=a&buckets=99999",
     f"/api/v1/runs/{'0' * 32}/artifacts/content?name=a&version=99999999999",
     "/api/v1/applied", "/api/v1/applied?position=events:1", "/api/v1/applied?position=x:1:1",
     "/api/v1/applied?position=events:0:1&wait_s=nan",
     "/api/v1/applied?position=events:0:1&run=" + "0" * 32],
)  # fmt: skip
async def test_a_wrong_address_is_a_validation_error(api: Api, path: str) -> None:
    """Ids, names, positions and numbers that cannot be are answered before any question."""
    response = await api.client.get(path)

    assert (response.status_code, response.json()["error"]["code"]) == (400, "ValidationException")


# F9
async def test_search_over_http_gives_the_page_of_a_list(api: Api) -> None:
    """Filter, order and pages travel in a JSON body."""
    experiment = await api.rows.experiment("e")
    for index in range(5):
        await api.rows.run(experiment, RunRow(f"r{index}", metrics={"acc": Series([index / 10])}))

    body = {"filter": "metrics.acc > 0.05", "order_by": "metrics.acc DESC", "max_results": 3}
    first = (await api.client.post("/api/v1/experiments/e/runs/search", json=body)).json()
    body["next_token"] = first["next_token"]
    rest = (await api.client.post("/api/v1/experiments/e/runs/search", json=body)).json()

    assert [run["run_name"] for run in first["runs"]] == ["r4", "r3", "r2"]
    assert [run["run_name"] for run in rest["runs"]] == ["r1"]
    assert (first["total"], rest["next_token"]) == (4, None)


@pytest.mark.parametrize(
    ("content", "kind", "status", "message"),
    [
        (b"{", "application/json", 400, "cannot be read as JSON"),
        (b"[]", "application/json", 400, "body is []"),
        (b'{"filter": "a", "filter": "b"}', "application/json", 400, "twice"),
        (b'{"max_results": NaN}', "application/json", 400, "NaN is no JSON"),
        (b'{"max_results": "5"}', "application/json", 400, "max_results is '5'"),
        (b'{"max_results": 1e99}', "application/json", 400, "max_results"),
        (b'{"filters": "a"}', "application/json", 400, "'filters' is no field"),
        (b'{"filter": "\\ud800"}', "application/json", 400, "parse raw data"),
        (b'{"filter": "params.a = \'\\u0000\'"}', "application/json", 400, "NUL"),
        (b"\xff\xfe", "application/json", 400, "cannot be read as JSON"),
        (b"[" * 60_000, "application/json", 400, "cannot be read as JSON"),
        (b"{}" + b" " * 70_000, "application/json", 413, "more than 65536 bytes"),
        (b"{}", "text/plain", 415, "send application/json"),
    ],
)
async def test_search_body_that_cannot_be_read_is_a_typed_error(
    api: Api, content: bytes, kind: str, status: int, message: str
) -> None:
    """No body makes the service fail: each gets a 4xx that says what is wrong."""
    response = await api.client.post(
        "/api/v1/experiments/e/runs/search", content=content, headers={"Content-Type": kind}
    )

    assert response.status_code == status
    assert message in response.json()["error"]["message"]


# D3 D15
async def test_series_comes_in_pages_in_order_of_step(api: Api) -> None:
    """A series is in order of step, then arrival, unstepped last, over any page size."""
    steps = [2, 0, 1, 0, -1, 2, -1]
    values = [float(index) for index in range(7)]
    values[3] = math.nan
    run_id = await make_run(api, RunRow(metrics={"a:b/c": Series(values, steps, chunk_points=3)}))
    path = f"/api/v1/runs/{run_id.hex}/series"

    whole = (await api.client.get(path, params={"name": "a:b/c"})).json()
    paged: list[object] = []
    params = {"name": "a:b/c", "max_results": "2"}
    for _ in range(4):
        page = (await api.client.get(path, params=params)).json()
        paged += page["values"]
        params["next_token"] = page["next_token"]

    assert whole["steps"] == [0, 0, 1, 2, 2, -1, -1]
    assert whole["values"] == [1.0, "NaN", 2.0, 0.0, 5.0, 4.0, 6.0]
    assert paged == whole["values"]
    assert (whole["points"], whole["next_token"], page["next_token"]) == (7, None, None)


async def test_series_pages_are_not_shifted_by_later_points(api: Api) -> None:
    """The token holds how long the series was: what comes in between does not move it."""
    run_id = await make_run(api, RunRow(metrics={"m": Series([0.0, 1.0, 2.0], [0, 2, 4])}))
    path = f"/api/v1/runs/{run_id.hex}/series"
    first = (await api.client.get(path, params={"name": "m", "max_results": 2})).json()
    await api.rows._chunk(run_id, "m", 3, ([1], [9.0]))

    rest = await api.client.get(path, params={"name": "m", "next_token": first["next_token"]})

    assert first["values"] + rest.json()["values"] == [0.0, 1.0, 2.0]


async def test_series_packed_holds_the_columns_bit_for_bit(api: Api) -> None:
    """Who accepts the packed form gets steps, times and values as little-endian columns."""
    run_id = await make_run(api, RunRow(metrics={"m": Series([1.5, math.nan, -math.inf])}))

    response = await api.client.get(
        f"/api/v1/runs/{run_id.hex}/series?name=m",
        headers={"Accept": "application/x-trialog-series"},
    )

    assert response.headers["content-type"] == "application/x-trialog-series"
    assert response.headers["trialog-points"] == "3"
    assert struct.unpack_from("<3q", response.content) == (0, 1, 2)
    values = struct.unpack_from("<3d", response.content, 48)
    assert (values[0], math.isnan(values[1]), values[2]) == (1.5, True, -math.inf)
    assert len(response.content) == 72


# D15
async def test_series_buckets_reduce_to_the_asked_width(api: Api) -> None:
    """A thousand points in ten columns keep each column's extremes."""
    values = [float(index % 100) for index in range(1000)]
    run_id = await make_run(api, RunRow(metrics={"m": Series(values, chunk_points=300)}))

    body = (await api.client.get(f"/api/v1/runs/{run_id.hex}/series?name=m&buckets=10")).json()

    buckets = body["buckets"]
    assert body["points"] == sum(buckets["count"]) == 1000
    assert buckets["min"] == [0.0] * 10
    assert buckets["max"] == buckets["last"] == [99.0] * 10
    assert buckets["step_from"] == list(range(0, 1000, 100))
    assert buckets["step_to"] == list(range(99, 1000, 100))


# D7
async def test_series_buckets_of_nothing_but_nan_have_no_bounds(api: Api) -> None:
    """A column of NaN has the last value NaN, and neither minimum nor maximum."""
    run_id = await make_run(api, RunRow(metrics={"m": Series([math.nan, 1.0])}))

    body = (await api.client.get(f"/api/v1/runs/{run_id.hex}/series?name=m&buckets=2")).json()

    assert (body["buckets"]["min"], body["buckets"]["last"]) == ([None, 1.0], ["NaN", 1.0])


async def test_series_of_an_unknown_metric_is_not_found(api: Api) -> None:
    """A run without the metric says so, for points and for buckets."""
    run_id = await make_run(api, RunRow())

    for query in ("name=m", "name=m&buckets=5"):
        response = await api.client.get(f"/api/v1/runs/{run_id.hex}/series?{query}")
        assert (response.status_code, response.json()["error"]["field"]) == (404, "name")


async def test_rejections_come_in_order_of_the_log_and_in_pages(api: Api) -> None:
    """Every refusal of a run is reachable, deleted runs included."""
    run_id = await make_run(api, RunRow(is_deleted=True))
    writer = uuid4()
    for seq in (3, 1, 2):
        for item in (1, 0):
            await api.rows.rejection(run_id, seq, writer_id=writer, item=item)
    path = f"/api/v1/runs/{run_id.hex}/rejections"

    first = (await api.client.get(path, params={"max_results": 4})).json()
    rest = (
        await api.client.get(path, params={"max_results": 4, "next_token": first["next_token"]})
    ).json()

    found = first["rejections"] + rest["rejections"]
    assert [(it["seq"], it["item"]) for it in found] == [
        (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1),
    ]  # fmt: skip
    assert rest["next_token"] is None
    assert found[0]["position"] == "events:0:1"
    assert (found[0]["code"], found[0]["facts"]) == ("param_immutable", {"kept": "0.1"})


async def test_rejections_of_the_catalog_are_pages_of_a_run_too(api: Api) -> None:
    """A refusal of the run's own name counts its items below zero, and a page may end there."""
    run_id = await make_run(api, RunRow())
    for item in (-1, -2, 0):
        await api.rows.rejection(run_id, 7, writer_id=uuid4(), item=item)
    await api.pool.execute("UPDATE gen_1.rejections SET topic = $1 WHERE item < 0", CATALOG_TOPIC)
    path, params, found = f"/api/v1/runs/{run_id.hex}/rejections", {"max_results": "1"}, []

    for _ in range(3):
        page = (await api.client.get(path, params=params)).json()
        found.append(page["rejections"][0]["item"])
        params["next_token"] = page["next_token"] or ""

    assert sorted(found[:2]) == [-2, -1]
    assert (found[2], page["next_token"]) == (0, None)


# K7
async def test_events_are_read_from_the_log_with_their_verdicts(api: Api) -> None:
    """The audit view shows each event, who said it, when, where, and what was refused."""
    run_id = await make_run(api, RunRow())
    writer = uuid4()
    blob = struct.pack("<q", 7)
    block = LongBlock(("m",), 1, struct.pack("<I", 0), blob, blob, struct.pack("<d", 0.5))
    record = record_of(
        run_id.hex, writer.hex, ParametersLogged({"lr": 0.2}), MetricsLogged((block,))
    )
    await index_record(api, run_id, writer, record)
    await api.rows.rejection(run_id, 1, writer_id=writer)
    await api.pool.execute("UPDATE gen_1.rejections SET log_offset = 0")

    body = (await api.client.get(f"/api/v1/runs/{run_id.hex}/events")).json()

    logged, measured = body["events"]
    assert (logged["type"], logged["seq"], logged["user"]) == ("parameters_logged", 1, "ada@lab")
    assert (logged["verdict"], logged["rejections"][0]["code"]) == ("refused", "param_immutable")
    assert logged["body"] == {"parameters": {"lr": 0.2}}
    assert datetime.fromisoformat(logged["time"]) == EPOCH + timedelta(microseconds=AT_US)
    assert datetime.fromisoformat(logged["log_time"]) > datetime.fromisoformat(logged["time"])
    assert measured["verdict"] == "accepted"
    assert measured["body"]["blocks"] == [
        {"names": ["m"], "points": 1, "step_first": 7, "step_last": 7}
    ]
    assert measured["position"].startswith("events:")


async def test_events_of_large_records_come_in_smaller_pages(api: Api) -> None:
    """A page ends early where records are large; no event is left out or shown twice."""
    run_id, writer, points = await make_run(api, RunRow()), uuid4(), 10_000
    columns = [random.Random(seed).randbytes(8 * points) for seed in range(2)]
    steps = struct.pack(f"<{points}q", *range(points))
    block = LongBlock(("m",), points, bytes(4 * points), steps, *columns)
    large = record_of(run_id.hex, writer.hex, MetricsLogged((block,)))
    for _ in range(30):
        await index_record(api, run_id, writer, large)
    path, pages = f"/api/v1/runs/{run_id.hex}/events", []
    token: str | None = ""
    while token is not None:
        query = {"next_token": token} if token else {}
        page = (await api.client.get(path, params=query)).json()
        pages.append([event["position"] for event in page["events"]])
        token = page["next_token"]

    assert len(large) * 30 > PAGE_BYTES_MAX
    assert len(pages) > 1
    positions = [position for page in pages for position in page]
    assert len(positions) == len(set(positions)) == 30


async def index_record(api: Api, run_id: UUID, writer: UUID, record: bytes) -> None:
    """Put a record into the log and its place into the index."""
    (position,) = await api.log.append([NewRecord(EVENTS_TOPIC, run_id.hex, record)])
    await api.pool.execute(
        "INSERT INTO gen_1.record_index (topic, partition, log_offset, run_id, writer_id,"
        " first_seq, events, types, at) VALUES ($1, $2, $3, $4, $5, 1, 2, '{}', now())",
        position.topic,
        position.partition,
        position.offset,
        run_id,
        writer,
    )
