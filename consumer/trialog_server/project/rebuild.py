"""Rebuilds the read model: a new generation of tables from the log, beside the one that is read.

1. A generation is made, or the one that an interrupted rebuild left is taken up.
2. A worker of its own projects the log into it from where it stands; the live tables and their
   workers go on meanwhile and know nothing of it.
3. When it has come to where the log ended at the start and to where the live tables are, or to the
   end of a log that ends before them, it is asked what the live tables hold that the new ones do
   not: a log that has lost its end. Without word that this is accepted, it ends there.
4. The live ones are stopped for a moment: their leases are seized for a few seconds.
5. The new generation passes the place where they stand, and one transaction puts it in their place.
   A reader's statement sees the one or the other, never both.

A rebuild that dies in between leaves the live tables as they were: seized leases run out, and the
next rebuild goes on where this one ended. Nothing outside the database is touched or told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trialog_schemas.errors import UnavailableError
from trialog_server.log.base import OffsetMissing, Partition, topic_partitions
from trialog_server.postgres.pool import PoolSettings, open_pool
from trialog_server.postgres.queries import load_query
from trialog_server.project.applied_tails import check_made_of
from trialog_server.project.generations import (
    drop_useless,
    give_back,
    is_reached,
    live_generation,
    open_generation,
    read_positions,
    rebuilding,
    reopen_generation,
    seize,
    switch,
)
from trialog_server.project.lease import Claim
from trialog_server.project.lost_tails import (
    EventsLostError,
    check_told,
    find_loss,
    forget_seals,
)
from trialog_server.project.settings import ProjectionSettings
from trialog_server.project.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from trialog_server.log.base import Log
    from trialog_server.postgres.pool import Connection, Pool
    from trialog_server.project.generations import Generation
    from trialog_server.project.lost_tails import Loss


Way = Literal["on", "anew", "back"]

SEIZED_S = 10.0
"""For how long the live tables may stand still for a switch, also when a rebuild dies in it."""

PASS_S = 5.0
"""How long the new generation may take to pass them before it is tried again later."""

_LOOK_S = 0.1

_PAUSE_S_MAX = 1.0
"""The longest pause between two tries to switch: the live tables go on in it."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to: the generation that is live now, the one before, records read.

    `loss` is what the one before holds and the log does not have.
    """

    generation: int
    replaced: int
    records: int
    loss: Loss


async def rebuild(
    dsn: str,
    log: Log,
    on_progress: Callable[[int, int], None],
    *,
    way: Way = "on",
    accepts_loss: bool = False,
) -> Rebuilt:
    """Build a generation from the log and put it in the place of the live one.

    Args:
        dsn: a migrated database.
        log: where the records are.
        on_progress: told from time to time how many records are in the new tables, of how many.
        way: "on" goes on with an interrupted rebuild of this log, if there is one; "anew" begins at
            the first record; "back" takes the generation that was live before this one.
        accepts_loss: switch also where the log lacks events that the live tables hold.

    Raises:
        ResourceInUseError: another rebuild is under way.
        ResourceNotFoundError: there is no generation to go back to.
        EventsLostError: the new tables would lack events that the live ones hold; those stay live.
        UnavailableError: the log has lost records that a rebuild needs, or more of its end while
            the tables were made.
    """
    async with rebuilding(dsn) as connection:
        live = await live_generation(connection)
        start = await log_ends(log)
        built = await _open(connection, log, way, start)
        async with projecting(dsn, log, built) as worker:
            succession = _Succession(connection, log, worker, (live, built))
            loss = await succession.catch_up(start, on_progress)
            if loss.events and not accepts_loss:
                raise EventsLostError(loss, is_back=way == "back")
            records = await succession.complete(start, loss, on_progress)
        await drop_useless(connection)
        # The switch has made them useless: tables of the past are looked up in the live ones.
        await connection.execute(load_query("drop_old_snapshots"), 0.0, 0)
    return Rebuilt(built.number, live.number, records, loss)


@contextlib.asynccontextmanager
async def projecting(
    dsn: str,
    log: Log,
    generation: Generation,
    settings: ProjectionSettings | None = None,
    connections_max: int = 8,
) -> AsyncIterator[Worker]:
    """Run a worker of a generation for as long as the block lasts.

    What ends the block, or the worker by a defect, is raised as it is.
    """
    chosen = settings or ProjectionSettings(
        generation=generation.number, schema_name=generation.schema_name
    )
    pool: Pool = await open_pool(
        dsn,
        PoolSettings(
            application_name=f"trialog {generation.purpose}",
            search_path=chosen.search_path,
            connections_max=connections_max,
            # Rows and position are lost together and made again from the log. What puts the tables
            # to use waits for the disk, and with it for every commit before.
            waits_for_disk=False,
        ),
    )
    worker, stop = Worker(pool, log, chosen), asyncio.Event()
    try:
        # A group, because a worker that ends by a defect must end the block as well.
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(stop))
            try:
                yield worker
            finally:
                stop.set()
    except BaseExceptionGroup as ended:
        raise ended.exceptions[0] from ended
    finally:
        await pool.close()


async def _open(
    connection: Connection, log: Log, way: Way, start: Mapping[Partition, int]
) -> Generation:
    """Return the generation that is to take over, made of nothing but what the log has.

    One that was live before may be ahead of a log that has lost its end since.

    Raises:
        UnavailableError: others stand in the log in the places of what it was made of.
    """
    if way == "back":
        built = await reopen_generation(connection)
        try:
            await check_made_of(log, await _claims(connection, built, start))
        except OffsetMissing as exc:
            raise UnavailableError(f"the tables before cannot be live again: {exc}") from exc
        return built
    built = await open_generation(connection, "rebuild", is_new=way == "anew")
    claims = await _claims(connection, built, start)
    try:
        await check_made_of(log, claims)
    except OffsetMissing:
        is_of_this_log = False
    else:
        is_of_this_log = all(one.next_offset <= start[one.partition] for one in claims)
    if is_of_this_log:
        return built
    return await open_generation(connection, "rebuild", is_new=True)


async def _claims(
    connection: Connection, generation: Generation, start: Mapping[Partition, int]
) -> list[Claim]:
    """Return how far a generation is in each partition of the log."""
    rows = await connection.fetch(load_query("read_leases"), generation.number)
    claims = [
        Claim(
            Partition(row["topic"], row["partition"]),
            0,
            row["next_offset"],
            row["chain"],
            row["chain_before"],
        )
        for row in rows
    ]
    return [one for one in claims if one.partition in start]


class _Succession:
    """One generation takes the place of another: `generations` are the live and the built one."""

    def __init__(
        self,
        connection: Connection,
        log: Log,
        worker: Worker,
        generations: tuple[Generation, Generation],
    ) -> None:
        self._connection = connection
        self._log = log
        self._worker = worker
        self._live, self._built = generations
        self._owner = f"rebuild/{socket.gethostname()}:{os.getpid()}"

    async def catch_up(
        self, start: Mapping[Partition, int], on_progress: Callable[[int, int], None]
    ) -> Loss:
        """Fill the new tables to where the live ones are; return what only those hold."""
        applied = await self._positions(self._live)
        await self._pass(await self._targets(start, applied), on_progress)
        ends = await log_ends(self._log)
        return await find_loss(self._connection, self._live, self._built, applied, ends)

    async def complete(
        self,
        start: Mapping[Partition, int],
        loss: Loss,
        on_progress: Callable[[int, int], None],
    ) -> int:
        """Have the new tables take over; return how many records are in them.

        Seals of records that are lost go first: other records than those there were signed.

        Raises:
            UnavailableError: the log has lost more than that, of which nobody has been told.
        """
        if loss.cuts:
            await forget_seals(self._connection, loss.cuts)
        pause_s = _LOOK_S
        while True:
            applied = await self._positions(self._live)
            await self._pass(await self._targets(start, applied), on_progress)
            if await self._take_over(loss):
                break
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        records = sum((await self._positions(self._built)).values())
        on_progress(records, records)
        return records

    async def _positions(self, generation: Generation) -> dict[Partition, int]:
        return await read_positions(self._connection, generation.number)

    async def _targets(
        self, start: Mapping[Partition, int], applied: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        """Return where the new tables must come to: a log that lost its end goes no further."""
        ends = await log_ends(self._log)
        return {
            one: max(start.get(one, 0), min(applied.get(one, 0), end)) for one, end in ends.items()
        }

    async def _pass(
        self, targets: Mapping[Partition, int], on_progress: Callable[[int, int], None]
    ) -> None:
        await pass_positions(self._connection, self._worker, self._built, targets, on_progress)

    async def _take_over(self, loss: Loss) -> bool:
        """Stop the live tables, let the new ones pass them, switch; tell whether it happened.

        Raises:
            UnavailableError: the log has lost more of its end than is told.
        """
        live = self._live
        try:
            if not await seize(self._connection, live.number, self._owner, SEIZED_S):
                return False
            applied = await self._positions(live)
            targets = await self._targets({}, applied)
            check_told(loss, applied, targets)
            async with asyncio.timeout(PASS_S):
                await self._pass(targets, lambda _done, _total: None)
            return await switch(self._connection, live, self._built, self._owner, targets)
        except TimeoutError:
            return False
        finally:
            await give_back(self._connection, live.number, self._owner)


async def pass_positions(
    connection: Connection,
    worker: Worker,
    built: Generation,
    targets: Mapping[Partition, int],
    on_progress: Callable[[int, int], None],
) -> None:
    """Wait until the worker of a generation has passed the targets.

    Raises:
        UnavailableError: a partition cannot go on, because the log has lost records.
    """
    total = sum(targets.values())
    while not is_reached(positions := await read_positions(connection, built.number), targets):
        for partition, target in targets.items():
            reason = worker.telemetry.stopped.get(f"{partition.topic}:{partition.number}")
            # One that is there already may stand still: kept tables of a log that lost its end do.
            if reason is not None and positions.get(partition, 0) < target:
                raise UnavailableError(f"the tables cannot be built: {reason}")
        done = sum(min(positions.get(one, 0), target) for one, target in targets.items())
        on_progress(done, total)
        await asyncio.sleep(_LOOK_S)


async def log_ends(log: Log) -> dict[Partition, int]:
    """Return where each partition of the log ends."""
    bounds = await log.bounds(topic_partitions(log))
    return {partition: end for partition, (_, end) in bounds.items()}
