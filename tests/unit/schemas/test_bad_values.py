"""Values of every kind at the checks of names and values: taken as plain, or refused in a sentence.

The tables name what a caller might give. Whatever it is, and whatever it raises when it is looked
at, a refusal is a `ValidationError` with field, value and limit, in one short printable line.
"""

from __future__ import annotations

import math
import types
from collections import OrderedDict, UserDict
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from tests.unit.schemas.hostile_objects import (
    Lying,
    Mapped,
    Raising,
    RaisingText,
    Tensor,
    Text,
    Word,
)
from trialog_schemas import arguments, names
from trialog_schemas.callers_code import shown
from trialog_schemas.errors import ValidationError


class Point(NamedTuple):
    """A tuple with names, as programs have them."""

    x: float
    y: float


def deep(levels: int = 10_000) -> object:
    """Lists in one another."""
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


def endless() -> list[object]:
    """A list that holds itself."""
    value: list[object] = []
    value.append(value)
    return value


def wide(levels: int = 64) -> dict[str, object]:
    """Dicts that hold one another twice: 2**64 things in 64 dicts."""
    value: dict[str, object] = {}
    for _ in range(levels):
        value = {"a": value, "b": value}
    return value


class RaisingZone(tzinfo):
    """A zone that knows nothing."""

    def utcoffset(self, _at: datetime | None) -> timedelta:
        """Raise what a broken zone may raise."""
        raise LookupError("no such zone")

    dst = utcoffset

    def tzname(self, _at: datetime | None) -> str:
        """Raise it here, too."""
        raise LookupError("no such zone")


NO_VALUES: list[Callable[[], object]] = [
    object,
    Raising,
    lambda: Raising,
    lambda: Lying(str),
    lambda: Lying(int),
    lambda: Lying(float),
    lambda: Lying(dict),
    lambda: Lying(datetime),
    lambda: (value for value in (1, 2)),
    lambda: b"bytes",
    lambda: bytearray(b"bytes"),
    lambda: memoryview(b"bytes"),
    lambda: 1j,
    lambda: {1, 2},
    lambda: frozenset({1}),
    lambda: range(3),
    lambda: date(2026, 1, 2),
    lambda: time(1, 2),
    lambda: timedelta(1),
    lambda: pd.NA,
    lambda: pd.NaT,
    lambda: pd.Series([1.0]),
    lambda: pd.DataFrame({"a": [1.0]}),
    lambda: np.array([1.0]),
    lambda: np.array([1.0, 2.0]),
    lambda: np.array([]),
    lambda: np.ma.masked,
    lambda: np.ma.array(1.0, mask=True),
    lambda: np.ma.array([1.0, 2.0], mask=[True, False]),
    lambda: np.datetime64("2026-01-02"),
    lambda: np.timedelta64(1, "s"),
    lambda: np.bytes_(b"1"),
    lambda: np.void(b"12"),
    lambda: np.complex64(1),
    lambda: types.SimpleNamespace(item=Raising, shape=()),
    lambda: types.SimpleNamespace(shape=Raising(), dtype=Raising()),
    lambda: types.SimpleNamespace(items=Raising()),
    type("a" * 10**6, (), {}),
    type("a\nb", (), {}),
]
"""What is no parameter, no metric, no name and nothing else. Built anew for each test."""


def refusal(check: Callable[..., object], *given: object) -> ValidationError:
    """Return the refusal that a check must raise, held against what all must be."""
    with pytest.raises(ValidationError) as caught:
        check(*given)
    error = caught.value
    assert error.response["Error"] == {"Code": "ValidationException", "Message": str(error)}
    assert str(error).isprintable()
    assert len(str(error)) < 500
    assert not str(error).endswith(".")
    assert error.field
    assert len(error.field) <= 256
    assert error.limit
    assert len(error.value or "") <= 80
    return error


CHECKS: dict[str, Callable[[Any], object]] = {
    "experiment": names.check_experiment_name,
    "run": names.check_run_name,
    "parameter": lambda value: names.check_parameter_value("p", value),
    "parameter in a list": lambda value: names.check_parameter_value("p", [1, value]),
    "parameter in a dict": lambda value: names.check_parameter_value("p", {"k": value}),
    "parameter name": names.check_parameter_name,
    "metric": lambda value: names.check_metric_value("m", value),
    "metric in a row": lambda value: names.check_metric_row({"m": value}),
    "metric name": names.check_metric_name,
    "metric and name": lambda value: names.check_metric_value(value, "no number"),
    "step": names.check_step,
    "timestamp": names.check_timestamp,
    "artifact name": names.check_artifact_name,
    "artifact text": lambda value: names.check_artifact_text("a", value),
    "artifact and name": lambda value: names.check_artifact_text(value, b""),
    "media type": names.check_media_type,
    "model": names.check_model_uri,
    "model fact": lambda value: names.check_model_fact("framework", value),
    "description": names.check_description,
    "tag value": lambda value: names.check_tags({"k": value}),
    "tag in a list": lambda value: names.check_tags([{"Key": "k", "Value": value}]),
    "page size": names.check_page_size,
    "choice": lambda value: names.check_choice("sort_by", value, names.SORT_FIELDS),
    "flag": lambda value: arguments.check_flag("is_output", value),
    "filter": lambda value: arguments.check_question("filter", value),
}


QUIET = pytest.mark.filterwarnings("ignore")
"""Numpy and pandas have their own words for some of these."""


# C2 D6 A2
@QUIET
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_what_is_no_value_is_refused_in_one_sentence(check: Callable[[Any], object]) -> None:
    """No object gets through, and none that raises gets its own error through."""
    for make in NO_VALUES:
        refusal(check, make())


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_value_without_end_is_refused_at_once(check: Callable[[Any], object]) -> None:
    """Ten thousand levels, a list in itself, 2**64 things in 64 dicts, a number of 400 digits."""
    for value in (deep(), endless(), wide(), [10**400] * 300, Decimal("1e400"), Fraction(10**400)):
        refusal(check, value)


FREE = {"artifact text", "description", "model fact", "tag value", "tag in a list", "filter"}
"""Checks of texts that may be empty."""

ALSO_NUL = {"artifact text"}
PARAMETERS = {"parameter", "parameter in a list", "parameter in a dict"}


# C9 C12 C13
def test_text_that_cannot_be_is_refused_everywhere() -> None:
    """NUL, a lone surrogate, an empty name, a megabyte; a subclass is seen as what it holds."""
    for what, check in CHECKS.items():
        for text in ("a\0b", RaisingText("a\0b"), "\ud800", RaisingText("\ud800")):
            if what not in ALSO_NUL or str.__str__(text) == "\ud800":
                refusal(check, text)
        if what not in FREE | PARAMETERS:
            refusal(check, "")
        if what not in ALSO_NUL:
            refusal(check, "x" * 10**6)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("l\u043ess", "U+043E CYRILLIC SMALL LETTER O as character 2"),
        ("loss\uff11", "U+FF11 FULLWIDTH DIGIT ONE as character 5"),
        ("lo\u0301ss", "U+0301 COMBINING ACUTE ACCENT as character 3"),
        ("\u200floss", "U+200F RIGHT-TO-LEFT MARK as character 1"),
        ("lo\u200bss", "U+200B ZERO WIDTH SPACE as character 3"),
        ("loss\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE as character 5"),
        ("loss\n", "U+000A as character 5"),
        ("lo ss", "U+0020 SPACE as character 3"),
        ("lo\u00a0ss", "U+00A0 NO-BREAK SPACE as character 3"),
        ("loss\U0001f600", "U+1F600 as character 5"),  # its name is not in every Python
    ],
)
def test_character_that_looks_like_another_is_named(name: str, odd: str) -> None:
    """Who sees two equal words is told which letter is which."""
    for check in (names.check_experiment_name, names.check_run_name):
        assert odd in refusal(check, name).message
    if not name.isprintable():
        for check in (names.check_metric_name, names.check_artifact_name):
            assert odd in refusal(check, name).message


def test_letters_of_every_script_are_letters_of_metrics_and_parameters() -> None:
    """Two names that look the same are two names; neither is changed into the other."""
    for name in ("l\u043ess", "Verlust\u00e4", "Verlusta\u0308", "\u640d\u5931"):
        assert names.check_metric_name(name) == name
    assert names.check_parameter_name("l\u043ess") == "l\u043ess"
    assert "U+0308" in refusal(names.check_parameter_name, "a\u0308").message


NUMBERS: list[tuple[Callable[[], object], float]] = [
    (lambda: Decimal("0.5"), 0.5),
    (lambda: Fraction(1, 2), 0.5),
    (lambda: 2**64, float(2**64)),
    (lambda: Tensor(0.5), 0.5),
    (lambda: Tensor(math.inf), math.inf),
    (lambda: Tensor(True, "torch.bool"), 1.0),
    (lambda: np.array(0.5), 0.5),
    (lambda: np.ma.array(0.5), 0.5),
    (lambda: np.longdouble("0.5"), 0.5),
    (lambda: Decimal("Infinity"), math.inf),
    (lambda: pd.Series([0.5]).iloc[0], 0.5),
    *((lambda kind=kind: np.dtype(kind).type(1), 1.0) for kind in "?bBhHiIlLqQefdg"),
]


# D6
@pytest.mark.parametrize(("make", "number"), NUMBERS)
def test_number_of_every_library_is_a_metric(make: Callable[[], object], number: float) -> None:
    """Python's, numpy's of every type, and what has a shape of no dimensions."""
    taken = names.check_metric_value("m", make())
    assert (type(taken), taken) == (float, number)


# D6
def test_text_in_an_array_is_no_number() -> None:
    """Python would read a number in each of these texts; an array of no dimensions holds them."""
    for text in ("1.5", np.str_("1.5"), np.array("1.5"), np.array("1.5", dtype=object)):
        refusal(names.check_metric_value, "m", text)
        assert names.check_parameter_value("p", text) == "1.5"


# C2
@pytest.mark.parametrize(
    ("make", "plain"),
    [
        (lambda: Tensor(2, "torch.int64"), 2),
        (lambda: Word.LOSS, "loss"),
        (lambda: Text("t"), "t"),
        (lambda: RaisingText("t"), "t"),
        (lambda: np.str_("t"), "t"),
        (lambda: Point(1, 2.5), [1, 2.5]),
        (lambda: OrderedDict(a=1), {"a": 1}),
        (lambda: UserDict({"a": np.int8(1)}), {"a": 1}),
        (lambda: types.MappingProxyType({Word.RATE: None}), {"rate": None}),
        (lambda: np.array(True), True),
        *((lambda kind=kind: np.dtype(kind).type(1), 1) for kind in "?bBhHiIlLqQefd"),
    ],
)
def test_value_of_every_library_is_a_plain_parameter(
    make: Callable[[], object], plain: object
) -> None:
    """What is recorded has Python's own types, in all its parts."""
    taken = names.check_parameter_value("p", make())
    assert taken == plain
    for part in taken if isinstance(taken, list) else [taken]:
        assert type(part) in {bool, int, float, str, dict}
    if isinstance(taken, dict):
        assert {type(key) for key in taken} == {str}


# D8
@pytest.mark.parametrize(
    "step", [np.int8(7), np.uint64(7), np.array(7), Tensor(7, "torch.int64")], ids=repr
)
def test_whole_number_of_every_library_is_a_step(step: object) -> None:
    """Numpy's integers of every width, arrays and tensors of no dimensions."""
    assert names.check_step(step) == 7


@pytest.mark.parametrize(
    "step",
    [
        True,
        np.bool_(True),
        np.array(True),
        Tensor(True, "torch.bool"),
        Tensor(1.0),
        1.0,
        np.float64(1),
        Decimal(1),
        Fraction(1),
        "1",
        -1,
        10**400,
        2**63,
    ],
    ids=shown,
)
def test_what_is_no_step_is_refused(step: object) -> None:
    """Truth values, fractions even when they are whole, texts, numbers out of range."""
    assert refusal(names.check_step, step).field == "step"


# D9
@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 1, 2, tzinfo=RaisingZone()),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        pd.Timestamp(np.datetime64("20000-01-01", "s")),
        pd.Timestamp(np.datetime64("-20000-01-01", "s")),
        np.datetime64("2026-01-02"),
        1_767_323_045.0,
        "2026-01-02",
        date(2026, 1, 2),
    ],
    ids=lambda at: shown(at)[:40],
)
def test_what_is_no_time_is_refused(at: object) -> None:
    """Zones that raise, years that no calendar has, and what is no datetime."""
    refusal(names.check_timestamp, at)


MAPPINGS: list[Callable[[], object]] = [
    Raising,
    lambda: None,
    lambda: "text",
    lambda: [("a", 1)],
    lambda: Lying(dict),
    lambda: Mapped(lambda: 7),
    lambda: Mapped(lambda: [1]),
    lambda: Mapped(lambda: [("a", 1, 2)]),
    lambda: Mapped(Raising),
    lambda: Mapped(lambda: [(Raising(), 1)]),
    lambda: Mapped(lambda: [("a", 1), ("a", 2)]),
    lambda: {1: 1},
    lambda: {"": 1},
    lambda: Mapped(lambda: [(RaisingText("\0"), 1)]),
    lambda: {"loss": 1, Text("loss"): 2},
]


# C3 D2
@pytest.mark.parametrize("make", MAPPINGS)
def test_mapping_that_lies_or_raises_is_refused(make: Callable[[], object]) -> None:
    """What has no items, items that are no pairs, and a name that comes twice."""
    refusal(names.check_metric_row, make())
    if make() is not None:
        refusal(names.check_tags, make())


def test_mapping_that_can_be_read_once_is_read_once() -> None:
    """Names and values come from the same reading, whatever the second would give."""
    once = iter([("a", 1), ("b", np.float32(0.5))])
    assert names.check_metric_row(Mapped(lambda: once)) == (("a", "b"), [1.0, 0.5])  # type: ignore[arg-type]
    series = pd.Series({"a": 1.0, "b": 2.0})
    assert names.check_metric_row(series) == (("a", "b"), [1.0, 2.0])  # type: ignore[arg-type]


def test_keys_of_tags_are_several_texts() -> None:
    """A text is not the keys of its letters."""
    for keys in ("abc", b"abc", 7, None, {"a": "b"}, [7], [""], Raising(), Mapped(list)):
        refusal(names.check_tag_keys, keys)


def test_keys_of_tags_may_come_one_by_one() -> None:
    """What gives several is taken, once."""
    assert names.check_tag_keys(key for key in (Word.LOSS, "b")) == ("loss", "b")


@pytest.mark.parametrize(
    "flag", [True, False, np.True_, np.bool_(False), np.array(True), Tensor(True, "torch.bool")]
)
def test_flag_is_a_truth_value_of_any_library(flag: object) -> None:
    """Python's, numpy's, a tensor's; nothing else is guessed at."""
    assert arguments.check_flag("resume", flag) is bool(flag)
    for wrong in (0, 1, "yes", None, 1.0, np.array([True])):
        refusal(arguments.check_flag, "resume", wrong)


@pytest.mark.parametrize("make", [*NO_VALUES, deep, endless, wide])
def test_every_object_can_be_shown(make: Callable[[], object]) -> None:
    """A message never fails for the value that it is about, and is one short line."""
    for value in (make(), [make()], {"k": make()}, (make(),)):
        told = shown(value)
        assert told.isprintable()
        assert 0 < len(told) <= 80
