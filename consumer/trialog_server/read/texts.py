"""Which texts may go into a question at all; knows no names and no rules."""

from __future__ import annotations


def is_storable(text: str) -> bool:
    """Tell whether Postgres can take a text: it holds neither NUL nor a lone surrogate."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
