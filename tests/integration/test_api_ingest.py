"""Writing over HTTP: records, commands, waiting until applied, artifacts' bytes."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from tests.integration.api_service import open_api, record_of
from tests.integration.read_model_rows import RunRow
from trialog_schemas.events import NIL_ID, ExperimentCreated, ParametersLogged, RunCreated
from trialog_schemas.limits import Limits
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, Position, frame
from trialog_server.log.base import Partition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.api_service import Api
    from trialog_schemas.events import Body

pytestmark = pytest.mark.postgres

RECORDS = {"Content-Type": "application/x-trialog-records"}
ARTIFACT_BYTES_MAX = 1000


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """A service that takes artifacts of up to a thousand bytes."""
    limits = Limits(artifact_bytes_max=ARTIFACT_BYTES_MAX)
    async with open_api(postgres_url, tmp_path, limits=limits) as opened:
        yield opened


def parameters_record() -> tuple[str, bytes]:
    """A run's id and a record of it."""
    run_id = uuid4().hex
    return run_id, record_of(run_id, uuid4().hex, ParametersLogged({"lr": 0.1}))


async def test_records_are_in_the_log_when_they_have_positions(api: Api) -> None:
    """Each record gets a receipt; what has a position can be read from the log."""
    (first_id, first), (second_id, second) = parameters_record(), parameters_record()

    response = await api.client.post(
        "/api/v1/records", content=frame([first, b"rubbish", second]), headers=RECORDS
    )

    accepted, refused, other = response.json()["receipts"]
    assert response.status_code == 200
    assert set(refused) == {"code", "message"}
    for receipt, record, run_id in ((accepted, first, first_id), (other, second, second_id)):
        position = Position.parse(receipt["position"])
        partition = (position.topic, position.partition)
        (stored,) = await api.log.read_at(Partition(*partition), [position.offset])
        assert (stored.value, stored.key) == (record, run_id)


async def test_records_with_damaged_framing_are_refused_whole(api: Api) -> None:
    """A length that leads beyond the end makes the whole request a 400."""
    response = await api.client.post(
        "/api/v1/records", content=b"\xff\xff\xff\xffabc", headers=RECORDS
    )

    assert (response.status_code, response.json()["error"]["code"]) == (400, "Undecodable")


async def test_records_of_another_content_type_are_refused(api: Api) -> None:
    """Only the records' own media type is taken: no form of a web page can send it."""
    response = await api.client.post("/api/v1/records", content=b"", headers={})

    assert (response.status_code, response.json()["error"]["code"]) == (415, "UnsupportedMediaType")


async def test_records_with_the_log_away_are_a_503(api: Api) -> None:
    """A log that cannot be reached is said, and the same request works later."""
    _, record = parameters_record()
    api.log.is_away = True
    away = await api.client.post("/api/v1/records", content=frame([record]), headers=RECORDS)
    api.log.is_away = False
    back = await api.client.post("/api/v1/records", content=frame([record]), headers=RECORDS)

    assert (away.status_code, away.json()["error"]["code"]) == (503, "ServiceUnavailable")
    assert away.headers["retry-after"] == "1"
    assert back.status_code == 200


async def writer_applied(api: Api, writer_id: UUID) -> None:
    """Have the tables hold the first event of a writer of the catalog."""
    await api.pool.execute(
        "INSERT INTO gen_1.writers (run_id, writer_id, last_seq, log_offset) VALUES ($1, $2, 1, 0)",
        NIL_ID,
        writer_id,
    )


# B11 K2
async def test_command_at_a_place_that_the_tables_have_passed_is_not_told_as_applied(
    api: Api,
) -> None:
    """The log has lost its end, and the tables have another record from there: 503, no verdict."""
    await api.rows.applied(CATALOG_TOPIC, 0, 3)
    record = record_of(NIL_ID, uuid4().hex, ExperimentCreated(uuid4().hex, "e"))
    response = await api.client.post("/api/v1/commands", content=frame([record]), headers=RECORDS)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "ServiceUnavailable")
    assert error["message"].startswith("what was sent is recorded at catalog:0:0 and not applied")


# A1
async def test_command_answers_when_its_event_is_applied(api: Api) -> None:
    """A command waits for its verdict, and shows the experiment as it is then."""
    experiment_id = uuid4()
    writer = uuid4()
    record = record_of(NIL_ID, writer.hex, ExperimentCreated(experiment_id.hex, "e"))
    asking = asyncio.create_task(
        api.client.post("/api/v1/commands", content=frame([record]), headers=RECORDS)
    )
    await wait_for_record(api)
    made_id = await api.rows.experiment("e")
    await api.pool.execute("UPDATE gen_1.experiments SET experiment_id = $1", experiment_id)
    assert made_id != experiment_id
    assert not asking.done()

    await writer_applied(api, writer)
    await api.rows.applied(CATALOG_TOPIC, 0, 1)
    answer = (await asking).json()

    assert (answer["position"], answer["applied"], answer["rejections"]) == (
        "catalog:0:0",
        True,
        [],
    )
    assert answer["experiment"]["experiment_id"] == experiment_id.hex
    assert answer["run"] is None
    assert answer["limits"]["artifact_bytes_max"] == ARTIFACT_BYTES_MAX


# A14
@pytest.mark.parametrize("number", [0, 4999, 5001])
async def test_command_under_another_policy_is_refused_before_it_is_in_the_log(
    api: Api, number: int
) -> None:
    """The number that a verdict depends on is the one in force, or nothing is appended."""
    bodies: list[Body] = [
        ExperimentCreated(uuid4().hex, "e", experiments_max=number),
        RunCreated(uuid4().hex, "e", "r", uuid4().hex, experiments_max=number),
    ]
    for body in bodies:
        record = record_of(NIL_ID, uuid4().hex, body)
        response = await api.client.post(
            "/api/v1/commands", content=frame([record]), headers=RECORDS
        )
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (409, "PolicyChanged")
        assert error["field"] == "experiments_max"
        assert (error["value"], error["limit"]) == (repr(str(number)), "5000")
    bounds = await api.log.bounds([Partition(CATALOG_TOPIC, 0)])
    assert bounds == {Partition(CATALOG_TOPIC, 0): (0, 0)}


# B5
async def test_command_of_a_run_shows_run_experiment_and_rejections(api: Api) -> None:
    """A refusal is no HTTP error: it stands beside what is there."""
    run_id, writer = uuid4(), uuid4()
    body = RunCreated(run_id.hex, "e", "run", uuid4().hex, if_taken="keep")
    await api.rows.run(await api.rows.experiment("e"), RunRow("run-123456", run_id=run_id))
    await api.rows.rejection(run_id, 1, writer_id=writer)
    await writer_applied(api, writer)
    await api.rows.applied(CATALOG_TOPIC, 0, 1)

    record = record_of(NIL_ID, writer.hex, body)
    response = await api.client.post("/api/v1/commands", content=frame([record]), headers=RECORDS)

    answer = response.json()
    assert (answer["run"]["run_name"], answer["experiment"]["experiment_name"]) == (
        "run-123456",
        "e",
    )
    assert [rejection["code"] for rejection in answer["rejections"]] == ["param_immutable"]


async def test_command_that_is_not_applied_in_time_says_so(api: Api) -> None:
    """Without a worker the command is in the log, but without a verdict."""
    record = record_of(NIL_ID, uuid4().hex, ExperimentCreated(uuid4().hex, "e"))

    response = await api.client.post(
        "/api/v1/commands?wait_s=0.05", content=frame([record]), headers=RECORDS
    )

    answer = response.json()
    assert (response.status_code, answer["applied"]) == (200, False)
    assert (answer["position"], answer["experiment"]) == ("catalog:0:0", None)


@pytest.mark.parametrize(
    ("records", "status", "code"),
    [
        ([], 400, "ValidationException"),
        ([b"rubbish"], 400, "Undecodable"),
        ([parameters_record()[1]], 400, "ValidationException"),
        ([parameters_record()[1]] * 2, 400, "ValidationException"),
        (
            [record_of(NIL_ID, "a" * 32, ExperimentCreated("b" * 32, "e"), account="other")],
            403,
            "AccessRefused",
        ),
    ],
)
async def test_command_that_is_not_one_catalog_record_is_refused(
    api: Api, records: list[bytes], status: int, code: str
) -> None:
    """Nothing of it comes into the log."""
    response = await api.client.post("/api/v1/commands", content=frame(records), headers=RECORDS)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert set((await api.log.bounds([Partition(CATALOG_TOPIC, 0)])).values()) == {(0, 0)}


async def test_applied_tells_positions_and_rejections_of_a_writer(api: Api) -> None:
    """A client learns when its positions are applied, and what of its events was refused."""
    run_id = await api.rows.run(await api.rows.experiment("e"), RunRow())
    writer = uuid4()
    await api.rows.rejection(run_id, 1, writer_id=writer)
    await api.rows.rejection(run_id, 1, writer_id=uuid4())
    await api.rows.applied(EVENTS_TOPIC, 1, 5)
    params = {"position": "events:1:4", "writer": writer.hex, "run": run_id.hex}

    done = await api.client.get("/api/v1/applied", params=params)
    both = await api.client.get(
        "/api/v1/applied?position=events:1:4&position=events:1:5&wait_s=0.01"
    )

    assert done.json()["applied"] is True
    assert [rejection["writer_id"] for rejection in done.json()["rejections"]] == [writer.hex]
    assert both.json() == {"applied": False, "rejections": [], "progress": None}


async def test_a_read_with_a_position_waits_until_it_is_applied(api: Api) -> None:
    """Who passes the position of a write reads that write."""
    asking = asyncio.create_task(
        api.client.get(
            "/api/v1/experiments/e", headers={"Trialog-Position": "catalog:0:3, events:0:0"}
        )
    )
    await api.rows.applied(EVENTS_TOPIC, 0, 1)
    await asyncio.sleep(0.1)
    assert not asking.done()
    await api.rows.experiment("e")
    await api.rows.applied(CATALOG_TOPIC, 0, 4)

    assert (await asking).json()["experiment_name"] == "e"


async def test_applied_by_a_rebuild_beside_is_not_applied(api: Api) -> None:
    """Only the live generation counts, whatever another one announces."""
    await api.pool.execute(
        "INSERT INTO trialog.generations (generation, schema_name, status)"
        " VALUES (2, 'gen_2', 'building')"
    )
    await api.pool.execute(
        "INSERT INTO trialog.leases (generation, topic, partition, next_offset)"
        " VALUES (2, $1, 0, 100)",
        EVENTS_TOPIC,
    )

    answer = await api.client.get("/api/v1/applied?position=events:0:4&wait_s=0.05")

    assert answer.json()["applied"] is False


async def test_artifact_is_stored_once_and_found_again(api: Api, tmp_path: Path) -> None:
    """The first upload stores, a second one finds it there; both answers agree."""
    content = b"hello" * 100
    digest = hashlib.sha256(content).hexdigest()
    path = f"/api/v1/artifacts/{digest}"

    before = await api.client.head(path)
    first = await api.client.put(path, content=content)
    second = await api.client.put(path, content=content)
    after = await api.client.head(path)

    assert (before.status_code, first.status_code) == (404, 201)
    assert (second.status_code, after.status_code) == (200, 200)
    assert first.json() == second.json() == {"sha256": digest, "size": 500}
    assert after.headers["trialog-size"] == "500"
    assert stored_files(tmp_path) == [content]


# E9
@pytest.mark.parametrize("size", [0, ARTIFACT_BYTES_MAX])
async def test_artifact_up_to_the_limit_is_stored(api: Api, size: int) -> None:
    """Empty and exactly as large as allowed are both fine."""
    content = b"x" * size

    digest = hashlib.sha256(content).hexdigest()
    response = await api.client.put(f"/api/v1/artifacts/{digest}", content=content)

    assert response.json() == {"sha256": digest, "size": size}


# E9
async def test_artifact_above_the_limit_is_cut_off(api: Api, tmp_path: Path) -> None:
    """One byte more is refused, announced or not, and leaves nothing behind."""
    content = b"x" * (ARTIFACT_BYTES_MAX + 1)
    path = f"/api/v1/artifacts/{hashlib.sha256(content).hexdigest()}"

    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 100):
            yield content[at : at + 100]

    announced = await api.client.put(path, content=content)
    streamed = await api.client.put(path, content=parts())

    for response in (announced, streamed):
        error = response.json()["error"]
        assert (response.status_code, error["limit"]) == (413, str(ARTIFACT_BYTES_MAX))
    assert stored_files(tmp_path) == []


async def test_artifact_with_another_digest_is_refused(api: Api, tmp_path: Path) -> None:
    """Bytes that are not those of the digest leave nothing behind."""
    response = await api.client.put(f"/api/v1/artifacts/{'a' * 64}", content=b"hello")

    assert (response.status_code, response.json()["error"]["field"]) == (400, "sha256")
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["A" * 64, "a" * 63, "a" * 65, "..", "%2e%2e%2fetc%2fpasswd", "a" * 64 + "%0a"]
)
async def test_artifact_under_anything_but_a_digest_is_refused(
    api: Api, tmp_path: Path, name: str
) -> None:
    """Nothing a client names becomes a path."""
    response = await api.client.put(f"/api/v1/artifacts/{name}", content=b"hello")

    assert 400 <= response.status_code < 500
    assert stored_files(tmp_path) == []


# E1
async def test_artifact_content_comes_back_under_its_media_type(api: Api) -> None:
    """A text is downloaded, never shown as a page, and keeps its bytes and type."""
    run_id = await stored_artifact(api, "a/b é.txt", "text/html", b"<script>alert(1)</script>")

    response = await api.client.get(
        f"/api/v1/runs/{run_id.hex}/artifacts/content", params={"name": "a/b é.txt"}
    )

    assert response.content == b"<script>alert(1)</script>"
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''b%20%C3%A9.txt"
    )
    assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-length"] == "25"


@pytest.mark.parametrize(
    ("media_type", "shown_type", "disposition"),
    [
        ("image/png", "image/png", "inline"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8", "attachment"),
        ("evil\r\nSet-Cookie: a=b", "application/octet-stream", "attachment"),
        ("", "application/octet-stream", "attachment"),
    ],
)
async def test_artifact_content_is_inline_only_for_safe_pictures(
    api: Api, media_type: str, shown_type: str, disposition: str
) -> None:
    """What could hold a script is only ever downloaded; a type that is none is not repeated."""
    run_id = await stored_artifact(api, "a", media_type, b"bytes")

    response = await api.client.get(f"/api/v1/runs/{run_id.hex}/artifacts/content?name=a")

    assert response.headers["content-type"] == shown_type
    assert response.headers["content-disposition"].partition(";")[0] == disposition
    assert "set-cookie" not in response.headers


async def test_artifact_whose_bytes_are_missing_is_not_found(api: Api) -> None:
    """An event that arrived before its bytes gives a clear answer instead of half a file."""
    run_id = await api.rows.run(await api.rows.experiment("e"), RunRow())
    await api.rows.artifact(run_id, "a")

    response = await api.client.get(f"/api/v1/runs/{run_id.hex}/artifacts/content?name=a")

    assert (response.status_code, response.json()["error"]["field"]) == (404, "sha256")


# E2
async def test_artifact_versions_are_listed_and_each_can_be_read(api: Api) -> None:
    """The newest version comes first and by default; older ones stay."""
    run_id = await stored_artifact(api, "a", "text/plain", b"one")
    two = hashlib.sha256(b"two").hexdigest()
    await api.client.put(f"/api/v1/artifacts/{two}", content=b"two")
    await api.rows.artifact(run_id, "a", version=2, sha256=two)
    path = f"/api/v1/runs/{run_id.hex}/artifacts"

    listed = (await api.client.get(path)).json()["artifacts"]
    newest = await api.client.get(f"{path}/content?name=a")
    first = await api.client.get(f"{path}/content?name=a&version=1")

    assert [artifact["version"] for artifact in listed] == [2, 1]
    assert (newest.content, first.content) == (b"two", b"one")


async def test_artifact_versions_come_in_pages(api: Api) -> None:
    """However many versions there are, a page has its bound and the next one goes on behind it."""
    run_id = await api.rows.run(await api.rows.experiment("e"), RunRow())
    expected = []
    for name in ("a", "a b", "z/é"):
        for version in (3, 2, 1):
            await api.rows.artifact(run_id, name, version=version)
            expected.append((name, version))
    path, params, found = f"/api/v1/runs/{run_id.hex}/artifacts", {"max_results": "2"}, []
    for _ in range(5):
        page = (await api.client.get(path, params=params)).json()
        found += [(artifact["name"], artifact["version"]) for artifact in page["artifacts"]]
        params["next_token"] = page["next_token"] or ""

    assert (found, page["next_token"]) == (expected, None)


def stored_files(folder: Path) -> list[bytes]:
    """What every file in the folder and below holds, unfinished ones included."""
    return [found.read_bytes() for found in folder.rglob("*") if found.is_file()]


async def stored_artifact(api: Api, name: str, media_type: str, content: bytes) -> UUID:
    """A run with one artifact whose bytes are stored."""
    digest = hashlib.sha256(content).hexdigest()
    await api.client.put(f"/api/v1/artifacts/{digest}", content=content)
    run_id = await api.rows.run(await api.rows.experiment("e"), RunRow())
    await api.rows.artifact(run_id, name, sha256=digest)
    await api.pool.execute("UPDATE gen_1.artifacts SET media_type = $1", media_type)
    return run_id


async def wait_for_record(api: Api) -> None:
    """Wait until something is in the catalog."""
    async with asyncio.timeout(5):
        reader = api.log.reader()
        reader.assign({Partition(CATALOG_TOPIC, 0): 0})
        while not await reader.fetch(bytes_max=1_000_000, wait_s=1):
            pass
