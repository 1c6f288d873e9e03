"""Rows of the read model made by hand, for tests of what reads them; nothing of the projection."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import numpy as np

from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.postgres.pool import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialog_server.postgres.pool import Pool

ACCOUNT = "default"
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

RUNS_A_RECORD = 4
"""Runs whose creating events share a record of the log, as those of a program without service."""

_CREATED_BY = {"user": "ada", "host": "lab"}


@dataclass(frozen=True, slots=True)
class Series:
    """A metric's points in order of arrival; step −1 is none."""

    values: Sequence[float]
    steps: Sequence[int] | None = None
    chunk_points: int = 1000


@dataclass(frozen=True, slots=True)
class RunRow:
    """What a run of a test has."""

    name: str = "run"
    minute: int = 0
    status: str | None = "Completed"
    parameters: dict[str, object] = field(default_factory=dict)
    metrics: dict[str, Series] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    tags_set: dict[str, str | None] = field(default_factory=dict)
    parent_run_id: UUID | None = None
    is_deleted: bool = False
    run_id: UUID | None = None
    rejected: int = 0
    last_event_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """What a version of an artifact has beside its bytes; a model has an address."""

    name: str
    version: int = 1
    kind: str = "artifact"
    media_type: str = "text/plain"
    uri: str | None = None


class Rows:
    """Writes rows into the first generation."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._number = self._runs = 0

    async def experiment(self, name: str, *, minute: int = 0, is_deleted: bool = False) -> UUID:
        """Make an experiment, created so many minutes after START."""
        experiment_id = uuid4()
        self._number += 1
        created_at = START + timedelta(minutes=minute)
        await self._pool.execute(
            "INSERT INTO gen_1.experiments (experiment_id, account, number, name, description,"
            " tags, created_at, created_by, modified_at, modified_by, deleted_at, log_offset)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7, $8, $9, 0)",
            experiment_id,
            ACCOUNT,
            self._number,
            name,
            f"about {name}",
            {"team": "red"},
            created_at,
            _CREATED_BY,
            created_at if is_deleted else None,
        )
        return experiment_id

    async def run(self, experiment_id: UUID, row: RunRow) -> UUID:
        """Make a run; without a status it has no row from the events topic yet."""
        run_id = row.run_id or uuid4()
        created_at = START + timedelta(minutes=row.minute)
        self._runs += 1
        await self._pool.execute(
            "INSERT INTO gen_1.runs (run_id, account, experiment_id, name, name_is_unique, tags,"
            " parent_run_id, created_at, created_by, deleted_at, log_offset, seq)"
            " VALUES ($1, $2, $3, $4, false, $5, $6, $7, $8, $9, $10, $11)",
            run_id,
            ACCOUNT,
            experiment_id,
            row.name,
            row.tags,
            row.parent_run_id,
            created_at,
            _CREATED_BY,
            created_at if row.is_deleted else None,
            *divmod(self._runs, RUNS_A_RECORD),
        )
        if row.status is not None:
            await self._state(run_id, row, created_at)
        for name, value in row.parameters.items():
            await self.parameter(run_id, name, value)
        for name, series in row.metrics.items():
            await self.metric(run_id, name, series)
        return run_id

    async def parameter(self, run_id: UUID, name: str, value: object) -> None:
        """Give a run a parameter."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        await self._pool.execute(
            "INSERT INTO gen_1.parameters (run_id, name, value, value_number, value_text, at,"
            " log_offset) VALUES ($1, $2, $3, $4, $5, $6, 0)",
            run_id,
            name,
            json.dumps(value, separators=(",", ":")),
            value if is_number else None,
            value if isinstance(value, str) else None,
            START,
        )

    async def metric(self, run_id: UUID, name: str, series: Series) -> None:
        """Give a run a metric: its chunks and its summary, computed here in plain Python."""
        steps = list(series.steps) if series.steps is not None else list(range(len(series.values)))
        values = list(series.values)
        order = sorted(range(len(steps)), key=lambda i: (steps[i] < 0, steps[i], i))
        numbers = [value for value in values if value == value]  # noqa: PLR0124  NaN is no number
        last = order[-1]
        await self._pool.execute(
            "INSERT INTO gen_1.metric_summaries (run_id, name, points, last, last_step, last_index,"
            " min, max, total, counted, first_at, last_at, log_offset)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, 0)",
            run_id,
            name,
            len(values),
            values[last],
            steps[last],
            last,
            min(numbers, default=None),
            max(numbers, default=None),
            float(sum(numbers)),
            len(numbers),
            START,
        )
        for at in range(0, len(values), series.chunk_points):
            part = slice(at, at + series.chunk_points)
            await self._chunk(run_id, name, at, (steps[part], values[part]))

    async def artifact(
        self, run_id: UUID, name: str, *, version: int = 1, sha256: str = "ab" * 32
    ) -> None:
        """Give a run a version of a text artifact."""
        await self.version(run_id, ArtifactRow(name, version), sha256=sha256)

    async def version(
        self, run_id: UUID, row: ArtifactRow, *, sha256: str = "ab" * 32, size: int = 5
    ) -> None:
        """Give a run a version of any artifact."""
        has_bytes = row.uri is None
        await self._pool.execute(
            "INSERT INTO gen_1.artifacts (run_id, name, version, kind, sha256, size, media_type,"
            " is_output, uri, model, at, log_offset)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, true, $8, null, $9, 0)",
            run_id,
            row.name,
            row.version,
            row.kind,
            bytes.fromhex(sha256) if has_bytes else None,
            size if has_bytes else None,
            row.media_type,
            row.uri,
            START,
        )

    async def gap(self, run_id: UUID, first_seq: int, last_seq: int) -> None:
        """Say that events of a writer of the run never came."""
        await self._pool.execute(
            "INSERT INTO gen_1.gaps (run_id, writer_id, first_seq, last_seq, topic, partition,"
            " log_offset) VALUES ($1, $2, $3, $4, $5, 0, 0)",
            run_id,
            run_id,
            first_seq,
            last_seq,
            EVENTS_TOPIC,
        )

    async def record(
        self, run_id: UUID, writer_id: UUID, log_offset: int, seqs: tuple[int, int]
    ) -> None:
        """Say that a record of a writer stands at an offset, from its first to its last seq."""
        first_seq, last_seq = seqs
        await self._pool.execute(
            "INSERT INTO gen_1.record_index (topic, partition, log_offset, run_id, writer_id,"
            " first_seq, events, types, at) VALUES ($1, 0, $2, $3, $4, $5, $6, '{}', $7)",
            EVENTS_TOPIC,
            log_offset,
            run_id,
            writer_id,
            first_seq,
            last_seq - first_seq + 1,
            START,
        )
        await self._pool.execute(
            "INSERT INTO gen_1.writers (run_id, writer_id, last_seq, log_offset)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT (run_id, writer_id)"
            " DO UPDATE SET last_seq = excluded.last_seq",
            run_id,
            writer_id,
            last_seq,
            log_offset,
        )

    async def sealed(self, records: int) -> None:
        """Say that a checkpoint covers so many records of the first partition of events."""
        await self._pool.execute(
            "INSERT INTO trialog.seals (topic, partition, records, chain, made_at)"
            " VALUES ($1, 0, $2, '', $3)",
            EVENTS_TOPIC,
            records,
            START,
        )

    async def dead(self, log_offset: int, reason: str) -> None:
        """List a record of the events topic as one that cannot be read."""
        await self._pool.execute(
            "INSERT INTO gen_1.dead VALUES ($1, 0, $2, $3, $4)",
            EVENTS_TOPIC,
            log_offset,
            reason,
            START,
        )

    async def rejection(self, run_id: UUID, seq: int, *, writer_id: UUID, item: int = 0) -> None:
        """Give a run a refusal at log offset seq."""
        await self._pool.execute(
            "INSERT INTO gen_1.rejections (run_id, writer_id, seq, item, code, message, name,"
            " value, facts, at, topic, partition, log_offset)"
            " VALUES ($1, $2, $3, $4, 'param_immutable', 'no', 'lr', '0.2', $5, $6, $7, 0, $3)",
            run_id,
            writer_id,
            seq,
            item,
            {"kept": "0.1"},
            START,
            EVENTS_TOPIC,
        )

    async def applied(self, topic: str, partition: int, next_offset: int) -> None:
        """Say how far the live generation is in a partition, and announce it."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO trialog.leases (generation, topic, partition, next_offset)"
                " VALUES (1, $1, $2, $3) ON CONFLICT (generation, topic, partition)"
                " DO UPDATE SET next_offset = excluded.next_offset",
                topic,
                partition,
                next_offset,
            )
            await connection.execute("SELECT pg_notify('trialog_applied', $1)", f"{topic}")

    async def _state(self, run_id: UUID, row: RunRow, created_at: datetime) -> None:
        ended_at = None if row.status == "InProgress" else created_at + timedelta(seconds=30)
        points = sum(len(series.values) for series in row.metrics.values())
        await self._pool.execute(
            "INSERT INTO gen_1.run_states (run_id, account, status, started_at, ended_at, tags,"
            " points, rejected, last_event_at, partition, log_offset)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0)",
            run_id,
            ACCOUNT,
            row.status,
            created_at + timedelta(seconds=1),
            ended_at,
            row.tags_set,
            points,
            row.rejected,
            row.last_event_at,
        )

    async def _chunk(
        self, run_id: UUID, name: str, first_index: int, columns: tuple[list[int], list[float]]
    ) -> None:
        steps, values = columns
        at_us = int(START.timestamp()) * 1_000_000
        times = np.arange(first_index, first_index + len(steps), dtype="<i8") + at_us
        data = (
            np.asarray(steps, "<i8").tobytes()
            + times.tobytes()
            + np.asarray(values, "<f8").tobytes()
        )
        await self._pool.execute(
            "INSERT INTO gen_1.metric_chunks (run_id, name, first_index, points, step_min,"
            " step_max, offsets, counts, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            run_id,
            name,
            first_index,
            len(steps),
            min(steps),
            max(steps),
            [0],
            [len(steps)],
            data,
        )


@asynccontextmanager
async def open_rows(postgres_url: str) -> AsyncIterator[tuple[Pool, Rows]]:
    """Give a pool on a migrated database without data, and the writer of rows."""
    pool = await open_pool(postgres_url)
    try:
        yield pool, Rows(pool)
    finally:
        await pool.close()
