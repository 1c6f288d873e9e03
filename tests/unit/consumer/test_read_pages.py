"""Page requests and their tokens."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialog_schemas.errors import ValidationError
from trialog_server.read.pages import (
    TOKEN_CHARS_MAX,
    PageRequest,
    decode_token,
    encode_token,
    place_of,
    token_after,
)

TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ITEM = "0123456789abcdef0123456789abcdef"


def packed(content: object) -> str:
    """A token of any content."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


# A9
@pytest.mark.parametrize("max_results", [0, 101, -1, True])
def test_page_request_of_a_wrong_size_is_refused(max_results: int) -> None:
    """Only 1 to 100 items are a page; the error names field, value and limit."""
    with pytest.raises(ValidationError) as caught:
        PageRequest(max_results=max_results)

    assert (caught.value.field, caught.value.limit) == ("max_results", "1..100")


# A8
@pytest.mark.parametrize(("field", "value"), [("sort_by", "name"), ("sort_order", "Descend")])
def test_page_request_of_a_wrong_order_is_refused(field: str, value: str) -> None:
    """Other sort fields and orders are refused with a hint."""
    with pytest.raises(ValidationError, match="did you mean") as caught:
        PageRequest(**{field: value})  # type: ignore[arg-type]

    assert caught.value.field == field


def test_token_after_an_item_leads_back_to_it() -> None:
    """A token holds the sort key of the last item, to the microsecond."""
    by_time = PageRequest()
    by_name = PageRequest("Name", "Ascending")

    time_place = place_of(PageRequest(next_token=token_after(by_time, TIME, "n", (7, 3))), 2)
    name_place = place_of(
        PageRequest("Name", "Ascending", next_token=token_after(by_name, TIME, "n", (7,))), 1
    )

    assert (time_place.time, time_place.name) == (TIME, None)
    assert (name_place.time, name_place.name) == (None, "n")
    assert (time_place.created, name_place.created) == ((7, 3), (7,))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "!!!",
        "é",
        "AAAA",
        packed([]),
        packed({"a": 1}),
        packed(["Name Ascending", "n", 7]),
        packed(["CreationTime Descending", "n", 7]),
        packed(["CreationTime Descending", 1, "no number"]),
        packed(["CreationTime Descending", 1]),
        packed(["CreationTime Descending", 1, 7, 3]),
        packed(["CreationTime Descending", 10**30, 7]),
        packed(["CreationTime Descending", 1, 10**30]),
        packed(["CreationTime Descending", 2**62, 7]),
        packed(["CreationTime Descending", True, 7]),
        packed(["CreationTime Descending", [1], 7]),
        packed(["CreationTime Descending", None, 7]),
        packed(["CreationTime Descending"]),
        base64.urlsafe_b64encode(b"[" * 3000).decode(),
        "A" * 5000,
    ],
)
def test_place_of_a_broken_token_is_refused(token: str) -> None:
    """A token that this list did not give is a validation error, whatever is in it."""
    with pytest.raises(ValidationError, match="next_token"):
        place_of(PageRequest(next_token=token), 1)


@given(st.text(max_size=60))
def test_place_of_any_token_is_read_or_refused(token: str) -> None:
    """No token makes the reading fail in another way."""
    with contextlib.suppress(ValidationError):
        place_of(PageRequest(next_token=token), 1)


@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text("ab\n'é")), max_size=5)
)
def test_decode_token_gives_back_what_was_encoded(parts: list[str | int | None]) -> None:
    """Parts survive the way through a token."""
    assert decode_token("kind", encode_token("kind", *parts)) == parts


@pytest.mark.parametrize("part", ["a\0b", "\ud800"])
def test_decode_token_with_text_that_postgres_cannot_take_is_refused(part: str) -> None:
    """NUL and lone surrogates never reach the database."""
    with pytest.raises(ValidationError):
        decode_token("kind", packed(["kind", part]))


@pytest.mark.parametrize("char", ["a", "\u20ac", "\U0001f600", "\u0001", "\u2028"])
def test_token_of_the_longest_value_is_short_enough_to_be_taken(char: str) -> None:
    """A list sorted by 256 characters of whatever kind gives tokens that it takes back."""
    token = encode_token("search params 0123456789abcdef value ascending", 1, "0x0.0p+0",
                         char * 256, ITEM)  # fmt: skip

    assert len(token) <= TOKEN_CHARS_MAX
    assert decode_token("search params 0123456789abcdef value ascending", token)[2] == char * 256
