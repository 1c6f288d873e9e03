"""The SQL files against a migrated database: each is used, prepares, and agrees with Python."""

from __future__ import annotations

import ast
import asyncio
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

import asyncpg
import pytest

from trialog_schemas.events import ArtifactLogged
from trialog_schemas.rules import Status
from trialog_server.log.wakeups import CHANNEL as LOG_CHANNEL
from trialog_server.postgres.migrate import migrate, read_migrations
from trialog_server.postgres.pool import PoolSettings
from trialog_server.postgres.queries import load_query
from trialog_server.read.run_filter import STATUSES
from trialog_server.read.wait_applied import CHANNEL as APPLIED_CHANNEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialog_server.postgres.pool import Connection

pytestmark = pytest.mark.postgres

CONSUMER = Path(__file__).parents[2] / "consumer" / "trialog_server"
QUERIES = sorted(
    item.name.removesuffix(".sql")
    for item in (resources.files("trialog_server.postgres") / "queries").iterdir()
    if item.is_file()
)
BEFORE_FIRST_MIGRATION = "create_migrations_table"
"""Several statements in one file, run without parameters: nothing that could be prepared."""


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    """A session on a migrated database that sees what the service's sessions see."""
    opened = await asyncpg.connect(
        postgres_url, server_settings={"search_path": f"{PoolSettings().search_path}, gen_1"}
    )
    yield opened
    await opened.close()


def test_every_query_file_is_used() -> None:
    """A statement that no code names is dead; its name stands in the code as a text."""
    texts = {
        node.value
        for path in CONSUMER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(QUERIES) - texts == set()


async def test_every_query_prepares_against_the_migrated_database(connection: Connection) -> None:
    """Postgres parses each statement and knows every table, column and type in it."""
    for name in QUERIES:
        if name == BEFORE_FIRST_MIGRATION:
            continue
        try:
            await connection.prepare(load_query(name))
        except asyncpg.PostgresError as exc:
            pytest.fail(f"{name}.sql: {exc}")


def test_every_sql_file_begins_with_a_comment() -> None:
    """The first line says what the statement does, in words."""
    files = [(name, load_query(name)) for name in QUERIES]
    files += [
        (migration.name, migration.statements)
        for folder in ("control", "read_model")
        for migration in read_migrations(folder, folder)
    ]
    for name, text in files:
        assert re.match(r"-- [A-Z]\S*( \S+){3,}", text), name


def test_no_query_is_built_from_parts() -> None:
    """Parameters only: a statement has no place that Python would fill."""
    for name in QUERIES:
        assert not re.search(r"%s|%\(|\{\w*\}", load_query(name)), name


async def allowed_values(connection: Connection, table: str, column: str) -> set[str]:
    """What the check of a column lets in."""
    (check,) = await connection.fetch(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint"
        " WHERE contype = 'c' AND conrelid = $1::text::regclass"
        " AND pg_get_constraintdef(oid) LIKE '%' || $2::text || '%'",
        table,
        column,
    )
    return set(re.findall(r"'(\w+)'::text", check["text"]))


async def test_enums_in_sql_equal_those_in_python(connection: Connection) -> None:
    """A status or a kind that one side knows and the other does not would stop a partition."""
    kinds = get_type_hints(ArtifactLogged)["kind"]

    assert await allowed_values(connection, "gen_1.run_states", "status") == set(get_args(Status))
    assert await allowed_values(connection, "gen_1.artifacts", "kind") == set(get_args(kinds))
    assert set(STATUSES) == set(get_args(Status))


@pytest.mark.parametrize(
    ("query", "channel"), [("log_notify", LOG_CHANNEL), ("advance_lease", APPLIED_CHANNEL)]
)
def test_channel_in_sql_equals_the_one_listened_on(query: str, channel: str) -> None:
    """What a statement announces, Python hears."""
    assert f"pg_notify('{channel}'" in load_query(query)


async def test_migrating_twice_changes_nothing(empty_postgres_url: str) -> None:
    """The second start finds nothing to do, and the tables are those of the first."""
    first = await migrate(empty_postgres_url)
    before = await tables(empty_postgres_url)

    assert await migrate(empty_postgres_url) == []
    assert await tables(empty_postgres_url) == before
    assert first == [
        *(f"control/{one.name}" for one in read_migrations("control", "control")),
        *(f"gen_1/{one.name}" for one in read_migrations("read_model", "gen_1")),
    ]


# L2
async def test_starters_at_the_same_time_migrate_once(empty_postgres_url: str) -> None:
    """Of several starters at once one migrates; the others wait and find it done."""
    applied = await asyncio.gather(*(migrate(empty_postgres_url) for _ in range(4)))

    assert sorted(map(bool, applied)) == [False, False, False, True]


async def test_live_views_show_every_table_of_the_live_generation(connection: Connection) -> None:
    """What reads ask is a view on each table, with all its columns in their order."""
    columns = (
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) AS names"
        " FROM information_schema.columns WHERE table_schema = $1 GROUP BY table_name"
    )
    live, tables = await connection.fetch(columns, "live"), await connection.fetch(columns, "gen_1")

    assert {row["table_name"]: row["names"] for row in live} == {
        row["table_name"]: row["names"] for row in tables
    }
    assert len(live) > 10


async def tables(url: str) -> list[tuple[str, ...]]:
    """Every column of every table and view of ours, as Postgres describes them."""
    opened = await asyncpg.connect(url)
    try:
        rows = await opened.fetch(
            "SELECT table_schema, table_name, column_name, data_type"
            " FROM information_schema.columns WHERE table_schema IN ('trialog', 'live', 'gen_1')"
            " ORDER BY 1, 2, 3"
        )
    finally:
        await opened.close()
    return [tuple(row) for row in rows]
