"""Moments that questions are asked as of, as callers give them; must not ask anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias

from trialog_schemas.errors import ValidationError, WrongTypeError, shown

AsOf: TypeAlias = datetime | str
"""A time, or the text of one or of positions, such as an answer's `as_of`."""


def as_of_text(as_of: object) -> str | None:
    """Return a moment as the service reads it; None is the present.

    Args:
        as_of: a datetime (UTC where it has no zone) or a text; what a text says the service
            knows.

    Raises:
        ValidationError: it is neither, or says nothing.
    """
    if as_of is None:
        return None
    if isinstance(as_of, datetime):
        zoned = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of
        return zoned.isoformat()
    if not isinstance(as_of, str):
        raise WrongTypeError(
            f"as_of is {shown(as_of)} of type {type(as_of).__name__}, and a datetime or a text is "
            "asked for, such as '2026-03-01T12:30:00+01:00' or 'events:3:17'",
            field="as_of",
            value=as_of,
            limit="datetime or text",
        )
    if not as_of.strip():
        raise ValidationError(
            f"as_of is {as_of!r}, which is no moment; give a time or a position, or None for the "
            "present",
            field="as_of",
            value=as_of,
            limit="a time or positions",
        )
    return as_of.strip()
