"""How the application stands on a socket: uvicorn's settings, and a bound that it does not have.

uvicorn bounds the bytes of a request's head and the idle time between requests, but not the time a
head may take: a client that sends one byte a minute would hold its connection for good.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from trialog_server.serve.bounds import LINGER_S
from trialog_server.serve.errors import BAD_REQUEST, RequestRefusedError, error_response

if TYPE_CHECKING:
    from starlette.applications import Starlette

HEAD_TIMEOUT_S = 10.0
"""How long a request's head may take to arrive, counted from the connection or its first byte."""

HEAD_BYTES_MAX = 65_536
"""Bytes of a request's head."""

CLOSE_TIMEOUT_S = 5
"""How long open requests may take when the service stops."""


class TimedHeadProtocol(H11Protocol):
    """HTTP/1.1 that ends a connection whose request's head does not arrive in time."""

    head_timeout_s = HEAD_TIMEOUT_S
    _head_deadline: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(  # type: ignore[override]  # as uvicorn's own
        self, transport: asyncio.Transport
    ) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that has begun must end in time."""
        if self._is_refused:
            return
        if self._has_no_request() and self._head_deadline is None:
            self._wait_for_head()
        super().data_received(data)
        if not self._has_no_request():
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the shape of all errors; uvicorn would answer in plain text."""
        answer = error_response(
            RequestRefusedError(
                f"the bytes are refused ({msg.rstrip('.').lower()}); send HTTP/1.1 with a head of "
                f"at most {HEAD_BYTES_MAX} bytes",
                code="BadRequest",
                status=BAD_REQUEST,
                facts={"field": "request", "limit": "HTTP/1.1"},
                headers={"Connection": "close"},
            )
        )
        for event in (
            h11.Response(
                status_code=BAD_REQUEST, headers=answer.raw_headers, reason=b"Bad Request"
            ),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        # Closing a connection on which bytes still come resets it, and the client would see that
        # instead of the answer. So they are thrown away for a moment.
        self._is_refused = True
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _has_no_request(self) -> bool:
        # uvicorn has no cycle before the first request, whatever its annotation says.
        return bool(getattr(self.cycle, "response_complete", True))

    def _wait_for_head(self) -> None:
        self._head_deadline = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _give_up(self) -> None:
        self._head_deadline = None
        if self._has_no_request() and not self.transport.is_closing():
            self.transport.close()


def server_config(app: Starlette, *, http: type[H11Protocol] = TimedHeadProtocol) -> uvicorn.Config:
    """Return uvicorn's settings for the application; logging is left to who starts it."""
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
    )
