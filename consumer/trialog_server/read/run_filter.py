"""The language of run searches: text to conditions and an order. Pure; must not know SQL.

    filter    = condition { "and" condition }
    condition = field operator literal
    field     = "params." NAME | "metrics." NAME [ "." SUMMARY ] | "tags." NAME
              | "status" | "run_name" | "creation_time" | "start_time" | "end_time"
    SUMMARY   = "last" (when none is given) | "min" | "max" | "mean" | "count"
    NAME      = letters, digits and signs without blanks, or anything in ` `, " " or ' '
    operator  = "=" | "!=" | "<" | "<=" | ">" | ">=" | "like"     (% any text, _ one character)
    literal   = number | nan | inf | -inf | 'text' | true | false | null
    order     = field [ "asc" | "desc" ]

Words are read in any case; `or`, `not`, `in` and brackets do not exist. A quote inside quotes is
doubled. A number never equals a text or a truth value. NaN equals NaN, so that `= nan` finds it,
and is neither above nor below any number. A run without the value meets no condition on it, not
even `!=`. A time is compared with a text like '2026-03-01' or '2026-03-01T12:30:00+01:00'; without
a zone it is UTC.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from trialog_schemas.errors import did_you_mean, shown
from trialog_schemas.limits import FILTER_CHARS_MAX
from trialog_server.read.text_reader import QUOTED, TextReader, unquoted

CONDITIONS_MAX = 20
"""Conditions of one filter: bounds the work of one search."""

SUMMARIES = ("last", "min", "max", "mean", "count")
STATUSES = ("InProgress", "Completed", "Failed")
TIME_FIELDS = ("creation_time", "start_time", "end_time")
RUN_FIELDS = ("status", "run_name", *TIME_FIELDS)

Source: TypeAlias = Literal["params", "metrics", "tags", "run"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_SOURCES: dict[str, Source] = {
    "params": "params",
    "parameters": "params",
    "param": "params",
    "parameter": "params",
    "metrics": "metrics",
    "metric": "metrics",
    "tags": "tags",
    "tag": "tags",
}
_WORD = re.compile(r"\w+")
_BARE_NAME = re.compile(r"""[^\s=<>!'"`(),]+""")
_OPERATOR = re.compile(r"!=|<>|<=|>=|==|=|<|>|like\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf(?:inity)?)(?![\w.])", re.IGNORECASE | re.ASCII)
_ABSENT = re.compile(r"(?:or|not|in|between)\b|[(]", re.IGNORECASE)
_INSTEAD = {
    "or": "search once for each side of it",
    "not": "turn the operator round, as != for =",
    "in": "search once for each value, with =",
    "between": "write two conditions, with >= and <=",
    "(": "conditions are joined by 'and' alone, without brackets",
}
"""What other languages have and this one has not, with the remedy."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a condition or an order looks at; `name` is empty for the run's own fields."""

    source: Source
    name: str
    field: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a number within or outside a closed range, or a text compared with another.

    A strict bound is a closed one at the next representable number, so that every comparison of
    numbers is a range; that of times as well, in microseconds since the epoch.
    """

    source: Source
    name: str
    field: str
    operator: str
    low: float | None = None
    high: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """By what the runs are sorted; missing values come last in either direction."""

    source: Source
    name: str
    field: str
    is_descending: bool


NEWEST_FIRST = Order("run", "", "creation_time", is_descending=True)


def parse_filter(text: str | None) -> tuple[Condition, ...]:
    """Return the conditions of a filter; None or a blank text has none.

    Raises:
        ValidationError: the text is no filter; the message says where and what was expected.
    """
    reader = _Reader("filter", text or "", FILTER_CHARS_MAX)
    conditions: list[Condition] = []
    while not reader.is_at_end():
        if conditions:
            reader.expect_word("and")
        conditions.append(_condition(reader))
        if len(conditions) > CONDITIONS_MAX:
            raise reader.error(f"more than {CONDITIONS_MAX} conditions; search with fewer")
    return tuple(conditions)


def parse_order(text: str | None) -> Order:
    """Return the order that the text names; None or a blank text is newest first.

    Raises:
        ValidationError: the text is no order; the message says where and what was expected.
    """
    reader = _Reader("order_by", text or "", FILTER_CHARS_MAX)
    if reader.is_at_end():
        return NEWEST_FIRST
    field = reader.field()
    direction = "asc" if reader.is_at_end() else reader.word().lower()
    if direction not in ("asc", "desc") or not reader.is_at_end():
        raise reader.error("after the field stands nothing, 'asc' or 'desc'")
    return Order(field.source, field.name, field.field, is_descending=direction == "desc")


def _condition(reader: _Reader) -> Condition:
    field = reader.field()
    operator = reader.operator()
    literal = reader.literal(takes_texts=field.source != "metrics")
    match field.source, literal:
        case (("params" | "metrics"), float()):
            return _number_condition(reader, field, operator, literal)
        case "params", str():
            return Condition("params", field.name, "text", operator, text=literal)
        case "params", bool() | None:
            if operator not in ("=", "!="):
                raise reader.error("true, false and null are compared with = or != only")
            packed = {True: "true", False: "false", None: "null"}[literal]
            return Condition("params", field.name, "json", operator, text=packed)
        case "tags", str():
            return Condition("tags", field.name, "tag", operator, text=literal)
        case "run", str() if field.field in TIME_FIELDS:
            return _number_condition(reader, field, operator, _time_us(reader, operator, literal))
        case "run", str():
            if field.field == "status":
                _check_status(reader, operator, literal)
            return Condition("run", "", field.field, operator, text=literal)
    expected = "a number" if field.source == "metrics" else "a text in quotes"
    raise reader.error(f"{field.field} is compared with {expected}")


def _number_condition(reader: _Reader, field: Field, operator: str, number: float) -> Condition:
    if operator == "like":
        raise reader.error("like compares texts only; give the text in quotes")
    if math.isnan(number) and operator not in ("=", "!="):
        raise reader.error("nan is neither above nor below anything; compare it with = or !=")
    inside, low, high = number_range(operator, number)
    kind = "number" if field.source == "params" else field.field
    return Condition(field.source, field.name, kind, inside, low=low, high=high)


def number_range(operator: str, number: float) -> tuple[str, float, float]:
    """Return a comparison with a number as `within` or `outside` of a closed range."""
    low, high = -math.inf, math.inf
    match operator:
        case "=" | "!=":
            low = high = number
        case "<" | ">" if number == (low if operator == "<" else high):
            low, high = high, low  # Nothing lies beyond an infinity: an empty range.
        case "<":
            high = math.nextafter(number, -math.inf)
        case "<=":
            high = number
        case ">":
            low = math.nextafter(number, math.inf)
        case ">=":
            low = number
    return "outside" if operator == "!=" else "within", low, high


def _time_us(reader: _Reader, operator: str, text: str) -> float:
    if operator == "like":
        raise reader.error("a time is compared with = != < <= > or >= only")
    try:
        time = datetime.fromisoformat(text)
        zoned = time.replace(tzinfo=UTC) if time.tzinfo is None else time
        return float((zoned - _EPOCH) // _MICROSECOND)
    except (ValueError, OverflowError) as exc:
        raise reader.error(
            f"{shown(text)} is no time; write one like '2026-03-01' or '2026-03-01T12:30:00+01:00'"
        ) from exc


def _check_status(reader: _Reader, operator: str, status: str) -> None:
    if operator not in ("=", "!="):
        raise reader.error("status is compared with = or != only")
    if status not in STATUSES:
        hint = did_you_mean(status, STATUSES)
        raise reader.error(f"a status is one of {', '.join(STATUSES)}, not {status!r}{hint}")


class _Reader(TextReader):
    """Reads a text of this language."""

    def word(self) -> str:
        """Read a word."""
        return self._read(_WORD, "a word")

    def expect_word(self, word: str) -> None:
        """Read exactly this word, in any case."""
        self._refuse_absent()
        found = _WORD.match(self._text, self._at)
        if found is None or found.group().lower() != word:
            raise self.error(f"{word!r} or the end is expected")
        self._at = found.end()

    def field(self) -> Field:
        """Read what a condition or an order looks at."""
        self._refuse_absent()
        word = self._read(_WORD, "a field such as params.lr, metrics.loss or status")
        source = _SOURCES.get(word.lower())
        if source is None:
            if word.lower() in RUN_FIELDS:
                return Field("run", "", word.lower())
            hint = did_you_mean(word, [*RUN_FIELDS, *_SOURCES])
            raise self.error(
                f"{word!r} is no field; fields are params.NAME, metrics.NAME, tags.NAME, "
                f"{', '.join(RUN_FIELDS)}{hint}"
            )
        if not self._text.startswith(".", self._at):
            raise self.error(f"after {word!r} a dot and a name are expected")
        self._at += 1
        quoted = QUOTED.match(self._text, self._at)
        name = self._name()
        if source == "params":
            return Field("params", name, "parameter")
        if source == "tags":
            return Field("tags", name, "tag")
        if quoted is None:
            return _metric_field(name)
        if not self._text.startswith(".", self._at):
            return Field("metrics", name, "last")
        self._at += 1
        summary = self.word().lower()
        if summary not in SUMMARIES:
            hint = did_you_mean(summary, SUMMARIES)
            raise self.error(f"a metric has {', '.join(SUMMARIES)}, not {summary!r}{hint}")
        return Field("metrics", name, summary)

    def operator(self) -> str:
        """Read an operator; `==` and `<>` are other spellings."""
        self._refuse_absent()
        found = self._read(_OPERATOR, "one of = != < <= > >= like").lower()
        return {"==": "=", "<>": "!="}.get(found, found)

    def literal(self, *, takes_texts: bool) -> float | str | bool | None:
        """Read a number, a text in quotes, true, false or null."""
        self._skip_blanks()
        if number := _NO_NUMBER.match(self._text, self._at):
            self._at = number.end()
            return float(number.group())
        if number := _NUMBER.match(self._text, self._at):
            self._at = number.end()
            value = float(number.group())
            if math.isinf(value):
                raise self.error(f"{number.group()} is beyond the range of float")
            return value
        if quoted := QUOTED.match(self._text, self._at):
            self._at = quoted.end()
            return unquoted(quoted.group())
        word = self._read(_WORD, "a number, a text in quotes, true, false or null")
        words: dict[str, bool | None] = {"true": True, "false": False, "null": None}
        if word.lower() not in words:
            remedy = f"; put a text in quotes: '{word}'" if takes_texts else ", nan, inf or -inf"
            raise self.error(f"{word!r} is no number{remedy}")
        return words[word.lower()]

    def _refuse_absent(self) -> None:
        self._skip_blanks()
        if found := _ABSENT.match(self._text, self._at):
            word = found.group().lower()
            raise self.error(f"{word!r} is not part of the language; {_INSTEAD[word]}")

    def _name(self) -> str:
        if quoted := QUOTED.match(self._text, self._at):
            self._at = quoted.end()
            return unquoted(quoted.group())
        return self._read(_BARE_NAME, "a name", skips_blanks=False)


def _metric_field(name: str) -> Field:
    """Split `loss.min` into name and summary; a name that ends so is written in quotes."""
    head, dot, tail = name.rpartition(".")
    if dot and head and tail in SUMMARIES:
        return Field("metrics", head, tail)
    return Field("metrics", name, "last")
