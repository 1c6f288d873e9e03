"""Applies the migrations: forward-only SQL files, once each, in the order of their names.

`migrations/control` holds what exists once per database. `migrations/read_model` is applied to the
schema of every generation that is live or being built, and the views in schema `live` are then
pointed at the live one. Two processes may start at once: the second one waits, then finds nothing
to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import asyncpg

from trialog_server.postgres.pool import postgres_away
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from trialog_server.postgres.pool import Connection, Pool

_FOLDER = resources.files("trialog_server.postgres") / "migrations"

MIGRATION_LOCK = 0x7472_6961_6C6F_67
"""Key of the advisory lock that only one migrating process holds ("trialog" in ASCII)."""

_LOCK_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; `scope` is "control" or the schema of a generation."""

    scope: str
    name: str
    statements: str


async def migrate(dsn: str) -> list[str]:
    """Bring the database to this version's tables and return what was applied, "scope/name" each.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    with postgres_away():
        connection = await asyncpg.connect(
            dsn,
            command_timeout=_LOCK_WAIT_S,
            server_settings={"application_name": "trialog migrate", "statement_timeout": "0"},
        )
        try:
            return await _migrate_locked(connection)
        finally:
            # Closing the session also gives the advisory lock back, whatever happened before.
            await connection.close()


def is_first(applied: list[str]) -> bool:
    """Tell whether what `migrate` applied has made the tables of a new database."""
    return f"control/{read_migrations('control', 'control')[0].name}" in applied


async def apply_read_model(connection: Connection, schema_name: str) -> list[str]:
    """Create the schema of one generation where missing, and apply its missing migrations."""
    async with connection.transaction():
        await connection.execute(load_query("create_generation_schema"), schema_name)
        await connection.execute(load_query("set_search_path"), schema_name)
        return await _apply_missing(connection, "read_model", schema_name)


async def has_tables(dsn: str) -> bool:
    """Tell whether a database has tables of trialog, of whatever version; make none.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    with postgres_away():
        connection = await asyncpg.connect(
            dsn, server_settings={"application_name": "trialog command"}
        )
        try:
            return bool(await _applied(connection, "control"))
        finally:
            await connection.close()


async def has_this_version(connection: Connection | Pool, folder: str, scope: str) -> bool:
    """Tell whether exactly the migrations of a folder were applied to a scope."""
    names = {one.name for one in read_migrations(folder, scope)}
    return await _applied(connection, scope) == names


async def _applied(connection: Connection | Pool, scope: str) -> set[str]:
    """Return the names of the migrations that were applied to a scope."""
    try:
        rows = await connection.fetch(load_query("list_migrations"), scope)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return set()
    return {row["name"] for row in rows}


def read_migrations(folder: str, scope: str) -> list[Migration]:
    """Return the files of `migrations/<folder>` in the order of their names."""
    files = [item for item in (_FOLDER / folder).iterdir() if item.name.endswith(".sql")]
    return [
        Migration(scope, item.name.removesuffix(".sql"), item.read_text(encoding="utf-8"))
        for item in sorted(files, key=lambda item: item.name)
    ]


async def _migrate_locked(connection: Connection) -> list[str]:
    await connection.execute(load_query("take_migration_lock"), MIGRATION_LOCK)
    await connection.execute(load_query("create_migrations_table"))
    async with connection.transaction():
        applied = await _apply_missing(connection, "control", "control")

    generations = await connection.fetch(load_query("list_generations"))
    for row in generations:
        applied += await apply_read_model(connection, row["schema_name"])
    if applied:
        await connection.execute(load_query("show_live_generation"))
    return applied


async def _apply_missing(connection: Connection, folder: str, scope: str) -> list[str]:
    rows = await connection.fetch(load_query("list_migrations"), scope)
    done = {row["name"] for row in rows}
    applied = []
    for migration in read_migrations(folder, scope):
        if migration.name not in done:
            await connection.execute(migration.statements)
            await connection.execute(load_query("record_migration"), scope, migration.name)
            applied.append(f"{scope}/{migration.name}")
    return applied
