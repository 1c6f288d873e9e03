"""The real side of the projection's machine: senders, workers, and the tables in Postgres.

Workers are the projection's own leases and transactions, taken step by step, so that a test decides
which of them is killed, replaced or late.
"""

from __future__ import annotations

import json
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from tests.integration.partition_model import (
    UNSTORABLE,
    Dreamed,
    RunRows,
    Summary,
    Tables,
)
from tests.integration.projection_cases import projection_pool
from tests.unit.schemas.receiver import body_of
from tests.unit.schemas.run_model import Outcome, kind_of
from trialog_schemas.events import NIL_ID
from trialog_schemas.wire import (
    EVENTS_TOPIC,
    RecordHeader,
    encode_event,
    encode_raw_event,
    event_id_for,
    first_hash,
    next_hash,
    pack_record,
)
from trialog_server.log.base import LogRecord, Partition
from trialog_server.project.digests import TABLES
from trialog_server.project.lease import Leases
from trialog_server.project.partition import PartitionProjection
from trialog_server.project.settings import ProjectionSettings
from trialog_server.project.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from asyncpg import Record

    from tests.integration.partition_model import Call
    from trialog_server.postgres.pool import Pool

PLACE = Partition(EVENTS_TOPIC, 0)
"""The only partition: all runs are neighbours in it."""

SETTINGS = ProjectionSettings(lease_s=600.0, renew_s=200.0, merge_chunks_min=2)
"""No lease ends by itself; two small chunks are worth a merge."""

PARTITION_STRIDE = 1_000_000_000_000
"""Offsets of dead and parked records are told with their partition times this."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MADE_ONCE = f"""
ALTER TABLE parameters ADD CHECK (name <> '{UNSTORABLE}');
CREATE TABLE public.crashing (number int);
CREATE FUNCTION public.crash() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.crashing) THEN
        RAISE 'crash before the commit';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER crash AFTER INSERT OR UPDATE ON writers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.crash();
CREATE CONSTRAINT TRIGGER crash AFTER INSERT ON dead
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.crash();
"""
"""A value that no rule refuses, and transactions that break in the moment of their commit."""

_EMPTIED = ";".join(
    f"DELETE FROM {table}"
    for table in (*TABLES, "trialog.leases", "trialog.workers", "public.crashing")
)


def run_id_of(run: int) -> str:
    """Return the id of a run."""
    return f"{0x0190 + run:04x}{'ab' * 14}"


def writer_id_of(run: int, writer: int) -> str:
    """Return the id of a run's writer."""
    return f"0190{run:014x}{writer:014x}"


@dataclass
class Sender:
    """A writer's process: what it logged as bytes, to be sent in any cut, as often as needed."""

    run: int
    writer: int
    events: list[bytes] = field(default_factory=list)
    chain: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_id = run_id_of(self.run)
        self.writer_id = writer_id_of(self.run, self.writer)
        self.chain.append(first_hash("default", "ada@forge", self.run_id, self.writer_id))

    def log(self, call: Call) -> None:
        """Take down one event."""
        event_id = event_id_for(self.writer_id, call.seq, call.at_us)
        if isinstance(call.said, Dreamed):
            head = (
                f'{{"seq":{call.seq},"id":"{event_id}","type":"run_dreamed","v":1,'
                f'"at":{call.at_us},"body":'
            )
            event = encode_raw_event(head, b"{}")
        else:
            event = encode_event(call.seq, event_id, call.at_us, body_of(call.said))
        self.events.append(event)
        self.chain.append(next_hash(self.chain[-1], event))

    def record(self, start: int, stop: int) -> bytes:
        """Return the record of the events from one index to another."""
        header = RecordHeader(
            "default",
            "ada@forge",
            self.run_id,
            self.writer_id,
            start + 1,
            stop - start,
            self.chain[start],
        )
        return pack_record(header, self.events[start:stop])


def chain_after(records: Sequence[LogRecord]) -> bytes:
    """Work out the chain of a partition after all its records."""
    chain = b""
    for record in records:
        chain = blake2b(chain + record.value, digest_size=32).digest()
    return chain


@dataclass
class Hand:
    """One worker of the partition, for as long as it believes in its claim."""

    leases: Leases
    projection: PartitionProjection

    @property
    def next_offset(self) -> int:
        """Where it thinks that reading resumes."""
        return self.projection.claim.next_offset


@dataclass(frozen=True)
class Parts:
    """What a worker is made of; a canary swaps one."""

    leases: type[Leases] = Leases
    projection: type[PartitionProjection] = PartitionProjection


class Bench:
    """A migrated database that is emptied for each walk."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def empty(self) -> None:
        """Start from nothing."""
        await self.pool.execute(_EMPTIED)

    async def claim(self, parts: Parts) -> Hand:
        """Start a worker that claims the partition, which must be free."""
        leases = parts.leases(self.pool, SETTINGS, [PLACE])
        await leases.declare()
        await leases.tend()
        claim = leases.claims[PLACE]
        return Hand(leases, parts.projection(claim, leases, self.pool, SETTINGS, Telemetry()))

    async def end_lease(self, hand: Hand) -> None:
        """Let the worker's time be over, as when it was stopped for too long."""
        past = "SET until = clock_timestamp() - interval '1 second' WHERE owner = $1"
        await self.pool.execute(f"UPDATE trialog.leases {past}", hand.leases.owner)
        await self.pool.execute(f"UPDATE trialog.workers {past}", hand.leases.owner)

    @asynccontextmanager
    async def crashing(self) -> AsyncIterator[None]:
        """Let every transaction that wants to commit rows break in that moment."""
        await self.pool.execute("INSERT INTO public.crashing VALUES (1)")
        try:
            yield
        finally:
            await self.pool.execute("DELETE FROM public.crashing")

    async def position(self) -> tuple[int, bytes]:
        """Return how far the partition is, and its chain."""
        row = await self.pool.fetchrow("SELECT next_offset, chain FROM trialog.leases")
        assert row is not None
        return row["next_offset"], row["chain"] or b""

    async def tables(self) -> Tables:
        """Return what the tables hold, in the model's words."""
        row = await self.pool.fetchrow(EVERYTHING)
        assert row is not None
        return tables_in(row, Naming(_run_of, _writer_of, lambda sha256: sha256.hex()[0]))


@dataclass(frozen=True)
class Naming:
    """What the model calls things: runs and writers have numbers, contents a word."""

    run_of: Callable[[UUID], int]
    writer_of: Callable[[UUID], int]
    content_of: Callable[[bytes], str]


def tables_in(row: Record, naming: Naming) -> Tables:
    """Return the one row of `EVERYTHING` in the model's words."""
    tables, run_of, writer_of = Tables(), naming.run_of, naming.writer_of
    for run_id, *state in row["states"]:
        tables.runs[run_of(run_id)] = _run_rows(state)
    for run_id, name, value in row["parameters"]:
        kind = kind_of(json.loads(value))
        tables.runs[run_of(run_id)].outcome.parameters[name] = kind
    for run_id, name, *summary in row["summaries"]:
        tables.runs[run_of(run_id)].summaries[name] = Summary(*summary)
    for run_id, name, first_index, points, data in row["chunks"]:
        series = tables.runs[run_of(run_id)].series.setdefault(name, [])
        assert first_index == len(series)
        series += _points(points, data)
    for run_id, name, version, sha256 in row["artifacts"]:
        contents = tables.runs[run_of(run_id)].outcome.artifacts.setdefault(name, [])
        contents.append(naming.content_of(sha256))
        assert version == len(contents)
    for run_id, writer_id, seq, code in row["rejections"]:
        refusal = (writer_of(writer_id), seq, code)
        tables.runs[run_of(run_id)].outcome.refusals.append(refusal)
    tables.writers = {(run_of(a), writer_of(b)): seq for a, b, seq in row["writers"]}
    tables.gaps = {(run_of(a), writer_of(b), *rest) for a, b, *rest in row["gaps"]}
    tables.index = {(o, run_of(a), writer_of(b), s, n) for o, a, b, s, n in row["index"]}
    tables.dead, tables.parked = set(row["dead"]), set(row["parked"])
    return tables


@asynccontextmanager
async def open_bench(url: str) -> AsyncIterator[Bench]:
    """Give a bench on an empty database."""
    async with projection_pool(url) as pool:
        await pool.execute(_MADE_ONCE)
        yield Bench(pool)


def _run_of(run_id: UUID) -> int:
    return int(run_id.hex[:4], 16) - 0x0190


def _writer_of(writer_id: UUID) -> int:
    return int(writer_id.hex[-14:], 16)


def _us(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // timedelta(microseconds=1)


def _run_rows(state: list[object]) -> RunRows:
    status, message, started_at, ended_at, tags, rejected, log_offset = state
    outcome = Outcome(
        status=status,  # type: ignore[arg-type]  # the columns have the types
        message=message,  # type: ignore[arg-type]
        started_at_us=_us(started_at),  # type: ignore[arg-type]
        ended_at_us=_us(ended_at),  # type: ignore[arg-type]
        tags=tags,  # type: ignore[arg-type]
    )
    return RunRows(outcome, {}, {}, rejected, log_offset)  # type: ignore[arg-type]


def _points(count: int, data: bytes) -> list[tuple[int, float]]:
    steps = struct.unpack_from(f"<{count}q", data)
    return list(zip(steps, struct.unpack_from(f"<{count}d", data, 16 * count), strict=True))


EVERYTHING = f"""
SELECT
    ARRAY(
        SELECT ROW (run_id, status, failure_message, started_at, ended_at, tags, rejected,
                    log_offset)
        FROM run_states
    ) AS states,
    ARRAY(SELECT ROW (run_id, name, value) FROM parameters) AS parameters,
    ARRAY(
        SELECT ROW (run_id, name, points, last, last_step, min, max) FROM metric_summaries
    ) AS summaries,
    ARRAY(
        SELECT ROW (run_id, name, first_index, points, data) FROM metric_chunks
        ORDER BY run_id, name, first_index
    ) AS chunks,
    ARRAY(
        SELECT ROW (run_id, name, version, sha256) FROM artifacts ORDER BY run_id, name, version
    ) AS artifacts,
    ARRAY(
        SELECT ROW (run_id, writer_id, seq, code) FROM rejections WHERE topic = '{EVENTS_TOPIC}'
        ORDER BY run_id, log_offset, seq, item
    ) AS rejections,
    ARRAY(
        SELECT ROW (run_id, writer_id, last_seq) FROM writers WHERE run_id <> '{NIL_ID}'
    ) AS writers,
    ARRAY(
        SELECT ROW (run_id, writer_id, first_seq, last_seq, log_offset) FROM gaps
        WHERE topic = '{EVENTS_TOPIC}'
    ) AS gaps,
    ARRAY(
        SELECT ROW (log_offset, run_id, writer_id, first_seq, events) FROM record_index
        WHERE topic = '{EVENTS_TOPIC}'
    ) AS index,
    ARRAY(
        SELECT partition * {PARTITION_STRIDE} + log_offset FROM dead WHERE topic = '{EVENTS_TOPIC}'
    ) AS dead,
    ARRAY(
        SELECT partition * {PARTITION_STRIDE} + log_offset FROM parked
        WHERE topic = '{EVENTS_TOPIC}'
    ) AS parked
"""
"""All that the tables hold of the events topic, as one row."""
