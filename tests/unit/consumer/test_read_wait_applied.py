"""Waiting for positions: who is woken when, and what happens while the database is away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest
import structlog

from tests.unit.consumer.applied_pool import AppliedPool
from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import EVENTS_TOPIC, Position
from trialog_server.read.wait_applied import POLL_INTERVAL_S, AppliedPositions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trialog_server.postgres.pool import Pool

LONG_S = 20.0


def positions_of(pool: AppliedPool) -> AppliedPositions:
    """What a service makes of its pool."""
    return AppliedPositions(cast("Pool", pool))


def at(partition: int, offset: int) -> Position:
    """A place in the events."""
    return Position(EVENTS_TOPIC, partition, offset)


async def until(is_so: Callable[[], object]) -> None:
    """Let the other tasks work until something is so."""
    async with asyncio.timeout(LONG_S):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.001)


@asynccontextmanager
async def listening(applied: AppliedPositions, pool: AppliedPool) -> AsyncIterator[None]:
    """Keep the listening going for as long as the block lasts."""
    task = asyncio.create_task(applied.run())
    await until(lambda: pool.listeners)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_wait_for_what_is_applied_ends_at_once() -> None:
    """The record at an offset is applied when the next offset is behind it."""
    applied = positions_of(AppliedPool(p0=5))

    assert await applied.wait([at(0, 4)], 0.0) is True
    assert await applied.wait([at(0, 5)], 0.0) is False


async def test_wait_for_what_is_known_asks_nothing() -> None:
    """A position that was seen before needs no question to the database."""
    pool = AppliedPool(p0=5)
    applied = positions_of(pool)
    await applied.wait([at(0, 1)], 0.0)
    questions = pool.questions

    assert await applied.wait([at(0, 4), at(0, 0)], 0.0) is True
    assert pool.questions == questions


async def test_wait_for_a_partition_nobody_has_seen_is_in_vain() -> None:
    """A partition without a lease row is at its beginning: even offset 0 is not applied."""
    assert await positions_of(AppliedPool()).wait([at(3, 0)], 0.0) is False


async def test_wait_for_nothing_is_over() -> None:
    """No position at all is applied by any time."""
    assert await positions_of(AppliedPool()).wait([], 0.0) is True


async def test_wait_needs_every_partition_and_the_last_place_in_each() -> None:
    """Several positions are reached when the furthest of each partition is."""
    pool = AppliedPool(p0=5, p1=2)
    applied = positions_of(pool)

    assert await applied.wait([at(0, 4), at(1, 1), at(0, 2)], 0.0) is True
    assert await applied.wait([at(0, 4), at(1, 2)], 0.0) is False
    assert await applied.wait([at(0, 6), at(0, 1)], 0.0) is False


async def test_announcement_wakes_who_waits_for_it() -> None:
    """A commit of the projection ends the wait for it, and no other."""
    pool = AppliedPool(p0=0, p1=0)
    applied = positions_of(pool)
    async with listening(applied, pool):
        near = asyncio.create_task(applied.wait([at(0, 0)], LONG_S))
        far = asyncio.create_task(applied.wait([at(1, 9)], LONG_S))
        await until(lambda: pool.questions >= 2)
        pool.move(0, 1)

        assert await near is True
        assert not far.done()
        pool.move(1, 10)
        assert await far is True


async def test_announcement_while_the_first_look_is_under_way_is_heard() -> None:
    """What is applied between a look and its answer is looked for at once, not by the clock."""
    pool = AppliedPool(p0=0)
    applied = positions_of(pool)
    async with listening(applied, pool):

        def move_once() -> None:
            pool.after_look = lambda: None
            pool.move(0, 1)

        pool.after_look = move_once
        async with asyncio.timeout(POLL_INTERVAL_S / 2):
            assert await applied.wait([at(0, 0)], LONG_S) is True


async def test_announcement_that_was_lost_is_made_good() -> None:
    """Who waits also looks from time to time: a word that never came leaves nobody hanging."""
    pool = AppliedPool(p0=0)
    applied = positions_of(pool)
    async with listening(applied, pool):
        waiting = asyncio.create_task(applied.wait([at(0, 0)], LONG_S))
        await until(lambda: pool.questions)
        pool.move(0, 1, is_announced=False)

        assert await waiting is True


async def test_announcement_is_only_a_reason_to_look() -> None:
    """What a rebuild beside the live tables announces ends no wait."""
    pool = AppliedPool(p0=0)
    applied = positions_of(pool)
    async with listening(applied, pool):
        waiting = asyncio.create_task(applied.wait([at(0, 0)], LONG_S))
        await until(lambda: pool.questions)
        before = pool.questions
        for listener in pool.listeners:
            listener(None, 1, "trialog_applied", "events:0:99")
        await until(lambda: pool.questions > before)

        assert not waiting.done()
        pool.move(0, 1)
        assert await waiting is True


async def test_other_tables_that_are_live_may_stand_before_those_that_were() -> None:
    """What is known of the old ones is forgotten, also what was read of them just before."""
    pool = AppliedPool(p0=9)
    applied = positions_of(pool)
    async with listening(applied, pool):
        assert await applied.wait([at(0, 8)], 0.0) is True
        pool.switch(p0=5)
        assert await applied.wait([at(0, 8)], 0.0) is False
        pool.move(0, 9)
        assert await applied.wait([at(0, 8)], LONG_S) is True

        def switch_once() -> None:
            pool.after_look = lambda: None
            pool.switch(p0=5)

        pool.after_look = switch_once
        await applied.refresh()
        assert await applied.wait([at(0, 8)], 0.0) is False


async def test_nobody_waiting_asks_nothing() -> None:
    """An idle service leaves the database alone, whatever the projection says."""
    pool = AppliedPool(p0=0)
    applied = positions_of(pool)
    async with listening(applied, pool):
        for offset in range(1, 50):
            pool.move(0, offset)
            await asyncio.sleep(0)

        assert pool.questions == 0


async def test_wait_while_the_database_is_away_says_so() -> None:
    """A wait that cannot even look is not a wait in vain: the caller hears why."""
    pool = AppliedPool()
    pool.is_away = True
    with pytest.raises(UnavailableError):
        await positions_of(pool).wait([at(0, 0)], LONG_S)


async def test_database_that_goes_away_fails_those_who_wait() -> None:
    """Nobody waits out the time for an answer that cannot come; a later wait works again."""
    pool = AppliedPool(p0=0)
    applied = positions_of(pool)
    async with listening(applied, pool):
        waiting = asyncio.create_task(applied.wait([at(0, 0)], LONG_S))
        await until(lambda: pool.questions)
        pool.is_away = True
        with pytest.raises(UnavailableError):
            await waiting
        pool.is_away = False
        pool.next_offsets[0] = 1

        assert await applied.wait([at(0, 0)], LONG_S) is True


async def test_session_that_was_cut_is_replaced() -> None:
    """After a restart of the server somebody listens again, and the old session does not."""
    pool = AppliedPool(p0=0)
    applied = positions_of(pool)
    async with listening(applied, pool):
        first = pool.connections[0]
        (old,) = pool.listeners
        first.cut()
        old()  # nobody waits: the next look at the session is by the clock
        await until(lambda: len(pool.connections) > 1 and pool.listeners)

        assert len(pool.listeners) == 1
        waiting = asyncio.create_task(applied.wait([at(0, 0)], LONG_S))
        await until(lambda: pool.questions)
        pool.move(0, 1)
        assert await waiting is True


async def test_outage_is_said_once_and_so_is_its_end() -> None:
    """However often the database is tried meanwhile."""
    pool = AppliedPool(p0=0)
    with structlog.testing.capture_logs() as said:
        async with listening(positions_of(pool), pool):
            pool.is_away = True
            tried = pool.attempts
            pool.connections[0].cut()
            await until(lambda: pool.attempts >= tried + 2)
            pool.is_away = False
            await until(lambda: len(pool.connections) > 1 and pool.listeners)
    assert [line["event"] for line in said] == [
        "listening for applied positions stopped",
        "listening for applied positions goes on",
    ]


async def test_wait_that_was_called_off_leaves_nothing_behind() -> None:
    """A client that left is not woken, and nobody asks for it any more."""
    pool = AppliedPool(p0=0)
    applied = positions_of(pool)
    async with listening(applied, pool):
        waiting = asyncio.create_task(applied.wait([at(0, 0)], LONG_S))
        await until(lambda: pool.questions)
        waiting.cancel()
        await asyncio.wait({waiting})
        before = pool.questions
        pool.move(0, 1)
        for _ in range(20):
            await asyncio.sleep(0)

        assert waiting.cancelled()
        assert pool.questions == before


async def test_listening_ends_with_its_task() -> None:
    """When the service ends, its session listens no more."""
    pool = AppliedPool()
    async with listening(positions_of(pool), pool):
        pass
    assert pool.listeners == []


async def test_next_offsets_are_those_last_seen() -> None:
    """The telemetry's lag is measured from what was read last."""
    pool = AppliedPool(p0=5, p1=7)
    applied = positions_of(pool)
    assert applied.next_offsets == {}
    await applied.refresh()
    assert applied.next_offsets == {(EVENTS_TOPIC, 0): 5, (EVENTS_TOPIC, 1): 7}
