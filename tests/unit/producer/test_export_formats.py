"""Exported runs as CSV, JSON and Parquet: every value comes back as it was, typed where it can."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from trialog.export_formats import (
    BATCH_CELLS_MAX,
    EXACT_INTEGER_MAX,
    Columns,
    write_csv,
    write_json,
    write_parquet,
)
from trialog.run_lifecycle import unborn_run
from trialog.settings import Session

if TYPE_CHECKING:
    from trialog.answers import RunAnswer, SummaryAnswer
    from trialog_schemas.names import ParameterValue

BORN = "2026-03-01T12:30:00.000123+00:00"
FIXED = 8
"""Columns that every table has."""


def run(name: str = "r", **parameters: ParameterValue) -> RunAnswer:
    """A run as the service answers it."""
    answer = unborn_run(Session(spool_dir="s").resolve({}), "e", name)
    return {**answer, "creation_time": BORN, "status": "Completed", "parameters": parameters}


def with_metric(answer: RunAnswer, name: str, last: float | str) -> RunAnswer:
    """The run with a metric beside those it has."""
    summary: SummaryAnswer = {
        "last": last,
        "min": 0,
        "max": 0,
        "mean": 0,
        "count": 1,
        "last_step": None,
    }
    return {**answer, "metrics": {**answer["metrics"], name: summary}}


def columns_of(runs: list[RunAnswer]) -> Columns:
    """The columns of a table of the runs."""
    columns = Columns()
    for one in runs:
        columns.note(one)
    return columns


def csv_rows(runs: list[RunAnswer]) -> list[dict[str, str]]:
    """The runs' table as a reader of CSV gets it."""
    file = io.BytesIO()
    write_csv(file, iter(runs), columns_of(runs))
    return list(csv.DictReader(io.StringIO(file.getvalue().decode(), newline="")))


def parquet_table(runs: list[RunAnswer]) -> Any:
    """The runs' table as a reader of Parquet gets it."""
    file = io.BytesIO()
    write_parquet(file, iter(runs), columns_of(runs))
    return pq.read_table(io.BytesIO(file.getvalue()))


# L3
@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_array_of_what_the_service_answers(count: int) -> None:
    """Also of no run at all; one run a line."""
    runs = [run(f"r{index}", layers=[64, 32]) for index in range(count)]
    file = io.BytesIO()
    write_json(file, iter(runs))
    assert json.loads(file.getvalue()) == runs
    assert file.getvalue().count(b"\n") == (count + 2 if count else 1)


# L3
def test_csv_has_a_column_for_whatever_any_run_has() -> None:
    """In order of first appearance, with the group before the name; what a run lacks is empty."""
    first = with_metric(run("one", lr=0.1), "loss", 0.25)
    second = with_metric(run("two", depth=3), "accuracy", 0.5)
    second["tags"] = {"team": "red"}
    rows = csv_rows([first, second])
    assert list(rows[0])[FIXED:] == [
        "params.lr",
        "params.depth",
        "metrics.loss",
        "metrics.accuracy",
        "tags.team",
    ]
    assert [list(row.values())[FIXED:] for row in rows] == [
        ["0.1", "", "0.25", "", ""],
        ["", "3", "", "0.5", "red"],
    ]
    assert (rows[0]["run_name"], rows[0]["creation_time"], rows[0]["end_time"]) == ("one", BORN, "")


# L3
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a,"b"\r\nc\n', 'a,"b"\r\nc\n'),
        ("\r", "\r"),
        ("学習 🙂", "学習 🙂"),
        (True, "true"),
        (None, "null"),
        (1, "1"),
        (1.0, "1.0"),
        (1e-7, "1e-7"),
        ([1, "a"], '[1,"a"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_csv_keeps_texts_as_they_are_and_the_rest_as_json(value: ParameterValue, text: str) -> None:
    """A reader gets back every line break and quote."""
    (row,) = csv_rows([run(value=value)])
    assert row["params.value"] == text


# L3
@pytest.mark.parametrize(
    ("last", "text"),
    [
        (0.1, "0.1"),
        (3, "3.0"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("Infinity", "Infinity"),
    ],
)
def test_csv_numbers_are_read_as_the_same_floats(last: float | str, text: str) -> None:
    """The shortest text of a float, and the words that JSON's readers know."""
    (row,) = csv_rows([with_metric(run(), "loss", last)])
    assert row["metrics.loss"] == text


# L3
@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        ([True, False], "bool", [True, False]),
        ([1, -2], "int64", [1, -2]),
        ([1, 0.5], "double", [1.0, 0.5]),
        ([2**62, 1], "int64", [2**62, 1]),
        ([EXACT_INTEGER_MAX, 0.5], "double", [float(EXACT_INTEGER_MAX), 0.5]),
        ([EXACT_INTEGER_MAX + 1, 0.5], "string", [str(EXACT_INTEGER_MAX + 1), "0.5"]),
        ([2**63, 1], "string", [str(2**63), "1"]),
        ([True, 1], "string", ["true", "1"]),
        (["a", 1], "string", ["a", "1"]),
        ([[1], "a"], "string", ["[1]", "a"]),
        ([None, 1], "int64", [None, 1]),
        ([None, None], "string", [None, None]),
    ],
)
def test_parquet_parameters_have_the_narrowest_type_that_loses_nothing(
    values: list[ParameterValue], kind: str, read: list[object]
) -> None:
    """Whole numbers beyond a float's exactness are never mixed with floats."""
    table = parquet_table([run(value=value) for value in values])
    assert str(table.schema.field("params.value").type) == kind
    assert table.column("params.value").to_pylist() == read


# L3
def test_parquet_tells_missing_from_nan_and_has_times() -> None:
    """A run without the metric has null, not NaN; times are instants."""
    table = parquet_table([run("a"), with_metric(run("b"), "loss", "NaN")])
    missing, nan = table.column("metrics.loss").to_pylist()
    assert missing is None
    assert math.isnan(nan)
    assert table.column("creation_time").to_pylist()[0] == datetime(2026, 3, 1, 12, 30, 0, 123, UTC)
    assert table.column("end_time").to_pylist() == [None, None]


# L3
def test_parquet_of_no_run_has_the_fixed_columns() -> None:
    """It can be read, and is empty."""
    table = parquet_table([])
    assert (table.num_rows, table.num_columns) == (0, FIXED)


# L3
def test_parquet_is_written_in_row_groups_of_bounded_size() -> None:
    """More runs make more groups, not larger ones."""
    one, file = run(lr=0.1), io.BytesIO()
    columns = columns_of([one])
    rows_max = BATCH_CELLS_MAX // (FIXED + 1)
    write_parquet(file, (one for _ in range(rows_max + 1)), columns)
    told = pq.ParquetFile(io.BytesIO(file.getvalue())).metadata
    groups = [told.row_group(index).num_rows for index in range(told.num_row_groups)]
    assert groups == [rows_max, 1]
