"""The sentences that refusals and errors have, each with what provokes it and its four parts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from tests.unit.schemas.hostile_objects import Raising, Text
from trialog_schemas import arguments, names, wire
from trialog_schemas.errors import ClientError
from trialog_schemas.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = timedelta(hours=1)
LONG = "x" * 300
CUT = repr("x" * 81)[:79]


@dataclass(frozen=True)
class Row:
    """A sentence with its four parts, each as it stands in it."""

    cause: Callable[[], object]
    code: str
    what: str
    value: str
    limit: str
    remedy: str


def error(check: Callable[..., object], *values: object) -> Callable[[], ClientError]:
    """Return the error that a check raises."""

    def provoke() -> ClientError:
        with pytest.raises(ClientError) as caught:
            check(*values)
        return caught.value

    return provoke


def parameter(value: object) -> Callable[[], ClientError]:
    """Return the error of a parameter's value."""
    return error(names.check_parameter_value, "p", value)


def _deep() -> list[object]:
    value: list[object] = []
    for _ in range(2000):
        value = [value]
    return value


def _many() -> list[object]:
    """A value whose lists hold one another twice: it would be 2**64 things."""
    value: list[object] = []
    for _ in range(64):
        value = [value, value]
    return value


INVALID = "ValidationException"
JSON_REMEDY = "give text, a number, a truth value, None, a list or a dict"

ERRORS = [
    Row(
        error(names.check_run_name, "a b"),
        INVALID,
        "run name",
        "'a b'",
        "A-Z a-z 0-9 - _",
        "replace it by one of these",
    ),
    Row(
        error(names.check_experiment_name, None),
        INVALID,
        "experiment_name",
        "None of type NoneType",
        "a text",
        "give a text",
    ),
    Row(
        error(names.check_experiment_name, LONG),
        INVALID,
        "experiment_name",
        f"{CUT}… has 300 characters",
        "1 to 120",
        "shorten or fill it",
    ),
    Row(
        error(names.check_description, "a\0"),
        INVALID,
        "description",
        r"'a\x00'",
        "a NUL character, which the store cannot hold",
        "remove it",
    ),
    Row(
        error(names.check_metric_name, "a\ud800"),
        INVALID,
        "metric name",
        r"'a\ud800'",
        "a lone surrogate, which is no Unicode text",
        "remove it",
    ),
    Row(error(names.check_tags, 7), INVALID, "tags", "7", "a list of", "give a dict or a list"),
    Row(
        error(names.check_tags, ["k"]),
        INVALID,
        "tag",
        "'k'",
        "{'Key': …, 'Value': …}",
        "write it so",
    ),
    Row(
        error(names.check_tags, [{"Key": "k", "Value": "v"}] * 2),
        INVALID,
        "tag key",
        "'k'",
        "given twice",
        "keep one of them",
    ),
    Row(
        error(names.check_callers_tags, {"trialog.dropped_calls": "0"}),
        INVALID,
        "tag key",
        "'trialog.dropped_calls'",
        "reserved",
        "choose another key",
    ),
    Row(
        error(names.check_tags, {str(at): "" for at in range(51)}),
        INVALID,
        "tags are given",
        "51",
        "50",
        "remove some",
    ),
    Row(
        error(names.check_parameter_name, "a\n"),
        INVALID,
        "parameter name",
        r"'a\n'",
        "letters, digits, _ - . / : and space",
        "replace it",
    ),
    Row(
        parameter("x" * 257),
        INVALID,
        "parameter 'p'",
        f"257 characters ({CUT}…)",
        "allowed are 256",
        "log it as an artifact",
    ),
    Row(parameter({1}), INVALID, "parameter 'p'", "{1} is of type set", "not JSON", JSON_REMEDY),
    Row(parameter({1: 2}), INVALID, "parameter 'p'", "1 has a key", "no text", JSON_REMEDY),
    Row(parameter(float("nan")), INVALID, "parameter 'p'", "nan", "no form for", JSON_REMEDY),
    Row(
        parameter(10**5000),
        INVALID,
        "parameter 'p'",
        "a int too large to show",
        "outside -2**63 … 2**64-1",
        JSON_REMEDY,
    ),
    Row(
        parameter(_deep()),
        INVALID,
        "parameter 'p'",
        "[[[[",
        "nests deeper than 64 levels",
        JSON_REMEDY,
    ),
    Row(
        error(names.check_metric_name, "a\n"),
        INVALID,
        "metric name",
        r"'a\n'",
        "a character that cannot be printed",
        "remove it",
    ),
    Row(
        error(names.check_metric_value, "m", "1"),
        INVALID,
        "metric 'm'",
        "'1' of type str",
        "a number",
        "give a number",
    ),
    Row(
        error(names.check_metric_value, "m", 10**400),
        INVALID,
        "metric 'm'",
        "10000000",
        "beyond the range of float",
        "give a number",
    ),
    Row(
        error(names.check_step, 1.5),
        INVALID,
        "step",
        "1.5",
        "0 to 2**63-1",
        "give such a number or None",
    ),
    Row(
        error(names.check_timestamp, 7),
        INVALID,
        "timestamp",
        "7 of type int",
        "a datetime",
        "give a datetime",
    ),
    Row(
        error(names.check_timestamp, datetime(9999, 12, 31, 23, tzinfo=timezone(-12 * HOUR))),
        INVALID,
        "timestamp",
        "datetime.datetime(9999, 12, 31, 23",
        "the years 1 to 9999 in UTC",
        "give a datetime",
    ),
    Row(
        error(names.check_artifact_name, "../x"),
        INVALID,
        "artifact name",
        "'../x'",
        "a path out of its folder",
        "use printable characters with single inner slashes",
    ),
    Row(
        error(names.check_artifact_text, "a", "\ud800"),
        INVALID,
        "artifact 'a'",
        "a lone surrogate",
        "no Unicode text",
        "remove it",
    ),
    Row(
        error(names.check_media_type, "text"),
        INVALID,
        "media_type",
        "'text'",
        "the form type/subtype",
        "for example text/plain",
    ),
    Row(
        error(names.check_model_uri, "m.pt"),
        INVALID,
        "model_data_uri",
        "'m.pt'",
        "no scheme",
        "write it like s3://bucket/model.tar.gz",
    ),
    Row(
        error(names.check_page_size, 101),
        INVALID,
        "max_results",
        "101",
        "whole numbers 1 to 100",
        "page through the rest",
    ),
    Row(
        error(names.check_choice, "sort_by", "Colour", names.SORT_FIELDS),
        INVALID,
        "sort_by",
        "'Colour'",
        "allowed are CreationTime, Name",
        "give one of them",
    ),
    Row(
        error(names.check_choice, "sort_by", "Nam", names.SORT_FIELDS),
        INVALID,
        "sort_by",
        "'Nam'",
        "allowed are CreationTime, Name",
        "did you mean 'Name'?",
    ),
    Row(
        error(wire.Position.parse, "events:x"),
        INVALID,
        "position",
        "'events:x'",
        "the form events:3:17",
        "pass one that was given",
    ),
    Row(
        error(Limits.from_json, {"points_max": -1}),
        INVALID,
        "limit points_max",
        "-1",
        "whole number from 0 to 2**63-1",
        "give a number of things or bytes",
    ),
    Row(
        error(names.check_step, datetime(2026, 1, 2, tzinfo=UTC)),
        INVALID,
        "step",
        "datetime.datetime(2026, 1, 2",
        "the third argument is the step",
        "pass the time as timestamp=…",
    ),
    Row(
        error(names.check_artifact_text, "a", b"x"),
        INVALID,
        "artifact 'a'",
        "b'x' of type bytes",
        "text",
        "log a file",
    ),
    Row(
        error(names.check_run_name, "l\u043ess"),
        INVALID,
        "run name",
        "'l\u043ess'",
        "U+043E CYRILLIC SMALL LETTER O as character 2",
        "replace it by one of these",
    ),
    Row(
        error(names.check_artifact_name, "a\u200bb"),
        INVALID,
        "artifact name",
        r"'a\u200bb'",
        "U+200B ZERO WIDTH SPACE as character 2",
        "use printable characters",
    ),
    Row(
        error(names.check_metric_value, "m", Raising()),
        INVALID,
        "metric 'm'",
        "a Raising that cannot be shown",
        "raised LookupError when it was read",
        "give a number",
    ),
    Row(
        parameter(Raising()),
        INVALID,
        "parameter 'p'",
        "a Raising that cannot be shown",
        "raised LookupError when it was read",
        JSON_REMEDY,
    ),
    Row(
        parameter(_many()),
        INVALID,
        "parameter 'p'",
        "[[[[",
        "more than 256 characters",
        "log it as an artifact",
    ),
    Row(
        parameter({"a": 1, Text("a"): 2}),
        INVALID,
        "parameter 'p'",
        "'a'",
        "has this key twice",
        JSON_REMEDY,
    ),
    Row(
        error(names.check_metric_row, {"a": 1.0, Text("a"): 2.0}),
        INVALID,
        "metric",
        "'a'",
        "given twice",
        "keep one of them",
    ),
    Row(
        error(names.check_metric_row, [1.0]),
        INVALID,
        "metrics",
        "[1.0] of type list",
        "of type list",
        "give a dict of name to number",
    ),
    Row(
        error(names.check_metric_row, Raising()),
        INVALID,
        "metrics",
        "a Raising that cannot be shown",
        "raised LookupError when they were read",
        "give a dict of name to number",
    ),
    Row(
        error(names.check_tag_keys, "abc"),
        INVALID,
        "removed",
        "'abc' of type str",
        "of type str",
        "give a list of keys",
    ),
    Row(
        error(names.check_tag_keys, Raising()),
        INVALID,
        "removed",
        "a Raising that cannot be shown",
        "raised LookupError when it was read",
        "give a list of keys",
    ),
    Row(
        error(arguments.check_flag, "is_output", "no"),
        INVALID,
        "is_output",
        "'no' of type str",
        "True and False",
        "give one of them",
    ),
    Row(
        error(arguments.check_question, "filter", 7),
        INVALID,
        "filter",
        "7 of type int",
        "of type int",
        "give a text",
    ),
]
