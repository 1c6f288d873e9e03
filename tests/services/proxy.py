"""A TCP proxy that fails on demand: stalls, delays, cuts, resets and refuses connections.

It runs in a thread of its own, so that a test that blocks its loop, or has none, can use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tests.services.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024
_START_TIMEOUT_S = 10.0
_CONTROL_TIMEOUT_S = 10.0

_TURNS_TO_HANDLER = 8
"""Turns of the loop, and some to spare, until a connection that was just taken has its handler."""


class Direction(enum.Enum):
    """Which way bytes flow through the proxy."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class _Connection:
    """One client's connection and the one to the server behind it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()

    def reset(self) -> None:
        for writer in self.writers:
            # A linger time of zero makes the close a reset: unsent bytes are thrown away.
            plug: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Listens on loopback and forwards to one server until told otherwise."""

    def __init__(self, target: tuple[str, int], *, port: int | None = None) -> None:
        self._target = target
        self._port = port or free_port()
        self._delay_s = 0.0
        self._connections: set[_Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._open = {direction: asyncio.Event() for direction in Direction}
        self._bytes_left: dict[Direction, int | None] = dict.fromkeys(Direction)
        self._thread = threading.Thread(target=self._loop.run_forever, name="tests-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        for gate in self._open.values():
            gate.set()
        self._run(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        """Where clients connect: `host:port`."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def port(self) -> int:
        """The port on which the proxy listens."""
        return self._port

    @property
    def connection_count(self) -> int:
        """How many connections go through the proxy at this moment."""
        return len(self._connections)

    def stall(self, *directions: Direction) -> None:
        """Hold back every byte of these directions, of both if none is named; stay connected."""
        self._run(self._set_gates(directions, is_open=False))

    def resume(self, *directions: Direction) -> None:
        """Let bytes of these directions flow again, those held back first."""
        self._run(self._set_gates(directions, is_open=True))

    def delay(self, seconds: float) -> None:
        """Hold back every chunk for this long, until told otherwise; zero ends it."""
        self._delay_s = seconds

    def cut(self) -> None:
        """Close all connections as a server that ends would; new ones are taken."""
        self._run(self._for_each(_Connection.close))

    def reset(self) -> None:
        """Reset all connections as a network that lost them would; new ones are taken."""
        self._run(self._for_each(_Connection.reset))

    def cut_after(self, byte_count: int, direction: Direction) -> None:
        """Reset the connection that carries the last of this many more bytes this way; once."""
        self._bytes_left[direction] = byte_count

    def refuse(self) -> None:
        """Refuse new connections and reset those there are: what a dead host looks like."""
        self._run(self._refuse())

    def accept(self) -> None:
        """Take connections again after `refuse`."""
        self._run(self._listen())

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CONTROL_TIMEOUT_S)

    # Everything below runs in the proxy's own thread.

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, LOOPBACK, self._port)

    async def _refuse(self) -> None:
        if self._listener is not None:
            # Python 3.11 forgets, unclosed, a connection that is being taken while its server is
            # closed: no more are taken first, and those there are get their handlers.
            for plug in self._listener.sockets:
                self._loop.remove_reader(plug.fileno())
            for _ in range(_TURNS_TO_HANDLER):
                await asyncio.sleep(0)
            self._listener.close()
            self._listener = None
        await self._for_each(_Connection.reset)

    async def _end(self) -> None:
        await self._refuse()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _set_gates(self, directions: tuple[Direction, ...], *, is_open: bool) -> None:
        for direction in directions or tuple(Direction):
            gate = self._open[direction]
            if is_open:
                gate.set()
            else:
                gate.clear()

    async def _for_each(self, end: Callable[[_Connection], None]) -> None:
        for connection in self._connections:
            end(connection)
        self._connections.clear()

    async def _serve(
        self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            server_reader, server = await asyncio.open_connection(*self._target)
        except (OSError, asyncio.CancelledError):
            client.transport.abort()
            self._handlers.discard(handler)
            return
        connection = _Connection(client, server)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(client_reader, server, Direction.TO_SERVER, connection),
                self._pump(server_reader, client, Direction.TO_CLIENT, connection),
            )
        except OSError:
            connection.reset()
        except asyncio.CancelledError:
            # By `_end` alone. To let it through is right, but Python 3.11 logs it as an error.
            connection.reset()
        finally:
            connection.close()
            self._connections.discard(connection)
            self._handlers.discard(handler)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
        connection: _Connection,
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._open[direction].wait()
            allowed, is_last = self._take(chunk, direction)
            writer.write(allowed)
            await writer.drain()
            if is_last:
                connection.reset()
                return
        await self._open[direction].wait()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    def _take(self, chunk: bytes, direction: Direction) -> tuple[bytes, bool]:
        """Return the part of the chunk that may pass, and whether it is the last."""
        left = self._bytes_left[direction]
        if left is None:
            return chunk, False
        if len(chunk) < left:
            self._bytes_left[direction] = left - len(chunk)
            return chunk, False
        self._bytes_left[direction] = None
        return chunk[:left], True
