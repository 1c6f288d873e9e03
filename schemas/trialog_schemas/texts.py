"""What a legal text is, whatever it names. Each check returns a plain `str` or raises."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from trialog_schemas.callers_code import is_text, kind_name
from trialog_schemas.errors import ValidationError, shown

if TYPE_CHECKING:
    from collections.abc import Callable


def check_text(field: str, value: object, *, chars_max: int, chars_min: int = 1) -> str:
    """Return a plain `str` of legal length that Postgres and UTF-8 can hold."""
    if not is_text(value):
        raise ValidationError(
            f"{field} is {shown(value)} of type {kind_name(value)}; give a text",
            field=field,
            value=value,
            limit="text",
        )
    text = str.__str__(value)
    if not chars_min <= len(text) <= chars_max:
        raise ValidationError(
            f"{field} {shown(text)} has {len(text)} characters, "
            f"allowed are {chars_min} to {chars_max}; shorten or fill it",
            field=field,
            value=text,
            limit=f"{chars_min}..{chars_max}",
        )
    check_storable(field, text)
    return text


def check_storable(field: str, text: str) -> None:
    """Refuse a text that Postgres or UTF-8 cannot hold."""
    if "\0" in text:
        raise ValidationError(
            f"{field} {shown(text)} has a NUL character, which the store cannot hold; remove it",
            field=field,
            value=text,
            limit="no NUL",
        )
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValidationError(
            f"{field} {shown(text)} has a lone surrogate, which is no Unicode text; remove it",
            field=field,
            value=text,
            limit="Unicode text",
        ) from exc


def odd_character(text: str, is_legal: Callable[[str], bool]) -> str:
    """Return which character of a text is the first illegal one, and its place.

    Its code and its name are what tells a Cyrillic letter from the Latin one that looks the same,
    and shows what has no look at all.
    """
    place, odd = next((at, one) for at, one in enumerate(text, 1) if not is_legal(one))
    # Of Unicode 3.2 in every Python: what a replay says must not depend on who replays.
    name = unicodedata.ucd_3_2_0.name(odd, "")
    return f"U+{ord(odd):04X}{' ' if name else ''}{name} as character {place}"
