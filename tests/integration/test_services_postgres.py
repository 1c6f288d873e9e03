"""The PostgreSQL server of the tests is a real one: databases apart, and it can be killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.services.errors import ServiceUnavailableError
from tests.services.postgres import SERVER_VARIABLE, fresh_database, open_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.postgres import PostgresServer


async def _run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_server_is_postgresql_18(private_postgres: PostgresServer) -> None:
    """The wheel's server is the version that trialog is made for."""
    assert str(await _ask(private_postgres.url, "SHOW server_version")).startswith("18.")


async def test_fresh_database_is_empty_and_gone_afterwards(postgres_server_url: str) -> None:
    """Two databases do not see each other, and neither outlives its block."""
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    with fresh_database(postgres_server_url) as one, fresh_database(postgres_server_url) as other:
        await _run(one, "CREATE TABLE t ()")
        assert await _ask(one, tables) == 1
        assert await _ask(other, tables) == 0
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await _ask(one, tables)


async def test_fresh_database_with_open_connection_is_dropped(postgres_server_url: str) -> None:
    """A connection that a test forgot does not keep its database alive."""
    with fresh_database(postgres_server_url) as url:
        forgotten = await asyncpg.connect(url)
    with pytest.raises(asyncpg.PostgresError):
        await forgotten.execute("SELECT 1")
    await forgotten.close()


async def test_server_after_sigkill_keeps_committed_rows(private_postgres: PostgresServer) -> None:
    """A server killed by SIGKILL and started again has every row that it committed."""
    url = private_postgres.url
    await _run(url, "CREATE TABLE t (n int)", "INSERT INTO t SELECT generate_series(1, 1000)")
    private_postgres.kill()
    assert not private_postgres.is_running
    private_postgres.start()
    assert private_postgres.url == url
    assert await _ask(url, "SELECT sum(n) FROM t") == 500_500


async def test_server_killed_while_connected_starts_again(private_postgres: PostgresServer) -> None:
    """Backends that outlive their killed server for a moment do not keep it from starting."""
    connection = await asyncpg.connect(private_postgres.url)
    private_postgres.kill()
    private_postgres.start()
    assert await _ask(private_postgres.url, "SELECT 1") == 1
    connection.terminate()


def test_server_folder_after_close_is_gone(private_postgres: PostgresServer) -> None:
    """A server that is closed leaves neither a process nor a file."""
    folder: Path = private_postgres.folder
    assert folder.exists()
    private_postgres.close()
    assert not private_postgres.is_running
    assert not folder.exists()


def test_given_server_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that no server answers is an error without the password, never another server."""
    monkeypatch.setenv(SERVER_VARIABLE, "postgresql://someone:hidden@127.0.0.1:1/postgres")
    with (
        pytest.raises(ServiceUnavailableError, match=r"at 127\.0\.0\.1 with") as caught,
        open_server(),
    ):
        pass
    assert "hidden" not in str(caught.value)
