"""Answers requests that are still waiting when the service stops; must not end any by itself.

The server lets them go on for some seconds, then it cancels them, and would answer 500: to a client
that is a defect, and to one of MLflow a reason to give up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError
from trialog_server.serve.errors import error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AnswerAtStop:
    """Says of what is cancelled that it is to be asked again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; only the server's own stop cancels it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_and_see(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except asyncio.CancelledError:
            if has_begun:
                raise
            stopping = UnavailableError(
                "the service stops and has no answer yet; ask again when it has been started: what "
                "was sent may be recorded all the same"
            )
            await error_response(stopping, scope["path"])(scope, receive, send)
