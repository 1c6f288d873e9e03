"""A rebuild: the same tables from the log again, beside the live ones, and the switch to them."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.integration.projection_cases import (
    LOGS,
    QUICK,
    count,
    opened_log,
    project,
    projection_pool,
    running,
    wait_applied,
)
from tests.integration.test_projection_rows import mixed_records
from tests.unit.consumer.project_writers import RUN, Writer, metrics
from trialog_schemas.errors import ResourceInUseError, ResourceNotFoundError, UnavailableError
from trialog_schemas.events import ParametersLogged, RunStarted
from trialog_server.log.base import topic_partitions
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.log.memory import MemoryLog
from trialog_server.postgres.queries import load_query
from trialog_server.project.digests import TABLES, TableDigest, table_digest
from trialog_server.project.generations import (
    live_generation,
    open_generation,
    read_generations,
    read_positions,
    rebuilding,
    reopen_generation,
)
from trialog_server.project.rebuild import projecting, rebuild

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialog_server.log.base import Log, NewRecord
    from trialog_server.postgres.pool import Pool
    from trialog_server.project.worker import Worker

pytestmark = pytest.mark.postgres


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    """Connections to an empty read model, as a worker has them."""
    async with projection_pool(postgres_url) as opened:
        yield opened


@pytest.fixture(params=LOGS)
async def log(request: pytest.FixtureRequest, pool: Pool) -> AsyncIterator[Log]:
    """An empty log of each kind that needs no broker."""
    async with opened_log(request.param, pool) as opened:
        yield opened


def unheard(_done: int, _total: int) -> None:
    """Listen to no progress."""


def many_records(runs: int = 12, records: int = 20) -> list[NewRecord]:
    """Return runs whose records lie between each other's, of metrics that come and go."""
    writers = [Writer(f"{number:032x}", f"0192{number:028x}") for number in range(1, runs + 1)]
    out = [writer.record(RunStarted("digits", writer.run_id[-4:])) for writer in writers]
    for turn in range(records):
        for number, writer in enumerate(writers):
            names = ("loss", "acc") if (turn + number) % 3 else ("loss",)
            rows = [[0.1 * turn + number] * len(names), [float("nan")] * len(names)]
            out.append(
                writer.record(
                    metrics(rows, step=turn, names=names), ParametersLogged({"turn": turn})
                )
            )
    return out


async def schema_digests(url: str, schema_name: str) -> dict[str, TableDigest]:
    """Return the digest of every table of a generation."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {table: await table_digest(connection, schema_name, table) for table in TABLES}
    finally:
        await connection.close()


async def wait_all_applied(pool: Pool, log: Log, generation: int) -> None:
    """Wait until a generation has everything that is in the log now."""
    bounds = await log.bounds(topic_partitions(log))
    await wait_records(pool, generation, sum(end for _, end in bounds.values()))


async def wait_without_claims(worker: Worker) -> None:
    """Wait until a worker has seen, when it next looks after its leases, that it has none."""
    async with asyncio.timeout(20):
        while True:
            if not worker._leases.claims:
                return
            await asyncio.sleep(0.01)


async def wait_records(pool: Pool, generation: int, records: int) -> None:
    """Wait until so many records are applied to a generation."""
    async with asyncio.timeout(60):
        while True:
            if sum((await read_positions(pool, generation)).values()) >= records:
                return
            await asyncio.sleep(0.01)


async def test_tables_that_are_compared_are_all_there_are(pool: Pool) -> None:
    """A table that was forgotten there would never be found wrong."""
    rows = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'gen_1'")
    assert sorted(row["tablename"] for row in rows) == sorted(TABLES)


# K4
@pytest.mark.parametrize(("batch_bytes_max", "workers"), [(1, 1), (700, 3), (1 << 22, 2)])
async def test_rebuild_gives_the_same_digests_for_any_batches_and_workers(
    pool: Pool, postgres_url: str, batch_bytes_max: int, workers: int
) -> None:
    """What the tables hold depends on the log alone, not on how it was read."""
    log = MemoryLog()
    await log.append([*mixed_records(), *many_records()])
    await project(pool, log)
    async with rebuilding(postgres_url) as connection:
        built = await open_generation(connection, "rebuild", is_new=True)
        settings = replace(
            QUICK,
            generation=built.number,
            schema_name=built.schema_name,
            batch_bytes_max=batch_bytes_max,
            merge_chunks_min=3,
        )
        async with AsyncExitStack() as stack:
            for _ in range(workers):
                await stack.enter_async_context(projecting(postgres_url, log, built, settings))
            await wait_all_applied(pool, log, built.number)
    live = await schema_digests(postgres_url, "gen_1")
    assert await schema_digests(postgres_url, built.schema_name) == live
    assert live["metric_chunks"].lines == 2 * 12 + 4
    assert live["rejections"].lines > 12 * 19


# K4
async def test_rebuild_switches_and_the_old_tables_stay_as_they_were(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """The new generation is live with the same content; the old one is kept, no snapshot is."""
    await log.append(mixed_records())
    await project(pool, log)
    snapshot = await pool.fetchval(load_query("create_snapshot"), "then", 10.0)
    await pool.execute(load_query("finish_snapshot"), snapshot)
    before = await schema_digests(postgres_url, "gen_1")
    told: list[tuple[int, int]] = []
    done = await rebuild(postgres_url, log, lambda *now: told.append(now))
    assert (done.generation, done.replaced, done.records) == (2, 1, len(mixed_records()))
    assert told[-1] == (done.records, done.records)
    assert await schema_digests(postgres_url, "gen_2") == before
    assert await schema_digests(postgres_url, "gen_1") == before
    found = await read_generations(pool)
    assert [(one.number, one.status) for one in found] == [(2, "live"), (1, "old")]
    assert await pool.fetchval("SELECT count(*) FROM live.runs") == before["runs"].lines


async def test_rebuild_beside_a_log_that_grows_misses_nothing(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """The live tables go on while others are built, and the new ones have everything at once."""
    writer = Writer()
    seen: list[int] = []

    async def read() -> None:
        while True:
            points = await pool.fetchval("SELECT coalesce(sum(points), 0) FROM live.run_states")
            seen.append(points)
            await asyncio.sleep(0)

    async def write() -> None:
        for turn in range(200):
            await log.append([writer.record(metrics([[float(turn)]], step=turn))])
            await asyncio.sleep(0.002)

    await log.append(many_records())
    async with running(pool, log):
        reading = asyncio.create_task(read())
        writing = asyncio.create_task(write())
        await rebuild(postgres_url, log, unheard)
        await writing
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    assert seen == sorted(seen)
    live = await live_generation(pool)
    settings = replace(QUICK, generation=live.number, schema_name=live.schema_name)
    async with projecting(postgres_url, log, live, settings):
        await wait_all_applied(pool, log, live.number)
    stored = await pool.fetchval("SELECT points FROM live.run_states WHERE run_id = $1", RUN)
    assert stored == 200


async def test_worker_of_replaced_tables_moves_them_no_more(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """Who still projects into the old generation is fenced; the old tables stand still."""
    writer = Writer()
    await log.append([writer.record(metrics([[1.0]]))])
    async with running(pool, log) as worker:
        await wait_applied(pool, log)
        await rebuild(postgres_url, log, unheard)
        await log.append([writer.record(metrics([[2.0]]))])
        live = await live_generation(pool)
        async with projecting(postgres_url, log, live):
            await wait_all_applied(pool, log, live.number)
        await wait_without_claims(worker)
    assert await count(pool, "gen_1.metric_chunks") == 1
    assert await pool.fetchval("SELECT sum(points) FROM live.run_states") == 2


async def test_rebuild_that_was_interrupted_goes_on_where_it_was(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """What was built is not built again, and the live tables never noticed."""
    await log.append([*mixed_records(), *many_records()])
    await project(pool, log)
    async with rebuilding(postgres_url) as connection:
        built = await open_generation(connection, "rebuild", is_new=False)
        small = replace(
            QUICK, generation=built.number, schema_name=built.schema_name, batch_bytes_max=1
        )
        async with projecting(postgres_url, log, built, small):
            await wait_records(pool, built.number, 20)
        so_far = await read_positions(connection, built.number)
    assert (await live_generation(pool)).number == 1
    told: list[int] = []
    done = await rebuild(postgres_url, log, lambda now, _total: told.append(now))
    assert done.generation == built.number
    assert told[0] >= sum(so_far.values()) >= 20
    schemas = [await schema_digests(postgres_url, name) for name in ("gen_1", built.schema_name)]
    assert schemas[0] == schemas[1]


async def test_rebuild_can_be_begun_anew_and_taken_back(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """`anew` forgets the unfinished one; `back` returns to the one before, brought up to date."""
    await log.append(mixed_records())
    await project(pool, log)
    async with rebuilding(postgres_url) as connection:
        left = await open_generation(connection, "rebuild", is_new=False)
    anew = await rebuild(postgres_url, log, unheard, way="anew")
    assert anew.generation == left.number
    assert [one.number for one in await read_generations(pool)] == [2, 1]
    await log.append([Writer("ab" * 16, "0193" + "cd" * 14).record(metrics([[1.0]]))])
    back = await rebuild(postgres_url, log, unheard, way="back")
    assert (back.generation, back.replaced) == (1, 2)
    assert await pool.fetchval("SELECT count(*) FROM live.run_states") == 3
    # The tables that were returned to are kept now, those that were a mistake are not.
    again = await rebuild(postgres_url, log, unheard)
    assert (again.generation, again.replaced) == (3, 1)
    assert [one.number for one in await read_generations(pool)] == [3, 1]


async def test_way_back_that_was_interrupted_is_no_beginning_of_a_rebuild(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """Tables that were live before are only returned to; a rebuild reads the log from its start."""
    await log.append(mixed_records())
    await project(pool, log)
    await rebuild(postgres_url, log, unheard)
    await pool.execute("UPDATE gen_1.parameters SET value = '0.75' WHERE name = 'lr'")
    async with rebuilding(postgres_url) as connection:
        assert (await reopen_generation(connection)).number == 1
    async with rebuilding(postgres_url) as connection:
        assert (await reopen_generation(connection)).number == 1
    expected = await schema_digests(postgres_url, "gen_2")
    assert (await rebuild(postgres_url, log, unheard)).generation == 3
    assert await schema_digests(postgres_url, "gen_3") == expected


async def test_rebuild_waits_for_a_worker_that_is_frozen_in_its_batch(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """The row of its lease is locked until Postgres ends its silent session."""
    await log.append(mixed_records())
    await project(pool, log)
    frozen = await asyncpg.connect(
        postgres_url, server_settings={"idle_in_transaction_session_timeout": "700"}
    )
    await frozen.execute("BEGIN")
    await frozen.execute("UPDATE trialog.leases SET chain = ''")
    assert (await rebuild(postgres_url, log, unheard)).generation == 2
    assert frozen.is_closed()
    assert await schema_digests(postgres_url, "gen_2") == await schema_digests(
        postgres_url, "gen_1"
    )


async def test_rebuild_forgets_what_a_dead_verification_left(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """Its tables are of no use to anybody and take as much room as the live ones."""
    async with rebuilding(postgres_url) as connection:
        await open_generation(connection, "verify", is_new=True)
    await rebuild(postgres_url, log, unheard)
    found = await read_generations(pool)
    assert [(one.purpose, one.status) for one in found] == [("rebuild", "live"), ("rebuild", "old")]


async def test_rebuild_says_in_one_error_what_ended_it(pool: Pool, postgres_url: str) -> None:
    """Records that are gone, or Postgres in the middle: a typed error, and the next one goes on."""
    log = await EmbeddedLog.open(pool)
    await log.append([*mixed_records(), *many_records()])
    await project(pool, log)
    await pool.execute(
        "CREATE TABLE public.gone AS SELECT * FROM trialog.log_records WHERE log_offset = 0"
    )
    await pool.execute("DELETE FROM trialog.log_records WHERE log_offset = 0")
    with pytest.raises(UnavailableError, match="the tables cannot be built"):
        await rebuild(postgres_url, log, unheard)
    await pool.execute("INSERT INTO trialog.log_records SELECT * FROM public.gone")

    ending: list[asyncio.Future[str]] = []
    with pytest.raises(UnavailableError, match="postgres went away in the middle"):
        await rebuild(
            postgres_url,
            log,
            lambda *_: ending.append(asyncio.ensure_future(pool.execute(END_REBUILD))),
        )
    await asyncio.gather(*ending)
    assert (await live_generation(pool)).number == 1
    assert (await rebuild(postgres_url, log, unheard)).generation == 2
    await log.close()


END_REBUILD = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'trialog rebuild' AND datname = current_database()"
)


async def test_session_that_is_silent_in_a_switch_loses_its_locks(
    pool: Pool, postgres_url: str
) -> None:
    """A process that is frozen then must not keep every question waiting until it goes on."""

    async def freeze() -> None:
        async with rebuilding(postgres_url) as connection, connection.transaction():
            await connection.execute(load_query("limit_lock_wait"), "200ms", "50ms")
            await connection.execute("LOCK TABLE gen_1.runs IN ACCESS EXCLUSIVE MODE")
            assert await pool.fetchval("SELECT count(*) FROM live.runs") == 0
            await connection.execute("SELECT 1")

    with pytest.raises(UnavailableError, match="postgres went away in the middle"):
        await freeze()


async def test_rebuild_is_refused_where_it_cannot_be(
    pool: Pool, log: Log, postgres_url: str
) -> None:
    """A second one at once, a way back from the first generation, and a log of another service."""
    await log.append(mixed_records())
    await project(pool, log)
    async with rebuilding(postgres_url):
        with pytest.raises(ResourceInUseError, match="another rebuild"):
            await rebuild(postgres_url, log, unheard)
    with pytest.raises(ResourceNotFoundError, match="no older generation"):
        await rebuild(postgres_url, log, unheard, way="back")
    with pytest.raises(UnavailableError, match="it is another log"):
        await rebuild(postgres_url, MemoryLog(), unheard)
    # What was made of the other log is gone on with, should that be accepted.
    assert [one.status for one in await read_generations(pool)] == ["building", "live"]
