"""What the projection does with what it cannot use: nothing is skipped, nobody else is held up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest
import structlog

from tests.integration.projection_cases import (
    QUICK,
    count,
    digests,
    project,
    projection_pool,
    running,
    series,
    wait_applied,
)
from tests.unit.consumer.project_writers import (
    RUN,
    Writer,
    catalog_writer,
    metrics,
    run_created,
)
from trialog_schemas.events import ParametersLogged, RunEnded, RunStarted, TagsSet
from trialog_schemas.wire import (
    CATALOG_TOPIC,
    EVENTS_TOPIC,
    RecordHeader,
    encode_raw_event,
    first_hash,
    head_start,
    pack_record,
)
from trialog_server.log.base import LogRecord, NewRecord, Partition, topic_partitions
from trialog_server.log.memory import MemoryLog
from trialog_server.project.digests import TABLES
from trialog_server.project.lease import Leases
from trialog_server.project.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trialog_server.postgres.pool import Pool

# Both runs are in the only partition: what one of them does wrong, the other must not feel.
OTHER = "0191" + "ab" * 14
OTHER_WRITER = "0191" + "cc" * 14
PLACE = Partition(EVENTS_TOPIC, 0)


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A pool on a migrated database of this test's own."""
    async with projection_pool(postgres_url) as opened:
        yield opened


@pytest.fixture
def log() -> MemoryLog:
    """An empty log of one partition."""
    return MemoryLog(1)


def raw(value: bytes) -> NewRecord:
    """A record of any bytes in the partition of the runs."""
    return NewRecord(EVENTS_TOPIC, RUN, value)


def started(writer: Writer) -> NewRecord:
    """The first record of a run."""
    return writer.record(RunStarted("digits", "first"), ParametersLogged({"lr": 0.1}))


async def until(is_so: Callable[[], Awaitable[object]]) -> None:
    """Wait until something is so that nobody tells us about."""
    async with asyncio.timeout(20):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.005)


async def is_true(value: bool) -> bool:
    """What is so without asking anybody."""
    return value


async def parked(pool: Pool) -> list[tuple[int, str]]:
    """What was set aside: at which offsets, and why."""
    rows = await pool.fetch("SELECT log_offset, reason FROM parked ORDER BY topic, log_offset")
    return [(row["log_offset"], row["reason"].partition(":")[0]) for row in rows]


async def statuses(pool: Pool) -> dict[str, str]:
    """How each run stands."""
    rows = await pool.fetch("SELECT run_id, status FROM run_states")
    return {row["run_id"].hex: row["status"] for row in rows}


# K8
async def test_bytes_that_are_no_record_are_listed_and_passed(pool: Pool, log: MemoryLog) -> None:
    """Rubbish is a row with its place and reason; what stands around it is applied."""
    writer = Writer()
    await log.append(
        [raw(b"rubbish"), started(writer), raw(b""), writer.record(RunEnded("Failed"))]
    )
    worker = await project(pool, log)

    rows = await pool.fetch("SELECT topic, partition, log_offset, reason FROM dead ORDER BY 3")
    assert [tuple(row)[:3] for row in rows] == [(*PLACE, 0), (*PLACE, 2)]
    assert all(row["reason"] for row in rows)
    assert await statuses(pool) == {RUN: "Failed"}
    assert worker.telemetry.dead == 2
    assert worker.telemetry.faults == 0


async def test_record_in_a_place_that_is_not_its_own_is_listed(pool: Pool) -> None:
    """A record of another topic or partition would break its run's order: it is not applied."""
    log = MemoryLog(2)
    strange = catalog_writer().record(run_created())
    own = started(Writer())
    (position,) = await log.append([own])
    elsewhere = Partition(EVENTS_TOPIC, 1 - position.partition)
    for value in (strange.value, own.value):
        stored = log.stored(elsewhere)
        stored.append(LogRecord(elsewhere, len(stored), 1, RUN, value))
    await project(pool, log)

    reasons = [row["reason"] for row in await pool.fetch("SELECT reason FROM dead ORDER BY reason")]
    assert reasons == [
        f"record of partition {position.partition}",
        f"record of topic {CATALOG_TOPIC}",
    ]
    assert await count(pool, "runs") == 0
    assert await count(pool, "parameters") == 1


# K8
async def test_record_is_listed_once_for_each_kind_of_event_that_is_unknown(
    pool: Pool, log: MemoryLog
) -> None:
    """A later release may know the second kind and not the first: each reason has a row."""
    writer = Writer()
    shapes = [("run_dreamed", 1), ("tags_set", 2), ("run_dreamed", 1)]
    events = [
        encode_raw_event(head_start(seq, "ab" * 16, shape, 1), b"{}")
        for seq, shape in enumerate(shapes, start=1)
    ]
    start = first_hash(writer.account, writer.user, RUN, writer.writer_id)
    header = RecordHeader(writer.account, writer.user, RUN, writer.writer_id, 1, 3, start)
    await log.append([raw(pack_record(header, events))])
    worker = await project(pool, log)

    rows = await pool.fetch("SELECT log_offset, reason FROM dead ORDER BY reason")
    assert [tuple(row) for row in rows] == [
        (0, "unknown_event run_dreamed of version 1"),
        (0, "unknown_event tags_set of version 2"),
    ]
    assert worker.telemetry.dead == 3


# K8
async def test_event_of_a_later_version_is_listed_and_keeps_its_seq(
    pool: Pool, log: MemoryLog
) -> None:
    """An event we cannot read is a row; the ones beside it count on without a hole."""
    writer = Writer()
    await log.append([started(writer)])
    head = f'{{"seq":{writer.seq + 1},"id":"{"0" * 32}","type":"run_dreamed","v":1,"at":1,"body":'
    event = encode_raw_event(head, b"{}")
    header = RecordHeader(
        writer.account, writer.user, RUN, writer.writer_id, writer.seq + 1, 1, writer.chain
    )
    await log.append([raw(pack_record(header, [event]))])
    writer.seq += 1
    await log.append([writer.record(ParametersLogged({"late": 1}))])
    await project(pool, log)

    assert await pool.fetchval("SELECT log_offset FROM dead") == 1
    assert await pool.fetchval("SELECT last_seq FROM writers") == writer.seq
    assert await count(pool, "parameters") == 2
    # The chain goes over an event that nobody made: only that is noted.
    assert [tuple(row) for row in await pool.fetch("SELECT first_seq, last_seq FROM gaps")] == [
        (4, 3)
    ]


async def test_value_that_postgres_refuses_quarantines_its_run_alone(
    pool: Pool, log: MemoryLog
) -> None:
    """A value that no rule had refused stops its run at that record; the other run goes on."""
    await pool.execute("ALTER TABLE parameters ADD CHECK (name <> 'unheard of')")
    bad, good = Writer(), Writer(OTHER, OTHER_WRITER)
    await log.append([
        started(bad), started(good),
        bad.record(ParametersLogged({"fine": 1})),
        bad.record(ParametersLogged({"unheard of": 1})),
        good.record(ParametersLogged({"more": 2}), RunEnded("Completed")),
        bad.record(ParametersLogged({"after": 3}), RunEnded("Completed")),
    ])  # fmt: skip
    with structlog.testing.capture_logs() as said:
        worker = await project(pool, log)

    assert await parked(pool) == [(3, "store"), (5, "store")]
    assert await statuses(pool) == {RUN: "InProgress", OTHER: "Completed"}
    names = [row["name"] for row in await pool.fetch("SELECT name FROM parameters ORDER BY name")]
    assert names == ["fine", "lr", "lr", "more"]
    assert worker.telemetry.faults == 1
    assert [line["log_offset"] for line in said if line["log_level"] == "error"] == [3]


async def test_run_that_is_quarantined_stays_so_for_the_next_worker(
    pool: Pool, log: MemoryLog
) -> None:
    """What comes later is set aside too, by whoever has the partition then: the order is kept."""
    await pool.execute("ALTER TABLE parameters ADD CHECK (name <> 'unheard of')")
    writer = Writer()
    await log.append([started(writer), writer.record(ParametersLogged({"unheard of": 1}))])
    await project(pool, log)
    await log.append(
        [writer.record(ParametersLogged({"after": 1})), writer.record(RunEnded("Failed"))]
    )
    worker = await project(pool, log)

    assert await parked(pool) == [(1, "store"), (2, "store"), (3, "store")]
    assert (await statuses(pool), worker.telemetry.parked) == ({RUN: "InProgress"}, 2)


async def test_fold_that_breaks_quarantines_its_run_alone(pool: Pool, log: MemoryLog) -> None:
    """A defect of ours that one run meets is logged, counted, and held against that run only."""
    bad, good = Writer(), Writer(OTHER, OTHER_WRITER)
    await log.append([started(bad)])
    await project(pool, log)
    # No release writes this; a fold that meets it breaks as it does at any defect.
    await pool.execute("UPDATE run_states SET tags = '[]'")
    await log.append([
        bad.record(ParametersLogged({"before": 1})),
        started(good),
        bad.record(TagsSet({"a": "b"})),
        good.record(RunEnded("Completed")),
        bad.record(RunEnded("Completed")),
    ])  # fmt: skip
    with structlog.testing.capture_logs() as said:
        worker = await project(pool, log)

    assert await parked(pool) == [(3, "fold"), (5, "fold")]
    assert await statuses(pool) == {RUN: "InProgress", OTHER: "Completed"}
    assert await count(pool, "parameters") == 3
    assert worker.telemetry.faults == 1
    assert [line["event"] for line in said if line["log_level"] == "error"] == ["fold broke"]


async def test_catalog_record_that_cannot_be_stored_is_set_aside_alone(
    pool: Pool, log: MemoryLog
) -> None:
    """The catalog is one stream for everybody: one bad record must not end it."""
    await pool.execute("ALTER TABLE runs ADD CHECK (name <> 'unheard-of')")
    writers = [catalog_writer(number) for number in range(3)]
    names = ("one", "unheard-of", "two")
    await log.append([
        writer.record(run_created(f"0193{number:028x}", name))
        for number, (writer, name) in enumerate(zip(writers, names, strict=True))
    ])  # fmt: skip
    await project(pool, log)

    rows = await pool.fetch("SELECT name FROM runs ORDER BY name")
    assert [row["name"] for row in rows] == ["one", "two"]
    assert await parked(pool) == [(1, "store")]
    assert await count(pool, "experiments") == 1


# K4
async def test_quarantine_is_the_same_in_a_replay(pool: Pool, log: MemoryLog) -> None:
    """Which records are set aside depends on the log alone, however the batches are cut."""
    await pool.execute("ALTER TABLE parameters ADD CHECK (name <> 'unheard of')")
    bad, good = Writer(), Writer(OTHER, OTHER_WRITER)
    await log.append([started(bad), started(good), raw(b"rubbish")])
    await log.append(
        [bad.record(ParametersLogged({"unheard of": 1})), good.record(metrics([[1.0]]))]
    )
    await log.append([bad.record(metrics([[2.0]])), good.record(RunEnded("Completed"))])
    await project(pool, log)
    first = await digests(pool)

    await pool.execute(
        "TRUNCATE experiments, runs, run_states, writers, gaps, parameters, metric_summaries,"
        " metric_chunks, artifacts, rejections, dead, parked, record_index;"
        " UPDATE trialog.leases SET next_offset = 0, chain = NULL"
    )
    await project(pool, log, replace(QUICK, batch_bytes_max=1))

    assert await digests(pool) == first


async def test_partition_whose_log_lost_data_stands_still_and_the_others_go_on(pool: Pool) -> None:
    """An offset that is gone is never jumped over: that partition waits for its operator."""
    log, writer, catalog = MemoryLog(1), Writer(), catalog_writer()
    await log.append([started(writer), writer.record(metrics([[1.0]]))])
    await project(pool, log)
    log.stored(PLACE).clear()
    with structlog.testing.capture_logs() as said:
        async with running(pool, log) as worker:
            await until(lambda: is_true(bool(worker.telemetry.stopped)))
            await log.append([catalog.record(run_created())])
            await until(lambda: count(pool, "runs"))

    position = await pool.fetchval(
        "SELECT next_offset FROM trialog.leases WHERE topic = $1", EVENTS_TOPIC
    )
    assert position == 2
    assert list(worker.telemetry.stopped) == [f"{EVENTS_TOPIC}:0"]
    assert [line["log_level"] for line in said].count("error") == 1


async def test_log_that_is_away_is_waited_for(pool: Pool, log: MemoryLog) -> None:
    """A worker outlives a log that is away, says so once, and goes on where it was."""
    writer = Writer()
    await log.append([started(writer)])
    with structlog.testing.capture_logs() as said:
        async with running(pool, log) as worker:
            await wait_applied(pool, log)
            log.is_away = True
            await until(lambda: is_true(worker.telemetry.retries >= 3))
            log.is_away = False
            await log.append([writer.record(RunEnded("Completed"))])
            await wait_applied(pool, log)

    assert await statuses(pool) == {RUN: "Completed"}
    assert [line["event"] for line in said] == [
        "projection waits and tries again", "projection goes on",
    ]  # fmt: skip


# K2
async def test_what_a_crash_of_postgres_took_back_is_applied_again_without_a_new_record(
    pool: Pool, log: MemoryLog
) -> None:
    """Rows and position of the last commits are gone; no record comes that would show it."""
    writer = Writer()
    async with running(pool, log) as worker:
        await log.append([started(writer), writer.record(RunEnded("Completed"))])
        await wait_applied(pool, log)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE trialog.leases SET next_offset = 0, chain = NULL")
            await connection.execute("TRUNCATE " + ", ".join(TABLES))

        await until(lambda: count(pool, "run_states"))
        assert await statuses(pool) == {RUN: "Completed"}
        assert worker.telemetry.fenced == 0


# K2
async def test_partition_whose_tables_and_log_are_put_back_together_goes_on(
    pool: Pool, log: MemoryLog
) -> None:
    """An older copy of Postgres has an older position, too, from which nothing is lost."""
    writer = Writer()
    async with running(pool, log, replace(QUICK, look_back_s=0.01, renew_s=0.5)) as worker:
        await log.append([started(writer), writer.record(metrics([[1.0]]))])
        await wait_applied(pool, log)
        log.stored(PLACE).clear()
        await until(lambda: is_true(bool(worker.telemetry.stopped)))
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE trialog.leases SET next_offset = 0, chain = NULL")
            await connection.execute("TRUNCATE " + ", ".join(TABLES))
        writer = Writer()
        await log.append([started(writer), writer.record(RunEnded("Completed"))])

        await until(lambda: count(pool, "run_states"))
        assert not worker.telemetry.stopped


class TornLeases(Leases):
    """Lose the connection behind the first claim, before anybody has heard of it."""

    is_torn = False

    async def tend(self) -> None:
        """Claim, and fail once."""
        await super().tend()
        if not self.is_torn:
            self.is_torn = True
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")


# K2
async def test_partition_that_was_claimed_as_postgres_went_away_is_projected(
    pool: Pool, log: MemoryLog
) -> None:
    """It has an owner for as long as that lives, so that owner has to project it."""
    worker, stop = Worker(pool, log, QUICK), asyncio.Event()
    worker._leases = TornLeases(pool, QUICK, topic_partitions(log))
    await log.append([started(Writer())])
    working = asyncio.create_task(worker.run(stop))
    try:
        await until(lambda: count(pool, "run_states"))
        assert worker.telemetry.retries == 1
    finally:
        stop.set()
        await working


# K2
async def test_record_behind_what_a_crash_of_postgres_took_back_waits_for_no_lease(
    pool: Pool, log: MemoryLog
) -> None:
    """The position says that it is not its turn; the worker asks and goes on at once."""
    writer, settings = Writer(), replace(QUICK, lease_s=60.0, renew_s=30.0)
    async with running(pool, log, settings) as worker:
        await log.append([started(writer)])
        await wait_applied(pool, log)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE trialog.leases SET next_offset = 0, chain = NULL")
            await connection.execute("TRUNCATE " + ", ".join(TABLES))
        await log.append([writer.record(RunEnded("Completed"))])

        await wait_applied(pool, log)
        assert await statuses(pool) == {RUN: "Completed"}
        assert worker.telemetry.fenced == 1


async def test_small_chunks_are_merged_and_the_series_stays(pool: Pool, log: MemoryLog) -> None:
    """A run that logs slowly ends with few chunks, the same points and the same places."""
    writer = Writer()
    settings = replace(QUICK, merge_chunks_min=4, batch_bytes_max=1)
    await log.append([started(writer)])
    await log.append([
        writer.record(metrics([[float(step), -1.0]], step=step, names=("a", "b")))
        for step in range(21)
    ])  # fmt: skip
    worker = await project(pool, log, settings)

    assert await count(pool, "metric_chunks") <= 2 * 8
    assert worker.telemetry.merged_chunks >= 2 * 16
    found = await series(pool, "a")
    assert [step for step, _, _ in found] == list(range(21))
    offsets = await pool.fetchval(
        "SELECT array_agg(o ORDER BY c.first_index, o) FROM metric_chunks c, unnest(c.offsets) AS o"
        " WHERE c.name = 'a'"
    )
    assert offsets == list(range(1, 22))
