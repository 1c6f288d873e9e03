"""Pages of a list: the order asked for and the opaque token that says where the next one begins.

A token is a place, not a promise: it holds the sort key of the last item shown, so that items
that come or go in between neither repeat nor skip others. It is not signed: a forged token can
only ask for another place of the same list.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from trialog_schemas.errors import ValidationError
from trialog_schemas.names import SORT_FIELDS, SORT_ORDERS, check_choice, check_page_size
from trialog_server.read.texts import is_storable

TokenPart: TypeAlias = str | int | float | None

TOKEN_CHARS_MAX = 4096
"""Characters of a token; the longest sort key is a parameter's value with a name."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list is wanted.

    Args:
        sort_by: `CreationTime` or `Name` (by code point).
        sort_order: `Ascending` or `Descending`, each the exact reverse of the other.
        max_results: items of the page, 1–100.
        next_token: where the last page ended, as it was given; None for the first page.
    """

    sort_by: str = "CreationTime"
    sort_order: str = "Descending"
    max_results: int = 100
    next_token: str | None = None

    def __post_init__(self) -> None:
        check_choice("sort_by", self.sort_by, SORT_FIELDS)
        check_choice("sort_order", self.sort_order, SORT_ORDERS)
        check_page_size(self.max_results)

    @property
    def order(self) -> str:
        """The name of the order in the list queries."""
        return f"{self.sort_by} {self.sort_order}"


@dataclass(frozen=True, slots=True)
class Place:
    """The item after which a page of a list begins; all None: at the beginning."""

    time: datetime | None = None
    name: str | None = None
    created: tuple[int | None, ...] = ()


def place_of(request: PageRequest, created_size: int) -> Place:
    """Return where the asked page begins.

    Args:
        request: the page.
        created_size: how many numbers say of an item of this list when it was created, beside the
            others of its time: an experiment has its number, a run log offset and seq.

    Raises:
        ValidationError: the token is damaged or belongs to another order.
    """
    if request.next_token is None:
        return Place(created=(None,) * created_size)
    key, *created = decode_token(request.order, request.next_token) or [None]
    numbers = tuple(number for number in created if isinstance(number, int))
    if len(numbers) == len(created) == created_size:
        if request.sort_by == "Name" and isinstance(key, str):
            return Place(name=key, created=numbers)
        if request.sort_by == "CreationTime" and isinstance(key, int):
            return Place(time=_time(key), created=numbers)
    raise bad_token(request.next_token)


def token_after(request: PageRequest, time: datetime, name: str, created: tuple[int, ...]) -> str:
    """Return the token of the page after this item."""
    key = name if request.sort_by == "Name" else (time - _EPOCH) // _MICROSECOND
    return encode_token(request.order, key, *created)


def encode_token(kind: str, *parts: TokenPart) -> str:
    """Pack the parts of a place; `kind` names the question that the token belongs to."""
    # As UTF-8: a value of 256 emoji as escapes would be longer than any token may be.
    packed = json.dumps([kind, *parts], separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_token(kind: str, token: str) -> list[TokenPart]:
    """Return the parts of a token of that question.

    Raises:
        ValidationError: the token is damaged or belongs to another question.
    """
    if len(token) > TOKEN_CHARS_MAX or not token.isascii():
        raise bad_token(token)
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        content = json.loads(packed)
    except (binascii.Error, ValueError, RecursionError) as exc:
        raise bad_token(token) from exc
    if not isinstance(content, list) or not content or content[0] != kind:
        raise bad_token(token)
    parts = content[1:]
    if not all(_is_part(part) for part in parts):
        raise bad_token(token)
    return parts


def _is_part(part: object) -> bool:
    """Tell whether Postgres can take the part: no NUL, no lone surrogate, no huge integer."""
    match part:
        case bool():
            return False
        case None | float():
            return True
        case int():
            return -(2**63) <= part < 2**63
        case str():
            return is_storable(part)
    return False


def token_id(text: str) -> UUID:
    """Return an id that a token holds."""
    try:
        return UUID(hex=text)
    except ValueError as exc:
        raise bad_token(text) from exc


def bad_token(token: str) -> ValidationError:
    """Return the error for a token that this list did not give."""
    return ValidationError(
        f"next_token {token[:40]!r} was not given by this list in this order; "
        "start again without it",
        field="next_token",
        value=token,
        limit="a token of the same list and order",
    )


def _time(at_us: int) -> datetime:
    try:
        return _EPOCH + at_us * _MICROSECOND
    except OverflowError as exc:
        raise bad_token(str(at_us)) from exc
