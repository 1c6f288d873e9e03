"""Points per second of one projection worker, from records in a log to rows in PostgreSQL.

    python -m tests.bench.bench_projection [--log memory|embedded] [--runs 16]
        [--batch-bytes N] [--profile]

The records are made beforehand, in the log: about 50 KB each, 260 calls of `log_metrics` with 20
metrics, four runs at a time. The floor of the same run is a bare COPY of the same chunk bytes into
a table like `metric_chunks`, in one transaction, with nothing decoded, judged or summed.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import random
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.projection_cases import opened_log, projection_pool, running, wait_applied
from tests.unit.consumer.project_writers import AT_US, Writer
from trialog_schemas.events import MetricsLogged, RunStarted, WideBlock
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.project.settings import ProjectionSettings

if TYPE_CHECKING:
    from trialog_server.log.base import Log, NewRecord
    from trialog_server.postgres.pool import Pool

METRICS = 20
CALLS_PER_RECORD = 260
RECORDS_PER_RUN = 96
RUNS_AT_ONCE = 4
POINTS_PER_RECORD = METRICS * CALLS_PER_RECORD
NAMES = tuple(f"train/metric_{number:02d}" for number in range(METRICS))


def make_records(runs: int) -> list[NewRecord]:
    """Make all records: runs interleaved by fours, values like noisy training curves."""
    dice = random.Random(7)
    records: list[NewRecord] = []
    for first in range(0, runs, RUNS_AT_ONCE):
        group = [
            Writer(f"0190{number:028x}", f"0191{number:028x}")
            for number in range(first, min(first + RUNS_AT_ONCE, runs))
        ]
        records += [writer.record(RunStarted("bench", writer.run_id)) for writer in group]
        for turn in range(RECORDS_PER_RUN):
            records += [writer.record(_metrics(dice, turn)) for writer in group]
    return records


def _metrics(dice: random.Random, turn: int) -> MetricsLogged:
    start = turn * CALLS_PER_RECORD
    steps = range(start, start + CALLS_PER_RECORD)
    times = (AT_US + step * 10_000 + dice.randint(0, 900) for step in steps)
    values = (dice.gauss(1.0, 0.1) for _ in range(POINTS_PER_RECORD))
    block = WideBlock(
        NAMES,
        CALLS_PER_RECORD,
        struct.pack(f"<{CALLS_PER_RECORD}q", *steps),
        struct.pack(f"<{CALLS_PER_RECORD}q", *times),
        struct.pack(f"<{POINTS_PER_RECORD}d", *values),
    )
    return MetricsLogged((block,))


async def bench(pool: Pool, log: Log, records: list[NewRecord], chosen: argparse.Namespace) -> None:
    """Append everything, then measure the worker and the floor."""
    for start in range(0, len(records), 50):
        await log.append(records[start : start + 50])
    points = POINTS_PER_RECORD * sum(len(record.value) > 1000 for record in records)
    settings = ProjectionSettings(batch_bytes_max=chosen.batch_bytes)
    profiler = cProfile.Profile()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    if chosen.profile:
        profiler.enable()
    async with running(pool, log, settings) as worker:
        await wait_applied(pool, log, timeout_s=600)
        took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    profiler.disable()
    if chosen.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
    telemetry = worker.telemetry
    if telemetry.points != points:
        raise AssertionError(f"{telemetry.points} points applied, {points} were logged")
    floor_s = await _floor(pool)
    size = sum(len(record.value) for record in records)
    print(f"records      {len(records)}, {size / 1e6:.0f} MB, {points / 1e6:.2f} M points")
    print(f"worker       {points / took_s / 1e6:.2f} M points/s  ({took_s:.2f} s)")
    print(f"  its cpu    {points / cpu_s / 1e6:.2f} M points/s  ({cpu_s:.2f} s)")
    print(f"  batches    {telemetry.batches}, {points // telemetry.batches} points each")
    print(f"bare COPY    {points / floor_s / 1e6:.2f} M points/s  ({floor_s:.2f} s)")


async def _floor(pool: Pool) -> float:
    """Return the seconds that a bare COPY of the same chunks takes."""
    rows = await pool.fetch("SELECT * FROM metric_chunks")
    chunks = [tuple(row) for row in rows]
    await pool.execute("CREATE TABLE floor (LIKE metric_chunks INCLUDING ALL)")
    async with pool.acquire() as connection:
        started_s = time.perf_counter()
        for start in range(0, len(chunks), 100):
            await connection.copy_records_to_table("floor", records=chunks[start : start + 100])
        return time.perf_counter() - started_s


async def main() -> None:
    """Start PostgreSQL in a folder of its own and run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", choices=("memory", "embedded"), default="memory")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--batch-bytes", type=int, default=ProjectionSettings().batch_bytes_max)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    chosen = parser.parse_args()
    records = make_records(chosen.runs)
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = await asyncio.to_thread(postgres.start)
        try:
            async with projection_pool(url) as pool, opened_log(chosen.log, pool) as log:
                await bench(pool, log, records, chosen)
        finally:
            await asyncio.to_thread(postgres.stop)


if __name__ == "__main__":
    asyncio.run(main())
