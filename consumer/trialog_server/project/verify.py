"""Verifies that the live tables are what the log says: replays it beside them and compares.

The live tables are looked at in one snapshot, positions included; the log is replayed into a
generation of its own up to exactly those positions. Then every table is compared line by line, and
the chain over each partition with the one that was computed when its records were applied. The
service works on meanwhile.

What is found and how it is located
-----------------------------------
* A row that was edited, removed or added: the line is on one side only; `findings` has it.
* A record of the log that was edited, removed, added or swapped: the partition's chain differs. The
  chain of its writer breaks at the next record, which the replay lists in table `gaps` with its
  offset; of a writer's last record the line in `writers` differs.
* Events that an older release listed as unknown and this one reads: they are applied in the replay
  alone. `unapplied` names them; a rebuild applies them, and nobody has edited anything.
* A log that lost its end, whether or not others' records took the places: `loss` has from which
  offset on, and which events the tables hold that are nowhere in the log. While the log is shorter
  than what was applied no rows are compared: all that follows from the lost records would differ.

An edit that was made to log, tables and chains alike is not found here: that takes a chain value
that was kept elsewhere, see `checkpoint.py`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg

from trialog_server.log.base import Partition
from trialog_server.postgres.queries import load_query
from trialog_server.project.digests import TABLES, TableDigest, table_digest, table_lines
from trialog_server.project.generations import (
    PATIENT,
    drop,
    live_generation,
    open_generation,
    rebuilding,
)
from trialog_server.project.log_until import LogUntil
from trialog_server.project.lost_tails import Loss, find_loss
from trialog_server.project.rebuild import log_ends, pass_positions, projecting
from trialog_server.project.unapplied import unapplied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from typing import Literal

    from trialog_server.log.base import Log
    from trialog_server.postgres.pool import Connection
    from trialog_server.project.generations import Generation

    Side = Literal["live", "replay"]

FINDINGS_MAX = 20
"""Lines of one table that are kept; the count goes on."""

LINE_CHARS_MAX = 300


@dataclass(slots=True)
class TableCheck:
    """One table: its digests, and what stands on one side only."""

    table: str
    live: TableDigest
    replay: TableDigest
    findings: list[tuple[Side, str]] = field(default_factory=list)
    findings_count: int = 0

    @property
    def is_equal(self) -> bool:
        """Tell whether live and replayed tables hold the same."""
        return self.live == self.replay


@dataclass(frozen=True, slots=True)
class PartitionCheck:
    """One partition: how many records were replayed, and whether their chain is the applied one."""

    partition: Partition
    records: int
    live_chain: str
    replay_chain: str

    @property
    def is_equal(self) -> bool:
        """Tell whether the log holds what was applied."""
        return self.live_chain == self.replay_chain


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found."""

    tables: list[TableCheck]
    partitions: list[PartitionCheck]
    unapplied: dict[str, int] = field(default_factory=dict)
    loss: Loss = field(default_factory=Loss)

    @property
    def is_outdated(self) -> bool:
        """Tell whether the log is what was applied, by a release that could not read all of it."""
        return bool(self.unapplied) and all(one.is_equal for one in self.partitions)

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found."""
        return all(one.is_equal for one in self.tables) and all(
            one.is_equal for one in self.partitions
        )


async def verify(dsn: str, log: Log, on_progress: Callable[[int, int], None]) -> Verification:
    """Replay the log and compare it with the live tables.

    Args:
        dsn: a migrated database.
        log: where the records are.
        on_progress: told from time to time how many records were replayed, of how many.

    Raises:
        ResourceInUseError: a rebuild or another verification is under way.
        UnavailableError: the log has lost records before its end.
    """
    async with rebuilding(dsn) as connection, _snapshot(dsn) as looking:
        live = await live_generation(looking)
        applied = await _leases(looking, live)
        await looking.execute(load_query("set_search_path"), live.schema_name)
        left = await unapplied(looking)
        bounds = await log_ends(log)
        positions = {partition: position for partition, (position, _) in applied.items()}
        ends = {one: min(position, bounds.get(one, 0)) for one, position in positions.items()}
        replay = await open_generation(connection, "verify", is_new=True)
        try:
            await _replay(dsn, LogUntil(log, ends), (connection, replay), ends, on_progress)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                replayed = await _leases(connection, replay)
                tables = [
                    await _check_table(table, (looking, live), (connection, replay))
                    for table in (TABLES if ends == positions else ())
                ]
            other = {one: positions[one] for one in applied if replayed.get(one) != applied[one]}
            if other:
                # What was sent again may stand anywhere behind, up to the log's end.
                await _replay(dsn, LogUntil(log, bounds), (connection, replay), bounds, on_progress)
            loss = await find_loss(connection, live, replay, other, bounds)
        finally:
            await drop(connection, [replay])
    partitions = [
        PartitionCheck(one, position, chain, replayed.get(one, (0, ""))[1])
        for one, (position, chain) in sorted(applied.items())
    ]
    return Verification(tables, partitions, left, loss)


async def _replay(
    dsn: str,
    log: LogUntil,
    into: tuple[Connection, Generation],
    ends: Mapping[Partition, int],
    on_progress: Callable[[int, int], None],
) -> None:
    """Apply a log up to its ends."""
    async with projecting(dsn, log, into[1]) as worker:
        await pass_positions(into[0], worker, into[1], ends, on_progress)


async def live_chains(dsn: str) -> dict[Partition, tuple[int, str]]:
    """Return of each partition how many records are applied, and their chain as hex digits."""
    async with _snapshot(dsn) as looking:
        return await _leases(looking, await live_generation(looking))


@contextlib.asynccontextmanager
async def _snapshot(dsn: str) -> AsyncIterator[Connection]:
    """Give a session that sees the database as it is now, however long it looks."""
    connection = await asyncpg.connect(
        dsn, server_settings={"application_name": "trialog verify", **PATIENT}
    )
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close()


async def _leases(
    connection: Connection, generation: Generation
) -> dict[Partition, tuple[int, str]]:
    rows = await connection.fetch(load_query("read_leases"), generation.number)
    return {
        Partition(row["topic"], row["partition"]): (row["next_offset"], row["chain"].hex())
        for row in rows
    }


async def _check_table(
    table: str, live: tuple[Connection, Generation], replay: tuple[Connection, Generation]
) -> TableCheck:
    check = TableCheck(
        table,
        await table_digest(live[0], live[1].schema_name, table),
        await table_digest(replay[0], replay[1].schema_name, table),
    )
    if not check.is_equal:
        lines = (table_lines(side[0], side[1].schema_name, table) for side in (live, replay))
        async for finding in differences(*lines):
            check.findings_count += 1
            if len(check.findings) < FINDINGS_MAX:
                check.findings.append((finding[0], finding[1][:LINE_CHARS_MAX]))
    return check


async def differences(
    live: AsyncIterator[str], replay: AsyncIterator[str]
) -> AsyncIterator[tuple[Side, str]]:
    """Yield the lines that are on one side only; both sides come in the order of their bytes."""
    mine, other = await _next(live), await _next(replay)
    while mine is not None or other is not None:
        if mine == other:
            mine, other = await _next(live), await _next(replay)
        elif other is None or (mine is not None and mine.encode() < other.encode()):
            yield "live", mine or ""
            mine = await _next(live)
        else:
            yield "replay", other
            other = await _next(replay)


async def _next(lines: AsyncIterator[str]) -> str | None:
    return await anext(lines, None)
