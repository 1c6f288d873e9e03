"""The proxy of the tests fails in the ways that networks fail, and only when told to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.services.proxy import Direction, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NOTHING_COMES_S = 0.2


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, int]]:
    """A server that sends every byte back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield host, port
    server.close()


class _Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def receive(self, count: int) -> bytes:
        return await self._reader.readexactly(count)

    async def receive_rest(self) -> bytes:
        return await self._reader.read()


@contextlib.asynccontextmanager
async def _connect(proxy: Proxy) -> AsyncIterator[_Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield _Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_proxy_forwards_both_ways(echo: tuple[str, int]) -> None:
    """Left alone, the proxy passes every byte on."""
    data = b"x" * 1_000_000
    with Proxy(echo) as proxy:
        async with _connect(proxy) as client:
            client.send(data)
            assert await client.receive(len(data)) == data


async def test_proxy_stalled_holds_bytes_until_resumed(echo: tuple[str, int]) -> None:
    """A stalled proxy loses nothing: held back bytes arrive after it resumes."""
    with Proxy(echo) as proxy:
        async with _connect(proxy) as client:
            proxy.stall()
            client.send(b"late")
            answer = asyncio.ensure_future(client.receive(4))
            done, _ = await asyncio.wait([answer], timeout=_NOTHING_COMES_S)
            assert not done
            proxy.resume()
            assert await answer == b"late"


async def test_proxy_stalled_one_way_passes_the_other(echo: tuple[str, int]) -> None:
    """A lost answer is not a lost request: only the direction named is held back."""
    with Proxy(echo) as proxy:
        async with _connect(proxy) as client:
            proxy.stall(Direction.TO_CLIENT)
            client.send(b"request")
            answer = asyncio.ensure_future(client.receive(7))
            done, _ = await asyncio.wait([answer], timeout=_NOTHING_COMES_S)
            assert not done
            proxy.stall(Direction.TO_SERVER)
            proxy.resume(Direction.TO_CLIENT)
            assert await answer == b"request"


async def test_proxy_delay_holds_each_chunk(echo: tuple[str, int]) -> None:
    """With a delay an answer takes at least twice as long: once each way."""
    clock = asyncio.get_running_loop().time
    with Proxy(echo) as proxy:
        async with _connect(proxy) as client:
            proxy.delay(0.1)
            started_s = clock()
            client.send(b"slow")
            assert await client.receive(4) == b"slow"
    assert clock() - started_s >= 0.2


async def test_proxy_cut_ends_connections_and_takes_new_ones(echo: tuple[str, int]) -> None:
    """After a cut the old connection is at its end and a new one works."""
    with Proxy(echo) as proxy:
        async with _connect(proxy) as client:
            client.send(b"before")
            assert await client.receive(6) == b"before"
            proxy.cut()
            assert await client.receive_rest() == b""
        async with _connect(proxy) as client:
            client.send(b"after")
            assert await client.receive(5) == b"after"


async def test_proxy_reset_is_seen_as_reset(echo: tuple[str, int]) -> None:
    """A reset is an error to the client, not an end."""
    with Proxy(echo) as proxy:
        async with _connect(proxy) as client:
            client.send(b"before")
            assert await client.receive(6) == b"before"
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                await client.receive_rest()
        assert proxy.connection_count == 0


async def test_proxy_cut_after_some_bytes_passes_exactly_those(echo: tuple[str, int]) -> None:
    """A connection can be broken in the middle of a message; the next one is whole again."""
    with Proxy(echo) as proxy:
        proxy.cut_after(3, Direction.TO_SERVER)
        async with _connect(proxy) as client:
            client.send(b"message")
            with pytest.raises(ConnectionResetError):
                await client.receive(7)
        async with _connect(proxy) as client:
            client.send(b"message")
            assert await client.receive(7) == b"message"


async def test_proxy_refusing_takes_no_connection_until_it_accepts(echo: tuple[str, int]) -> None:
    """A refusing proxy looks like a dead host, and comes back on the same port."""
    with Proxy(echo) as proxy:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.accept()
        async with _connect(proxy) as client:
            client.send(b"back")
            assert await client.receive(4) == b"back"


async def test_proxy_without_server_closes_the_connection() -> None:
    """A server that is not there is seen by the client as a closed connection."""
    with Proxy(("127.0.0.1", 1)) as proxy:
        async with _connect(proxy) as client:
            assert await client.receive_rest() == b""


def _hammer(port: int, start: threading.Event, clients: list[socket.socket]) -> None:
    """Connect three times as soon as it starts; what is refused is refused."""
    start.wait()
    for _ in range(3):
        with contextlib.suppress(OSError):
            clients.append(socket.create_connection(("127.0.0.1", port), timeout=1))


def test_proxy_that_ends_while_clients_connect_leaves_nothing_open() -> None:
    """A connection that is taken at the last moment is closed too; a forgotten one is an error."""
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as target:
        for _ in range(100):
            start = threading.Event()
            with Proxy(target.getsockname()) as proxy:
                connecting = threading.Thread(target=_hammer, args=(proxy.port, start, clients))
                connecting.start()
                start.set()
            connecting.join()
    for client in clients:
        client.close()
    gc.collect()  # what was forgotten warns now, and warnings are errors
