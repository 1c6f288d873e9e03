"""The processes of the service: the API, the projection worker, and `up`, which runs everything.

Builds the parts from `ServerSettings`, starts them in order and stops them in the reverse one. It
must not know SQL, routes or rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import uvicorn

from trialog_schemas.errors import ResourceInUseError, UnavailableError
from trialog_server.artifacts import ArtifactStore
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.serve.access import AccessPolicy
from trialog_server.serve.app import build_app
from trialog_server.serve.server import server_config
from trialog_server.serve.service import Terms
from trialog_server.settings import DEFAULT_PORT
from trialog_server.stopping import stop_on_signals, stopped_within
from trialog_server.stores import migrate_address, open_parts, postgres_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trialog_server.settings import ServerSettings
    from trialog_server.stores import Parts

log = structlog.get_logger("trialog")

WORKER_STOP_S = 10.0
"""How long a worker may take to finish its batch and give its leases back before it is killed."""

RESTART_PAUSE_S = 0.5
"""The pause before a worker that died is started again, so that a broken one does not spin."""

POSTGRES_CHECK_S = 0.5
"""How often `up` looks whether its Postgres still runs."""

POSTGRES_PAUSE_MAX_S = 4.0
"""The longest pause between two starts of a Postgres that does not stay, as on a full disk.

It is also waited where Postgres is killed again and again, and well within the 10 s in which
everything is to be applied then."""

POSTGRES_STAYS_S = 10.0
"""A Postgres that has run for so long stays: when it is gone again, that is news."""


def bind(host: str, port: int | None) -> socket.socket:
    """Return a listening socket on the port; without one on 7788, or a free one if that is taken.

    Raises:
        ResourceInUseError: the port that was asked for is taken.
        UnavailableError: the address is not one of this machine.
    """
    for number in [DEFAULT_PORT, 0] if port is None else [port]:
        try:
            return _listen(host, number)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise UnavailableError(
                    f"cannot bind to {host}:{number}: {exc.strerror}; give an address of this "
                    "machine",
                    field="host",
                    value=host,
                ) from exc
    raise ResourceInUseError(
        f"port {port} on {host} is taken by another program; give another with --port, or none",
        field="port",
        value=port,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle off only where the protocol is named; with it each answer waits
    # for the client's delayed acknowledgement, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address of a listening socket for people and clients."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(settings: ServerSettings, parts: Parts, api: _Api) -> None:
    """Serve the HTTP API until `api.stop` is set; call `api.on_ready` when it answers."""
    app = build_app(
        pool=parts.pool,
        dsn=parts.dsn,
        log=parts.log,
        store=ArtifactStore.at_url(settings.artifacts_url),
        access=AccessPolicy(host=settings.host, api_key=settings.api_key),
        terms=Terms(
            limits=settings.limits,
            artifact_bytes_max=settings.artifact_bytes_max,
            stale_after_s=settings.stale_after_s,
        ),
    )
    server = _Server(server_config(app))
    serving = asyncio.create_task(server.serve(sockets=[api.listener]))
    listening = asyncio.create_task(server.is_listening.wait())
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    if not serving.done() and not api.stop.is_set():
        api.on_ready(url_of(api.listener))
    stopping = asyncio.create_task(api.stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """uvicorn that says when it listens and leaves signals to us: we stop more than the server."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Leave the signals to us."""
        yield


@dataclass(frozen=True, slots=True)
class _Api:
    """Where the API listens, when it ends and whom it tells that it is there."""

    listener: socket.socket
    stop: asyncio.Event
    on_ready: Callable[[str], None]


async def run_api(settings: ServerSettings, on_ready: Callable[[str], None]) -> None:
    """Serve the HTTP API on given addresses until one of `stop_on_signals`."""
    stop = stop_on_signals()
    listener = bind(settings.host, settings.port)
    dsn = settings.postgres or ""
    await migrate_address(dsn)
    async with open_parts(settings, dsn) as parts:
        await _serve(settings, parts, _Api(listener, stop, on_ready))


async def run_up(
    settings: ServerSettings, on_ready: Callable[[str], None], stop: asyncio.Event | None = None
) -> None:
    """Run everything: Postgres unless it is given, a worker and the API.

    Until `stop` is set; without one until one of `stop_on_signals`.
    """
    stop = stop_on_signals() if stop is None else stop
    listener = bind(settings.host, settings.port)
    try:
        async with (
            postgres_of(settings) as (dsn, embedded),
            open_parts(settings, dsn) as parts,
            _kept(settings, dsn, embedded, stop),
        ):
            await _serve(settings, parts, _Api(listener, stop, on_ready))
    except UnavailableError:
        # A Ctrl-C in the terminal ends initdb too: then nothing is wrong.
        if not stop.is_set():
            raise


@contextlib.asynccontextmanager
async def _kept(
    settings: ServerSettings, dsn: str, embedded: EmbeddedPostgres | None, stop: asyncio.Event
) -> AsyncIterator[None]:
    """Keep a worker and the embedded Postgres running during the block; then end the worker.

    The block outlives `stop` by its open requests: a write whose answer is the verdict needs both.
    """
    ended = asyncio.Event()
    keepers = [asyncio.create_task(_keep_worker(settings, dsn, ended))]
    if embedded is not None:
        keepers.append(asyncio.create_task(keep_postgres(embedded, ended)))
    for keeper in keepers:
        # One that ends before its time has a defect: the service ends too, and says it below.
        keeper.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        ended.set()
        await asyncio.gather(*keepers)


async def keep_postgres(
    embedded: EmbeddedPostgres, stop: asyncio.Event, check_s: float = POSTGRES_CHECK_S
) -> None:
    """Start Postgres again whenever it is gone; where it does not stay, seldom and without noise.

    Args:
        embedded: the Postgres that was started.
        stop: ends this.
        check_s: how often to look, in seconds; after each start in a row twice as long.
    """
    loop = asyncio.get_running_loop()
    pause_s, steady_at_s, is_said = check_s, 0.0, False
    while not await stopped_within(stop, pause_s):
        if embedded.pid is not None:
            if loop.time() > steady_at_s:
                pause_s, is_said = check_s, False
            continue
        if pause_s == check_s:
            log.warning("postgres is gone and is started again")
        try:
            await asyncio.to_thread(embedded.ensure_running)
        except UnavailableError as exc:
            if not is_said:
                log.warning("postgres does not start; it is tried again", cause=exc.message)
            is_said = True
        pause_s = min(2 * pause_s, POSTGRES_PAUSE_MAX_S)
        steady_at_s = loop.time() + POSTGRES_STAYS_S


async def _keep_worker(settings: ServerSettings, dsn: str, stop: asyncio.Event) -> None:
    """Run a worker process and start it again whenever it is gone."""
    arguments = ["worker", "--until-parent-ends"]
    if settings.kafka is not None:
        arguments += ["--kafka", settings.kafka]
    while not stop.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "trialog_server",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            # Not as an argument: every user of the machine may read those, with the password.
            env={**os.environ, "TRIALOG_POSTGRES": dsn, "TRIALOG_ARCHIVE": settings.archive or ""},
            # A Ctrl-C in the terminal is for us; we end the worker when nobody needs it any more.
            start_new_session=True,
        )
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            await _end(process)
            return
        log.warning("the worker is gone and is started again", exit_code=process.returncode)
        await stopped_within(stop, RESTART_PAUSE_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), WORKER_STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
