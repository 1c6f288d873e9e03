"""Snapshots: made once by whoever is asked, taken over from the dead, dropped only when unused."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.integration.projection_cases import projection_pool, running, wait_applied
from tests.unit.consumer.project_writers import RUN, Writer, catalog_writer, metrics, run_created
from trialog_schemas.errors import SnapshotPendingError, UnavailableError
from trialog_schemas.wire import CATALOG_TOPIC
from trialog_server.log.base import Partition
from trialog_server.log.memory import MemoryLog
from trialog_server.log.moments import Moment, find_moment, parse_moment
from trialog_server.postgres.queries import load_query
from trialog_server.project.rebuild import rebuild
from trialog_server.project.snapshots import CATALOG, Scope, Snapshots
from trialog_server.read.list_runs import get_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialog_server.log.base import LogRecord
    from trialog_server.postgres.pool import Pool

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(60)]

WAIT_S = 30.0
OF_RUN = Scope(run_id=RUN)
RECORDS = 5


class HeldLog(MemoryLog):
    """A log that gives single records only while it is not held."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = asyncio.Event()
        self.is_free.set()
        self.is_looked_at = asyncio.Event()
        self.looks = 0

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records, once they are given."""
        self.looks += 1
        self.is_looked_at.set()
        await self.is_free.wait()
        return await super().read_at(partition, offsets)


@dataclass
class Past:
    """A database with a run's log applied, and two processes that are asked about it."""

    pool: Pool
    log: HeldLog
    one: Snapshots
    other: Snapshots

    async def moment(self, offset: int) -> Moment:
        """Return when the run had so many records."""
        place = next(place for place in self.log._records if place.topic != CATALOG_TOPIC)
        token = f"catalog:0:0,events:{place.number}:{offset}"
        return await find_moment(self.log, parse_moment(token, 2**60))

    async def count(self) -> int:
        """Return how many snapshots there are, and check that nothing else is left of others."""
        found: int = await self.pool.fetchval("SELECT count(*) FROM trialog.snapshots")
        for statement in (
            "SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, 'as_of_')",
            "SELECT count(*) FROM trialog.generations WHERE purpose = 'snapshot'",
            "SELECT count(DISTINCT generation) FROM trialog.leases WHERE generation < 0",
        ):
            assert await self.pool.fetchval(statement) <= found
        return found


@pytest.fixture
async def past(postgres_url: str) -> AsyncIterator[Past]:
    """A run of five records of one point each."""
    async with projection_pool(postgres_url) as pool:
        log, writer = HeldLog(), Writer()
        async with running(pool, log):
            await log.append([catalog_writer().record(run_created())])
            for step in range(RECORDS):
                await log.append([writer.record(metrics([[float(step)]], step))])
            await wait_applied(pool, log)
            yield Past(pool, log, *(Snapshots(pool, postgres_url, log) for _ in range(2)))


async def points(past: Past, asked: Snapshots, moment: Moment) -> int:
    """Return how many points the run had then."""
    async with asked.tables([OF_RUN], moment, WAIT_S) as tables:
        return (await get_run(tables, "default", RUN)).points  # type: ignore[arg-type]


async def test_many_who_ask_at_once_have_one_snapshot_made(past: Past) -> None:
    """Two processes, four questions each, one moment: one is made, and all see the same."""
    moment = await past.moment(2)
    asked = [points(past, one, moment) for one in (past.one, past.other) for _ in range(4)]
    assert await asyncio.gather(*asked) == [3] * 8
    assert await past.count() == 1
    looks = past.log.looks
    assert await points(past, past.other, moment) == 3
    assert past.log.looks == looks


async def test_one_that_takes_long_is_said_to_be_pending_and_never_seen_half(past: Past) -> None:
    """Whoever cannot wait hears how far it is, in both processes; it goes on meanwhile."""
    moment = await past.moment(3)
    past.log.is_free.clear()
    for asked in (past.one, past.other):
        with pytest.raises(SnapshotPendingError, match=r"0 % is done; ask again"):
            async with asked.tables([OF_RUN], moment, 0.2):
                raise AssertionError("half a snapshot was given")
    past.log.is_free.set()
    assert await points(past, past.other, moment) == 4
    assert await past.count() == 1


async def test_more_than_some_are_not_begun_at_once(past: Past, postgres_url: str) -> None:
    """Whoever asks for many moments costs no more than those; asking again goes on."""
    asked = Snapshots(past.pool, postgres_url, past.log, making_max=1)
    held, other = await past.moment(0), await past.moment(1)
    past.log.is_free.clear()
    with pytest.raises(SnapshotPendingError, match="0 % is done"):
        async with asked.tables([OF_RUN], held, 0.1):
            raise AssertionError("half a snapshot was given")
    with pytest.raises(SnapshotPendingError, match="of 1 other moments are being made"):
        async with asked.tables([OF_RUN], other, WAIT_S):
            raise AssertionError("one more was begun")
    assert await past.count() == 1
    past.log.is_free.set()
    assert await points(past, asked, held) == 1
    assert await points(past, asked, other) == 2


async def test_snapshot_of_a_dead_process_is_made_anew_by_the_next(past: Past) -> None:
    """Its word has run out: whoever asks drops what it left, and nothing of it stays."""
    moment = await past.moment(1)
    assert await past.one._begin(OF_RUN.key(moment)) is not None
    await past.pool.execute("UPDATE trialog.snapshots SET until = now() - interval '1 s'")
    assert await points(past, past.other, moment) == 2
    assert await past.count() == 1


async def test_process_that_was_frozen_too_long_gives_its_snapshot_up(past: Past) -> None:
    """Another one has taken it away: it says so, and does not write into the other's tables."""
    moment = await past.moment(2)
    past.log.is_looked_at.clear()
    past.log.is_free.clear()
    frozen = asyncio.create_task(points(past, past.one, moment))
    await asyncio.wait_for(past.log.is_looked_at.wait(), WAIT_S)
    await past.pool.execute("SELECT trialog.drop_generation(generation) FROM trialog.snapshots")
    with pytest.raises(UnavailableError, match="taken from the process that was making them"):
        await frozen
    past.log.is_free.set()
    assert await points(past, past.other, moment) == 3
    assert await past.count() == 1


async def test_log_that_has_lost_records_gives_no_snapshot(past: Past) -> None:
    """What cannot be read again is said; half of the tables stays nowhere."""
    moment = await past.moment(4)
    place = next(place for place in past.log._records if place.topic != CATALOG_TOPIC)
    del past.log.stored(place)[3:]
    with pytest.raises(UnavailableError, match="cannot be made: offset 3 of"):
        await points(past, past.one, moment)
    assert await past.count() == 0


async def test_none_of_before_a_rebuild_is_found_behind_it(past: Past, postgres_url: str) -> None:
    """Neither one that a question holds nor one that was being made of what the old tables say."""
    held, making = await past.moment(1), await past.moment(2)

    async def whole() -> set[int]:
        rows = await past.pool.fetch("SELECT generation FROM trialog.snapshots WHERE is_whole")
        return {row["generation"] for row in rows}

    async with past.one.tables([OF_RUN], held, WAIT_S):
        past.log.is_looked_at.clear()
        past.log.is_free.clear()
        asking = asyncio.create_task(points(past, past.one, making))
        await past.log.is_looked_at.wait()
        before = set(
            await past.pool.fetchval("SELECT array_agg(generation) FROM trialog.snapshots")
        )
        assert len(before) == 2
        await rebuild(postgres_url, past.log, lambda *_: None)
        assert await whole() == set()
        past.log.is_free.set()
        with contextlib.suppress(UnavailableError):  # its maker has heard before it was finished
            await asking
        assert not await whole() & before
    looks = past.log.looks
    assert await points(past, past.other, held) == 2
    assert past.log.looks > looks


async def test_old_ones_are_dropped_but_none_that_is_asked(past: Past) -> None:
    """The ones asked last are kept; one that a question looks at stays until it has its answer."""
    moments = [await past.moment(offset) for offset in range(4)]
    for moment in moments[:3]:
        await points(past, past.one, moment)
    drop = load_query("drop_old_snapshots")
    await past.pool.execute(drop, 3600, 2)
    assert await past.count() == 2
    async with past.one.tables([OF_RUN], moments[1], WAIT_S) as tables:
        await past.pool.execute(drop, 0, 0)
        assert await past.count() == 1
        assert (await get_run(tables, "default", RUN)).points == 2  # type: ignore[arg-type]
    await past.pool.execute(drop, 0, 0)
    assert await past.count() == 0
    assert await points(past, past.one, moments[1]) == 2


async def test_larger_scope_serves_and_ending_leaves_nothing_half_made(past: Past) -> None:
    """A run is looked up in its experiment's snapshot; a service that ends drops what it makes."""
    moment = await past.moment(4)
    async with past.one.tables([CATALOG], moment, WAIT_S):
        pass
    async with past.other.tables([OF_RUN, CATALOG], moment, WAIT_S):
        pass
    assert await past.count() == 1
    past.log.is_free.clear()
    with pytest.raises(SnapshotPendingError):
        async with past.one.tables([OF_RUN], moment, 0.1):
            pass
    assert await past.count() == 2
    keeping = asyncio.create_task(past.one.keep_tidy())
    await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert await past.count() == 1
