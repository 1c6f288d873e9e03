"""Behaviour of the checks of names and values."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from trialog_schemas import names
from trialog_schemas.errors import NotNumericError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable


class Colour(IntEnum):
    """A subclass of int, as programs have them."""

    RED = 1


# A2
@pytest.mark.parametrize("check", [names.check_experiment_name, names.check_run_name])
@pytest.mark.parametrize(
    "name", ["", "x" * 121, "a b", "a/b", "a.b", "café", "name\n", "\uff41", "a\0", None, 7, b"a"]
)
def test_resource_name_illegal_raises_value_error(
    check: Callable[[object], str], name: object
) -> None:
    """Names outside 1–120 of A-Z a-z 0-9 - _ are refused, a trailing newline too."""
    with pytest.raises(ValueError, match="name") as caught:
        check(name)
    assert caught.value.response["Error"]["Code"] == "ValidationException"  # type: ignore[attr-defined]


# A2
@pytest.mark.parametrize("name", ["a", "x" * 120, "with-dash", "with_underscore", "0", "A-z_9"])
def test_resource_name_legal_is_returned_unchanged(name: str) -> None:
    """Names of 1 and 120 characters and with - and _ pass."""
    assert names.check_experiment_name(name) == name


def test_name_subclass_of_str_becomes_plain_str() -> None:
    """What is recorded does not depend on a caller's subclass."""
    assert type(names.check_run_name(np.str_("run"))) is str


# C1
@pytest.mark.parametrize("value", [True, False, 1, 1.0, "text", None, [1, "a"], {"k": [None]}])
def test_parameter_value_keeps_its_type(value: object) -> None:
    """A value comes back with its own type: True stays True and 1.0 stays float."""
    checked = names.check_parameter_value("p", value)
    assert checked == value
    assert type(checked) is type(value)


# C2
@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (Colour.RED, 1)],
)
def test_parameter_value_of_numpy_becomes_python(value: object, expected: object) -> None:
    """A numpy scalar or an enumeration's member is recorded as the plain value."""
    checked = names.check_parameter_value("p", value)
    assert checked == expected
    assert type(checked) is type(expected)


# C2
@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, 1j, b"x", math.nan, math.inf, np.array([1, 2]), Decimal(1), 2**64, {1: 2}],
)
def test_parameter_value_not_json_raises_value_error(value: object) -> None:
    """What JSON cannot hold is refused at the call."""
    with pytest.raises(ValueError, match="'p'"):
        names.check_parameter_value("p", value)


def test_parameter_value_that_contains_itself_raises_value_error() -> None:
    """A list inside itself is refused, not followed for ever."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nests deeper"):
        names.check_parameter_value("p", endless)


@pytest.mark.parametrize(("chars", "is_legal"), [(255, True), (256, True), (257, False)])
def test_parameter_value_length_counts_characters(chars: int, is_legal: bool) -> None:
    """256 emoji pass, 257 do not."""
    text = "🙂" * chars
    if is_legal:
        assert names.check_parameter_value("p", text) == text
    else:
        with pytest.raises(ValueError, match="257 characters"):
            names.check_parameter_value("p", text)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_parameter_text_that_cannot_be_stored_raises_value_error(text: str) -> None:
    """NUL and lone surrogates are refused at the call."""
    with pytest.raises(ValueError, match="remove it"):
        names.check_parameter_value("p", text)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0, False),
        ("1", 1, False),
        (None, None, True),
        ([1, True], [1.0, True], True),
        ([1], [True], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": True}, {"a": 1}, False),
    ],
)
def test_same_parameter_tells_kinds_apart(
    one: names.ParameterValue,
    other: names.ParameterValue,
    is_same: bool,
) -> None:
    """Truth values, numbers and texts are different; 1 and 1.0 are the same."""
    assert names.same_parameter(one, other) is is_same


# D6
@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (True, 1.0), (np.float32(0.5), 0.5), (np.array(2), 2.0), (np.bool_(False), 0.0)],
)
def test_metric_value_number_becomes_float(value: object, expected: float) -> None:
    """Numbers, truth values, numpy scalars and 0-d arrays are floats."""
    assert names.check_metric_value("m", value) == expected


# D6
@pytest.mark.parametrize(
    "value", ["1", None, [1.0], np.array([1.0]), np.complex64(1), 1j, b"1", {}, 10**400]
)
def test_metric_value_not_numeric_is_type_and_value_error(value: object) -> None:
    """What is no number raises an error that is both a TypeError and a ValueError."""
    with pytest.raises(NotNumericError) as caught:
        names.check_metric_value("m", value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


# D7
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_metric_value_nan_and_infinite_pass(value: float) -> None:
    """NaN and ±Inf are values like any other."""
    assert str(names.check_metric_value("m", value)) == str(value)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0), (None, -1), (np.int64(7), 7), (2**63 - 1, 2**63 - 1)]
)
def test_step_legal_is_plain_int(step: object, expected: int) -> None:
    """Integers from 0 to 2**63-1 pass, None is −1."""
    checked = names.check_step(step)
    assert checked == expected
    assert type(checked) is int


@pytest.mark.parametrize("step", [1.5, -1, True, 2**63, "1", np.bool_(True), np.array([1, 2])])
def test_step_illegal_raises_value_error(step: object) -> None:
    """Fractions, negative numbers, truth values and what is no integer are refused."""
    with pytest.raises(ValueError, match="step"):
        names.check_step(step)


# D1
def test_step_given_a_datetime_raises_type_error_with_remedy() -> None:
    """A time in the step's place is met with a hint."""
    with pytest.raises(TypeError, match=r"timestamp="):
        names.check_step(datetime.now(UTC))


def test_timestamp_is_microseconds_utc() -> None:
    """A time in any zone is counted from the epoch, with microseconds."""
    zone = timezone(timedelta(hours=2))
    moment = datetime(1970, 1, 1, 2, 0, 1, 5, tzinfo=zone)
    assert names.check_timestamp(moment) == 1_000_005


@pytest.mark.parametrize("size", [0, 101, -1, "5", True, 5.0, None])
def test_page_size_illegal_raises_value_error(size: object) -> None:
    """A9: only whole numbers from 1 to 100 are page sizes."""
    with pytest.raises(ValueError, match="max_results"):
        names.check_page_size(size)


# A8
def test_choice_near_miss_is_answered_with_a_hint() -> None:
    """A wrong word that resembles a right one gets it named."""
    with pytest.raises(ValidationError, match="did you mean 'CreationTime'"):
        names.check_choice("sort_by", "CreatonTime", names.SORT_FIELDS)


@pytest.mark.parametrize("name", ["../x", "C:\\x", "/x", "a//b", "a/../b", ".", "", "a\nb", "c:x"])
def test_artifact_name_that_looks_like_a_way_out_raises_value_error(name: str) -> None:
    """Names that a file system would read as another folder are refused."""
    with pytest.raises(ValueError, match="artifact name"):
        names.check_artifact_name(name)


def test_tags_both_forms_are_the_same() -> None:
    """A dict and SageMaker's list give the same tags."""
    as_list = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    assert names.check_tags(as_list) == names.check_tags({"a": "1", "b": ""})


@pytest.mark.parametrize("count", [50, 51])
def test_tags_are_bounded_at_50(count: int) -> None:
    """50 tags pass, 51 do not, and a repeated key does not."""
    tags = {f"k{index}": "v" for index in range(count)}
    if count == 50:
        assert names.check_tags(tags) == tags
    else:
        with pytest.raises(ValueError, match="51 tags"):
            names.check_tags(tags)
    with pytest.raises(ValueError, match="given twice"):
        names.check_tags([{"Key": "a", "Value": "1"}] * 2)


# D9
@pytest.mark.parametrize(
    "value",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))),
        "now",
        1.5,
        None,
    ],
)
def test_timestamp_that_is_no_time_of_the_calendar_in_utc_is_refused(value: object) -> None:
    """A time that is before year 1 or after year 9999 in UTC is the caller's error."""
    with pytest.raises(ValidationError, match="timestamp"):
        names.check_timestamp(value)


# D9
def test_timestamp_of_pandas_is_read_and_its_nat_refused() -> None:
    """NaT is a datetime for Python and no time."""
    at = pd.Timestamp("2026-01-02T03:04:05.000006", tz="UTC")
    assert names.check_timestamp(at) == 1_767_323_045_000_006
    with pytest.raises(ValidationError, match="NaT"):
        names.check_timestamp(pd.NaT)


# E7
@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/job-1/model.tar.gz", "bucket/job-1/model.tar.gz"),
        ("s3://bucket/model.pt?version=3#top", "bucket/model.pt"),
        ("file:///models/m.pt", "models/m.pt"),
        ("models:/name/3", "name/3"),
        ("file:C:/models/m", "model"),
        ("s3://../../etc//passwd", "etc/passwd"),
        ("x:\\\\host\\m", "host/m"),
        ("x:?", "model"),
        ("s3://b/" + "d" * 300, "d" * 255),
    ],
)
def test_model_is_named_by_host_and_path_of_its_address(uri: str, name: str) -> None:
    """The name is a legal artifact name, whatever the address looks like."""
    assert names.model_name_of(names.check_model_uri(uri)) == name
    assert names.check_artifact_name(name) == name


# E7
@pytest.mark.parametrize("uri", ["model.tar.gz", "/models/m", "", "s3:", "://x", "s3://a\nb", None])
def test_model_address_without_a_scheme_is_refused(uri: object) -> None:
    """An address says how it is reached."""
    with pytest.raises(ValueError, match="model_data_uri"):
        names.check_model_uri(uri)


# E7
def test_model_fact_has_at_most_256_characters() -> None:
    """A fact may be missing or empty, and is text."""
    facts = [names.check_model_fact("framework", value) for value in (None, "", "x" * 256)]
    assert facts == [None, "", "x" * 256]
    for wrong in ("x" * 257, 2.5):
        with pytest.raises(ValidationError, match="framework"):
            names.check_model_fact("framework", wrong)


# E1
def test_artifact_text_is_any_unicode_text() -> None:
    """Bytes belong into a file; a lone surrogate is no text."""
    assert names.check_artifact_text("a", "\0 é\n") == "\0 é\n"
    with pytest.raises(TypeError, match="give its text, or log a file"):
        names.check_artifact_text("a", b"bytes")
    with pytest.raises(ValidationError, match="lone surrogate"):
        names.check_artifact_text("a", "\ud800")
