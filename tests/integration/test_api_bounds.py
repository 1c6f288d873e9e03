"""Bodies that are too large, too slow or broken, over a real socket to a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.integration.api_service import open_api, open_socket
from tests.services.ports import LOOPBACK
from trialog_schemas.limits import RECORD_BYTES_MAX, REQUEST_BYTES_MAX
from trialog_server.serve.bounds import JSON_BYTES_MAX, BoundedBody, body_bytes_max
from trialog_server.serve.errors import add_error_handlers
from trialog_server.serve.server import TimedHeadProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

pytestmark = pytest.mark.postgres


@pytest.fixture
async def port(postgres_url: str, tmp_path: Path) -> AsyncIterator[int]:
    """The port of a real server."""
    async with open_api(postgres_url, tmp_path) as api, open_socket(api.app) as number:
        yield number


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A plain connection to the server."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(port: int, path: str, *lines: str) -> bytes:
    """A request's head."""
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}", *lines, "", ""]
    ).encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """The status and the error of an answer."""
    async with asyncio.timeout(10):
        headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = headers.partition("content-length: ")[2].partition("\r\n")[0]
        body = await reader.readexactly(int(length))
    return int(headers.split()[1]), json.loads(body)["error"]


RECORDS = "Content-Type: application/x-trialog-records"


async def test_body_announced_too_large_is_refused_before_it_comes(port: int) -> None:
    """The announcement is enough: not one byte of the body is read."""
    async with connect(port) as (reader, writer):
        length = f"Content-Length: {REQUEST_BYTES_MAX + 1}"
        writer.write(head(port, "/api/v1/records", RECORDS, length))

        status, error = await read_answer(reader)

    assert (status, error["code"]) == (413, "ResourceLimitExceeded")
    assert error["limit"] == str(REQUEST_BYTES_MAX)


async def test_body_that_grows_too_large_is_cut_off(port: int) -> None:
    """Without an announcement the byte that is too much is answered, and the connection ends."""
    async with connect(port) as (reader, writer):
        writer.write(head(port, "/api/v1/commands", RECORDS, "Transfer-Encoding: chunked"))
        started_s = time.monotonic()
        dripping = asyncio.create_task(send_without_end(writer))

        status, error = await read_answer(reader)
        took_s = time.monotonic() - started_s
        dripping.cancel()

    assert (status, error["limit"]) == (413, str(RECORD_BYTES_MAX + 4))
    assert took_s < 5


async def send_without_end(writer: asyncio.StreamWriter) -> None:
    """Send chunks until the connection breaks."""
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999999"])
async def test_body_with_a_senseless_length_is_refused(port: int, length: str) -> None:
    """A length that is no number, or an absurd one, is answered with 4xx and the end."""
    async with connect(port) as (reader, writer):
        writer.write(head(port, "/api/v1/records", RECORDS, f"Content-Length: {length}"))
        answer = await asyncio.wait_for(reader.read(), 10)

    assert answer.split()[1] in (b"400", b"413")


async def test_body_that_comes_too_slowly_is_a_timeout() -> None:
    """A sender that drips bytes holds a request no longer than the bound."""

    async def read(request: Request) -> None:
        await request.body()

    inner = Starlette(routes=[Route("/slow", read, methods=["POST"])])
    add_error_handlers(inner)
    inner.add_middleware(BoundedBody, artifact_bytes_max=7, body_timeout_s=0.3)
    async with open_socket(inner) as port, connect(port) as (reader, writer):
        started_s = time.monotonic()
        writer.write(head(port, "/slow", "Content-Length: 100"))
        answering = asyncio.create_task(read_answer(reader))
        while not answering.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)

        status, error = await answering

    assert (status, error["code"]) == (408, "RequestTimeout")
    assert time.monotonic() - started_s < 2


class ImpatientProtocol(TimedHeadProtocol):
    """Waits for a head only a moment."""

    head_timeout_s = 0.3


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n"])
async def test_head_that_does_not_end_ends_the_connection(first: bytes) -> None:
    """A client that says nothing, or drips its head, holds a connection only so long."""
    async with open_socket(answering(), ImpatientProtocol) as port, connect(port) as streams:
        reader, writer = streams
        started_s = time.monotonic()
        writer.write(first)
        ending = asyncio.create_task(reader.read())
        while not ending.done():
            if first:
                writer.write(b"X")
            await asyncio.sleep(0.05)

        assert time.monotonic() - started_s < 2
        with contextlib.suppress(ConnectionError):
            assert await ending == b""


async def test_second_head_of_a_connection_is_timed_as_well() -> None:
    """Whoever was answered once must send the next head in time too."""
    async with open_socket(answering(), ImpatientProtocol) as port, connect(port) as streams:
        reader, writer = streams
        writer.write(head(port, "/").replace(b"POST", b"GET"))
        await reader.readuntil(b"done")
        writer.write(b"GET / HTTP/1.1\r\n")
        ending = asyncio.create_task(reader.read())
        while not ending.done():
            writer.write(b"X")
            await asyncio.sleep(0.05)

        with contextlib.suppress(ConnectionError):
            assert await ending == b""


async def test_answer_may_take_longer_than_a_head() -> None:
    """The bound is for heads: a slow answer is waited for."""

    async def take_long(_request: Request) -> Response:
        await asyncio.sleep(0.6)
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/", take_long)])
    async with open_socket(app, ImpatientProtocol) as port, connect(port) as (reader, writer):
        writer.write(head(port, "/").replace(b"POST", b"GET"))

        assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")


def answering() -> Starlette:
    """An application that answers at once."""
    return Starlette(routes=[Route("/", lambda _: PlainTextResponse("done"))])


async def test_client_that_leaves_in_the_middle_harms_nobody(port: int) -> None:
    """A connection that breaks in its body is forgotten; the next request is answered."""
    async with connect(port) as (_, writer):
        writer.write(head(port, "/api/v1/records", RECORDS, "Content-Length: 100") + b"abc")
        await writer.drain()
    async with connect(port) as (reader, writer):
        request = head(port, "/healthz", "Connection: close").replace(b"POST", b"GET")
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 10)

    assert answer.startswith(b"HTTP/1.1 200")


def test_body_bound_of_an_unknown_path_is_small() -> None:
    """A route that nobody thought of here takes a small JSON body only."""
    assert body_bytes_max("/api/v1/records", 7) == REQUEST_BYTES_MAX
    assert body_bytes_max("/api/v1/commands", 7) == RECORD_BYTES_MAX + 4
    assert body_bytes_max("/api/v1/artifacts/x", 7) == 7
    assert body_bytes_max("/anything/else", 7) == JSON_BYTES_MAX
