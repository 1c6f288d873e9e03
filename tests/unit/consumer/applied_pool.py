"""A database of lease rows in memory: what waiting for positions asks, and what it hears."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Listener: TypeAlias = "Callable[..., None]"


class AppliedConnection:
    """One session: it reads the rows and may listen."""

    def __init__(self, pool: AppliedPool) -> None:
        self._pool = pool
        self._is_closed = False

    async def fetch(self, query: str) -> list[dict[str, object]]:
        """Answer the one question that is asked here."""
        assert query == load_query("applied_positions")
        self._pool.check_there()
        self._pool.questions += 1
        rows = [
            {"topic": EVENTS_TOPIC, "partition": number, "next_offset": next_offset}
            for number, next_offset in self._pool.next_offsets.items()
        ]
        self._pool.after_look()
        return rows

    async def add_listener(self, channel: str, listener: Listener) -> None:
        """Listen to the projection's announcements."""
        assert channel == "trialog_applied"
        self._pool.check_there()
        self._pool.listeners.append(listener)

    async def remove_listener(self, channel: str, listener: Listener) -> None:
        """Listen no more."""
        assert channel == "trialog_applied"
        self._pool.listeners.remove(listener)

    def is_closed(self) -> bool:
        """Tell whether the server has cut this session."""
        return self._is_closed

    def cut(self) -> None:
        """End the session as a restart of the server does."""
        self._is_closed = True


class AppliedPool:
    """The rows, who listens, and whether the database is there at all."""

    def __init__(self, **next_offsets: int) -> None:
        self.next_offsets = {int(name[1:]): offset for name, offset in next_offsets.items()}
        self.listeners: list[Listener] = []
        self.connections: list[AppliedConnection] = []
        self.is_away = False
        self.questions = 0
        self.attempts = 0
        self.after_look: Callable[[], None] = lambda: None
        """Called when rows were read and are not yet told."""

    def check_there(self) -> None:
        """Fail as the driver does when the server is away."""
        if self.is_away:
            raise ConnectionRefusedError("no server")

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator[AppliedConnection]:  # noqa: ASYNC109  the driver's name
        """Give a session."""
        assert timeout > 0
        self.attempts += 1
        self.check_there()
        connection = AppliedConnection(self)
        self.connections.append(connection)
        yield connection

    def switch(self, **next_offsets: int) -> None:
        """Have other tables be live, and say so."""
        self.next_offsets = {int(name[1:]): offset for name, offset in next_offsets.items()}
        for listener in tuple(self.listeners):
            listener(None, 1, "trialog_applied", "generation")

    def move(self, number: int, next_offset: int, *, is_announced: bool = True) -> None:
        """Apply records of a partition, and say so unless the word is lost."""
        self.next_offsets[number] = next_offset
        if is_announced:
            for listener in tuple(self.listeners):
                listener(None, 1, "trialog_applied", f"events:{number}:{next_offset}")
