"""What MLflow clients may send that cannot be right: a 4xx in their shape, nothing is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
import pytest_asyncio
import structlog

from tests.integration.api_service import open_api
from tests.integration.read_model_rows import RunRow
from trialog_schemas.errors import UnavailableError
from trialog_schemas.limits import Limits
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.artifacts import ArtifactStore
from trialog_server.ingest.gateway import Gateway
from trialog_server.ingest.run_streams import RunStreams
from trialog_server.log.base import Partition
from trialog_server.project.snapshots import Snapshots
from trialog_server.read.log_ends import LogEnds
from trialog_server.read.wait_applied import AppliedPositions
from trialog_server.serve.mlflow.log_arguments import LogBatchArguments
from trialog_server.serve.mlflow.writes import RunWrites
from trialog_server.serve.service import Service, Terms
from trialog_server.serve.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.integration.api_service import Api

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

PREFIX = "/api/2.0/mlflow"
UPLOADS = "/api/2.0/mlflow-artifacts/artifacts"
ARTIFACT_BYTES_MAX = 100_000
POINT = {"key": "m", "value": 1, "timestamp": 0, "step": 0}

NO_TEXTS: list[object] = [5, True, [], {}, 1.5, "\0", "\ud800", "a\0b"]
NO_NUMBERS: list[object] = ["", "x", True, [], {}, 1.5, 2**63, -(2**63) - 1, "9" * 30, "1e3"]

BODIES = [b"", b"{", b"[]", b"5", b"null", b'"x"', b"\xff", b'{"run_id":' * 5000, b"{} {}"]
"""What is no JSON object; an empty one has no field that must be there."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service without a worker: what is refused never waits for one."""
    limits = Limits(artifact_bytes_max=ARTIFACT_BYTES_MAX)
    folder = tmp_path_factory.mktemp("artifacts")
    async with open_api(module_postgres_url, folder, limits=limits) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run_id(api: Api) -> str:
    """A run that has a parameter."""
    experiment = await api.rows.experiment("e")
    return (await api.rows.run(experiment, RunRow("r", parameters={"lr": 0.1}))).hex


def each(fields: dict[str, object], name: str, *values: object) -> list[object]:
    """Return a body with these fields for each value of another one."""
    return [{**fields, name: value} for value in values]


def cases(run: str) -> dict[str, list[object]]:
    """Return of each route the bodies that it must refuse, for a run that is there."""
    log: dict[str, object] = {"run_id": run}
    pair, point = {**log, "key": "k", "value": "v"}, {**log, **POINT}
    tags = [{"key": f"k{one}"} for one in range(101)]
    no_run = each({}, "run_id", None, "", "x", 5, "0" * 32, [], run.upper())
    no_experiment = each({}, "experiment_id", None, "", "x", "-1", "9" * 30, "77", 5, [], "1\0")
    keys = each(pair, "key", None, "", "k" * 257, *NO_TEXTS)
    pairs = each(pair, "run_id", None, "", "x", 5, "0" * 32, [run]) + keys
    pairs += each(pair, "value", *NO_TEXTS)
    reserved = {"key": "trialog.x", "value": "v"}
    return {
        "/runs/log-parameter": [*pairs, {**log, "key": "lr", "value": "0.2"}],
        "/runs/set-tag": [*pairs, {**log, **reserved}],
        "/runs/delete-tag": [*no_run, *keys, {**log, "key": "not there"}],
        "/runs/log-metric": [
            *each(point, "key", None, "", *NO_TEXTS),
            *each(point, "value", None, "", "x", "nan", True, [], {}),
            *each(point, "timestamp", None, -1, 10**15, *NO_NUMBERS),
            *each(point, "step", -1, -(2**63), *NO_NUMBERS),
        ],
        "/runs/log-batch": [
            *each(log, "metrics", 5, "x", {}, [5], [POINT] * 1001),
            *each(log, "params", 5, {}, [{}], [{"key": "a"}] * 2),
            *each(log, "tags", 5, {}, [{}], tags, tags[:51]),
            {**log, "metrics": [POINT], "params": [{"key": "lr", "value": "0.2"}]},
            {**log, "metrics": [{**POINT, "step": -1}], "params": [{"key": "a", "value": "b"}]},
        ],
        "/runs/log-inputs": [
            *no_run,
            *each(log, "datasets", 5, {}, [5], [{}], [{"dataset": {"name": 5, "digest": "1"}}]),
            *each(log, "models", 5, [{"model_id": "m"}]),
        ],
        "/runs/update": [
            *no_run,
            *each(log, "status", "", "running", "DONE", 3, []),
            *each({**log, "status": "FINISHED"}, "end_time", -1, 10**15, *NO_NUMBERS),
            *each(log, "run_name", *NO_TEXTS),
        ],
        "/runs/delete": no_run,
        "/runs/restore": [{}, log],
        "/runs/create": [
            *each({}, "experiment_id", "x", "-1", "9" * 30, "77", 5, []),
            *each({}, "start_time", -1, 10**15, *NO_NUMBERS),
            *each({}, "run_name", *NO_TEXTS),
            *each({}, "user_id", 5, [], {}),
            *each({}, "tags", 5, {}, [5], [{}], [{"key": "k" * 129}], tags[:51], [reserved]),
        ],
        "/experiments/create": [
            *each({}, "name", None, "", " ", "x" * 257, *NO_TEXTS),
            {"name": "n", "artifact_location": "s3://mine"},
            *each({"name": "n"}, "tags", [{"key": "k", "value": "v" * 257}], [reserved]),
        ],
        "/experiments/delete": no_experiment,
        "/experiments/update": [{}, {"experiment_id": "0", "new_name": "n"}],
        "/experiments/restore": [{}],
        "/experiments/set-experiment-tag": [{"experiment_id": "0", "key": "k", "value": "v"}],
    }


def check_refused(response: httpx2.Response, what: object) -> str:
    """Check that an answer is a client's error in MLflow's shape; return its sentence."""
    assert 400 <= response.status_code < 500, (what, response.status_code, response.text)
    content = response.json()
    assert content.keys() == {"error_code", "message"}, what
    assert content["error_code"] not in ("", "INTERNAL_ERROR"), what
    assert "Traceback" not in response.text
    return str(content["message"])


def count_records(api: Api, topic: str) -> int:
    """Return how many records a topic has."""
    return sum(len(api.log.stored(Partition(topic, number))) for number in range(4))


def requests(run: str) -> list[tuple[str, bytes]]:
    """Return addresses and bodies, each of which must be refused."""
    asked = [
        (path, json.dumps(body).encode()) for path, bodies in cases(run).items() for body in bodies
    ]
    # An empty body is an empty object, from which a new run takes its experiment by default.
    asked += [
        (path, body) for path in cases(run) for body in BODIES if body or path != "/runs/create"
    ]
    return asked


# B17 J4
async def test_what_cannot_be_right_is_refused_by_every_route(api: Api, run_id: str) -> None:
    """Wrong types, nothing, too much, NUL and surrogates: told, and never a defect of ours."""
    asked = requests(run_id)
    assert len(asked) > 300
    with structlog.testing.capture_logs() as logged:
        for path, body in asked:
            response = await api.client.post(
                f"{PREFIX}{path}", content=body, headers={"Content-Type": "application/json"}
            )
            assert check_refused(response, (path, body[:200]))
        for path in cases(run_id):
            response = await api.client.post(f"{PREFIX}{path}", content=b"{}")
            assert response.status_code == 415
    assert logged == []
    assert count_records(api, CATALOG_TOPIC) == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("", 404),
        ("x", 404),
        ("1/{run}/artifacts", 400),
        ("1/{run}/artifacts/", 400),
        ("1/{run}/a", 404),
        ("1/{run}/artifacts/a/%2e%2e/b", 400),
        ("1/{run}/artifacts/..%2Fb", 400),
        ("1/{run}/artifacts/a%5Cb", 400),
        ("1/{run}/artifacts/C:%5Cb", 400),
        ("1/{run}/artifacts/a%00b", 400),
        ("1/{run}/artifacts/a//b", 400),
        ("1/{run}/artifacts/" + "x" * 256, 400),
        ("1/00000000000000000000000000000000/artifacts/a", 404),
    ],
)
async def test_upload_to_no_artifact_is_refused(
    api: Api, run_id: str, path: str, status: int
) -> None:
    """Ways out of a folder, other runs, no name."""
    response = await api.client.put(f"{UPLOADS}/{path.replace('{run}', run_id)}", content=b"x")
    check_refused(response, path)
    assert response.status_code == status


async def test_upload_that_is_too_large_is_refused_in_mlflows_shape(api: Api, run_id: str) -> None:
    """At the byte that proves it; a media type that is none is refused as well."""
    address = f"{UPLOADS}/1/{run_id}/artifacts/a"
    response = await api.client.put(address, content=b"x" * (ARTIFACT_BYTES_MAX + 1))
    check_refused(response, "too large")
    assert response.status_code == 413
    response = await api.client.put(address, content=b"x", headers={"Content-Type": "nothing"})
    assert "type/subtype" in check_refused(response, "no type")
    assert count_records(api, CATALOG_TOPIC) == 0


async def test_body_of_more_than_mlflow_sends_is_refused(api: Api) -> None:
    """A million bytes of JSON is MLflow's own bound of a batch."""
    response = await api.client.post(f"{PREFIX}/runs/log-batch", content=b"x" * 1_000_001)
    check_refused(response, "too large")
    assert response.status_code == 413


async def test_write_that_is_not_applied_in_time_is_no_silent_success(
    api: Api, run_id: str
) -> None:
    """Without a worker the client is told that its point is recorded, and to send it again."""
    service = Service(
        pool=api.pool,
        log=api.log,
        log_ends=LogEnds(api.log),
        gateway=Gateway(api.log),
        streams=RunStreams(api.log, "mlflow@host"),
        store=ArtifactStore.in_memory(),
        terms=Terms(),
        applied=AppliedPositions(api.pool),
        snapshots=Snapshots(api.pool, "", api.log),
        telemetry=Telemetry(),
    )
    writes = RunWrites(service, "default", wait_s=0.0)
    before = count_records(api, EVENTS_TOPIC)
    logged = LogBatchArguments.model_validate({"metrics": [POINT]}).logged()
    for _ in range(2):
        with pytest.raises(UnavailableError, match="send the same again"):
            await writes.log(UUID(run_id), logged, b"asked")
    records = [
        record.value
        for number in range(4)
        for record in api.log.stored(Partition(EVENTS_TOPIC, number))
    ]
    assert count_records(api, EVENTS_TOPIC) == before + 2
    assert len(set(records)) == len(records) - 1
