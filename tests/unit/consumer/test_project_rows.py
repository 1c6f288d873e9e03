"""The rows of a batch: how they are gathered, and that targets and statements agree."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialog_server.postgres.queries import load_query
from trialog_server.project.rows import (
    COPIED,
    STATED,
    Rows,
    time_of,
    time_or_none,
    us_of,
    us_or_none,
)

US_OF_YEAR_1 = -62_135_596_800_000_000
US_OF_YEAR_9999 = 253_402_300_799_999_999


class Recorder:
    """Stands for a connection: remembers what it is told to write, and how."""

    def __init__(self) -> None:
        self.written: list[tuple[str, object]] = []

    async def execute(self, query: str, *columns: list[object]) -> None:
        """Remember a statement by its file, and its columns."""
        name = next(name for name in STATED if load_query(name) == query)
        self.written.append((name, columns))

    async def copy_records_to_table(
        self, table: str, *, columns: tuple[str, ...], records: list[tuple[object, ...]]
    ) -> None:
        """Remember a COPY, with each record as the mapping that it is."""
        self.written.append(
            (table, [dict(zip(columns, row, strict=True)) for row in records]),
        )


def test_rows_keep_the_order_they_came_in() -> None:
    """Rows of one target stay in order, whoever collected them."""
    rows, others = Rows(), Rows()
    rows.add("gaps", (1,))
    others.extend("gaps", [(2,), (3,)])
    others.add("insert_dead", (4,))
    rows.absorb(others)
    rows.add("gaps", (5,))

    assert rows.of("gaps") == [(1,), (2,), (3,), (5,)]
    assert rows.of("insert_dead") == [(4,)]
    assert rows.of("artifacts") == []


def test_rows_that_were_absorbed_are_not_shared() -> None:
    """Adding to one collection afterwards does not change the other."""
    rows, others = Rows(), Rows()
    others.add("gaps", (1,))
    rows.absorb(others)
    others.add("gaps", (2,))

    assert rows.of("gaps") == [(1,)]


async def test_write_runs_statements_in_their_order_and_before_copies() -> None:
    """A name is free before another row takes it, whatever was added first."""
    rows, recorder = Rows(), Recorder()
    for target in ("insert_parked", "gaps", "insert_runs", "delete_runs", "insert_experiments"):
        rows.add(target, tuple(range(20)) if target != "gaps" else tuple(range(7)))
    await rows.write(recorder)  # type: ignore[arg-type]

    assert [name for name, _ in recorder.written] == [
        "delete_runs", "insert_experiments", "insert_runs", "insert_parked", "gaps",
    ]  # fmt: skip


async def test_write_turns_rows_into_columns() -> None:
    """A statement gets one list per column, as unnest takes them."""
    rows, recorder = Rows(), Recorder()
    rows.extend("delete_runs", [("a", 1, 10), ("b", 2, 20)])
    await rows.write(recorder)  # type: ignore[arg-type]

    assert recorder.written == [("delete_runs", (["a", "b"], [1, 2], [10, 20]))]


async def test_write_of_nothing_asks_nothing() -> None:
    """A batch without rows of a target costs no statement for it."""
    rows, recorder = Rows(), Recorder()
    rows.extend("gaps", [])
    rows.extend("insert_runs", [])
    await rows.write(recorder)  # type: ignore[arg-type]

    assert recorder.written == []


async def test_write_copies_rows_with_the_names_of_their_columns() -> None:
    """A tuple is what COPY takes; the names beside it say what each element is."""
    rows, recorder = Rows(), Recorder()
    rows.add("gaps", ("r", "w", 1, 2, "t", 0, 9))
    await rows.write(recorder)  # type: ignore[arg-type]

    row = {
        "run_id": "r", "writer_id": "w", "first_seq": 1, "last_seq": 2,
        "topic": "t", "partition": 0, "log_offset": 9,
    }  # fmt: skip
    assert recorder.written == [("gaps", [row])]


def test_targets_are_either_copied_or_stated() -> None:
    """No row can be written twice, or by a statement and a COPY."""
    assert not set(COPIED) & set(STATED)
    assert len(set(STATED)) == len(STATED)


@pytest.mark.parametrize("name", STATED)
def test_statement_takes_as_many_columns_as_it_unpacks(name: str) -> None:
    """The parameters of a statement are $1 … $n without a hole, each with its array type."""
    text = re.sub(r"--[^\n]*", "", load_query(name))
    numbers = [int(number) for number in re.findall(r"\$(\d+)", text)]

    assert numbers == list(range(1, len(numbers) + 1))
    assert len(re.findall(r"\$\d+::[\w ]+\[\]", text)) == len(numbers)


@pytest.mark.parametrize("columns", COPIED.values(), ids=list(COPIED))
def test_copied_columns_are_named_once(columns: tuple[str, ...]) -> None:
    """A column that is named twice would shift all that follow."""
    assert len(set(columns)) == len(columns)


@given(st.integers(US_OF_YEAR_1, US_OF_YEAR_9999))
def test_time_comes_back_to_the_microsecond(at_us: int) -> None:
    """No time that a datetime can hold is rounded on its way to Postgres and back."""
    assert us_of(time_of(at_us)) == at_us


def test_time_is_in_utc() -> None:
    """Postgres is told an instant, and an instant in another zone is the same one."""
    at = time_of(1_767_323_045_678_901)
    assert at == datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    assert us_of(at.astimezone(timezone(timedelta(hours=5, minutes=30)))) == 1_767_323_045_678_901


def test_time_that_is_missing_stays_missing() -> None:
    """None is no time, and 0 is one."""
    assert time_or_none(None) is None
    assert us_or_none(None) is None
    assert time_or_none(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert us_or_none(datetime(1970, 1, 1, tzinfo=UTC)) == 0
