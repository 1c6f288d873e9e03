"""Snapshots that begin with a copy of an older one hold what a replay from the start gives."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from tests.integration.projection_cases import projection_pool, running, wait_applied
from tests.integration.test_projection_rebuild import schema_digests
from tests.unit.consumer.project_writers import Writer, catalog_writer, long
from trialog_schemas.events import (
    ArtifactLogged,
    ExperimentCreated,
    MetricsLogged,
    ParametersLogged,
    RunCreated,
    RunDeleted,
    RunEnded,
    RunStarted,
    TagsSet,
)
from trialog_schemas.wire import (
    RecordHeader,
    encode_raw_event,
    first_hash,
    head_start,
    pack_record,
)
from trialog_server.log.base import NewRecord, Partition
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.log.moments import Moment, find_moment, parse_moment
from trialog_server.postgres.queries import load_query
from trialog_server.project.digests import TABLES
from trialog_server.project.snapshots import CATALOG, Scope, Snapshots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from trialog_schemas.events import Body
    from trialog_server.log.base import LogRecord
    from trialog_server.postgres.pool import Pool
    from trialog_server.project.digests import TableDigest

# One history for all: making it is what takes time.
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

WAIT_S = 30.0
EXPERIMENTS = ("0190" + "e1" * 14, "0190" + "e2" * 14)
RUNS = [f"0190{number:028x}" for number in range(1, 7)]
SCOPES = (
    CATALOG,
    Scope("default", "digits"),
    Scope("default", "digits", run_name="run-1"),
    Scope(run_id=RUNS[2]),
    Scope("default", "other"),
    Scope(parent_run_id=RUNS[0]),
)

ASKER = """
import asyncio, sys
from tests.integration.test_snapshot_copies import ask_alone
asyncio.run(ask_alone(*sys.argv[1:]))
"""


class CountingLog(EmbeddedLog):
    """A log that counts the records that are looked up one by one, those of runs."""

    looked_up = 0

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records, and count them."""
        self.looked_up += len(offsets)
        return await super().read_at(partition, offsets)


@dataclass
class Past:
    """A database with a history of several runs applied, and a process that is asked about it."""

    url: str
    pool: Pool
    log: CountingLog
    one: Snapshots
    moments: list[Moment] = field(default_factory=list)

    async def digests(self, scope: Scope, moment: Moment) -> Mapping[str, TableDigest]:
        """Return what the tables of a moment hold; they are made where they are not there."""
        async with self.one.tables([scope], moment, WAIT_S) as tables, tables.acquire() as seen:
            return await schema_digests(self.url, await seen.fetchval("SELECT current_schema()"))

    async def schema(self, scope: Scope, moment: Moment) -> str:
        """Return where the tables of a moment are."""
        async with self.one.tables([scope], moment, WAIT_S) as tables, tables.acquire() as seen:
            return str(await seen.fetchval("SELECT current_schema()"))

    async def fresh(self, scope: Scope, moment: Moment) -> Mapping[str, TableDigest]:
        """Return what they hold where nothing can be copied."""
        await self.forget()
        return await self.digests(scope, moment)

    async def forget(self) -> None:
        """Drop every snapshot."""
        await self.pool.execute(load_query("drop_old_snapshots"), 0.0, 0)
        assert await self.pool.fetchval("SELECT count(*) FROM trialog.snapshots") == 0


def history(dice: random.Random, length: int) -> list[NewRecord]:
    """Return records of nearly everything: refusals, holes, repetitions, what nobody can read."""
    catalog = [catalog_writer(number) for number in range(3)]
    writers = {
        (run, number): Writer(run, f"0191{number:012x}{run[-16:]}")
        for run in RUNS
        for number in range(2)
    }
    records = [catalog[0].record(ExperimentCreated(EXPERIMENTS[1], "other", "text"))]
    for _ in range(length):
        number = dice.randrange(len(RUNS))
        run, home = RUNS[number], number % 2
        name = ("digits", "other")[home]
        parent = RUNS[0] if number > 3 else None
        created = RunCreated(run, name, f"run-{number}", EXPERIMENTS[home], parent_run_id=parent)
        values = [("loss", dice.randrange(9), dice.random()) for _ in range(dice.randint(1, 4))]
        step: Body = dice.choice(
            (
                created,
                created,
                RunStarted(name, f"run-{number}"),
                ParametersLogged({"lr": dice.choice((0.1, 0.2))}),
                MetricsLogged((long(values),)),
                MetricsLogged((long(values),)),
                TagsSet({"team": dice.choice(("red", "blue"))}, removed=("gone",)),
                ArtifactLogged("m", "file", "text/plain", sha256=f"{number:064x}", size=3),
                RunEnded(dice.choice(("Completed", "Failed"))),
                RunDeleted(run),
            )
        )
        in_catalog = isinstance(step, RunCreated | RunDeleted)
        writer = dice.choice(catalog) if in_catalog else writers[run, dice.randrange(2)]
        if dice.random() < 0.1:
            writer.seq += 1  # an event that never comes
        records.append(unknown(writer) if dice.random() < 0.1 else writer.record(step))
        if dice.random() < 0.1:
            records.append(dice.choice(records))
        if dice.random() < 0.1:
            records.append(NewRecord(records[-1].topic, records[-1].key, b"rubbish"))
    return records


def unknown(writer: Writer) -> NewRecord:
    """Return a record of an event that no release has."""
    start = writer.chain or first_hash(writer.account, writer.user, writer.run_id, writer.writer_id)
    writer.seq += 1
    header = RecordHeader(
        writer.account, writer.user, writer.run_id, writer.writer_id, writer.seq, 1, start
    )
    event = encode_raw_event(head_start(writer.seq, "ab" * 16, ("run_dreamed", 1), 1), b"{}")
    return NewRecord(header.topic, header.key, pack_record(header, [event]))


@asynccontextmanager
async def open_past(url: str, length: int) -> AsyncIterator[Past]:
    """Give a history that is applied, and the moments after each of its records."""
    async with projection_pool(url) as pool:
        log = await CountingLog.open(pool, events_partitions=2)
        past = Past(url, pool, log, Snapshots(pool, url, log))
        async with running(pool, log):
            ends: dict[Partition, int] = {}
            for record in history(random.Random(5), length):
                (position,) = await log.append([record])
                ends[Partition(position.topic, position.partition)] = position.offset + 1
                past.moments.append(Moment(dict(ends), len(past.moments)))
            await wait_applied(pool, log)
            yield past
        await log.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history_of_all(module_postgres_url: str) -> AsyncIterator[Past]:
    """The history that the tests of this module share."""
    async with open_past(module_postgres_url, 90) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def past(history_of_all: Past) -> Past:
    """The history, without a snapshot."""
    await history_of_all.forget()
    return history_of_all


async def ask_alone(url: str, moment_text: str) -> None:
    """Ask for the catalog and a run at a moment, as a process of its own."""
    async with projection_pool(url) as pool:
        log = await EmbeddedLog.open(pool)
        moment = await find_moment(log, parse_moment(moment_text, 2**60))
        async with Snapshots(pool, url, log).tables([SCOPES[1]], moment, WAIT_S):
            pass


# K5
async def test_tables_of_many_moments_are_those_of_replays_from_the_start(past: Past) -> None:
    """In any order, of any scopes: each begins with a copy of what is there, and is the same."""
    dice = random.Random(7)
    scopes = dice.choices(SCOPES, weights=(1, 5, 1, 1, 1, 1), k=6)
    asked = list(zip(scopes, dice.sample(past.moments[20:], 6), strict=True))
    asked.append((SCOPES[1], past.moments[-1]))
    before = past.log.looked_up
    copied = [await past.digests(scope, moment) for scope, moment in asked]
    between = past.log.looked_up
    for (scope, moment), tables in zip(asked, copied, strict=True):
        assert await past.fresh(scope, moment) == tables, (scope, moment)
    assert between - before < (past.log.looked_up - between) / 2
    filled = {table for tables in copied for table in TABLES if tables[table].lines}
    assert filled == {*TABLES} - {"parked"}


async def test_quarantined_run_is_copied_as_one(past: Past) -> None:
    """What is set aside in an older snapshot is set aside in those that begin with it."""
    older = await past.schema(SCOPES[3], past.moments[-3])
    await past.pool.execute(
        f"INSERT INTO {older}.parked SELECT run_id, topic, partition, log_offset, 'fold', at "
        f"FROM {older}.record_index WHERE run_id = $1 ORDER BY log_offset DESC LIMIT 1",
        RUNS[2],
    )
    assert (await past.digests(SCOPES[3], past.moments[-1]))["parked"].lines == 1


async def test_several_who_ask_at_once_begin_with_the_same_one(past: Past) -> None:
    """Two processes, the same and other moments: all begin with one that is there."""
    other = Snapshots(past.pool, past.url, past.log)
    await past.digests(SCOPES[1], past.moments[-40])
    asked = [past.moments[place] for place in (-20, -9, -9)]

    async def look(who: Snapshots, moment: Moment) -> None:
        async with who.tables([SCOPES[1]], moment, WAIT_S):
            pass

    before = past.log.looked_up
    await asyncio.gather(*(look(who, moment) for moment in asked for who in (past.one, other)))
    assert await past.pool.fetchval("SELECT count(*) FROM trialog.snapshots") == 3
    copied = [await past.digests(SCOPES[1], moment) for moment in asked[:2]]
    between = past.log.looked_up
    assert copied == [await past.fresh(SCOPES[1], moment) for moment in asked[:2]]
    assert 0 < between - before < (past.log.looked_up - between) / 2


async def test_one_that_is_being_dropped_is_not_waited_for(past: Past) -> None:
    """Who drops the nearest one holds nobody up; the next one begins with another, or the log."""
    scope, moment = SCOPES[1], past.moments[-10]
    await past.digests(scope, past.moments[-40])
    async with past.pool.acquire() as dropping, dropping.transaction():
        await dropping.execute(load_query("drop_old_snapshots"), 0.0, 0)
        copied = await past.digests(scope, moment)
    assert copied == await past.fresh(scope, moment)


async def test_process_killed_amid_a_copy_leaves_nothing_of_it(past: Past) -> None:
    """It holds the older one while it copies; after SIGKILL the next who asks makes it anew."""
    scope, moment = SCOPES[1], past.moments[-1]
    older = await past.schema(scope, past.moments[-20])
    locking = await asyncpg.connect(past.url)
    async with locking.transaction():
        await locking.execute(f"LOCK TABLE {older}.parameters")
        command = (sys.executable, "-c", ASKER, past.url, moment.positions)
        process = await asyncio.create_subprocess_exec(*command)
        await wait_true(past.pool, COPY_WAITS)
        await past.pool.execute(load_query("drop_old_snapshots"), 0.0, 0)
        assert await past.pool.fetchval("SELECT count(*) FROM trialog.snapshots") == 2
        process.kill()
        await process.wait()
    await locking.close()
    await wait_true(past.pool, f"NOT {COPY_WAITS}")
    (left,) = await past.pool.fetch(
        "SELECT g.schema_name FROM trialog.snapshots JOIN trialog.generations AS g "
        "USING (generation) WHERE NOT is_whole"
    )
    assert await past.pool.fetchval(f"SELECT count(*) FROM {left['schema_name']}.experiments") == 0
    await past.pool.execute("UPDATE trialog.snapshots SET until = now() - interval '1 s'")
    copied = await past.digests(scope, moment)
    assert copied == await past.fresh(scope, moment)


COPY_WAITS = (
    "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
    "AND query LIKE '%trialog.copy_generation%' AND state <> 'idle' AND pid <> pg_backend_pid())"
)


async def wait_true(pool: Pool, condition: str) -> None:
    """Wait until Postgres says so."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if await pool.fetchval(f"SELECT {condition}"):
                return
            await asyncio.sleep(0.01)
