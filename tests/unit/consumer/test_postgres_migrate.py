"""The migration files: their names, their order, and what they may not do."""

from __future__ import annotations

import re

import pytest

from trialog_server.postgres.migrate import MIGRATION_LOCK, Migration, read_migrations
from trialog_server.postgres.queries import load_query

FOLDERS = ("control", "read_model")
EVERY = [
    pytest.param(migration, id=f"{folder}/{migration.name}")
    for folder in FOLDERS
    for migration in read_migrations(folder, folder)
]


def statements_of(migration: Migration) -> str:
    """The migration without its comments."""
    return re.sub(r"--[^\n]*", "", migration.statements)


@pytest.mark.parametrize("folder", FOLDERS)
def test_migrations_are_numbered_without_a_hole(folder: str) -> None:
    """Their order is that of their names: 0001, 0002 …, each number once."""
    names = [migration.name for migration in read_migrations(folder, folder)]
    numbers = [int(name.partition("_")[0]) for name in names]

    assert numbers == list(range(1, len(numbers) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z_]+", name) for name in names)


def test_migrations_carry_the_scope_they_are_applied_to() -> None:
    """The same file is applied to every generation, and remembered for each."""
    first, second = (read_migrations("read_model", scope) for scope in ("gen_1", "gen_2"))
    for one, two in zip(first, second, strict=True):
        assert (one.scope, two.scope) == ("gen_1", "gen_2")
        assert (one.name, one.statements) == (two.name, two.statements)


@pytest.mark.parametrize("migration", EVERY)
def test_migration_goes_forward_only(migration: Migration) -> None:
    """Nothing that holds data is ever dropped, emptied or rewritten by a start of the service.

    The bodies of functions are run by nobody at a start; an index or a key holds nothing itself.
    """
    text = re.sub(r"\$\$.*?\$\$", "", statements_of(migration), flags=re.DOTALL)
    assert not re.search(r"\b(DROP(?! INDEX| CONSTRAINT)|TRUNCATE|DELETE)\b", text, re.IGNORECASE)


@pytest.mark.parametrize("migration", EVERY)
def test_migration_leaves_transactions_to_who_applies_it(migration: Migration) -> None:
    """A file and the note that it was applied are one transaction, so it holds no other."""
    text = statements_of(migration)
    assert not re.search(
        r"^\s*(COMMIT|ROLLBACK|BEGIN;|START T)", text, re.IGNORECASE | re.MULTILINE
    )
    assert "CONCURRENTLY" not in text


def test_read_model_names_no_schema() -> None:
    """Each generation has its own schema: the files must not speak of one."""
    for migration in read_migrations("read_model", "gen_1"):
        text = statements_of(migration)
        assert "gen_1" not in text
        assert not re.search(r"\b(?:trialog|live|public)\.", text)


def test_migration_lock_fits_its_statement() -> None:
    """An advisory lock's key is a signed 64-bit number."""
    assert 0 < MIGRATION_LOCK < 2**63
    assert "pg_advisory_lock($1)" in load_query("take_migration_lock")


def test_query_is_read_once() -> None:
    """A statement is the same text at every use, so that Postgres' driver knows it again."""
    assert load_query("is_ready") is load_query("is_ready")


def test_query_that_is_not_there_is_a_defect() -> None:
    """A slip in a name fails at its first use, with the name."""
    with pytest.raises(FileNotFoundError, match=r"no_such_query\.sql"):
        load_query("no_such_query")
