"""How far events are: applied, missing, refused, sealed; of single writers and of a whole run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.read.ask import ask
from trialog_server.read.list_runs import run_not_found

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from trialog_server.postgres.pool import Pool

HOLES_MAX = 100
"""Holes of one writer, and gaps of one run, that an answer names; their events are all counted."""

WRITERS_MAX = 1000
"""Writers of a run that an answer names."""


@dataclass(frozen=True, slots=True)
class WriterProgress:
    """How far one writer is in the tables.

    Args:
        run_id, writer_id: whose events these are.
        last_seq: of its newest event, 0 before the first.
        missing: first and last seq of the first holes before that.
        missing_count: events of all holes.
        is_parked: the run is quarantined: later events are kept and not applied.
        is_known: the run was created, or deleted since.
        rejected: refusals of its events by code.
    """

    run_id: str
    writer_id: str
    last_seq: int
    missing: tuple[tuple[int, int], ...]
    missing_count: int
    is_parked: bool
    is_known: bool
    rejected: dict[str, int]


@dataclass(frozen=True, slots=True)
class LogProgress:
    """How far a partition is: before which offset it is applied, and before which it is sealed."""

    partition: Partition
    applied: int
    sealed: int
    sealed_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunWriterView:
    """A writer of a run: its events in the tables, and how many of them are sealed."""

    writer_id: str
    applied: int
    sealed: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class GapView:
    """Events of a writer that never came; none of them when its chain is broken there."""

    writer_id: str
    first_seq: int
    last_seq: int
    topic: str
    partition: int
    log_offset: int

    @property
    def events(self) -> int:
        """How many are missing."""
        return self.last_seq - self.first_seq + 1


@dataclass(frozen=True, slots=True)
class RunDurability:
    """What has become of a run's events.

    Args:
        partition: where they are in the log; None before the first.
        points: accepted points of its metrics.
        rejected: refusals by code.
        missing_count: events that never came.
        writers, gaps: the first of them.
    """

    partition: Partition | None
    points: int
    rejected: dict[str, int]
    missing_count: int
    writers: tuple[RunWriterView, ...]
    gaps: tuple[GapView, ...]


async def writer_progress(
    pool: Pool, account: str, writers: Sequence[tuple[str, str]]
) -> list[WriterProgress]:
    """Return how far writers are, each given as run and writer; one never heard of is at 0."""
    columns = [run_id for run_id, _ in writers], [writer_id for _, writer_id in writers]
    rows = await ask(pool, "writer_progress", account, *columns, HOLES_MAX)
    return [
        WriterProgress(
            row["run_id"].hex,
            row["writer_id"].hex,
            row["last_seq"],
            tuple((first, last) for first, last in row["missing"]),
            row["missing_count"],
            row["is_parked"],
            row["is_known"],
            row["rejected"] or {},
        )
        for row in rows
    ]


async def log_progress(pool: Pool, partitions: Collection[Partition]) -> list[LogProgress]:
    """Return how far partitions are applied and sealed."""
    columns = [one.topic for one in partitions], [one.number for one in partitions]
    rows = await ask(pool, "log_progress", *columns)
    return [
        LogProgress(
            Partition(row["topic"], row["partition"]),
            row["applied"],
            row["sealed"],
            row["sealed_at"],
        )
        for row in rows
    ]


async def run_durability(pool: Pool, account: str, run_id: UUID) -> RunDurability:
    """Return what has become of a run's events, deleted or not.

    Raises:
        ResourceNotFoundError: there never was such a run.
    """
    rows = await ask(pool, "run_durability", account, run_id)
    if not rows:
        raise run_not_found(run_id)
    writers = await ask(pool, "run_writers", run_id, EVENTS_TOPIC, WRITERS_MAX)
    gaps = await ask(pool, "run_gaps", run_id, HOLES_MAX)
    run = rows[0]
    return RunDurability(
        None if run["partition"] is None else Partition(EVENTS_TOPIC, run["partition"]),
        run["points"],
        run["rejected"] or {},
        run["missing_count"],
        tuple(
            RunWriterView(row["writer_id"].hex, row["applied"], row["sealed"], row["last_at"])
            for row in writers
        ),
        tuple(GapView(row["writer_id"].hex, *list(row)[1:]) for row in gaps),
    )
