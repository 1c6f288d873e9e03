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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.table import Line, print_table
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is projected, and from which log; a run of `make bench` takes the log in memory."""

    log: str = "memory"
    runs: int = 16
    batch_bytes: int = ProjectionSettings().batch_bytes_max
    is_profiled: bool = False


async def bench(pool: Pool, log: Log, records: list[NewRecord], load: Load) -> list[Line]:
    """Append everything, then measure the worker and the floor."""
    for start in range(0, len(records), 50):
        await log.append(records[start : start + 50])
    points = POINTS_PER_RECORD * sum(len(record.value) > 1000 for record in records)
    settings = ProjectionSettings(batch_bytes_max=load.batch_bytes)
    profiler = cProfile.Profile()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    if load.is_profiled:
        profiler.enable()
    async with running(pool, log, settings) as worker:
        await wait_applied(pool, log, timeout_s=600)
        took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    profiler.disable()
    if load.is_profiled:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
    telemetry = worker.telemetry
    if telemetry.points != points:
        raise AssertionError(f"{telemetry.points} points applied, {points} were logged")
    floor = points / await copy_seconds(pool, "gen_1") / 1e6
    size = sum(len(record.value) for record in records)
    print(
        f"{len(records)} records, {size / 1e6:.0f} MB, {points / 1e6:.2f} M points in "
        f"{telemetry.batches} batches",
        flush=True,
    )
    return [
        Line(
            what=what,
            unit="M points/s",
            median=points / seconds / 1e6,
            floor=floor,
            floor_is="bare COPY",
        )
        for what, seconds in (
            (f"worker alone, {load.log} log", took_s),
            ("  points per second of its CPU", cpu_s),
        )
    ]


async def copy_seconds(pool: Pool, schema_name: str) -> float:
    """Return the seconds that a bare COPY of the chunks of a schema takes."""
    rows = await pool.fetch(f"SELECT * FROM {schema_name}.metric_chunks")
    chunks = [tuple(row) for row in rows]
    await pool.execute(
        f"CREATE TABLE public.floor (LIKE {schema_name}.metric_chunks INCLUDING ALL)"
    )
    async with pool.acquire() as connection:
        started_s = time.perf_counter()
        for start in range(0, len(chunks), 100):
            await connection.copy_records_to_table(
                "floor", schema_name="public", records=chunks[start : start + 100]
            )
        took_s = time.perf_counter() - started_s
    await pool.execute("DROP TABLE public.floor")
    return took_s


def measure(load: Load) -> list[Line]:
    """Return all lines."""
    return asyncio.run(_measure(load))


async def _measure(load: Load) -> list[Line]:
    """Start PostgreSQL in a folder of its own and run the measurement."""
    records = make_records(load.runs)
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = await asyncio.to_thread(postgres.start)
        try:
            async with projection_pool(url) as pool, opened_log(load.log, pool) as log:
                return await bench(pool, log, records, load)
        finally:
            await asyncio.to_thread(postgres.stop)


def main() -> None:
    """Measure what the arguments say and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = Load()
    parser.add_argument("--log", choices=("memory", "embedded"), default=usual.log)
    parser.add_argument("--runs", type=int, default=usual.runs)
    parser.add_argument("--batch-bytes", type=int, default=usual.batch_bytes)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    chosen = parser.parse_args()
    load = Load(
        log=chosen.log,
        runs=chosen.runs,
        batch_bytes=chosen.batch_bytes,
        is_profiled=chosen.profile,
    )
    print_table(measure(load))


if __name__ == "__main__":
    main()
