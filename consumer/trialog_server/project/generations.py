"""Generations: whole sets of read-model tables, one of which answers questions; folds nothing.

A rebuild fills a new one from the first record on, beside the live one, and puts it in its place.
The replaced one stays as it was, so that a rebuild that was a mistake can be taken back.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import asyncpg

from trialog_schemas.errors import ResourceInUseError, ResourceNotFoundError, UnavailableError
from trialog_server.log.base import Partition
from trialog_server.postgres.migrate import MIGRATION_LOCK, apply_read_model
from trialog_server.postgres.pool import POSTGRES_AWAY
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from trialog_server.postgres.pool import Connection, Pool

Status = Literal["live", "building", "old"]
Purpose = Literal["rebuild", "verify", "snapshot"]

REBUILD_LOCK = MIGRATION_LOCK + 1
"""Key of the advisory lock that only one rebuild of a database holds."""

PATIENT = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
"""Settings of a session that compares whole tables, and whose snapshot waits for a replay."""

LOCK_WAIT = "200ms"
"""How long a switch waits for a question; well below Postgres' deadlock_timeout of one second."""

STALL_MAX = "10s"
"""How long a switch whose process is frozen keeps its locks, and so every question, waiting."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of tables: its number, the schema they are in, what it is and was made for."""

    number: int
    schema_name: str
    status: Status
    purpose: Purpose = "rebuild"
    was_live: bool = False

    def is_unfinished(self, purpose: Purpose) -> bool:
        """Tell whether it is still being filled for this purpose and has never been live."""
        return self.status == "building" and self.purpose == purpose and not self.was_live

    @property
    def is_kept(self) -> bool:
        """Tell whether it was live and was replaced; a way back may have been begun to it."""
        return self.status != "live" and self.was_live

    @property
    def is_useless(self) -> bool:
        """Tell whether a verification died over it, or a later one than it is kept."""
        return self.is_unfinished("verify") or (self.status == "old" and not self.was_live)


async def read_generations(connection: Connection | Pool) -> list[Generation]:
    """Return all generations, the newest first."""
    rows = await connection.fetch(load_query("read_generations"))
    return [Generation(*row) for row in rows]


async def live_generation(connection: Connection | Pool) -> Generation:
    """Return the generation that answers questions; there is exactly one."""
    return next(one for one in await read_generations(connection) if one.status == "live")


async def read_positions(connection: Connection | Pool, generation: int) -> dict[Partition, int]:
    """Return the next offset of each partition of a generation."""
    rows = await connection.fetch(load_query("read_leases"), generation)
    return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


@contextlib.asynccontextmanager
async def rebuilding(dsn: str) -> AsyncIterator[Connection]:
    """Give a session that is the only one to rebuild this database for as long as it lasts.

    What others left behind is forgotten first.

    Raises:
        ResourceInUseError: another one rebuilds it.
        UnavailableError: Postgres went away in the block.
    """
    try:
        connection = await asyncpg.connect(
            dsn, server_settings={"application_name": "trialog rebuild", **PATIENT}
        )
        try:
            if not await connection.fetchval(load_query("take_rebuild_lock"), REBUILD_LOCK):
                raise ResourceInUseError(
                    "another rebuild, verification or release of the log is under way on this "
                    "database; wait for its end",
                    field="rebuild",
                )
            await drop_useless(connection)
            yield connection
        finally:
            await connection.close()
    except POSTGRES_AWAY as exc:
        raise UnavailableError(
            f"postgres went away in the middle ({type(exc).__name__}: {exc}); one whole set of "
            "tables is live; give the command again, a rebuild goes on where it was"
        ) from exc


async def open_generation(connection: Connection, purpose: Purpose, *, is_new: bool) -> Generation:
    """Return the generation to fill, with its tables: the one left unfinished, or a new one.

    Args:
        connection: the session of `rebuilding`.
        purpose: what it is filled for.
        is_new: forget what was left unfinished, and begin at the first record.
    """
    found = await read_generations(connection)
    unfinished = [one for one in found if one.is_unfinished(purpose)]
    for one in found:
        if one.is_kept:  # also where a way back to it was begun: nobody goes that way any more
            await connection.execute(load_query("set_generation_status"), one.number, "old")
    if is_new:
        await drop(connection, unfinished)
        unfinished = []
    if not unfinished:
        await connection.execute(load_query("create_generation"), purpose)
        unfinished = [
            one for one in await read_generations(connection) if one.is_unfinished(purpose)
        ]
    await apply_read_model(connection, unfinished[0].schema_name)
    return unfinished[0]


async def reopen_generation(connection: Connection) -> Generation:
    """Return the generation that was live before, to be brought up to date.

    Raises:
        ResourceNotFoundError: there is none: nothing was rebuilt yet.
    """
    found = await read_generations(connection)
    kept = [one for one in found if one.is_kept]
    if not kept:
        raise ResourceNotFoundError(
            "there is no older generation to go back to; the live one is the only one",
            field="generation",
            value=next(one.number for one in found if one.status == "live"),
        )
    await drop(connection, [one for one in found if one.is_unfinished("rebuild")])
    await connection.execute(load_query("set_generation_status"), kept[0].number, "building")
    await apply_read_model(connection, kept[0].schema_name)
    return kept[0]


async def drop_useless(connection: Connection) -> None:
    """Forget what nobody will ever read; in no verification of one's own."""
    await drop(connection, [one for one in await read_generations(connection) if one.is_useless])


async def drop(connection: Connection, generations: Iterable[Generation]) -> None:
    """Forget generations that nobody reads."""
    for one in generations:
        await connection.execute(load_query("drop_generation"), one.number)


async def seize(connection: Connection, generation: int, owner: str, seconds: float) -> bool:
    """Stop a generation where it stands: no worker moves it before the time is over.

    Returns:
        False when it gave way: a worker that renews several leases at once may have wanted them
        in another order, which Postgres ends as a deadlock.
    """
    try:
        await connection.execute(load_query("seize_leases"), generation, owner, seconds)
    except asyncpg.DeadlockDetectedError:
        return False
    return True


async def give_back(connection: Connection, generation: int, owner: str) -> None:
    """Let the workers go on with a generation that was seized."""
    await connection.execute(load_query("return_leases"), generation, owner)


async def switch(
    connection: Connection,
    live: Generation,
    built: Generation,
    owner: str,
    targets: Mapping[Partition, int],
) -> bool:
    """Have another generation answer questions, in one transaction; keep the replaced one alone.

    Exchanging the views takes a lock on each, and a question may hold some of them and want others:
    the exchange gives way before Postgres would call that a deadlock and fail the question.

    Args:
        connection: the session of `rebuilding`.
        live: the one that answers now; seized.
        built: the one that will.
        owner: who has seized it.
        targets: where the other one must be: where the live one is, or where the log ends.

    Returns:
        False when it is not (any more) where it was stopped, the other one is behind it, or
        questions were in the way; then nothing has changed.
    """
    try:
        async with connection.transaction():
            await connection.execute(load_query("limit_lock_wait"), LOCK_WAIT, STALL_MAX)
            if not await _is_ahead(connection, (live, built), owner, targets):
                return False
            # One is kept. It is dropped later: that takes locks which may be long in coming.
            await connection.execute(load_query("give_up_kept"))
            # One is live at any moment, says an index: the old one must leave first.
            await connection.execute(load_query("set_generation_status"), live.number, "old")
            await connection.execute(load_query("set_generation_status"), built.number, "live")
            await connection.execute(load_query("show_live_generation"))
            # Behind that: whoever looks up records in the views now does so in the new tables.
            await connection.execute(load_query("void_snapshots"))
            await connection.execute(load_query("announce_generation"))
            await give_back(connection, live.number, owner)
    except asyncpg.LockNotAvailableError:
        return False
    return True


async def _is_ahead(
    connection: Connection,
    generations: tuple[Generation, Generation],
    owner: str,
    targets: Mapping[Partition, int],
) -> bool:
    """Tell whether a generation has all of a seized one that its log has.

    Both stand until the transaction ends.
    """
    live, built = generations
    rows = await connection.fetch(load_query("lock_leases"), live.number, built.number)
    ahead = {
        (row["topic"], row["partition"]): row["next_offset"]
        for row in rows
        if row["generation"] == built.number
    }
    return all(
        row["owner"] == owner
        and ahead.get((row["topic"], row["partition"]), 0)
        >= targets.get(Partition(row["topic"], row["partition"]), row["next_offset"])
        for row in rows
        if row["generation"] == live.number
    )


def is_reached(positions: Mapping[Partition, int], targets: Mapping[Partition, int]) -> bool:
    """Tell whether every partition is at its target or beyond."""
    return all(positions.get(partition, 0) >= target for partition, target in targets.items())
