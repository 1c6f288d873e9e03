"""A parameter's value as plain JSON data, whatever types it was given in. Must not bound texts.

Nothing of the caller's libraries is kept: numpy's scalars and subclasses become Python's values.
"""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from trialog_schemas import limits
from trialog_schemas.callers_code import (
    CallersCodeError,
    ask,
    is_mapping,
    is_text,
    kind_name,
    pairs_of,
    plain_number,
)
from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.texts import check_storable

if TYPE_CHECKING:
    from collections.abc import Callable

ParameterValue: TypeAlias = (
    "bool | int | float | str | list[ParameterValue] | dict[str, ParameterValue] | None"
)
"""A parameter's value: anything JSON can hold."""


def parameter_json(value: ParameterValue) -> str:
    """Return the value as compact JSON, the form in which lengths count and the store keeps it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class PlainReader:
    """Reads one value; each thing in it takes a character at least, so that many are too many.

    Args:
        name: the parameter's name, for the message.
        chars_max: characters allowed of the value as compact JSON.
    """

    def __init__(self, name: str, chars_max: int) -> None:
        self._name = name
        self._chars_max = chars_max
        self._whole: object = None
        # A value that repeats itself on each of its levels has 2**64 things in 64 lists.
        self._left = min(chars_max, limits.RECORD_BYTES_MAX)

    def read(self, value: object, depth: int = 0) -> ParameterValue:
        """Return the value as plain data.

        Raises:
            ValidationError: it is not JSON, or certainly too long.
        """
        if depth == 0:
            self._whole = value
        self._left -= 1
        if self._left < 0:
            raise too_long(self._name, self._whole, f"more than {self._chars_max}", self._chars_max)
        if depth > limits.PARAMETER_DEPTH_MAX:
            why = f"nests deeper than {limits.PARAMETER_DEPTH_MAX} levels or contains itself"
            raise self._no_json(value, why)
        if value is None or value is True or value is False:
            return value
        if is_text(value):
            text = str.__str__(value)
            check_storable(f"parameter {self._name!r}", text)
            return text
        number = plain_number(value)
        if number is not None:
            return self._number(number)
        return self._other(value, depth)

    def _number(self, number: float) -> int | float:
        if isinstance(number, int):
            if not limits.PARAMETER_INTEGER_MIN <= number <= limits.PARAMETER_INTEGER_MAX:
                raise self._no_json(number, "is outside -2**63 … 2**64-1")
        elif not math.isfinite(number):
            raise self._no_json(number, "is NaN or infinite, which JSON has no form for")
        return number

    def _other(self, value: Any, depth: int) -> ParameterValue:
        """Read what holds others, or unwrap a numpy scalar or a 0-d array or tensor."""
        if is_mapping(value):
            return self._mapping(self._asked(value, lambda: pairs_of(value, self._left + 1)), depth)
        if issubclass(type(value), list | tuple):
            items = self._asked(value, lambda: ask(lambda: list(islice(value, self._left + 1))))
            return [self.read(item, depth + 1) for item in items]
        inner = self._asked(value, lambda: ask(lambda: _scalar_of(value)))
        if type(inner) in {bool, int, float, str}:
            return self.read(inner, depth + 1)
        raise self._no_json(value, f"is of type {kind_name(value)}, which is not JSON")

    def _mapping(self, pairs: list[tuple[Any, Any]], depth: int) -> dict[str, ParameterValue]:
        read: dict[str, ParameterValue] = {}
        for key, value in pairs:
            if not is_text(key):
                raise self._no_json(key, "has a key that is no text")
            text = str.__str__(key)
            check_storable(f"parameter {self._name!r}", text)
            if text in read:  # two texts of different classes need not have been one key
                raise self._no_json(text, "has this key twice")
            read[text] = self.read(value, depth + 1)
        return read

    def _asked(self, value: object, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except CallersCodeError as exc:
            why = f"is of type {kind_name(value)} and raised {exc} when it was read"
            raise self._no_json(value, why) from exc.__cause__

    def _no_json(self, value: object, why: str) -> ValidationError:
        return ValidationError(
            f"parameter {self._name!r} with value {shown(value)} {why}; "
            "give text, a number, a truth value, None, a list or a dict",
            field=self._name,
            value=value,
            limit="JSON",
        )


def too_long(name: str, value: object, length: int | str, chars_max: int) -> ValidationError:
    """Return the refusal of a value that has more characters than are allowed."""
    return ValidationError(
        f"parameter {name!r} has a value of {length} characters ({shown(value)}), "
        f"allowed are {chars_max}; log it as an artifact",
        field=name,
        value=value,
        limit=chars_max,
    )


def _scalar_of(value: Any) -> object:
    """Return what a numpy scalar or a 0-d array or tensor holds; of anything else nothing."""
    is_bytes = issubclass(type(value), bytes)
    if is_bytes or getattr(value, "shape", None) != () or is_masked(value):
        return None
    return value.item() if callable(getattr(value, "item", None)) else None


def is_masked(value: Any) -> bool:
    """Tell whether an element of numpy's masked arrays is missing: what it holds is no value."""
    return bool(getattr(value, "mask", False))
