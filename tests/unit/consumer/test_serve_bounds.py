"""Bounds of bodies, message by message, without a socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from trialog_server.serve.bounds import JSON_BYTES_MAX, BoundedBody
from trialog_server.serve.errors import add_error_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Message

PART = JSON_BYTES_MAX // 4
ARTIFACT_BYTES_MAX = 5_242_880


async def measure(request: Request) -> Response:
    """Answer with the length of the body."""
    return PlainTextResponse(str(len(await request.body())))


async def ignore(_request: Request) -> Response:
    """Answer without reading."""
    return PlainTextResponse("unread")


async def stream(_request: Request) -> Response:
    """Answer in parts, listening for the client's leaving."""

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"part"
            await asyncio.sleep(0)

    return StreamingResponse(parts())


def bounded(body_timeout_s: float = 5.0) -> BoundedBody:
    """An application behind the bounds."""
    routes = [
        Route("/measure", measure, methods=["POST"]),
        Route("/ignore", ignore, methods=["POST"]),
        Route("/stream", stream, methods=["GET"]),
    ]
    inner = Starlette(routes=routes)
    add_error_handlers(inner)
    return BoundedBody(inner, ARTIFACT_BYTES_MAX, body_timeout_s)


@dataclass
class Client:
    """The other side of one request: what it sends, and what it got."""

    parts: list[bytes]
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    path: str = "/measure"
    method: str = "POST"
    is_silent_at_end: bool = False
    taken: int = 0
    status: int = 0
    body: bytes = b""

    async def receive(self) -> Message:
        """Give the next part; after the last one the client leaves, or says nothing any more."""
        if self.taken == len(self.parts):
            if self.is_silent_at_end:
                await asyncio.get_running_loop().create_future()
            return {"type": "http.disconnect"}
        self.taken += 1
        has_more = self.taken < len(self.parts) or self.is_silent_at_end
        return {
            "type": "http.request", "body": self.parts[self.taken - 1], "more_body": has_more,
        }  # fmt: skip

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")

    async def ask(self, app: BoundedBody) -> dict[str, Any]:
        """Make the request; return the error of its answer, empty if there is none."""
        scope = {
            "type": "http", "method": self.method, "path": self.path, "headers": self.headers,
            "query_string": b"", "root_path": "", "scheme": "http", "server": ("h", 1),
        }  # fmt: skip
        await app(scope, self.receive, self.send)
        error: dict[str, Any] = {} if self.status < 400 else json.loads(self.body)["error"]
        return error


async def test_client_that_leaves_before_a_long_answer_is_no_defect() -> None:
    """Nothing was missing of its question, so there is nothing to refuse: the answer ends."""
    client = Client([], path="/stream", method="GET")
    async with asyncio.timeout(10):
        assert await client.ask(bounded()) == {}
    assert client.status == 200


@pytest.mark.parametrize("sizes", [[0], [JSON_BYTES_MAX], [PART] * 4, [1, JSON_BYTES_MAX - 1]])
async def test_body_up_to_the_bound_passes(sizes: list[int]) -> None:
    """The last byte that is allowed is allowed, however the body is cut."""
    client = Client([b"x" * size for size in sizes])
    await client.ask(bounded())

    assert (client.status, client.body) == (200, str(sum(sizes)).encode())


@pytest.mark.parametrize("sizes", [[JSON_BYTES_MAX + 1], [PART] * 4 + [1], [PART] * 50])
async def test_body_above_the_bound_is_cut_at_the_part_that_proves_it(sizes: list[int]) -> None:
    """An unannounced body is refused while it comes, and says how much came."""
    client = Client([b"x" * size for size in sizes])
    error = await client.ask(bounded())

    assert (client.status, error["code"]) == (413, "ResourceLimitExceeded")
    assert (error["field"], error["limit"]) == ("body", str(JSON_BYTES_MAX))
    assert "received: " in error["value"]


@pytest.mark.parametrize(
    "announced", [b"65537", b"-1", b"1e3", b"0x10", b"", b" 1", b"9" * 40, "٣".encode()]
)
async def test_announcement_that_cannot_be_is_refused_unread(announced: bytes) -> None:
    """Too long, or no number at all: not one part of the body reaches a route."""
    client = Client([b"x"], [(b"content-length", announced)])
    error = await client.ask(bounded())

    assert (client.status, error["limit"]) == (413, str(JSON_BYTES_MAX))


async def test_announcement_that_lies_does_not_help() -> None:
    """A short announcement before a long body is no way around the bound."""
    client = Client([b"x" * PART] * 5, [(b"content-length", b"3")])
    assert (await client.ask(bounded()))["code"] == "ResourceLimitExceeded"


async def test_rest_of_a_cut_body_is_taken_so_that_the_answer_arrives() -> None:
    """What still comes is thrown away: closing on it would hide the answer from the client."""
    client = Client([b"x" * PART] * 9)
    await client.ask(bounded())

    assert client.status == 413
    assert client.taken == len(client.parts)


async def test_body_that_stops_coming_is_a_timeout() -> None:
    """A sender that falls silent holds the request no longer than the bound."""
    client = Client([b"x" * 10], is_silent_at_end=True)
    error = await client.ask(bounded(body_timeout_s=0.05))

    assert (client.status, error["code"]) == (408, "RequestTimeout")
    assert (error["field"], error["value"], error["limit"]) == ("body", "'10 bytes'", "0.05 s")


async def test_body_that_no_route_reads_costs_nothing() -> None:
    """The time runs for whoever reads: an answer that needs no body is given."""
    client = Client([b"x"], path="/ignore", is_silent_at_end=True)
    await client.ask(bounded(body_timeout_s=0.05))

    assert (client.status, client.body) == (200, b"unread")


async def test_what_is_no_request_passes_unseen() -> None:
    """Starting and stopping of the application have no body."""
    seen: list[str] = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    await BoundedBody(inner, ARTIFACT_BYTES_MAX)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
