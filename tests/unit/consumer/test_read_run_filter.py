"""The search language: what is understood, and how a mistake is answered."""

from __future__ import annotations

import contextlib
import math
import re

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from trialog.__main__ import cli
from trialog_schemas.errors import ValidationError
from trialog_schemas.limits import FILTER_CHARS_MAX
from trialog_server.read.run_filter import (
    CONDITIONS_MAX,
    NEWEST_FIRST,
    RUN_FIELDS,
    SUMMARIES,
    Condition,
    Order,
    parse_filter,
    parse_order,
)


def test_parse_filter_without_text_has_no_conditions() -> None:
    """No filter and a blank one let every run through."""
    assert parse_filter(None) == parse_filter("  \n") == ()


def test_parse_filter_reads_every_kind_of_condition() -> None:
    """One filter may ask for parameters, metrics, status and name."""
    found = parse_filter(
        "params.lr > 0.1 and metrics.loss.min <= -5e-1 AND status = 'Failed' "
        "and run_name LIKE 'a%' and params.flag != false and tags.team = 'red' "
        "and end_time < '1970-01-01T01:00:01+01:00'"
    )

    assert found == (
        Condition("params", "lr", "number", "within", math.nextafter(0.1, 1), math.inf),
        Condition("metrics", "loss", "min", "within", -math.inf, -0.5),
        Condition("run", "", "status", "=", text="Failed"),
        Condition("run", "", "run_name", "like", text="a%"),
        Condition("params", "flag", "json", "!=", text="false"),
        Condition("tags", "team", "tag", "=", text="red"),
        Condition("run", "", "end_time", "within", -math.inf, math.nextafter(1e6, 0)),
    )


# D14
@pytest.mark.parametrize(
    ("text", "name", "field"),
    [
        ("metrics.loss = 1", "loss", "last"),
        ("metrics.val.loss = 1", "val.loss", "last"),
        ("metrics.val.loss.max = 1", "val.loss", "max"),
        ("metrics.validation:accuracy>=1", "validation:accuracy", "last"),
        ("metrics.a/b-c = 1", "a/b-c", "last"),
        ("metrics.`loss.min` = 1", "loss.min", "last"),
        ('metrics."loss.min".max = 1', "loss.min", "max"),
        ("metrics.'it''s' = 1", "it's", "last"),
        ("metrics.min = 1", "min", "last"),
    ],
)
def test_parse_filter_metric_name_is_split_from_its_summary(
    text: str, name: str, field: str
) -> None:
    """A last part that names a summary is one, unless the name stands in quotes."""
    (condition,) = parse_filter(text)

    assert (condition.name, condition.field) == (name, field)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
@example(math.inf, math.inf)
@example(-math.inf, -math.inf)
@example(math.nextafter(math.inf, 0), math.inf)
def test_parse_filter_number_ranges_compare_like_python(bound: float, value: float) -> None:
    """The range of each operator holds exactly the numbers that Python's operator does."""
    for operator, holds in {
        "=": value == bound,
        "!=": value != bound,
        "<": value < bound,
        "<=": value <= bound,
        ">": value > bound,
        ">=": value >= bound,
    }.items():
        (condition,) = parse_filter(f"metrics.m {operator} {bound!r}")
        assert condition.low is not None
        assert condition.high is not None
        inside = condition.low <= value <= condition.high
        assert (inside if condition.operator == "within" else not inside) == holds


@pytest.mark.parametrize("word", ["nan", "NaN", "+NAN", "-nan"])
def test_parse_filter_nan_is_a_range_of_its_own(word: str) -> None:
    """Postgres counts NaN equal to NaN, so that the range from NaN to NaN holds it alone."""
    (condition,) = parse_filter(f"metrics.m != {word}")

    assert condition.operator == "outside"
    assert math.isnan(condition.low or 0)
    assert math.isnan(condition.high or 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr > 1", "'lr' is no field"),
        ("statis = 'Failed'", "did you mean 'status'"),
        ("params > 1", "a dot and a name"),
        ("params. > 1", "a name is expected"),
        ("params.lr 1", "one of = !="),
        ("params.lr >", "a number, a text"),
        ("params.lr > abc and tags.a = b", "put a text in quotes: 'abc'"),
        ("metrics.m = abc", "'abc' is no number, nan, inf or -inf"),
        ("metrics.m > NaN", "nan is neither above nor below anything; compare it with = or !="),
        ("metrics.m = nano", "'nano' is no number"),
        ("params.lr > 1 OR params.lr < 0", "'or' is not part of the language; search once"),
        ("not params.lr > 1", "'not' is not part of the language; turn the operator round"),
        ("params.lr not in (1, 2)", "'not' is not part of the language"),
        ("params.lr in (1, 2)", "'in' is not part of the language; search once for each value"),
        ("params.lr between 1 and 2", "'between' is not part of the language; write two"),
        ("params.lr > 1 and (run_name = 'a')", "'(' is not part of the language; conditions are"),
        ("params.lr > 1 order by run_name", "'and' or the end is expected"),
        ("params.lr > 1 and", "a field such as"),
        ("params.lr = 'open", "a number, a text"),
        ("params.lr > 1e999", "beyond the range"),
        ("params.lr > 1x", "'1x' is no number"),
        ("params.lr like 1", "like compares texts only"),
        ("params.lr > true", "with = or != only"),
        ("metrics.loss = 'a'", "a number"),
        ("metrics.`loss`.median = 1", "a metric has last, min"),
        ("metrics.`loss`.meen = 1", "did you mean 'mean'"),
        ("status = 'Done'", "a status is one of"),
        ("status = 'completed'", "did you mean 'Completed'"),
        ("status > 'Failed'", "with = or != only"),
        ("run_name = 5", "a text in quotes"),
        ("tags.team = 5", "a text in quotes"),
        ("tag = 'red'", "a dot and a name"),
        ("creation_time > 5", "a text in quotes"),
        ("creation_time > 'yesterday'", "'yesterday' is no time; write one like '2026-03-01'"),
        ("creation_time like '2026%'", "with = != < <= > or >= only"),
        ("creation_tim > '2026-03-01'", "did you mean 'creation_time'"),
        ("(params.lr > 1)", "'(' is not part of the language"),
        ("params.lr > 1; drop table runs", "'and' or the end is expected"),
        ("params.lr = '\0'", "NUL"),
        ("x" * (FILTER_CHARS_MAX + 1), "allowed are"),
        (" and ".join(["params.lr > 1"] * (CONDITIONS_MAX + 1)), "more than 20 conditions"),
    ],
)
def test_parse_filter_mistake_names_place_and_remedy(text: str, message: str) -> None:
    """A filter that cannot be read says where, and what was expected there."""
    with pytest.raises(ValidationError) as caught:
        parse_filter(text)

    assert message in caught.value.message
    assert caught.value.field == "filter"
    assert len(caught.value.message) < 600


@given(st.text(max_size=80))
def test_parse_filter_of_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way than by its own error."""
    for parse in (parse_filter, parse_order):
        with contextlib.suppress(ValidationError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, NEWEST_FIRST),
        ("metrics.acc DESC", Order("metrics", "acc", "last", is_descending=True)),
        ("metrics.acc.max", Order("metrics", "acc", "max", is_descending=False)),
        ("params.`odd name` asc", Order("params", "odd name", "parameter", is_descending=False)),
        ("end_time desc", Order("run", "", "end_time", is_descending=True)),
    ],
)
def test_parse_order_reads_field_and_direction(text: str | None, expected: Order) -> None:
    """An order is a field and a direction; ascending when none is said."""
    assert parse_order(text) == expected


@pytest.mark.parametrize("text", ["metrics.acc down", "acc", "run_name asc desc", "status, lr"])
def test_parse_order_mistake_is_refused(text: str) -> None:
    """An order that cannot be read is a validation error of order_by."""
    with pytest.raises(ValidationError) as caught:
        parse_order(text)

    assert caught.value.field == "order_by"


@pytest.mark.parametrize("command", ["compare", "export"])
def test_help_of_a_command_with_a_filter_has_the_language(command: str) -> None:
    """All fields, summaries, operators and literals that are read, and words that are not."""
    told = CliRunner().invoke(cli, [command, "--help"]).stdout.partition("A filter is")[2]

    words = set(re.findall(r"\w+|[=!<>]+", told))
    assert {"params", "metrics", "tags", *RUN_FIELDS, *SUMMARIES} <= words
    assert {"=", "!=", "<", "<=", ">", ">=", "like", "and"} <= words
    assert {"nan", "inf", "true", "false", "null", "or", "not", "in", "brackets"} <= words
