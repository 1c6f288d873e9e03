"""What a request may ask: names, JSON bodies, positions and pages, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from trialog_schemas.errors import ValidationError
from trialog_schemas.wire import EVENTS_TOPIC, Position
from trialog_server.read.pages import PageRequest
from trialog_server.serve.errors import RequestRefusedError
from trialog_server.serve.questions import (
    NAME_CHARS_MAX,
    POSITIONS_MAX,
    ListQuery,
    SearchBody,
    check_lookup_name,
    parse_positions,
    read_json_body,
)

if TYPE_CHECKING:
    from starlette.types import Message


def request_with(body: bytes, content_type: str | None = "application/json") -> Request:
    """A request that carries a body."""
    headers = [] if content_type is None else [(b"content-type", content_type.encode())]

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize("name", ["a", "x" * NAME_CHARS_MAX, "with space", "ä/ö", "🚀"])
def test_lookup_name_may_be_of_any_client(name: str) -> None:
    """Other clients have other rules for names: whatever can be looked up is looked up."""
    assert check_lookup_name("run", name) == name


@pytest.mark.parametrize("name", ["", "x" * (NAME_CHARS_MAX + 1), "a\0b"])
def test_lookup_name_that_cannot_be_stored_is_refused(name: str) -> None:
    """What Postgres cannot hold, or is too long for any name, is refused with the bounds."""
    with pytest.raises(ValidationError) as caught:
        check_lookup_name("run", name)
    assert (caught.value.field, caught.value.limit) == ("run", f"1..{NAME_CHARS_MAX}")


async def test_json_body_that_is_empty_asks_for_the_defaults() -> None:
    """No body is an empty question: the first page of everything."""
    body = await read_json_body(request_with(b""), SearchBody)
    assert (body.filter, body.order_by, body.max_results, body.next_token) == (
        None, None, 100, None,
    )  # fmt: skip


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_body_is_known_by_its_type(content_type: str) -> None:
    """The media type counts, not its case or its parameters."""
    request = request_with(b'{"max_results": 7}', content_type)
    assert (await read_json_body(request, SearchBody)).max_results == 7


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json5"])
async def test_json_body_of_another_type_is_refused(content_type: str | None) -> None:
    """A form of a foreign web page can send text: only JSON's own type is read."""
    with pytest.raises(RequestRefusedError) as caught:
        await read_json_body(request_with(b"{}", content_type), SearchBody)
    assert (caught.value.status, caught.value.limit) == (415, "application/json")


@pytest.mark.parametrize(
    ("body", "field", "limit"),
    [
        (b"{", "body", "one JSON object"),
        (b"\xff", "body", "one JSON object"),
        (b"[" * 100_000, "body", "one JSON object"),
        (b'{"a": NaN}', "body", "one JSON object"),
        (b'{"filter": "a", "filter": "b"}', "filter", "one value a field"),
        (b'{"max_results": 101}', "max_results", "100"),
        (b'{"max_results": 0}', "max_results", "1"),
        (b'{"max_results": true}', "max_results", "integer"),
        (b'{"order": "a"}', "order", "the fields of /api/openapi.json"),
    ],
)
async def test_json_body_that_is_wrong_names_field_and_limit(
    body: bytes, field: str, limit: str
) -> None:
    """Whatever is wrong with a body, the refusal names the field and what it may be."""
    with pytest.raises(ValidationError) as caught:
        await read_json_body(request_with(body), SearchBody)
    assert caught.value.field == field
    assert limit in (caught.value.limit or "")


def test_positions_are_read_with_their_spaces() -> None:
    """A header may have spaces behind its commas."""
    assert parse_positions(["events:3:17", " events:0:0 "]) == [
        Position(EVENTS_TOPIC, 3, 17),
        Position(EVENTS_TOPIC, 0, 0),
    ]


@pytest.mark.parametrize("token", ["", "events", "events:1", "x:1:1", "events:-1:1", "events:1:x"])
def test_position_that_is_none_is_refused(token: str) -> None:
    """A position that nobody gave out is a mistake, never a wait without an end."""
    with pytest.raises(ValidationError):
        parse_positions([token])


def test_positions_have_a_bound() -> None:
    """One more than allowed is refused with the number of the bound."""
    assert len(parse_positions(["events:0:1"] * POSITIONS_MAX)) == POSITIONS_MAX
    with pytest.raises(ValidationError) as caught:
        parse_positions(["events:0:1"] * (POSITIONS_MAX + 1))
    assert caught.value.limit == str(POSITIONS_MAX)


def test_list_query_becomes_the_question_of_reads() -> None:
    """Defaults are the newest first and a full page; a query cannot be changed afterwards."""
    assert ListQuery().page() == PageRequest("CreationTime", "Descending", 100, None)
    asked = ListQuery(sort_by="Name", sort_order="Ascending", max_results=5, next_token="t")
    assert asked.page() == PageRequest("Name", "Ascending", 5, "t")
