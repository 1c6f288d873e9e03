"""The real application over a real Postgres, a log in memory and a folder of artifacts."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2
import uvicorn

from tests.integration.read_model_rows import Rows, open_rows
from tests.services.ports import LOOPBACK
from trialog_schemas.limits import Limits
from trialog_schemas.wire import (
    RecordHeader,
    encode_event,
    event_id_for,
    first_hash,
    pack_record,
)
from trialog_server.artifacts import ArtifactStore
from trialog_server.log.memory import MemoryLog
from trialog_server.serve.access import AccessPolicy
from trialog_server.serve.app import build_app
from trialog_server.serve.server import CLOSE_TIMEOUT_S, TimedHeadProtocol, server_config
from trialog_server.serve.service import Terms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.applications import Starlette
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from trialog_schemas.events import Body
    from trialog_server.postgres.pool import Pool

ADDRESS = "http://127.0.0.1:7788"
AT_US = 1_767_323_045_678_901
USER = "ada@lab"


@dataclass(frozen=True, slots=True)
class Api:
    """A service under test and what it stands on."""

    app: Starlette
    client: httpx2.AsyncClient
    pool: Pool
    rows: Rows
    log: MemoryLog


@asynccontextmanager
async def open_api(
    postgres_url: str,
    folder: Path,
    *,
    access: AccessPolicy | None = None,
    limits: Limits | None = None,
    log: MemoryLog | None = None,
) -> AsyncIterator[Api]:
    """Run the application without a socket in between; its lifespan is on."""
    async with open_rows(postgres_url) as (pool, rows):
        log, policy = log or MemoryLog(), limits or Limits()
        app = build_app(
            pool=pool,
            dsn=postgres_url,
            log=log,
            store=ArtifactStore.in_folder(folder),
            access=access or AccessPolicy(),
            terms=Terms(limits=policy, artifact_bytes_max=policy.artifact_bytes_max),
        )
        # As a server does: an answer of 500 is an answer, not an exception of the test.
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url=ADDRESS) as client,
        ):
            yield Api(app, client, pool, rows, log)


@asynccontextmanager
async def open_socket(
    app: Starlette, http: type[H11Protocol] = TimedHeadProtocol, stop_s: int = CLOSE_TIMEOUT_S
) -> AsyncIterator[int]:
    """Serve the application by uvicorn on a free port of this machine and give the port.

    When the block ends, requests that are under way may take `stop_s` more.
    """
    listener = socket.socket()
    listener.bind((LOOPBACK, 0))
    listener.listen()  # connections wait here until the server takes them
    config = server_config(app, http=http)
    config.timeout_graceful_shutdown = stop_s
    config.lifespan = "off"  # whoever made the application has it on already
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


def record_of(run_id: str, writer_id: str, *bodies: Body, account: str = "default") -> bytes:
    """A record of a writer's first events."""
    events = [
        encode_event(seq, event_id_for(writer_id, seq, AT_US), AT_US, body)
        for seq, body in enumerate(bodies, start=1)
    ]
    start = first_hash(account, USER, run_id, writer_id)
    return pack_record(
        RecordHeader(account, USER, run_id, writer_id, 1, len(events), start), events
    )
