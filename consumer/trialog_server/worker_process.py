"""The process of a projection worker; it must not import what serves HTTP, which it never needs.

Without it a worker is ready in half of the time, which is also how long its restart takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import structlog

from trialog_server.postgres.pool import PoolSettings
from trialog_server.project.generations import live_generation
from trialog_server.project.settings import ProjectionSettings
from trialog_server.project.unapplied import unapplied
from trialog_server.project.worker import FAULTS, Worker
from trialog_server.stopping import stop_on_signals, stopped_within
from trialog_server.stores import migrate_address, open_log, pool_at

if TYPE_CHECKING:
    from trialog_server.postgres.pool import Pool
    from trialog_server.project.generations import Generation
    from trialog_server.settings import ServerSettings

log = structlog.get_logger("trialog")

GENERATION_CHECK_S = 0.5
"""How often a worker looks whether a rebuild has put other tables in the place of its own."""


async def run_worker(settings: ServerSettings, *, until_parent_ends: bool = False) -> None:
    """Project events into rows until a signal says stop, or until the parent process is gone."""
    stop = stop_on_signals()
    dsn = settings.postgres or ""
    if until_parent_ends:
        await _stop_at_end_of_input(stop)
    else:
        await migrate_address(dsn)
    async with pool_at(dsn, PoolSettings(connections_max=1)) as looking:
        live = await live_generation(looking)
        while not stop.is_set():
            live = await _project(settings, dsn, live, looking, stop)


async def _project(
    settings: ServerSettings, dsn: str, live: Generation, looking: Pool, stop: asyncio.Event
) -> Generation:
    """Project into the live generation until `stop` is set or another one is live; return that."""
    projection = ProjectionSettings(generation=live.number, schema_name=live.schema_name)
    pool_settings = PoolSettings(
        application_name="trialog-worker",
        search_path=projection.search_path,
        # A worker that is frozen inside a transaction keeps its partition locked for everybody.
        idle_in_transaction_s=2 * projection.lease_s,
    )
    over = asyncio.Event()
    async with pool_at(dsn, pool_settings) as pool, open_log(settings, pool) as opened:
        await _say_unapplied(pool)
        working = asyncio.create_task(Worker(pool, opened, projection).run(over))
        # A worker that ends by itself has a defect; nothing is left to wait for.
        working.add_done_callback(lambda _: None if over.is_set() else stop.set())
        try:
            return await _wait_replaced(looking, live, stop)
        finally:
            over.set()
            await working


async def _say_unapplied(pool: Pool) -> None:
    """Say what an older release could not read of the log and this one can: it is not in the rows.

    Where Postgres is away at this moment, telemetry still shows it.
    """
    with contextlib.suppress(*FAULTS):
        found = await unapplied(pool)
        if found:
            log.warning(
                "events that an older release could not read are not applied; run `trialog "
                "rebuild`, which applies them in their places",
                records=found,
            )


async def _wait_replaced(looking: Pool, live: Generation, stop: asyncio.Event) -> Generation:
    """Return the generation that is live in the place of another, or that one once it is over."""
    found = live
    while found.number == live.number and not await stopped_within(stop, GENERATION_CHECK_S):
        with contextlib.suppress(*FAULTS):
            found = await live_generation(looking)
    if found.number != live.number:
        log.info("another generation is live", generation=found.number)
    return found


async def _stop_at_end_of_input(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends: the pipe's other end is our parent's."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def wait() -> None:
        await reader.read()
        stop.set()

    stop_waiter = loop.create_task(wait())
    stop_waiter.add_done_callback(lambda _: stop.set())
    _WAITERS.add(stop_waiter)


_WAITERS: set[asyncio.Task[None]] = set()
"""The loop keeps only weak references to its tasks."""
