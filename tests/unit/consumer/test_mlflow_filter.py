"""MLflow's search language: what is read, and what is refused with its place and the remedy."""

from __future__ import annotations

import math

import pytest

from trialog_schemas.errors import ValidationError
from trialog_server.read.mlflow_filter import (
    CONDITIONS_MAX,
    EXPERIMENTS,
    ORDERS_MAX,
    RUNS,
    TEXT_CHARS_MAX,
    Asked,
    parse_filter,
    parse_orders,
)


def text_of(source: str, name: str, operator: str, wanted: str) -> Asked:
    """A comparison of texts."""
    return Asked(source, name, operator, wanted=wanted)  # type: ignore[arg-type]  # a source


ABOVE_HALF = Asked("metrics", "acc", "within", math.nextafter(0.5, 1), math.inf)


# J2
@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("metrics.acc > 0.5", ABOVE_HALF),
        ("metric.acc>.5", ABOVE_HALF),
        ("`metrics`.`acc` > 5e-1", ABOVE_HALF),
        ("`metrics.acc` > 0.5", ABOVE_HALF),
        ('metrics."acc" > +0.5', ABOVE_HALF),
        ("metrics.`val loss` <> -1", Asked("metrics", "val loss", "outside", -1, -1)),
        ("metrics.val-loss/x == 1", Asked("metrics", "val-loss/x", "within", 1, 1)),
        ("metrics.a <= 2", Asked("metrics", "a", "within", -math.inf, 2)),
        ("params.model = 'svm'", text_of("params", "model", "=", "svm")),
        ('parameter.a.b != "x"', text_of("params", "a.b", "!=", "x")),
        ("param.a LIKE '%x_'", text_of("params", "a", "like", "%x_")),
        ("parameters.a ilike 'it''s'", text_of("params", "a", "ilike", "it's")),
        ("tags.`mlflow.user` = 'ada'", text_of("tags", "mlflow.user", "=", "ada")),
        ("tag.mlflow.user = 'ada'", text_of("tags", "mlflow.user", "=", "ada")),
        ("tags.a IS NULL", Asked("tags", "a", "is null")),
        ("params.a is  not\tnull", Asked("params", "a", "is not null")),
        ("run_name = 'r'", text_of("own", "run_name", "=", "r")),
        ("attributes.`Run name` = 'r'", text_of("own", "run_name", "=", "r")),
        ("attr.status != 'FAILED'", text_of("own", "status", "!=", "FAILED")),
        ("run.run_id IN ('a', \"b\")", text_of("own", "run_id", "in", '["a", "b"]')),
        ("run_id not  in ('a',)", text_of("own", "run_id", "not in", '["a"]')),
        ("attribute.start_time >= 1700000000000",
         Asked("own", "start_time", "within", 1.7e12, math.inf)),
        ("Created < 0", Asked("own", "start_time", "within", -math.inf, -5e-324)),
    ],
)  # fmt: skip
def test_condition_is_read_in_each_spelling_that_mlflow_has(text: str, asked: Asked) -> None:
    """Kinds, quotes, operators in any case, lists, null and the older names of attributes."""
    assert parse_filter(RUNS, text) == (asked,)


def test_conditions_are_joined_by_and() -> None:
    """In any case; a blank filter has none."""
    both = parse_filter(RUNS, " metrics.acc > 0.5 AND\n tags.a = 'and' and params.b = 'or' ")
    assert [one.name for one in both] == ["acc", "a", "b"]
    assert parse_filter(RUNS, None) == parse_filter(RUNS, " \n") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("metrics.acc >", "at its end: a number is expected"),
        ("metrics.acc > 'x'", "character 15 .*: a number is expected"),
        ("metrics.acc > nan", "character 15 .*: a number is expected"),
        ("metrics.acc > 1e999", "beyond the range"),
        ("metrics.acc like 'x'", "like compares texts only"),
        ("params.a = 1", "character 12 .*: a text in quotes is expected"),
        ("params.a = `b`", "a text in quotes is expected"),
        ("params.a > 'b'", "compare it with = != like or ilike"),
        ("params.a 'b'", "character 10 .*: one of = != <"),
        ("metrcs.a = 1", "did you mean 'metrics'"),
        ("run_nam = 'x'", "did you mean 'run_name'"),
        ("attributes.lifecycle_stage = 'x'", "is no attribute"),
        ("loss > 1", "named by its kind"),
        ("params. = 'x'", "a name is expected"),
        ("run_name in ('a')", "only run_id may be compared with a list"),
        ("params.a in ('a')", "only run_id"),
        ("run_id in ()", "a text in quotes is expected"),
        ("run_id in ('a'", "at its end: ',' or '\\)' is expected"),
        ("run_id in 'a'", "a list of texts"),
        ("start_time is null", "only a parameter or a tag"),
        ("metrics.a is null", "only a parameter or a tag"),
        ("dataset.name = 'x'", "not searched by datasets"),
        ("metrics.a > 1 or metrics.b > 1", "character 15 .*'or' is not part"),
        ("(metrics.a > 1)", "without brackets"),
        ("not metrics.a > 1", "turn the operator round"),
        ("metrics.a > 1 metrics.b > 1", "'and' or the end is expected"),
        ("metrics.a > 1 and", "at its end: a field such as"),
        ("'", "a field such as"),
        ("params.a = 'x\0'", "NUL"),
        ("params.a = '\ud800'", "lone surrogate"),
        ("tags.a = 'b' and " * CONDITIONS_MAX + "tags.a = 'b'", "more than 50 conditions"),
        ("a" * (TEXT_CHARS_MAX + 1), "allowed are 65536"),
    ],
)
def test_filter_that_cannot_be_read_names_the_place_and_the_remedy(text: str, why: str) -> None:
    """Broken, misspelled, or of a language that MLflow does not have."""
    with pytest.raises(ValidationError, match=why) as caught:
        parse_filter(RUNS, text)
    assert caught.value.field == "filter"


# J2
def test_orders_are_read_with_and_without_direction() -> None:
    """Ascending when nothing is said; names in quotes; the older name of the start."""
    read = parse_orders(
        RUNS, ["metrics.acc DESC", "`params.a b` asc", "tags.`x`", "Created", "run_name desc"]
    )
    assert [(one.source, one.name, one.operator) for one in read] == [
        ("metrics", "acc", "desc"),
        ("params", "a b", "asc"),
        ("tags", "x", "asc"),
        ("own", "start_time", "asc"),
        ("own", "run_name", "desc"),
    ]
    assert parse_orders(RUNS, []) == ()


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["metrics.a down"], "'asc' or 'desc' is expected"),
        (["metrics.a desc x"], "stands nothing"),
        ([""], "a field such as"),
        (["a, b"], "is no attribute"),
        (["run_name"] * (ORDERS_MAX + 1), "more than 10 fields"),
    ],
)
def test_order_that_cannot_be_read_says_why(texts: list[str], why: str) -> None:
    """Each text is one field with a direction."""
    with pytest.raises(ValidationError, match=why) as caught:
        parse_orders(RUNS, texts)
    assert caught.value.field == "order_by"


def test_experiments_have_a_language_of_their_own() -> None:
    """Name, id, times and tags; what runs have beyond these is refused."""
    (name, tag, moment) = parse_filter(
        EXPERIMENTS, "name ILIKE 'a%' and tags.team = 'red' and creation_time > 5"
    )
    assert (name.name, tag.source, moment.source) == ("name", "tags", "own")
    for text in ("metrics.a > 1", "run_id = 'a'", "params.a = 'b'"):
        with pytest.raises(ValidationError, match=r"is no (kind|attribute)"):
            parse_filter(EXPERIMENTS, text)
    with pytest.raises(ValidationError, match="cannot be sorted by"):
        parse_orders(EXPERIMENTS, ["tags.team"])
