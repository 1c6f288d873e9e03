"""The parts of the service's processes; whole they are started in the acceptance tests."""

from __future__ import annotations

import asyncio
import socket

from trialog_server.processes import bind


async def test_bind_connections_send_at_once() -> None:
    """A connection of a bound socket has Nagle's delay off, or each answer would take 40 ms."""
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        seen.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    server = await asyncio.start_server(connected, sock=bind("127.0.0.1", 0))
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            assert await seen
        finally:
            writer.close()
            await writer.wait_closed()
