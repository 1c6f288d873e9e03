"""The connection that hears of appends, when Postgres breaks it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.integration.projection_cases import projection_pool
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.log.wakeups import CHANNEL, Wakeups
from trialog_server.postgres.migrate import migrate

pytestmark = pytest.mark.postgres

PARTITION = Partition(EVENTS_TOPIC, 3)


@pytest.mark.parametrize("is_closing", [False, True], ids=["listens-again", "closes"])
async def test_listener_whose_connection_was_ended_is_as_good_as_new(
    postgres_url: str, *, is_closing: bool
) -> None:
    """The one listening is replaced at the next look, wakes who slept, and hears again."""
    await migrate(postgres_url)
    other = await asyncpg.connect(postgres_url)
    async with projection_pool(postgres_url) as pool:
        wakeups = Wakeups(pool)
        await wakeups.listen()
        ended = await other.fetch(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        assert [one[0] for one in ended] == [True]
        if not is_closing:
            with wakeups.subscribe([PARTITION]) as woken:
                while not woken.is_set():  # the end of the old one is heard of a moment later
                    await wakeups.listen()
                    await asyncio.sleep(0)
                woken.clear()
                await other.execute(f"NOTIFY {CHANNEL}, 'events:3'")
                await woken.wait()
        await wakeups.close()
    await other.close()
