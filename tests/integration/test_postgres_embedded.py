"""The embedded Postgres of the wheel: one folder through its whole life."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from trialog_server.postgres.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres

# A path that is too long for a socket: the usual one is seen in every acceptance test.
LONG = "a-folder-with-a-name-that-is-as-long-as-only-a-test-would-think-of-" * 2


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A started server over a new folder, which nothing of it survives."""
    folder = tmp_path_factory.mktemp("private") / LONG / "postgres"
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def ask(server: EmbeddedPostgres, question: str) -> Any:
    """One value from the server."""
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def rights_of(folder: Path) -> int:
    """Who may do what in a folder."""
    return stat.S_IMODE(folder.stat().st_mode)


def has_server(server: EmbeddedPostgres) -> bool:
    """Whether a server runs."""
    return server.pid is not None


def folder_of(server: EmbeddedPostgres) -> Path:
    """Where the server keeps its data."""
    return server._data_dir


async def test_embedded_promises_what_an_append_needs(postgres: EmbeddedPostgres) -> None:
    """A commit is on disk when it returns, and no port of the machine is open."""
    for name, value in (
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", ""),
        ("jit", "off"),
    ):
        assert await ask(postgres, f"SELECT current_setting('{name}')") == value
    assert str(await ask(postgres, "SHOW server_version")).startswith("18")


async def test_embedded_in_a_long_path_listens_in_a_private_short_one(
    postgres: EmbeddedPostgres,
) -> None:
    """A unix socket's path is short by nature: such a folder gets one elsewhere, for us alone."""
    socket_dir = Path(await ask(postgres, "SELECT current_setting('unix_socket_directories')"))

    assert socket_dir != folder_of(postgres)
    assert rights_of(socket_dir) & 0o077 == 0
    assert str(socket_dir) in postgres.dsn


async def test_embedded_that_runs_is_taken_over(postgres: EmbeddedPostgres) -> None:
    """Whoever comes after a killed service finds its server and address, and starts no second."""
    other = EmbeddedPostgres(folder_of(postgres))
    assert other.start() == postgres.dsn
    assert other.pid == postgres.pid


# K2
async def test_embedded_that_was_killed_starts_again_with_its_data(
    postgres: EmbeddedPostgres,
) -> None:
    """SIGKILL loses nothing that was committed; the address is the same afterwards."""
    await ask(postgres, "CREATE TABLE kept AS SELECT 7 AS value")
    before, pid = postgres.dsn, postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while has_server(postgres):  # noqa: ASYNC110  nobody tells us that it is gone
            await asyncio.sleep(0.005)

    postgres.ensure_running()

    assert postgres.pid not in (None, pid)
    assert postgres.dsn == before
    assert await ask(postgres, "SELECT value FROM kept") == 7


async def test_embedded_settings_of_the_user_come_last(postgres: EmbeddedPostgres) -> None:
    """What stands in local.conf wins over ours at the next start, and ours are not doubled."""
    folder = folder_of(postgres)
    (folder / "local.conf").write_text("work_mem = '7MB'\n")
    postgres.stop()
    assert not has_server(postgres)
    postgres.start()

    assert await ask(postgres, "SHOW work_mem") == "7MB"
    assert (folder / "postgresql.conf").read_text().count("trialog.conf") == 1


async def test_embedded_keeps_the_folders_above_private(postgres: EmbeddedPostgres) -> None:
    """Nobody can list the folders on the way to the data who could not before."""
    above = folder_of(postgres).parent.parent
    assert rights_of(above) & 0o044 == 0
