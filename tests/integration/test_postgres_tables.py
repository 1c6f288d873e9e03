"""The tables that all migrations give together are the declared ones, to the column and the index.

`tests/integration/declared_tables.txt` declares them: one line a column or index. A migration that
changes them changes that file in the same commit, and whoever reads it sees what became of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from trialog_server.postgres.migrate import apply_read_model
from trialog_server.project.rows import COPIED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialog_server.postgres.pool import Connection

pytestmark = pytest.mark.postgres

DECLARED = Path(__file__).with_name("declared_tables.txt")
POSITIONED = {
    "artifacts": "log_offset",
    "dead": "log_offset",
    "experiments": "log_offset",
    "gaps": "log_offset",
    "metric_chunks": "offsets",
    "metric_summaries": "log_offset",
    "parameters": "log_offset",
    "parked": "log_offset",
    "record_index": "log_offset",
    "rejections": "log_offset",
    "run_states": "log_offset",
    "runs": "log_offset",
    "writers": "log_offset",
}
"""Where the rows of each read-model table say what they came from."""

_COLUMNS = """
SELECT format('%s.%s.%s %s%s%s', n.nspname, c.relname, a.attname,
              format_type(a.atttypid, a.atttypmod),
              CASE WHEN o.collname = 'C' THEN ' collate C' ELSE '' END,
              CASE WHEN a.attnotnull THEN ' not null' ELSE '' END) AS line
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_collation o ON o.oid = a.attcollation
WHERE n.nspname = ANY ($1::text[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY n.nspname, c.relname, a.attnum
"""
_INDEXES = "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = ANY ($1::text[])"
_CHECKS = """
SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) AS line FROM pg_constraint
WHERE contype IN ('c', 'f') AND connamespace::regnamespace::text = ANY ($1::text[])
"""


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    """A session on a migrated database."""
    opened = await asyncpg.connect(postgres_url)
    yield opened
    await opened.close()


async def described(connection: Connection, *schemas: str) -> list[str]:
    """Every column, index and check of some schemas, as Postgres describes them."""
    found: list[str] = []
    for question in (_COLUMNS, _INDEXES, _CHECKS):
        lines = [row["line"] for row in await connection.fetch(question, list(schemas))]
        found += lines if question == _COLUMNS else sorted(lines)
    return found


async def test_migrations_give_the_declared_tables(connection: Connection) -> None:
    """Columns in their order, types, collations, keys, indexes, checks: nothing else is there."""
    there = await described(connection, "trialog", "gen_1")
    assert there == DECLARED.read_text(encoding="utf-8").splitlines()


async def test_second_generation_has_the_tables_of_the_first(connection: Connection) -> None:
    """A rebuild beside the live tables fills the same tables under another name."""
    await apply_read_model(connection, "gen_2")

    first = [line.replace("gen_1", "gen_2") for line in await described(connection, "gen_1")]
    assert await described(connection, "gen_2") == first


async def test_copied_columns_are_all_columns_of_their_tables(connection: Connection) -> None:
    """COPY fills a table by names; a column that is forgotten would be empty for good."""
    for table, columns in COPIED.items():
        rows = await connection.fetch(
            "SELECT column_name::text AS name FROM information_schema.columns"
            " WHERE table_schema = 'gen_1' AND table_name = $1",
            table,
        )
        assert {row["name"] for row in rows} == set(columns), table


async def test_every_row_of_the_read_model_names_its_place_in_the_log(
    connection: Connection,
) -> None:
    """Whatever came from an event can be traced back to it, and read as of a position."""
    rows = await connection.fetch(
        "SELECT table_name::text AS name, array_agg(column_name::text) AS columns"
        " FROM information_schema.columns WHERE table_schema = 'gen_1' GROUP BY table_name"
    )
    columns = {row["name"]: set(row["columns"]) for row in rows}

    assert columns.keys() == POSITIONED.keys()
    for table, place in POSITIONED.items():
        assert place in columns[table], table
    for table in ("experiments", "runs"):
        assert {"deleted_at", "deleted_offset"} <= columns[table], "what deleted it"


# A7
async def test_names_compare_byte_by_byte(connection: Connection) -> None:
    """The order of names is that of their bytes on every machine, whatever its language."""
    rows = await connection.fetch(
        "SELECT table_name || '.' || column_name AS place FROM information_schema.columns"
        " WHERE table_schema IN ('gen_1', 'trialog') AND collation_name IS DISTINCT FROM 'C'"
        " AND column_name IN ('name', 'account', 'topic', 'scope', 'value_text')"
    )
    assert [row["place"] for row in rows] == []
