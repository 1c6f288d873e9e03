"""How a snapshot begins: with a copy of an older one, where that leaves less of the log to read.

Every state that the fold goes on from is in the tables, so that a copy is gone on with as a worker
goes on after a restart. What an older snapshot has of the catalog is right for every later moment.
What it has of a run is right if it is the beginning of the run's records up to the moment; of other
runs nothing is copied, and they are read from their start. So it does not matter which runs or
which moment the older one was made for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.postgres.migrate import read_migrations
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from trialog_server.log.moments import Moment
    from trialog_server.postgres.pool import Connection

COPY_S_MAX = 600.0
"""How long a copy may take; the rows of 1,000 runs take a tenth of a second."""


@dataclass(frozen=True, slots=True)
class RunRecords:
    """Where records of a run are: offsets of one partition of events, ascending."""

    run_id: UUID
    partition: int
    offsets: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Older:
    """An older snapshot: its number, where its catalog ends, of which runs it has how much."""

    generation: int
    catalog_end: int
    counts: Mapping[UUID, int]

    @property
    def records(self) -> int:
        """How many records need not be read where this is copied."""
        return self.catalog_end + sum(self.counts.values())


async def copy_nearest(
    connection: Connection, generation: int, moment: Moment, wanted: Sequence[RunRecords]
) -> Sequence[RunRecords]:
    """Copy into an empty snapshot what an older one has of it; return the records that are left.

    Rows and position come in one transaction, which also keeps the older one from being dropped.

    Args:
        connection: of the live tables.
        generation: the new snapshot, whose tables are there.
        moment: what the new one is made for.
        wanted: all records of its runs.
    """
    async with connection.transaction():
        older = await _find_older(connection, moment, wanted)
        if not older:
            return wanted
        nearest = max(older, key=lambda one: one.records)
        await connection.execute(load_query("wait_patiently"))
        await connection.execute(
            load_query("copy_generation"),
            nearest.generation,
            generation,
            CATALOG_TOPIC,
            list(nearest.counts),
            timeout=COPY_S_MAX,
        )
    return [
        replace(run, offsets=run.offsets[nearest.counts.get(run.run_id, 0) :]) for run in wanted
    ]


async def _find_older(
    connection: Connection, moment: Moment, wanted: Sequence[RunRecords]
) -> list[_Older]:
    catalog_end = sum(end for place, end in moment.ends.items() if place.topic == CATALOG_TOPIC)
    rows = await connection.fetch(
        load_query("older_snapshots"), tables_version(), CATALOG_TOPIC, catalog_end
    )
    older, run_ids = [], [run.run_id for run in wanted]
    for row in rows:
        await connection.execute(load_query("set_search_path"), row["schema_name"])
        records = await connection.fetch(load_query("held_records"), EVENTS_TOPIC, run_ids)
        held = {run_id: (count, newest) for run_id, count, newest in records}
        older.append(_Older(row["generation"], row["next_offset"], begun(wanted, held)))
    return older


def begun(wanted: Sequence[RunRecords], held: Mapping[UUID, tuple[int, int]]) -> dict[UUID, int]:
    """Return of how many runs the first so many of the wanted records are there, and no others.

    Args:
        wanted: all records of the runs.
        held: of each run how many of its records are there, and the newest of them.
    """
    counts = {}
    for run in wanted:
        count, newest = held.get(run.run_id, (0, -1))
        if 0 < count <= len(run.offsets) and run.offsets[count - 1] == newest:
            counts[run.run_id] = count
    return counts


@cache
def tables_version() -> str:
    """Return the name of the last migration of the read model."""
    return read_migrations("read_model", "")[-1].name
