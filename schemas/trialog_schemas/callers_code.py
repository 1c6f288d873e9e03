"""Runs code of callers' objects, and shows these: it may raise anything, lie, and never end.

A check must neither die of an object it refuses nor take one for what it claims to be. So types
are asked for with `type`, which no object can change, and what an object computes is asked for
here. Must not know what is legal.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, starmap
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Answer = TypeVar("Answer")

SHOWN_CHARS_MAX = 80
"""How much of an offending value a message repeats."""

_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__


class CallersCodeError(Exception):
    """What an object raised when it was asked; that is its cause, whose class is its text."""


def ask(question: Callable[[], Answer]) -> Answer:
    """Return what a question to a caller's object comes to.

    Raises:
        CallersCodeError: the object's code raised something.
    """
    try:
        return question()
    except Exception as exc:
        raise CallersCodeError(kind_name(exc)) from exc


def kind_name(value: object) -> str:
    """Return the name of an object's type, as short and printable as a shown value."""
    name = _name_of(type(value))[:SHOWN_CHARS_MAX]
    return name if name.isprintable() else repr(name)[1:-1]


def is_text(value: object) -> TypeGuard[str]:
    """Tell whether an object is a text, not whether it says so."""
    return issubclass(type(value), str)


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Tell whether an object is a mapping, not whether it says so."""
    return issubclass(type(value), Mapping)


def plain_number(value: Any) -> int | float | None:
    """Return an int or float, or a subclass's, as Python's own; None of truth values and others."""
    if issubclass(type(value), int) and type(value) is not bool:
        return int.__int__(value)
    return float.__float__(value) if issubclass(type(value), float) else None


def pairs_of(mapping: Mapping[Any, Any], count_max: int | None = None) -> list[tuple[Any, Any]]:
    """Return the items of a mapping, at most so many, each a pair whatever the mapping gives.

    Raises:
        CallersCodeError: it raised something, or gave what is no pair.
    """
    return ask(lambda: [(key, value) for key, value in islice(mapping.items(), count_max)])


def shown(value: object) -> str:
    """Return `repr(value)` cut to 80 characters, so that a message never carries a megabyte.

    Of texts and containers no more is looked at than is shown, and what their subclasses say of
    themselves is not asked for. What cannot be printed is escaped.
    """
    try:
        out = ask(lambda: _brief(value, SHOWN_CHARS_MAX + 1))
    except CallersCodeError as exc:
        is_large = isinstance(exc.__cause__, RecursionError | MemoryError)
        return f"a {kind_name(value)} {'too large to show' if is_large else 'that cannot be shown'}"
    return out if len(out) <= SHOWN_CHARS_MAX else out[: SHOWN_CHARS_MAX - 1] + "…"


def _brief(value: Any, room: int) -> str:
    """Return the representation of a value, from so many characters on only its beginning."""
    if room <= 0:
        return ""
    for kind, brief in _BRIEFS:
        if issubclass(type(value), kind):
            return brief(value, room)
    return _brief_other(value, room)


def _brief_integer(value: int, _room: int) -> str:
    if type(value) is bool:
        return repr(value)
    try:
        return int.__repr__(value)
    except ValueError:  # thousands of digits
        return f"a {kind_name(value)} too large to show"


def _brief_other(value: object, room: int) -> str:
    text = str.__str__(repr(value))
    if text.isprintable():
        return text
    one_line = " ".join(text[: room * room].split())
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in one_line)


def _brief_set(value: set[object], room: int) -> str:
    things = (_Thing(one) for one in set.__iter__(value))
    return _brief_all("{}", things, room) if set.__len__(value) else "set()"


def _brief_tuple(value: tuple[object, ...], room: int) -> str:
    ends = "(,)" if tuple.__len__(value) == 1 else "()"
    return _brief_all(ends, (_Thing(one) for one in tuple.__iter__(value)), room)


class _Thing:
    """What stands between two commas: a value, or a key and its value."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def brief(self, room: int) -> str:
        out = _brief(self.parts[0], room)
        for part in self.parts[1:]:
            out = f"{out}: {_brief(part, room - len(out))}"
        return out


def _brief_all(ends: str, things: Iterable[_Thing], room: int) -> str:
    out = ends[0]
    for number, thing in enumerate(things):
        if len(out) >= room:
            return out
        comma = ", " if number else ""
        out += comma + thing.brief(room - len(out))
    return out + ends[1:]


_BRIEFS: tuple[tuple[type, Callable[[Any, int], str]], ...] = (
    (str, lambda text, room: repr(str.__getitem__(text, slice(room)))),
    (bytes, lambda data, room: repr(bytes(memoryview(data)[:room]))),
    (bytearray, lambda data, room: repr(bytearray(memoryview(data)[:room]))),
    (int, _brief_integer),
    (float, lambda number, _room: float.__repr__(number)),
    (list, lambda many, room: _brief_all("[]", map(_Thing, list.__iter__(many)), room)),
    (tuple, _brief_tuple),
    (dict, lambda many, room: _brief_all("{}", starmap(_Thing, dict.items(many)), room)),
    (set, _brief_set),
)
"""How values of these types and of their subclasses are shown: by what they are built on."""
