"""The search language of MLflow: its filters and orders, to what is asked of each row. Pure.

    filter     = condition { "and" condition }
    condition  = field operator literal | field [ "not" ] "in" "(" text { "," text } ")"
               | field "is" [ "not" ] "null"
    field      = [ KIND "." ] NAME            NAME bare, or anything in ` `, " " or ' '
    KIND       = metrics | params | tags | attributes, and the other spellings MLflow has
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "like" | "ilike"
    order      = field [ "asc" | "desc" ]

A field without a kind is an attribute. Metrics and times are compared with numbers, everything else
with texts in quotes; a list follows the id alone, `is null` a parameter or a tag alone, as with
MLflow's own server. A row without the value meets no condition on it but `is null`. Times are
milliseconds since the epoch.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from trialog_schemas.errors import did_you_mean
from trialog_server.read.run_filter import number_range
from trialog_server.read.text_reader import QUOTED, TextReader, unquoted

if TYPE_CHECKING:
    from collections.abc import Sequence

CONDITIONS_MAX = 50
"""Conditions of one filter: bounds the work of one search."""

ORDERS_MAX = 10
"""Fields that one search is sorted by."""

TEXT_CHARS_MAX = 65_536
"""Characters of a filter: as many as a request may hold, for long lists of ids."""

Source: TypeAlias = Literal["params", "metrics", "tags", "own"]

_PIECE = re.compile(rf"""{QUOTED.pattern}|[^\s=<>!'"`(),]+""")
_OPERATOR = re.compile(
    r"!=|<>|<=|>=|==|=|<|>|(?:like|ilike|in|not\s+in|is\s+not\s+null|is\s+null)\b", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", re.ASCII)
_AND = re.compile(r"and\b", re.IGNORECASE)
_ABSENT = re.compile(r"(?:or|not|between)\b|[(]", re.IGNORECASE)
_INSTEAD = {
    "or": "search once for each side of it",
    "not": "turn the operator round, as != for =",
    "between": "write two conditions, with >= and <=",
    "(": "conditions are joined by 'and' alone, without brackets",
}
"""What other languages have and MLflow's has not, with the remedy."""
_DIRECTION = re.compile(r"(?:asc|desc)\b", re.IGNORECASE)
_COMMA, _OPEN, _CLOSE = re.compile(","), re.compile("[(]"), re.compile("[)]")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of each row: whether it meets a condition, or what it is sorted by.

    Args:
        source: where the value is; `own`: an attribute.
        name: of the parameter, metric, tag or attribute.
        operator: `within` or `outside` of a closed range of numbers, a comparison of texts, or
            for an order `asc` or `desc`.
        low, high: the range.
        wanted: the text, or of `in` and `not in` the texts as a JSON list.
    """

    source: Source
    name: str
    operator: str
    low: float | None = None
    high: float | None = None
    wanted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What can be asked of one kind of thing.

    Args:
        kinds: the source for each word before a dot.
        told: those of these words that messages name.
        texts, times: the attributes that are texts or milliseconds.
        listed: the attribute that may be compared with a list.
        aliases: other names of attributes.
        orders: the sources that can be sorted by.
    """

    kinds: dict[str, Source]
    told: str
    texts: tuple[str, ...]
    times: tuple[str, ...]
    listed: str
    aliases: dict[str, str]
    orders: tuple[Source, ...]


_ATTRIBUTES: dict[str, Source] = dict.fromkeys(("attribute", "attributes", "attr", "run"), "own")
_TAGS: dict[str, Source] = {"tag": "tags", "tags": "tags"}

RUNS = Language(
    kinds={
        **dict.fromkeys(("metric", "metrics"), "metrics"),
        **dict.fromkeys(("parameter", "parameters", "param", "params"), "params"),
        **_TAGS,
        **_ATTRIBUTES,
    },
    told="metrics, params, tags and attributes",
    texts=("run_id", "run_name", "status", "user_id", "artifact_uri"),
    times=("start_time", "end_time"),
    listed="run_id",
    aliases={
        "created": "start_time",
        "Created": "start_time",
        "run name": "run_name",
        "Run name": "run_name",
        "Run Name": "run_name",
    },
    orders=("metrics", "params", "tags", "own"),
)

EXPERIMENTS = Language(
    kinds={**_TAGS, "attribute": "own"},
    told="tags and attribute",
    texts=("name", "experiment_id"),
    times=("creation_time", "last_update_time"),
    listed="experiment_id",
    aliases={},
    orders=("own",),
)


def parse_filter(language: Language, text: str | None) -> tuple[Asked, ...]:
    """Return the conditions of a filter; None or a blank text has none.

    Raises:
        ValidationError: the text is no filter; the message says where and what was expected.
    """
    reader = _Reader("filter", text or "", language)
    conditions: list[Asked] = []
    while not reader.is_at_end():
        if conditions:
            reader.expect_and()
        conditions.append(_condition(reader))
        if len(conditions) > CONDITIONS_MAX:
            raise reader.error(f"more than {CONDITIONS_MAX} conditions; search with fewer")
    return tuple(conditions)


def parse_orders(language: Language, texts: Sequence[str]) -> tuple[Asked, ...]:
    """Return what is sorted by, the first text before the others.

    Raises:
        ValidationError: a text is no order, or there are too many.
    """
    orders = tuple(_order(_Reader("order_by", text, language)) for text in texts)
    if len(orders) > ORDERS_MAX:
        reader = _Reader("order_by", texts[ORDERS_MAX], language)
        raise reader.error(f"more than {ORDERS_MAX} fields to sort by; sort by fewer")
    return orders


def _order(reader: _Reader) -> Asked:
    field = reader.field()
    if field.source not in reader.language.orders:
        raise reader.error(f"{field.source} cannot be sorted by here; sort by an attribute")
    direction = "asc" if reader.is_at_end() else reader.direction()
    if not reader.is_at_end():
        raise reader.error("after the field stands nothing, 'asc' or 'desc'")
    return Asked(field.source, field.name, direction)


def _condition(reader: _Reader) -> Asked:
    field, operator = reader.field(), reader.operator()
    language = reader.language
    is_time = field.source == "own" and field.name in language.times
    if operator in ("is null", "is not null"):
        if field.source not in ("params", "tags"):
            raise reader.error("only a parameter or a tag may be compared with null")
        return Asked(field.source, field.name, operator)
    if operator in ("in", "not in"):
        if field.source != "own" or field.name != language.listed:
            raise reader.error(f"only {language.listed} may be compared with a list of texts")
        return Asked(field.source, field.name, operator, wanted=json.dumps(reader.texts()))
    if field.source == "metrics" or is_time:
        if operator in ("like", "ilike"):
            raise reader.error(f"{operator} compares texts only, and {field.name!r} is a number")
        inside, low, high = number_range(operator, reader.number())
        return Asked(field.source, field.name, inside, low, high)
    if operator not in ("=", "!=", "like", "ilike"):
        raise reader.error(f"{field.name!r} is a text; compare it with = != like or ilike")
    return Asked(field.source, field.name, operator, wanted=reader.text())


@dataclass(frozen=True, slots=True)
class _Field:
    source: Source
    name: str


class _Reader(TextReader):
    """Reads a text of this language."""

    def __init__(self, subject: str, text: str, language: Language) -> None:
        super().__init__(subject, text, TEXT_CHARS_MAX)
        self.language = language

    def expect_and(self) -> None:
        """Read the word between two conditions."""
        self._refuse_absent()
        self._read(_AND, "'and' or the end")

    def field(self) -> _Field:
        """Read what a condition or an order looks at."""
        self._refuse_absent()
        start = self._at
        pieces = [self._read(_PIECE, "a field such as metrics.loss, params.lr or run_name")]
        while found := _PIECE.match(self._text, self._at):
            pieces.append(found.group())
            self._at = found.end()
        end, self._at = self._at, start  # what is wrong with the field is told at its beginning
        kind, name = self._split(pieces)
        field = self._own(name) if kind is None else self._of_kind(kind, name)
        self._at = end
        return field

    def operator(self) -> str:
        """Read an operator; `==` and `<>` are other spellings."""
        self._skip_blanks()
        found = self._read(_OPERATOR, "one of = != < <= > >= like ilike in 'is null'").lower()
        spelled = " ".join(found.split())
        return {"==": "=", "<>": "!="}.get(spelled, spelled)

    def direction(self) -> str:
        """Read the direction of an order."""
        return self._read(_DIRECTION, "'asc' or 'desc'").lower()

    def number(self) -> float:
        """Read a number."""
        value = float(self._read(_NUMBER, "a number"))
        if math.isinf(value):
            raise self.error("the number before it is beyond the range of float")
        return value

    def text(self) -> str:
        """Read a text in single or double quotes."""
        self._skip_blanks()
        found = QUOTED.match(self._text, self._at)
        if found is None or found.group()[0] == "`":
            raise self.error("a text in quotes is expected, such as 'my value'")
        self._at = found.end()
        return unquoted(found.group())

    def texts(self) -> list[str]:
        """Read a list of texts."""
        self._read(_OPEN, "a list of texts such as ('a', 'b')")
        found = [self.text()]
        while not self._has(_CLOSE):
            self._read(_COMMA, "',' or ')'")
            if self._has(_CLOSE):  # one of a single text, as Python writes it
                break
            found.append(self.text())
        return found

    def _has(self, pattern: re.Pattern[str]) -> bool:
        self._skip_blanks()
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found is not None

    def _split(self, pieces: list[str]) -> tuple[str | None, str]:
        """Return kind and name; both may stand in quotes, each alone or both together."""
        if len(pieces) == 1 and pieces[0][0] in "`'\"":
            pieces = [unquoted(pieces[0])]
            kind, dot, name = pieces[0].partition(".")
            if not dot or kind not in self.language.kinds:
                return None, pieces[0]
            pieces = [name]
        elif pieces[0][0] in "`'\"" and pieces[1].startswith("."):
            kind, pieces = unquoted(pieces[0]), [pieces[1][1:], *pieces[2:]]
        else:
            kind, dot, rest = pieces[0].partition(".")
            if not dot:
                return None, "".join(pieces)
            pieces = [rest, *pieces[1:]]
        if pieces[0] == "" and len(pieces) == 2:  # noqa: PLR2004  nothing, and a name in quotes
            return kind, unquoted(pieces[1])
        return kind, "".join(pieces)

    def _own(self, name: str) -> _Field:
        known = self.language.aliases.get(name, name)
        attributes = (*self.language.texts, *self.language.times)
        if known not in attributes:
            hint = did_you_mean(name, [*attributes, *self.language.kinds])
            raise self.error(
                f"{name!r} is no attribute; attributes are {', '.join(attributes)}, and what was "
                f"logged is named by its kind, as tags.NAME{hint}"
            )
        return _Field("own", known)

    def _of_kind(self, kind: str, name: str) -> _Field:
        source = self.language.kinds.get(kind)
        if kind in ("dataset", "datasets"):
            raise self.error(
                "runs are not searched by datasets here; name them in a parameter or a tag"
            )
        if source is None:
            hint = did_you_mean(kind, self.language.kinds)
            raise self.error(f"{kind!r} is no kind of field; there are {self.language.told}{hint}")
        if not name:
            raise self.error(f"after {kind!r} and the dot a name is expected")
        return self._own(name) if source == "own" else _Field(source, name)

    def _refuse_absent(self) -> None:
        self._skip_blanks()
        if found := _ABSENT.match(self._text, self._at):
            word = found.group().lower()
            raise self.error(f"{word!r} is not part of the language; {_INSTEAD[word]}")
