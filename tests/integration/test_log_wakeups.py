"""The connection that hears of appends, when Postgres breaks it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.integration.projection_cases import projection_pool
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.log.wakeups import CHANNEL, Wakeups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.postgres

PARTITION = Partition(EVENTS_TOPIC, 3)


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Somebody else's connection to the same database."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
async def broken(
    postgres_url: str, other: asyncpg.Connection[asyncpg.Record]
) -> AsyncIterator[Wakeups]:
    """Wakeups whose listening connection has just been ended."""
    async with projection_pool(postgres_url) as pool:
        wakeups = Wakeups(pool)
        await wakeups.listen()
        ended = await other.fetch(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        assert [one[0] for one in ended] == [True]
        yield wakeups
        await wakeups.close()


async def test_listener_whose_connection_was_ended_hears_again(
    broken: Wakeups, other: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A new connection takes its place at the next look, and who slept meanwhile is woken."""
    with broken.subscribe([PARTITION]) as woken:
        while not woken.is_set():  # the end of the old one is heard of a moment later
            await broken.listen()
            await asyncio.sleep(0)
        woken.clear()
        await other.execute(f"NOTIFY {CHANNEL}, 'events:3'")
        await woken.wait()


async def test_listener_whose_connection_was_ended_can_be_closed(broken: Wakeups) -> None:
    """What is gone need not be given back; closing twice is no error either."""
    await broken.close()
