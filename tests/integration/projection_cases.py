"""What tests of the projection share: a migrated database, a running worker, what it left."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.unit.consumer.project_writers import RUN
from trialog_server.log.base import NewRecord, topic_partitions
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.log.memory import MemoryLog
from trialog_server.postgres.migrate import migrate
from trialog_server.postgres.pool import PoolSettings, open_pool
from trialog_server.project.digests import TABLES
from trialog_server.project.settings import ProjectionSettings
from trialog_server.project.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialog_server.log.base import Log
    from trialog_server.postgres.pool import Pool

QUICK = ProjectionSettings(lease_s=1.0, renew_s=0.3, claim_retry_s=0.05, backoff_s_max=0.2)
"""Shorter times than the defaults: the same behaviour, sooner."""

LOGS = ("memory", "embedded")


@asynccontextmanager
async def opened_log(kind: str, pool: Pool) -> AsyncIterator[Log]:
    """Give an empty log of a kind in `LOGS`."""
    log: Log = MemoryLog() if kind == "memory" else await EmbeddedLog.open(pool)
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def projection_pool(url: str) -> AsyncIterator[Pool]:
    """Give a pool on a migrated database, as a worker has it."""
    await migrate(url)
    pool = await open_pool(url, PoolSettings(search_path=QUICK.search_path))
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def running(
    pool: Pool, log: Log, settings: ProjectionSettings = QUICK
) -> AsyncIterator[Worker]:
    """Run a worker for as long as the block lasts."""
    worker, stop = Worker(pool, log, settings), asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


async def wait_applied(pool: Pool, log: Log, timeout_s: float = 20.0) -> None:
    """Wait until every record that is in the log now has been applied."""
    async with asyncio.timeout(timeout_s):
        ends = {
            partition: end
            for partition, (_, end) in (await log.bounds(topic_partitions(log))).items()
        }
        while True:
            rows = await pool.fetch("SELECT topic, partition, next_offset FROM trialog.leases")
            applied = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
            if all(applied.get(partition, 0) >= end for partition, end in ends.items()):
                return
            await asyncio.sleep(0.005)


async def project(pool: Pool, log: Log, settings: ProjectionSettings = QUICK) -> Worker:
    """Run a worker until everything in the log is applied."""
    async with running(pool, log, settings) as worker:
        await wait_applied(pool, log)
    return worker


async def digests(pool: Pool, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return a digest of each read-model table, over all rows in a fixed order."""
    out = {}
    for table in TABLES:
        if table in without:
            continue
        rows = await pool.fetch(f"SELECT t::text AS row FROM {table} AS t ORDER BY t::text")
        text = "\n".join(row["row"] for row in rows)
        out[table] = f"{len(rows)} {hashlib.sha256(text.encode()).hexdigest()}"
    return out


async def series(pool: Pool, name: str, run_id: str = RUN) -> list[tuple[int, int, bytes]]:
    """Return a series in order of arrival; values as bytes, so that NaN equals itself."""
    rows = await pool.fetch(
        "SELECT first_index, points, data FROM metric_chunks "
        "WHERE run_id = $1 AND name = $2 ORDER BY first_index",
        run_id,
        name,
    )
    out: list[tuple[int, int, bytes]] = []
    for row in rows:
        assert row["first_index"] == len(out)
        count = row["points"]
        columns = struct.unpack(f"<{2 * count}q", row["data"][: 16 * count])
        values = [row["data"][16 * count + 8 * at :][:8] for at in range(count)]
        out += zip(columns[:count], columns[count:], values, strict=True)
    return out


async def append_again(log: Log) -> None:
    """Append everything that is in the log once more, as a producer that lost its answers does."""
    for partition in topic_partitions(log):
        _, end = (await log.bounds([partition]))[partition]
        records = await log.read_at(partition, range(end))
        again = [NewRecord(record.partition.topic, record.key, record.value) for record in records]
        if again:
            await log.append(again)


async def count(pool: Pool, table: str) -> int:
    """Return how many rows a table has."""
    counted: int = await pool.fetchval(f"SELECT count(*) FROM {table}")
    return counted
