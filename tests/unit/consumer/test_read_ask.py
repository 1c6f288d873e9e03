"""How a question fails: whatever Postgres does, the caller sees one error, or the defect."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from trialog_schemas.errors import UnavailableError
from trialog_server.postgres.pool import POSTGRES_AWAY, postgres_away
from trialog_server.read.ask import answering

AWAY = [
    ConnectionRefusedError("refused"),
    ConnectionResetError("reset"),
    FileNotFoundError("no socket"),
    TimeoutError("too slow"),
    asyncpg.ConnectionDoesNotExistError("lost"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.AdminShutdownError("terminating"),
    asyncpg.CrashShutdownError("crash of another process"),
    asyncpg.TooManyConnectionsError("too many clients"),
    asyncpg.DiskFullError("no space left"),
    asyncpg.OutOfMemoryError("no memory"),
    asyncpg.PostgresIOError("cannot read block"),
]
DEFECTS = [
    asyncpg.UndefinedTableError("no such table"),
    asyncpg.PostgresSyntaxError("syntax"),
    asyncpg.DataError("invalid input"),
    asyncpg.UniqueViolationError("duplicate"),
    ValueError("ours"),
    KeyError("ours"),
]


@pytest.mark.parametrize("cause", AWAY, ids=lambda error: type(error).__name__)
def test_postgres_that_is_away_is_unavailable(cause: Exception) -> None:
    """Each way of being away is one error, which says that nothing is lost, with its cause."""
    with pytest.raises(UnavailableError, match="nothing is lost") as caught, postgres_away():
        raise cause

    assert caught.value.__cause__ is cause
    assert type(cause).__name__ in caught.value.message
    assert isinstance(cause, POSTGRES_AWAY)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda error: type(error).__name__)
def test_postgres_that_refuses_a_statement_is_not_away(defect: Exception) -> None:
    """A mistake of ours is never called an outage: it would be tried again for good."""
    with pytest.raises(type(defect)) as caught, answering():
        raise defect
    assert caught.value is defect


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (asyncpg.QueryCanceledError("statement timeout"), "longer than the database allows"),
        (asyncpg.InternalClientError("got result for unknown protocol state"), "nothing is lost"),
        (ConnectionResetError("reset"), "nothing is lost"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_question_that_is_not_answered_is_unavailable(cause: Exception, says: str) -> None:
    """Too slow, broken under the question, or away: the caller may ask again."""
    with pytest.raises(UnavailableError, match=says) as caught, answering():
        raise cause
    assert caught.value.__cause__ is not None


def test_question_that_was_called_off_is_called_off() -> None:
    """A client that left ends its question; that is no outage."""
    with pytest.raises(asyncio.CancelledError), answering():
        raise asyncio.CancelledError


def test_unavailable_passes_as_it_is() -> None:
    """What was said already is not said twice."""
    first = UnavailableError("the log is away")
    with pytest.raises(UnavailableError) as caught, answering():
        raise first
    assert caught.value is first
