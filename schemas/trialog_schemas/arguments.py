"""What a legal argument is that holds several things, a truth value or a question.

Whatever a caller gives: it is taken as Python's own plain values, or refused with its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trialog_schemas.callers_code import CallersCodeError, ask, is_mapping, kind_name, pairs_of
from trialog_schemas.errors import ValidationError, WrongTypeError, shown
from trialog_schemas.limits import FILTER_CHARS_MAX
from trialog_schemas.texts import check_text


def check_pairs(field: str, given: object, wanted: str) -> list[tuple[Any, Any]]:
    """Return the items of what has a name for each value.

    Raises:
        WrongTypeError: it has no `items`.
        ValidationError: it raises something when it is asked for them.
    """
    try:
        if not is_mapping(given) and not ask(lambda: hasattr(given, "items")):
            raise WrongTypeError(
                f"{field} are {shown(given)} of type {kind_name(given)}; give {wanted}",
                field=field,
                value=given,
                limit="mapping",
            )
        return pairs_of(given)  # type: ignore[arg-type]  # what has items serves as a mapping
    except CallersCodeError as exc:
        raise ValidationError(
            f"{field} of type {kind_name(given)} raised {exc} when they were read, and are "
            f"{shown(given)}; give {wanted}",
            field=field,
            value=given,
            limit="mapping",
        ) from exc.__cause__


def given_twice(field: str, what: str, name: str) -> ValidationError:
    """Return the refusal of a name that stands twice among several, in texts of two classes."""
    return ValidationError(
        f"{what} {shown(name)} is given twice; keep one of them",
        field=field,
        value=name,
        limit="unique names",
    )


def check_several(field: str, value: object, wanted: str) -> list[object]:
    """Return the things of a list, or of what else has several; a text is not many texts.

    Raises:
        ValidationError: it has none, or raises something when it is asked for them.
    """
    why = f"of type {kind_name(value)}"
    cause: BaseException | None = None
    if not issubclass(type(value), str | bytes | bytearray | Mapping):
        try:
            # Looked for first: an object without it raises nothing that anybody needs to see.
            if ask(lambda: isinstance(value, Iterable)):
                return ask(lambda: list(value))  # type: ignore[call-overload]  # asked
        except CallersCodeError as exc:
            why, cause = f"{why}, which raised {exc} when it was read", exc.__cause__
    raise ValidationError(
        f"{field} are {shown(value)} {why}; give {wanted}",
        field=field,
        value=value,
        limit=wanted.removeprefix("a "),
    ) from cause


def check_flag(field: str, value: object) -> bool:
    """Return a truth value, Python's or numpy's; a text such as 'no' would be true."""
    if value is True or value is False:
        return value
    try:
        # The scalar, or a 0-d array or tensor of truth values.
        plain = ask(lambda: _truth_of(value))
    except CallersCodeError:
        plain = None
    if plain is True or plain is False:
        return plain
    raise ValidationError(
        f"{field} is {shown(value)} of type {kind_name(value)}, allowed are True and False; "
        "give one of them",
        field=field,
        value=value,
        limit="True or False",
    )


def _truth_of(value: Any) -> object:
    is_scalar = is_truth(value) and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else None


def check_question(field: str, value: object) -> str | None:
    """Return what the service is asked by a filter or an order, or None; it reads it itself."""
    if value is None:
        return None
    return check_text(field, value, chars_max=FILTER_CHARS_MAX, chars_min=0)


def is_truth(value: Any) -> bool:
    """Tell whether something is True or False, in whatever library's words."""
    if isinstance(value, bool):
        return True
    dtype = getattr(value, "dtype", None)
    # Numpy's is asked for its kind: its text takes ten times as long as all else of a step.
    kind = getattr(dtype, "kind", None)
    return kind == "b" if kind is not None else str(dtype).endswith("bool")
