"""How runs become the rows and columns of a table; whom they are asked of is no matter here."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.unit.producer.answers import run_answer, summary_answer
from trialog.compare import _columns, _Row

if TYPE_CHECKING:
    from pathlib import Path

    from trialog.answers import RunAnswer


def table_of(*runs: RunAnswer) -> tuple[list[str], list[list[object]]]:
    """Return the columns and rows of some runs."""
    rows = [_Row.of(run) for run in runs]
    columns = _columns(rows)
    return list(columns), [[row.cell(*key) for key in columns.values()] for row in rows]


# F7
def test_table_of_no_runs_has_the_fixed_columns() -> None:
    """An empty experiment is an empty table, not an error."""
    assert table_of() == (["run_name", "creation_time", "status"], [])


# F7
def test_row_has_name_time_status_parameters_and_last_values() -> None:
    """Parameters keep their types; of a metric it is the last value."""
    run = run_answer(
        parameters={"lr": 0.1, "layers": [64, 32], "is_deep": True, "note": None},
        metrics={"loss": summary_answer(0.5, min=0.1, max=0.9)},
    )
    columns, (row,) = table_of(run)
    assert columns == [
        "run_name",
        "creation_time",
        "status",
        "lr",
        "layers",
        "is_deep",
        "note",
        "loss",
    ]
    at = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
    assert row == ["r", at, "Completed", 0.1, [64, 32], True, None, 0.5]


# F8
def test_run_without_a_metric_has_nan_and_keeps_its_row() -> None:
    """Ragged runs stand in one table; a parameter that a run lacks is NaN as well."""
    first = run_answer("one", parameters={"lr": 1}, metrics={"a": summary_answer(1.0)})
    second = run_answer("two", parameters={"depth": 2}, metrics={"b": summary_answer(2.0)})
    columns, rows = table_of(first, second)
    assert columns[3:] == ["lr", "depth", "a", "b"]
    assert [[cell is not None and cell == cell for cell in row[3:]] for row in rows] == [  # noqa: PLR0124  NaN differs from itself
        [True, False, True, False],
        [False, True, False, True],
    ]


# F8
def test_parameter_and_metric_of_one_name_have_columns_of_their_own() -> None:
    """Also when one run has the parameter and another one the metric."""
    first = run_answer("one", parameters={"size": 1})
    second = run_answer("two", metrics={"size": summary_answer(2.0)})
    columns, rows = table_of(first, second)
    assert columns[3:] == ["params.size", "metrics.size"]
    assert rows[0][3] == 1
    assert rows[1][4] == 2.0


# F8
def test_names_that_begin_like_a_prefix_keep_their_columns() -> None:
    """What a prefix would make equal is told apart by one more prefix; nothing is lost."""
    columns, (row,) = table_of(
        run_answer(
            parameters={"x": 1, "params.x": 2, "params.params.x": 3, "lr": 4},
            metrics={"x": summary_answer(5.0), "metrics.x": summary_answer(6.0)},
        )
    )
    assert dict(zip(columns[3:], row[3:], strict=True)) == {
        "params.x": 1,
        "params.params.x": 2,
        "params.params.params.x": 3,
        "lr": 4,
        "metrics.x": 5.0,
        "metrics.metrics.x": 6.0,
    }


def test_parameter_named_like_a_fixed_column_does_not_hide_it() -> None:
    """A run's own status stays its status."""
    columns, (row,) = table_of(
        run_answer(parameters={"status": "mine"}, metrics={"run_name": summary_answer(1.0)})
    )
    assert columns == ["run_name", "creation_time", "status", "params.status", "metrics.run_name"]
    assert (row[0], row[2], row[3], row[4]) == ("r", "Completed", "mine", 1.0)


# G6
def test_tags_that_are_asked_for_have_columns_before_the_parameters() -> None:
    """None where a run lacks the tag; a parameter of the column's name does not hide it."""
    first = run_answer("one", parameters={"tags.state": 1})
    first["tags"] = {"state": "pruned", "team": "red"}
    rows = [_Row.of(first), _Row.of(run_answer("two"))]
    columns = _columns(rows, ["state"])
    assert list(columns)[3:] == ["tags.state", "params.tags.state"]
    assert [row.cell(*columns["tags.state"]) for row in rows] == ["pruned", None]


@pytest.mark.parametrize(
    "tags",
    ["state", 7, None, [""], ["x" * 129], [7], ["a", "a"], b"ab", (1 / none for none in [0])],
)
def test_keys_of_tags_that_are_none_are_refused_before_anybody_is_asked(tags: object) -> None:
    """A text is one key and not a list of letters."""
    with pytest.raises(trialog.ValidationError, match="tag"):
        trialog.compare("e", tags=tags)  # type: ignore[arg-type]  # that is what is tested


# D7
def test_last_values_that_are_no_numbers_in_json_come_back_as_such() -> None:
    """NaN and the infinities of a metric are in the table."""
    metrics = {name: summary_answer(name) for name in ("NaN", "Infinity", "-Infinity")}
    _, (row,) = table_of(run_answer(metrics=metrics))
    assert math.isnan(float(str(row[3])))
    assert row[4:] == [math.inf, -math.inf]


@pytest.mark.parametrize("max_results", [0, -1, True, 1.0, "5"])
def test_number_of_rows_that_is_none_is_refused_before_anybody_is_asked(
    tmp_path: Path, max_results: object
) -> None:
    """The message has the value and what is allowed."""
    nobody = trialog.Session(url="http://127.0.0.1:9", spool_dir=tmp_path)
    with pytest.raises(trialog.ValidationError, match="allowed are whole numbers from 1 on") as c:
        trialog.compare("e", max_results=max_results, session=nobody)  # type: ignore[arg-type]
    assert (c.value.field, c.value.value) == ("max_results", repr(max_results))


def test_illegal_name_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    """And a service that is away is told as such."""
    nobody = trialog.Session(url="http://127.0.0.1:9", spool_dir=tmp_path)
    with pytest.raises(trialog.ValidationError, match="experiment"):
        trialog.compare("a b", session=nobody)
    with pytest.raises(trialog.UnavailableError, match=r"127\.0\.0\.1:9"):
        trialog.compare("e", session=nobody)
