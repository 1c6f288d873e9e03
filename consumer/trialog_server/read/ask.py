"""The one way questions reach Postgres: a named query, its arguments, a bounded wait.

Must not hold SQL: statements live in `postgres/queries`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

from trialog_schemas.errors import UnavailableError
from trialog_server.postgres.pool import postgres_away
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trialog_server.postgres.pool import Tables

ACQUIRE_TIMEOUT_S = 5.0
"""How long a question waits for a free connection before the service says it is busy."""


async def ask(tables: Tables, query_name: str, *arguments: object) -> Sequence[asyncpg.Record]:
    """Run the query of that name and return its rows.

    Raises:
        UnavailableError: Postgres cannot be reached or does not answer in time.
    """
    with answering():
        async with tables.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await connection.fetch(load_query(query_name), *arguments)


@contextmanager
def answering() -> Iterator[None]:
    """Turn every way in which Postgres fails to answer into `UnavailableError`."""
    try:
        with postgres_away():
            yield
    except asyncpg.QueryCanceledError as exc:
        raise UnavailableError(
            "the question took longer than the database allows; ask for less or try again"
        ) from exc
