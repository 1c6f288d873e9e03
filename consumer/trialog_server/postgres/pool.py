"""Opens connection pools and says which errors mean that Postgres is away; holds no statements.

asyncpg replaces lost connections by itself at the next `acquire`, so a pool outlives a restart of
the server. What the callers see of it is one error: `UnavailableError`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import asyncpg
import orjson

from trialog_schemas.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    from asyncpg.pool import PoolConnectionProxy

    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

POSTGRES_AWAY: tuple[type[Exception], ...] = (
    OSError,  # refused, reset, no such socket; also TimeoutError
    asyncpg.PostgresConnectionError,  # lost in the middle of a statement
    asyncpg.InterfaceError,  # the connection was closed under us
    asyncpg.InternalClientError,  # its server was killed under a statement; the pool drops it
    asyncpg.CannotConnectNowError,  # starting up, or recovering from a crash
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.PostgresIOError,
)
"""The errors that mean "Postgres cannot serve now; the same call may succeed later"."""

_JSONB_VERSION = b"\x01"
"""The byte that leads every jsonb value in Postgres' binary format."""


class Tables(Protocol):
    """Whatever gives connections that see a set of read-model tables; every pool does."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Give a connection for the time of a block."""
        ...


class OneConnection:
    """Tables as one connection sees them, which is taken already; for one task after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Connection]:  # noqa: ASYNC109  a pool's way to be asked
        """Give the connection."""
        yield self._connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How a pool behaves.

    Args:
        connections_max: connections that may be open at once.
        search_path: schemas in which unqualified table names are looked up.
        application_name: what `pg_stat_activity` shows.
        statement_timeout_s: after this long the server cancels a statement.
        connect_timeout_s: how long opening one connection may take.
        idle_s: a connection unused for so long is closed.
        idle_in_transaction_s: a transaction whose client is silent for so long is rolled back.
        waits_for_disk: a commit returns when it is on disk; without, a crash of Postgres may undo
            the last ones, all of each or nothing.
    """

    connections_max: int = 8
    search_path: str = "live, trialog"
    application_name: str = "trialog"
    statement_timeout_s: float = 30.0
    connect_timeout_s: float = 10.0
    idle_s: float = 300.0
    idle_in_transaction_s: float = 60.0
    waits_for_disk: bool = True

    def server_settings(self) -> dict[str, str]:
        """Return the settings each session starts with."""
        return {
            "application_name": self.application_name,
            "search_path": self.search_path,
            "statement_timeout": str(round(self.statement_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": str(round(self.idle_in_transaction_s * 1000)),
            # A peer that vanished without a word is noticed after 30 + 3 × 10 s.
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
            "jit": "off",
            # On is no setting of ours: whoever has a standby may have chosen more.
            **({} if self.waits_for_disk else {"synchronous_commit": "off"}),
        }


async def open_pool(dsn: str, settings: PoolSettings | None = None) -> Pool:
    """Open a pool and prove with one connection that Postgres answers.

    jsonb columns take and give plain Python values (by orjson); json columns stay text.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    chosen = settings or PoolSettings()
    with postgres_away():
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=chosen.connections_max,
            max_inactive_connection_lifetime=chosen.idle_s,
            timeout=chosen.connect_timeout_s,
            # The server's own timeout comes first; this one is for a server that hangs.
            command_timeout=chosen.statement_timeout_s + 10.0,
            server_settings=chosen.server_settings(),
            init=_speak_json,
        )


@contextmanager
def postgres_away() -> Iterator[None]:
    """Turn every error that means "Postgres is away" into `UnavailableError`."""
    try:
        yield
    except POSTGRES_AWAY as exc:
        raise UnavailableError(
            f"postgres cannot be reached now ({type(exc).__name__}: {exc}); "
            "it is tried again, nothing is lost"
        ) from exc


async def _speak_json(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_encode_jsonb,
        decoder=_decode_jsonb,
        format="binary",
    )


def _encode_jsonb(value: object) -> bytes:
    return _JSONB_VERSION + orjson.dumps(value)


def _decode_jsonb(data: bytes) -> object:
    decoded: object = orjson.loads(data[1:])
    return decoded
