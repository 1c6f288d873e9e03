"""Logs that have lost what was applied: noticed by the worker, told to the event, and a way out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.integration.projection_cases import QUICK, project, projection_pool, running
from tests.integration.test_projection_rebuild import schema_digests, unheard
from tests.unit.consumer.project_writers import RUN, Writer, catalog_writer, metrics, run_created
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import RunStarted
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import LogRecord, NewRecord, Partition
from trialog_server.log.memory import MemoryLog
from trialog_server.project.applied_tails import PAUSE_S
from trialog_server.project.checkpoint import Checkpoint, read_trees
from trialog_server.project.generations import live_generation, open_generation, rebuilding
from trialog_server.project.lost_tails import EventsLostError
from trialog_server.project.rebuild import projecting, rebuild
from trialog_server.project.seals import record_seals
from trialog_server.project.verify import live_chains, verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialog_server.postgres.pool import Pool
    from trialog_server.project.generations import Generation
    from trialog_server.project.worker import Worker

pytestmark = pytest.mark.postgres

PLACE = Partition(EVENTS_TOPIC, 0)
OTHER_RUN, OTHER = "0190" + "dd" * 14, "0190" + "ce" * 14


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    """Connections to an empty read model, as a worker has them."""
    async with projection_pool(postgres_url) as opened:
        yield opened


@pytest.fixture
async def log(pool: Pool) -> MemoryLog:
    """A log of one run with ten records, all of them applied."""
    made, writer = MemoryLog(1), Writer()
    await made.append([catalog_writer().record(run_created())])
    await made.append([writer.record(RunStarted("digits", "first"))])
    await made.append([writer.record(metrics([[float(turn)]], step=turn)) for turn in range(9)])
    await project(pool, made)
    return made


def lose(log: MemoryLog, count: int) -> list[LogRecord]:
    """Take the last records of the events away; return them."""
    stored = log.stored(PLACE)
    lost = stored[-count:]
    del stored[-count:]
    return lost


def others(count: int) -> list[NewRecord]:
    """Return records of another run, which take the places of those that are lost."""
    writer = Writer(OTHER_RUN, OTHER)
    return [writer.record(metrics([[0.5]], step=turn)) for turn in range(count)]


def again(records: list[LogRecord]) -> list[NewRecord]:
    """Return records as a writer sends them once more."""
    return [NewRecord(one.partition.topic, one.key, one.value) for one in records]


async def wait_stopped(worker: Worker) -> str:
    """Wait until the partition of the events stands still; return why."""
    async with asyncio.timeout(20):
        while True:
            if worker.telemetry.stopped:
                return worker.telemetry.stopped[f"{EVENTS_TOPIC}:0"]
            await asyncio.sleep(0.01)


async def position(pool: Pool, generation: int | None = None) -> int:
    """Return how far the events are in a generation's tables, or in the live ones."""
    found = await pool.fetchval(
        "SELECT next_offset FROM trialog.leases JOIN trialog.generations USING (generation) "
        "WHERE topic = $1 AND CASE WHEN $2::int IS NULL THEN status = 'live' "
        "ELSE generation = $2 END",
        EVENTS_TOPIC,
        generation,
    )
    return int(found or 0)


async def wait_position(pool: Pool, at_least: int, generation: int | None = None) -> None:
    """Wait until a generation's events, or the live ones, are so far."""
    async with asyncio.timeout(10):
        while True:
            if await position(pool, generation) >= at_least:
                return
            await asyncio.sleep(0.01)


# K2 K6
@pytest.mark.parametrize("taken", [0, 3])
async def test_worker_that_starts_on_a_log_without_its_applied_end_stands_still(
    pool: Pool, log: MemoryLog, taken: int
) -> None:
    """Whether the log is shorter now or others' records have taken the places that were lost."""
    lose(log, 1 if taken == 0 else 3)
    await log.append(others(taken))
    with structlog.testing.capture_logs() as said:
        async with running(pool, log) as worker:
            reason = await wait_stopped(worker)
    end = log.end(PLACE)
    told = f"the log ends at {end} " if end < 10 else "record 9 is another one in the log "
    assert told in reason
    assert "`trialog verify` tells what the tables hold" in reason
    assert await position(pool) == 10
    (line,) = [one for one in said if one["log_level"] == "error"]
    assert line["event"] == "partition stands still, the log has lost data"


# K2 K6
async def test_worker_notices_records_that_were_replaced_behind_its_back(
    pool: Pool, log: MemoryLog
) -> None:
    """A broker is away for a moment, and comes back with others beyond where its reader was."""
    async with running(pool, log, replace(QUICK, look_back_s=0.05)) as worker:
        await log.append(others(1))
        await wait_position(pool, 11)
        await asyncio.sleep(PAUSE_S + 0.1)
        lose(log, 2)
        await log.append(others(4))
        assert "record 10 is another one in the log" in await wait_stopped(worker)


# K2 K6
async def test_worker_at_work_whose_log_loses_its_end_says_what_to_do(
    pool: Pool, log: MemoryLog
) -> None:
    """It has read beyond where the log ends now; that is no record which an archive would have."""
    async with running(pool, log) as worker:
        await log.append(others(1))
        await wait_position(pool, 11)
        lose(log, 3)
        reason = await wait_stopped(worker)
    assert "the log ends at 8 and its first 11 records are applied" in reason
    assert "`trialog verify` tells what the tables hold" in reason


async def test_worker_goes_on_where_all_is_as_it_was(pool: Pool, log: MemoryLog) -> None:
    """Looking back finds nothing, applies nothing twice, and needs no record that was dropped."""
    async with running(pool, log, replace(QUICK, look_back_s=0.01)) as worker:
        await asyncio.sleep(0.3)
        await log.drop_before({PLACE: 10})
        await asyncio.sleep(0.1)
    async with running(pool, log) as second:
        await log.append(others(1))
        await wait_position(pool, 11)
    assert worker.telemetry.stopped == second.telemetry.stopped == {}
    assert (second.telemetry.events, second.telemetry.duplicates) == (1, 0)


# K6
@pytest.mark.parametrize("taken", [2, 6])
async def test_verification_tells_from_where_and_whose_events_are_lost(
    pool: Pool, postgres_url: str, log: MemoryLog, taken: int
) -> None:
    """The partition, the offset, how many records; each run and writer with its seqs."""
    assert await position(pool) == 10
    lose(log, 4)
    await log.append(others(taken))
    found = await verify(postgres_url, log, unheard)
    assert not found.is_clean
    (cut,) = found.loss.cuts
    assert (cut.partition, cut.first_offset, cut.applied, cut.end) == (PLACE, 6, 10, 6 + taken)
    (lost,) = found.loss.events
    assert (lost.run_id, lost.run_name, lost.experiment_name) == (RUN, "first", "digits")
    assert (lost.writer_id, lost.first_seq, lost.last_seq) == (Writer().writer_id, 7, 10)
    assert "4 records from offset 6 on were applied and are lost" in str(cut)
    assert str(lost) == f"run {RUN} (digits/first), writer {Writer().writer_id}: seq 7 to 10"
    # Rows are compared again as soon as the log reaches as far as they do.
    assert bool(found.tables) is (taken >= 4)
    with pytest.raises(UnavailableError, match="nothing is signed"):
        await read_trees(log, await live_chains(postgres_url), unheard)


# K2 K6
async def test_events_that_were_sent_again_are_not_lost(
    pool: Pool, postgres_url: str, log: MemoryLog
) -> None:
    """They stand elsewhere; tables of that log need nobody's word, and hold all of them."""
    lost = lose(log, 4)
    await log.append([*others(2), *again(lost[1:])])
    found = await verify(postgres_url, log, unheard)
    assert [(one.first_seq, one.last_seq) for one in found.loss.events] == [(7, 7)]
    assert found.tables
    await log.append(again(lost[:1]))
    assert (await verify(postgres_url, log, unheard)).loss.cuts  # up to where the tables are
    done = await rebuild(postgres_url, log, unheard)
    assert (done.loss.count, len(done.loss.cuts)) == (0, 1)
    assert (await verify(postgres_url, log, unheard)).is_clean
    points = await pool.fetchval("SELECT points FROM live.run_states WHERE run_id = $1", RUN)
    assert points == 9
    assert await pool.fetchval("SELECT count(*) FROM live.gaps") == 0


# K2 K6
async def test_events_whose_places_unreadable_records_took_are_lost(
    postgres_url: str, log: MemoryLog
) -> None:
    """The tables of the log list a record at that offset, which is another one."""
    lose(log, 4)
    await log.append([NewRecord(EVENTS_TOPIC, RUN, b"rubbish")] * 4)
    found = await verify(postgres_url, log, unheard)
    assert [(one.first_seq, one.last_seq) for one in found.loss.events] == [(7, 10)]
    with pytest.raises(EventsLostError, match="lacks 4 events of 1 runs"):
        await rebuild(postgres_url, log, unheard)


# K2 K6
@pytest.mark.parametrize("taken", [0, 6])
async def test_rebuild_gives_up_what_is_lost_on_word_only(
    pool: Pool, postgres_url: str, log: MemoryLog, taken: int
) -> None:
    """Without it everything is as it was; with it the tables are those of the log, to the row."""
    lose(log, 4)
    await log.append(others(taken))
    before = await schema_digests(postgres_url, "gen_1")
    with pytest.raises(EventsLostError, match="lacks 4 events of 1 runs") as refused:
        await rebuild(postgres_url, log, unheard)
    assert [(one.first_seq, one.last_seq) for one in refused.value.loss.events] == [(7, 10)]
    assert (await live_generation(pool)).number == 1
    assert await schema_digests(postgres_url, "gen_1") == before

    done = await rebuild(postgres_url, log, unheard, accepts_loss=True)
    assert (done.loss.count, done.generation, done.replaced) == (4, 2, 1)
    assert (await verify(postgres_url, log, unheard)).is_clean
    assert await position(pool) == 6 + taken
    await log.append(others(taken + 1)[taken:])
    await project_into(pool, postgres_url, log, await live_generation(pool))
    assert (await verify(postgres_url, log, unheard)).is_clean


# K2
async def test_tables_that_hold_what_is_lost_are_kept_for_a_way_back(
    pool: Pool, postgres_url: str, log: MemoryLog
) -> None:
    """As they were, as long as nothing was applied that they lack and others took no place."""
    before = await schema_digests(postgres_url, "gen_1")
    lose(log, 4)
    await rebuild(postgres_url, log, unheard, accepts_loss=True)
    back = await rebuild(postgres_url, log, unheard, way="back")
    assert (back.generation, back.loss.events) == (1, [])
    assert await schema_digests(postgres_url, "gen_1") == before
    await rebuild(postgres_url, log, unheard, accepts_loss=True)
    await log.append(others(2))
    live = await live_generation(pool)
    await project_into(pool, postgres_url, log, live)
    with pytest.raises(EventsLostError, match="the tables before lack 2 events of 1 runs"):
        await rebuild(postgres_url, log, unheard, way="back")
    await log.append(others(6)[2:])
    with pytest.raises(UnavailableError, match="record 9 is another one in the log"):
        await rebuild(postgres_url, log, unheard, way="back", accepts_loss=True)
    assert await live_generation(pool) == live


async def project_into(pool: Pool, url: str, log: MemoryLog, generation: Generation) -> None:
    """Run a worker of a generation until it has everything."""
    async with projecting(url, log, generation):
        await wait_position(pool, log.end(PLACE), generation.number)


# K2 K4
@pytest.mark.parametrize("taken", [0, 4, 6])
async def test_rebuild_that_was_interrupted_before_the_loss_begins_at_the_first_record(
    pool: Pool, postgres_url: str, log: MemoryLog, taken: int
) -> None:
    """What it had made is ahead of the log, or of records that are others by now."""
    async with rebuilding(postgres_url) as connection:
        half = await open_generation(connection, "rebuild", is_new=True)
    await project_into(pool, postgres_url, log, half)
    lose(log, 4)
    await log.append(others(taken))
    done = await rebuild(postgres_url, log, unheard, accepts_loss=True)
    assert (done.records, done.loss.count) == (7 + taken, 4)
    assert (await verify(postgres_url, log, unheard)).is_clean


# K5 K6
async def test_what_was_concluded_from_lost_records_is_forgotten(
    pool: Pool, postgres_url: str, log: MemoryLog
) -> None:
    """Tables of a moment that never was, and that other records than those there are sealed."""
    chains = await live_chains(postgres_url)
    await record_seals(postgres_url, Checkpoint(datetime.now(UTC), chains))
    await pool.execute(
        "INSERT INTO trialog.generations (generation, schema_name, status, purpose) "
        "VALUES (-1, 'as_of_1', 'building', 'snapshot')"
    )
    await pool.execute(
        "INSERT INTO trialog.snapshots (generation, key, is_whole, until) "
        "VALUES (-1, 'then', true, now())"
    )
    lose(log, 4)
    await rebuild(postgres_url, log, unheard, accepts_loss=True)
    assert await pool.fetchval("SELECT count(*) FROM trialog.snapshots") == 0
    sealed = await pool.fetch("SELECT topic, records FROM trialog.seals")
    assert [row["topic"] for row in sealed] == ["trialog.catalog.v1"]
