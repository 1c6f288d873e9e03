"""Points per second of `trialog rebuild`: from a log in its store to tables that are live.

    python -m tests.bench.bench_rebuild [--log embedded] [--log kafka] [--rounds 3] [--runs 16]
        [--small-runs 2000] [--profile]

The log holds what four trainers logged at a time, 20 metrics a call, in records of about 50 KB, and
a catalog of many runs more, each with ten parameters, a point of 20 metrics, and an end. The clock
runs for the whole of a rebuild: a generation of tables, one worker, the switch. Nothing else uses
the database meanwhile, and the live tables, which it takes the place of, are empty in the first
round and full in the next ones.

The floor is a bare read of the same log, nothing decoded, and then a bare COPY of the same chunks
into a table like `metric_chunks`, in one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import pstats
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.bench_projection import NAMES, POINTS_PER_RECORD, copy_seconds, make_records
from tests.bench.table import Line, median_of, print_table
from tests.integration.projection_cases import projection_pool
from tests.services.kafka import open_broker
from tests.unit.consumer.project_writers import Writer, catalog_writer, metrics, run_created
from trialog_schemas.events import ParametersLogged, RunEnded, RunStarted
from trialog_server.log.base import topic_partitions
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.log.kafka import KafkaLog
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.project.generations import live_generation
from trialog_server.project.rebuild import rebuild

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trialog_server.log.base import Log, NewRecord
    from trialog_server.postgres.pool import Pool

LOGS = ("embedded", "kafka")
POINTS_PER_S_MIN = 500_000

_APPENDED_AT_ONCE = 50
_READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is rebuilt, and how often: a run of the first kind has half a million points."""

    rounds: int = 3
    runs: int = 16
    small_runs: int = 2000
    is_profiled: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one rebuild, of this process' CPU in it, and of the floor's two parts."""

    whole_s: float
    cpu_s: float
    read_s: float
    copy_s: float


def records_of(load: Load) -> tuple[list[NewRecord], int]:
    """Return all records, and how many points are in them."""
    records = make_records(load.runs)
    points = POINTS_PER_RECORD * sum(len(record.value) > 1000 for record in records)
    catalog = catalog_writer()
    for number in range(load.small_runs):
        run_id = f"0195{number:028x}"
        writer = Writer(run_id, f"0196{number:028x}")
        records += [
            catalog.record(run_created(run_id, f"run-{number}")),
            writer.record(
                RunStarted("digits", f"run-{number}"),
                ParametersLogged({f"p{place}": number / 8 + place for place in range(10)}),
                metrics([[float(number)] * len(NAMES)], names=NAMES),
                RunEnded("Completed"),
            ),
        ]
    return records, points + load.small_runs * len(NAMES)


async def rebuild_once(dsn: str, pool: Pool, log: Log, points: int) -> Round:
    """Rebuild, see that every point is live once, and measure the floor."""
    started_s, cpu_s = time.perf_counter(), time.process_time()
    await rebuild(dsn, log, lambda _done, _total: None)
    whole_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    found = await pool.fetchval("SELECT sum(points) FROM live.metric_chunks")
    if found != points:
        raise AssertionError(f"{found} points are live, {points} were logged")
    live = await live_generation(pool)
    read_s, copy_s = await _read_seconds(log), await copy_seconds(pool, live.schema_name)
    return Round(whole_s, cpu_s, read_s, copy_s)


async def _read_seconds(log: Log) -> float:
    """Return the seconds that reading the whole log takes, with nothing done to it."""
    bounds = await log.bounds(topic_partitions(log))
    left = sum(end for _, end in bounds.values())
    started_s = time.perf_counter()
    reader = log.reader()
    try:
        reader.assign(dict.fromkeys(bounds, 0))
        while left:
            found = await reader.fetch(bytes_max=_READ_BYTES, wait_s=5.0)
            left -= sum(map(len, found.values()))
    finally:
        await reader.close()
    return time.perf_counter() - started_s


def lines_of(log: str, points: int, rounds: list[Round]) -> Iterator[Line]:
    """Return what the rounds came to."""
    floor = points / median_of(one.read_s + one.copy_s for one in rounds) / 1e6
    whole, cpu = (
        points / median_of(seconds) / 1e6
        for seconds in ([one.whole_s for one in rounds], [one.cpu_s for one in rounds])
    )
    yield Line(
        what=f"rebuild, {log} log",
        unit="M points/s",
        median=whole,
        floor=floor,
        floor_is="bare read + COPY",
        target=f">= {POINTS_PER_S_MIN / 1e6:g}",
        is_kept=whole * 1e6 >= POINTS_PER_S_MIN,
    )
    yield Line(
        what="  points per second of its CPU",
        unit="M points/s",
        median=cpu,
        floor=floor,
        floor_is="bare read + COPY",
    )


@contextlib.asynccontextmanager
async def filled(
    log: str, pool: Pool, bootstrap: str | None, records: list[NewRecord]
) -> AsyncIterator[Log]:
    """Give a log with the records in it."""
    opened: Log = (
        await EmbeddedLog.open(pool) if bootstrap is None else await KafkaLog.open(bootstrap)
    )
    try:
        for start in range(0, len(records), _APPENDED_AT_ONCE):
            await opened.append(records[start : start + _APPENDED_AT_ONCE])
        size = sum(len(record.value) for record in records)
        print(f"{log}: {len(records)} records, {size / 1e6:.0f} MB", flush=True)
        yield opened
    finally:
        await opened.close()


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[tuple[str, Pool]]:
    """Give a migrated PostgreSQL in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        dsn = await asyncio.to_thread(postgres.start)
        try:
            async with projection_pool(dsn) as pool:
                yield dsn, pool
        finally:
            await asyncio.to_thread(postgres.stop)


async def measure_log(log: str, bootstrap: str | None, load: Load) -> list[Line]:
    """Measure rebuilds from one log."""
    records, points = records_of(load)
    profiler = cProfile.Profile()
    async with database() as (dsn, pool), filled(log, pool, bootstrap, records) as opened:
        if load.is_profiled:
            profiler.enable()
        rounds = [await rebuild_once(dsn, pool, opened, points) for _ in range(load.rounds)]
        profiler.disable()
    if load.is_profiled:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
    for one in rounds:
        print(
            f"  {points / 1e6:.2f} M points in {one.whole_s:.2f} s, {one.cpu_s:.2f} s of CPU; "
            f"read {one.read_s:.2f} s, COPY {one.copy_s:.2f} s",
            flush=True,
        )
    return list(lines_of(log, points, rounds))


def measure(load: Load, logs: tuple[str, ...] = LOGS) -> list[Line]:
    """Return all lines."""
    lines: list[Line] = []
    for log in logs:
        with contextlib.ExitStack() as stack:
            broker = stack.enter_context(open_broker()) if log == "kafka" else None
            bootstrap = None if broker is None else broker.bootstrap
            lines += asyncio.run(measure_log(log, bootstrap, load))
    return lines


def main() -> None:
    """Measure what the arguments say and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = Load()
    parser.add_argument("--log", choices=LOGS, action="append", help="default: both")
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--runs", type=int, default=usual.runs)
    parser.add_argument("--small-runs", type=int, default=usual.small_runs)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    chosen = parser.parse_args()
    load = Load(
        rounds=chosen.rounds,
        runs=chosen.runs,
        small_runs=chosen.small_runs,
        is_profiled=chosen.profile,
    )
    print_table(measure(load, tuple(chosen.log or LOGS)))


if __name__ == "__main__":
    main()
