"""The parts of the service's processes; whole they are started in the acceptance tests."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trialog_schemas.errors import ResourceInUseError, UnavailableError
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.processes import bind, keep_postgres, url_of
from trialog_server.stopping import stop_on_signals


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


def test_bind_takes_the_port_that_was_asked_for() -> None:
    """A free port that is named is the one, and its address is said for people and clients."""
    with closing(bind("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
    with closing(bind("127.0.0.1", port)) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{port}"


def test_bind_to_a_taken_port_names_port_and_flag() -> None:
    """Whoever asked for a port gets that or a clear word, never another one."""
    with closing(bind("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ResourceInUseError, match=f"port {port} on 127.0.0.1.*--port"):
            bind("127.0.0.1", port)


def test_bind_without_a_port_takes_the_known_one_or_a_free_one() -> None:
    """Where the usual port is taken, as by a second service, another one is found."""
    with closing(bind("127.0.0.1", None)) as one, closing(bind("127.0.0.1", None)) as other:
        ports = {one.getsockname()[1], other.getsockname()[1]}
    assert len(ports) == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "::2"])
def test_bind_to_an_address_of_another_machine_says_so(host: str) -> None:
    """An address that is not this machine's is named with what to give instead."""
    with pytest.raises(UnavailableError, match="give an address of this machine") as caught:
        bind(host, 0)
    assert host in caught.value.message


def test_url_of_an_ipv6_address_has_brackets() -> None:
    """What is printed can be put into a browser."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with closing(socket.socket(socket.AF_INET6)) as listener:
        listener.bind(("::1", 0))
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", SIGNALS)
async def test_stop_is_set_by_each_signal(number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end a service in order, and none kills it."""
    stop = stop_on_signals()
    try:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.wait()
    finally:
        for each in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(each)


async def test_stop_leaves_a_closed_terminal_alone_under_nohup() -> None:
    """Whoever starts a service by `nohup` wants it to outlive the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(each)
        signal.signal(signal.SIGHUP, before)


class BrokenPostgres(EmbeddedPostgres):
    """A server that is gone and does not start, as on a full disk."""

    def __init__(self, stop: asyncio.Event) -> None:
        super().__init__(Path("/nowhere"))
        self.loop, self.ending, self.started_s = asyncio.get_running_loop(), stop, list[float]()

    def ensure_running(self) -> None:
        """Fail, and end the test at the fifth time."""
        self.started_s.append(self.loop.time())
        if len(self.started_s) == 5:
            self.loop.call_soon_threadsafe(self.ending.set)
        raise UnavailableError(f"no room, start {len(self.started_s)}")


async def test_postgres_that_does_not_start_is_said_once_and_tried_ever_more_seldom() -> None:
    """A full disk fills no terminal: it is gone, why it does not start, and then silence."""
    stop = asyncio.Event()
    broken = BrokenPostgres(stop)
    with capture_logs() as said:
        await keep_postgres(broken, stop, 0.01)

    assert [(one["event"], one.get("cause")) for one in said] == [
        ("postgres is gone and is started again", None),
        ("postgres does not start; it is tried again", "no room, start 1"),
    ]
    first, *_, last = broken.started_s
    assert last - first > 0.02 + 0.04 + 0.08 + 0.16
