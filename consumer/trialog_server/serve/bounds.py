"""Bounds of every request body in bytes and in time, before any route sees it.

A body that is too large is refused at the byte that proves it, whatever was announced; one that
comes too slowly ends with the time. Deny by default: a route that is not named here may receive a
small JSON body only.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from trialog_schemas.errors import shown
from trialog_schemas.limits import RECORD_BYTES_MAX, REQUEST_BYTES_MAX
from trialog_server.serve.errors import RequestRefusedError, error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_BYTES_MAX = 65_536
"""Bytes of a JSON body: far above the longest filter with its names."""

MLFLOW_JSON_BYTES_MAX = 1_000_000
"""Bytes of a JSON body of an MLflow client; MLflow's number for a batch."""

FRAME_BYTES = 4
"""Bytes of the length before a framed record."""

BODY_TIMEOUT_S = 30.0
"""How long a whole body may take to arrive; 8 MiB in this time is 2 Mbit/s."""

LINGER_S = 1.0
"""How long bytes of a body that was cut off are still taken and thrown away."""

RECORDS_PATH = "/api/v1/records"
COMMANDS_PATH = "/api/v1/commands"
POLICY_PATH = "/api/v1/policy"
ARTIFACTS_PREFIXES = ("/api/v1/artifacts/", "/api/2.0/mlflow-artifacts/artifacts/")
MLFLOW_PREFIX = "/api/2.0/mlflow/"


def body_bytes_max(path: str, artifact_bytes_max: int) -> int:
    """Return how large the body of a request to this path may be."""
    if path == RECORDS_PATH:
        return REQUEST_BYTES_MAX
    if path == COMMANDS_PATH:
        return RECORD_BYTES_MAX + FRAME_BYTES
    if path.startswith(ARTIFACTS_PREFIXES):
        return artifact_bytes_max
    if path.startswith(MLFLOW_PREFIX):
        return MLFLOW_JSON_BYTES_MAX
    return JSON_BYTES_MAX


class BoundedBody:
    """Counts and times what the client sends."""

    def __init__(
        self, app: ASGIApp, artifact_bytes_max: int, body_timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        self._app = app
        self._artifact_bytes_max = artifact_bytes_max
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a body that is announced too large; watch the others while they come."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bytes_max = body_bytes_max(scope["path"], self._artifact_bytes_max)
        watched = _Watched(receive, send, bytes_max, self._body_timeout_s)
        headers = Headers(scope=scope)
        encoding = headers.get("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            watched.is_cut = True
            await error_response(_encoded(encoding), scope["path"])(scope, receive, watched.send)
            return
        declared = headers.get("content-length", "0")
        watched.is_question = scope["method"] in ("GET", "HEAD")
        if not (declared.isascii() and declared.isdigit()) or int(declared[:20]) > bytes_max:
            watched.is_cut = True
            refusal = _too_large(f"announced: {declared[:20]}", bytes_max)
            await error_response(refusal, scope["path"])(scope, receive, watched.send)
            return
        await self._app(scope, watched.receive, watched.send)


class _Watched:
    """One body on its way in."""

    def __init__(self, receive: Receive, send: Send, bytes_max: int, timeout_s: float) -> None:
        self.is_question = self.is_cut = False
        self._receive = receive
        self._send = send
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s
        self._deadline_s: float | None = None
        self._received_bytes = 0
        self._is_complete = False

    async def receive(self) -> Message:
        """Pass on the next part.

        Raises:
            RequestRefusedError: the body is larger or slower than allowed.
        """
        if self._is_complete:
            return await self._receive()  # only the client's leaving can still come
        if self._deadline_s is None:
            self._deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError as exc:
            raise RequestRefusedError(
                f"the body did not arrive within {self._timeout_s:g} s; send it faster or in parts",
                code="RequestTimeout",
                status=408,
                facts={
                    "field": "body",
                    "value": f"{self._received_bytes} bytes",
                    "limit": f"{self._timeout_s:g} s",
                },
                headers={"Connection": "close"},
            ) from exc
        # Of a question nothing is missing, and a long answer to it listens for this.
        if message["type"] == "http.disconnect" and self.is_question:
            return message
        if message["type"] == "http.disconnect":
            raise RequestRefusedError(
                f"the body ended after {self._received_bytes} bytes, before it was complete; "
                "send it again",
                code="BadRequest",
                status=400,
                facts={"field": "body", "value": f"{self._received_bytes} bytes"},
            )
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._bytes_max:
            self.is_cut = True
            raise _too_large(f"received: {self._received_bytes}", self._bytes_max)
        self._is_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass on the answer; after a body that was cut off, let the client read it first."""
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (self.is_cut and is_last):
            await self._send(message)
            return
        # Closing a connection on which bytes still come resets it, and the client would see
        # that instead of the answer. So they are thrown away for a moment.
        await self._send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (await self._receive()).get("more_body", False):
                    pass
        await self._send({"type": "http.response.body", "body": b""})


def _encoded(encoding: str) -> RequestRefusedError:
    # Unpacking would let a small body become any size; records are compressed by themselves.
    return RequestRefusedError(
        f"content encoding {shown(encoding)} is not unpacked here; send the body as it is",
        code="UnsupportedMediaType",
        status=415,
        facts={"field": "content-encoding", "value": encoding, "limit": "identity"},
        headers={"Connection": "close"},
    )


def _too_large(size: str, bytes_max: int) -> RequestRefusedError:
    return RequestRefusedError(
        f"the body has more than {bytes_max} bytes ({size}); send less at once",
        code="ResourceLimitExceeded",
        status=413,
        facts={"field": "body", "value": size, "limit": str(bytes_max)},
        # What still comes is not read: the connection ends with this answer.
        headers={"Connection": "close"},
    )
