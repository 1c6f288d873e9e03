"""How safe events are, over HTTP: a run's counts, and what senders ask for many writers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tests.integration.api_service import open_api
from tests.integration.read_model_rows import RunRow, Series
from trialog_schemas.events import NIL_ID
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import NewRecord, partition_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.api_service import Api

pytestmark = pytest.mark.postgres

SEQ_MAX = 2**63 - 1
MADE_AT = "2026-01-02T03:04:05.678901Z"


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """A service with an empty read model."""
    async with open_api(postgres_url, tmp_path) as opened:
        yield opened


async def lossy_run(api: Api) -> tuple[UUID, UUID]:
    """A run with a writer that lost six events, was refused three times, and was sent twice."""
    metrics = {"loss": Series([1.0, 2.0])}
    experiment = await api.rows.experiment("e")
    run_id = await api.rows.run(experiment, RunRow(metrics=metrics, rejected=3))
    writer = run_id  # as the rows of gaps have it
    for log_offset, seqs in enumerate([(1, 4), (3, 6), (11, 13), (14, 14)]):
        await api.rows.record(run_id, writer, log_offset, seqs)
    for seq in (2, 4, 13):
        await api.rows.rejection(run_id, seq, writer_id=writer)
    return run_id, writer


# K2
async def test_durability_of_a_run_counts_each_event_once_by_writer(api: Api) -> None:
    """Applied, refused, sealed and missing; what came twice in another cut counts once."""
    run_id, writer = await lossy_run(api)
    other = uuid4()
    await api.rows.record(run_id, other, 9, (SEQ_MAX, SEQ_MAX))
    await api.rows.gap(run_id, 7, 10)
    await api.rows.gap(run_id, 21, 20)
    await api.rows.applied(EVENTS_TOPIC, 0, 10)
    await api.rows.sealed(3)

    told = (await api.client.get(f"/api/v1/runs/{run_id.hex}/durability")).json()

    counted = {key: told[key] for key in ("applied", "sealed", "points", "missing_count")}
    assert counted == {"applied": 11, "sealed": 9, "points": 2, "missing_count": 4}
    assert told["rejected"] == {"param_immutable": 3}
    assert {one["writer_id"]: (one["applied"], one["sealed"]) for one in told["writers"]} == {
        writer.hex: (10, 9),
        other.hex: (1, 0),
    }
    gaps = [(one["first_seq"], one["last_seq"], one["events"]) for one in told["gaps"]]
    assert gaps == [(7, 10, 4), (21, 20, 0)]
    assert told["gaps"][0]["position"] == "events:0:0"
    assert told["log"] == {
        "partition": "events:0", "end": 0, "applied": 10, "sealed": 3, "sealed_at": MADE_AT,
    }  # fmt: skip


async def test_durability_of_a_run_that_has_no_events_yet_is_nothing(api: Api) -> None:
    """It was created and nothing of it has come; one that never was is not found."""
    run_id = await api.rows.run(await api.rows.experiment("e"), RunRow())
    told = (await api.client.get(f"/api/v1/runs/{run_id.hex}/durability")).json()
    assert (told["applied"], told["sealed"], told["rejected"], told["writers"]) == (0, 0, {}, [])
    answer = await api.client.get(f"/api/v1/runs/{uuid4().hex}/durability")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ResourceNotFound")


async def ask(api: Api, **body: object) -> dict[str, Any]:
    """Ask as a sender does."""
    answer = await api.client.post("/api/v1/durability?wait_s=0", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


# K2
async def test_durability_of_writers_tells_what_came_and_where_the_log_ends(api: Api) -> None:
    """By it a sender knows what it has to send again; who was never heard of is at 0."""
    run_id, writer = await lossy_run(api)
    await api.rows.gap(run_id, 7, 10)
    await api.rows.applied(EVENTS_TOPIC, 0, 1)
    await api.rows.sealed(1)
    (position,) = await api.log.append([NewRecord(EVENTS_TOPIC, run_id.hex, b"a record")])
    place = partition_for(api.log, NewRecord(EVENTS_TOPIC, run_id.hex, b""))
    await api.rows.applied(*place, 1)
    writers = [
        {"run_id": run_id.hex, "writer_id": writer.hex},
        {"run_id": run_id.hex, "writer_id": uuid4().hex},
        {"run_id": uuid4().hex, "writer_id": writer.hex},
        {"run_id": NIL_ID, "writer_id": writer.hex},
    ]
    told = await ask(api, writers=writers, positions=[position.token()])

    assert told["applied"] is True
    assert [one["last_seq"] for one in told["writers"]] == [14, 0, 0, 0]
    assert [one["writer_id"] for one in told["writers"]] == [one["writer_id"] for one in writers]
    mine = told["writers"][0]
    assert (mine["missing"], mine["missing_count"]) == ([[7, 10]], 4)
    assert (mine["rejected"], mine["is_parked"]) == ({"param_immutable": 3}, False)
    (log,) = told["log"]
    assert (log["partition"], log["end"], log["applied"]) == (f"events:{place.number}", 1, 1)
    beyond = f"events:{place.number}:7"
    told = await ask(api, positions=[beyond])
    assert (told["applied"], told["log"][0]["end"], told["writers"]) == (False, 1, [])


@pytest.mark.parametrize(
    "body",
    [
        {"writers": [{"run_id": "x", "writer_id": NIL_ID}]},
        {"writers": [{"run_id": NIL_ID}]},
        {"writers": [{"run_id": NIL_ID, "writer_id": NIL_ID}] * 501},
        {"positions": ["events:0"]},
        {"positions": ["events:0:1"] * 65},
        {"positions": "events:0:1"},
        {"colour": 1},
        [],
    ],
)
async def test_durability_of_what_is_no_writer_or_position_is_refused(
    api: Api, body: object
) -> None:
    """Each mistake is a 400 with its field."""
    answer = await api.client.post("/api/v1/durability", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ValidationException")
    assert answer.json()["error"]["field"]


async def test_durability_does_not_wait_for_a_log_that_is_away(api: Api) -> None:
    """Its end is not told, all else is; a broker that is away must not take the page along."""
    run_id, _ = await lossy_run(api)
    api.log.is_away = True
    told = (await api.client.get(f"/api/v1/runs/{run_id.hex}/durability")).json()
    assert (told["log"]["end"], told["applied"]) == (None, 10)
