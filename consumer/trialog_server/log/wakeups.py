"""Wakes readers of the embedded log when a partition grows. Must not read records."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from trialog_schemas.wire import TOPIC_BY_SHORT_NAME
from trialog_server.log.base import Partition
from trialog_server.postgres.pool import postgres_away

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from asyncpg.pool import PoolConnectionProxy

    from trialog_server.postgres.pool import Pool

CHANNEL = "trialog_log"
"""The NOTIFY channel; a payload is `events:3`, the topic's short name and the partition."""

_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _Sleeper:
    partitions: Collection[Partition]
    woken: asyncio.Event


class Wakeups:
    """Who waits for which partitions, and one connection that hears of other processes' appends."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sleepers: set[_Sleeper] = set()
        self._connection: PoolConnectionProxy[asyncpg.Record] | None = None
        self._connection_lock = asyncio.Lock()

    @contextmanager
    def subscribe(self, partitions: Collection[Partition]) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever one of the partitions grows."""
        sleeper = _Sleeper(partitions, asyncio.Event())
        self._sleepers.add(sleeper)
        try:
            yield sleeper.woken
        finally:
            self._sleepers.discard(sleeper)

    def wake(self, changed: Collection[Partition]) -> None:
        """Wake whoever waits for one of the partitions."""
        for sleeper in self._sleepers:
            if any(partition in sleeper.partitions for partition in changed):
                sleeper.woken.set()

    async def listen(self) -> None:
        """Listen for other processes' appends, unless we do.

        After a new connection every sleeper is woken once: what was appended while nobody
        listened is found that way.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        async with self._connection_lock:
            if self._is_listening():
                return
            with postgres_away():
                await self._release()
                connection = await self._pool.acquire(timeout=_CONNECT_TIMEOUT_S)
                self._connection = connection
                await connection.add_listener(CHANNEL, self._heard)
        for sleeper in self._sleepers:
            sleeper.woken.set()

    async def close(self) -> None:
        """Give the listening connection back."""
        async with self._connection_lock:
            await self._release()

    def _is_listening(self) -> bool:
        try:
            return self._connection is not None and not self._connection.is_closed()
        except asyncpg.InterfaceError:  # it broke, and the pool has taken it back
            return False

    async def _release(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with postgres_away(), suppress(asyncpg.InterfaceError):
                await connection.remove_listener(CHANNEL, self._heard)
                await self._pool.release(connection)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        topic, _, number = str(payload).partition(":")
        if topic in TOPIC_BY_SHORT_NAME and number.isdecimal():
            self.wake([Partition(TOPIC_BY_SHORT_NAME[topic], int(number))])
