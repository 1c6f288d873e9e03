"""Waiting until the live tables have caught up with a position of the log.

One connection listens for the projection's announcements; what it hears is only a reason to look.
The truth is the lease rows of the live generation: an announcement of a rebuild beside it, or one
that a restart of Postgres swallowed, can neither end a wait too early nor leave it hanging.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from trialog_schemas.errors import UnavailableError
from trialog_server.postgres.pool import POSTGRES_AWAY
from trialog_server.read.ask import ACQUIRE_TIMEOUT_S, answering, ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialog_schemas.wire import Position
    from trialog_server.postgres.pool import Connection, Pool

CHANNEL = "trialog_applied"

POLL_INTERVAL_S = 0.5
"""How often waiters look without having heard anything: the net under lost announcements."""

PartitionKey = tuple[str, int]

_telemetry = structlog.get_logger("trialog_server.read")


@dataclass(slots=True)
class _Waiter:
    targets: Mapping[PartitionKey, int]
    is_reached: asyncio.Future[None]


class AppliedPositions:
    """Knows how far the projection is and wakes those who wait for a position.

    `run` must be going in a task for waits to end quickly. Everything happens in one event loop;
    there is no await between reading and changing the list of waiters.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._next_offsets: dict[PartitionKey, int] = {}
        self._waiters: list[_Waiter] = []
        self._look = asyncio.Event()
        self._is_away = False
        self._switches = 0

    @property
    def next_offsets(self) -> Mapping[PartitionKey, int]:
        """The next offset of each partition as last seen, by full topic name and number."""
        return self._next_offsets

    async def wait(self, positions: Sequence[Position], timeout_s: float) -> bool:
        """Return True once all positions are applied, False when the time is over.

        Raises:
            UnavailableError: Postgres does not answer now.
        """
        targets = _targets(positions)
        if self._is_reached(targets):
            return True
        waiter = _Waiter(targets, asyncio.get_running_loop().create_future())
        # Before the first look, so that nothing that is announced after it goes unheard.
        self._waiters.append(waiter)
        try:
            await self.refresh()
            async with asyncio.timeout(timeout_s):
                await waiter.is_reached
        except TimeoutError:
            return False
        finally:
            self._waiters.remove(waiter)
            if waiter.is_reached.done() and not waiter.is_reached.cancelled():
                waiter.is_reached.exception()  # heard, in case the first look failed as well
        return True

    async def refresh(self) -> None:
        """Read the lease rows and wake the waiters that are served by them."""
        while True:
            switches = self._switches
            rows = await ask(self._pool, "applied_positions")
            if switches == self._switches:
                break  # else these may be of the tables that were live before
        self._next_offsets = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        for waiter in self._waiters:
            if self._is_reached(waiter.targets) and not waiter.is_reached.done():
                waiter.is_reached.set_result(None)

    async def run(self) -> None:
        """Listen and look until cancelled; survives any restart of Postgres, which it says once."""
        while True:
            try:
                await self._listen()
            except UnavailableError as error:
                if not self._is_away:
                    _telemetry.warning("listening for applied positions stopped", cause=str(error))
                self._is_away = True
                await self._refresh_or_fail_waiters()
                await asyncio.sleep(POLL_INTERVAL_S)

    async def _listen(self) -> None:
        """Look whenever something was heard, and from time to time, while the connection lives."""
        with answering():
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                await connection.add_listener(CHANNEL, self._hear)
                self._next_offsets = {}  # what was announced before was not heard
                if self._is_away:
                    _telemetry.info("listening for applied positions goes on")
                self._is_away = False
                try:
                    await self._look_while_alive(connection)
                finally:
                    await self._stop_hearing(connection)

    async def _stop_hearing(self, connection: Connection) -> None:
        """Take the listener off; a lost connection has none, and must not hide a cancellation."""
        with contextlib.suppress(*POSTGRES_AWAY):
            await connection.remove_listener(CHANNEL, self._hear)

    async def _look_while_alive(self, connection: Connection) -> None:
        while not connection.is_closed():
            if self._waiters:
                await self._refresh_or_fail_waiters()
            await self._hear_or_pause()

    async def _hear_or_pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_S):
                await self._look.wait()
        self._look.clear()

    def _hear(self, *announcement: object) -> None:
        if "generation" in announcement:
            # Tables of a log that has lost its end may stand before those that they replace.
            self._next_offsets = {}
            self._switches += 1
        if self._waiters:
            self._look.set()

    async def _refresh_or_fail_waiters(self) -> None:
        try:
            await self.refresh()
        except UnavailableError as error:
            for waiter in self._waiters:
                if not waiter.is_reached.done():
                    waiter.is_reached.set_exception(error)

    def _is_reached(self, targets: Mapping[PartitionKey, int]) -> bool:
        return all(self._next_offsets.get(key, 0) > offset for key, offset in targets.items())


def _targets(positions: Sequence[Position]) -> dict[PartitionKey, int]:
    targets: dict[PartitionKey, int] = {}
    for position in positions:
        key = (position.topic, position.partition)
        targets[key] = max(position.offset, targets.get(key, 0))
    return targets
