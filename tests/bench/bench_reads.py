"""How long questions take: lists, comparisons and series, beside the floor of a bare round trip.

    python -m tests.bench.bench_reads [--runs 1000] [--repeats 200]

The read model is filled by COPY: runs of one experiment with 10 parameters and 10 metric summaries
each, beside as many runs of another experiment with the same names, and one series of 500,000
points in the chunks that a worker writes. Each line is one question asked alone. The lines marked
SDK are calls of a user's program to a real `trialog up`, from the call to the objects or the
DataFrame; the others ask the read functions. The floors are SELECT 1 on the same pool, a call of
`/healthz` over the same client, and the bare fetch of the series' bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import numpy as np
import urllib3

import trialog
from tests.bench.table import Line, percentile, print_table
from tests.integration.read_model_rows import ACCOUNT, START, Rows, RunRow
from tests.services.trialog import TrialogService
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.postgres.pool import open_pool
from trialog_server.read.list_runs import get_run, list_runs
from trialog_server.read.metric_series import metric_buckets, metric_series
from trialog_server.read.pages import PageRequest
from trialog_server.read.search_runs import RunSearch, search_runs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trialog_server.postgres.pool import Pool

PARAMETERS = METRICS = 10
POINTS = 500_000
CHUNK_POINTS = 65_536
COLUMNS = 1000
WARM_UP = 5
LONG_SHARE = 10
"""Questions that take long are asked so many times less often."""

FILTER, ORDER = "params.p00 > 0.2 and metrics.m01.min < 0.9", "metrics.m00 DESC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many runs there are, and how often each question is asked."""

    runs: int = 1000
    repeats: int = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the session for the SDK, the run with the long series."""

    session: trialog.Session
    url: str
    run_id: UUID


def measure(load: Load) -> list[Line]:
    """Start a service, fill it, ask, and return all lines."""
    with tempfile.TemporaryDirectory() as folder, TrialogService(Path(folder)) as service:
        postgres = EmbeddedPostgres(service.data_dir / "postgres")
        postgres.ensure_running()
        run_id = asyncio.run(fill(postgres.dsn, load.runs))
        session = trialog.Session(url=service.url, spool_dir=Path(folder) / "spool")
        asked = Asked(session, service.url, run_id)
        lines = list(sdk_lines(asked, load))
        return lines + asyncio.run(read_lines(postgres.dsn, asked, load))


def sdk_lines(asked: Asked, load: Load) -> Iterator[Line]:
    """Ask as a user's program does."""
    http, session = urllib3.PoolManager(), asked.session
    floor = times_ms(lambda: http.request("GET", f"{asked.url}/healthz").data, load.repeats)
    series = f"{asked.url}/api/v1/runs/{asked.run_id.hex}/series?name=long&buckets={COLUMNS}"
    page, few = load.repeats, max(load.repeats // LONG_SHARE, 3)
    questions: tuple[tuple[str, int, Callable[[], object]], ...] = (
        ("SDK Run.list: 100 newest", page, lambda: trialog.Run.list("asked", session=session)),
        (
            "SDK compare: 2 conditions, best 100",
            page,
            lambda: trialog.compare("asked", FILTER, ORDER, 100, session),
        ),
        ("SDK compare: all", few, lambda: trialog.compare("asked", session=session)),
        (
            f"HTTP series: {POINTS} points to {COLUMNS} buckets",
            few,
            lambda: http.request("GET", series).data,
        ),
    )
    for what, repeats, question in questions:
        times = times_ms(question, repeats)
        yield _line(
            f"{what} of {load.runs} runs" if "SDK" in what else what, times, floor, "GET /healthz"
        )


async def read_lines(dsn: str, asked: Asked, load: Load) -> list[Line]:
    """Ask the read functions, beside the database's own share."""
    pool = await open_pool(dsn)
    try:
        floor = await times_ms_async(lambda: pool.fetchval("SELECT 1"), load.repeats)
        few = max(load.repeats // LONG_SHARE, 3)
        lines = [
            _line(what, await times_ms_async(question, load.repeats), floor, "SELECT 1")
            for what, question in page_questions(pool, asked)
        ]
        floor = await times_ms_async(lambda: fetch_bytes(pool, asked.run_id), few)
        for what, question in series_questions(pool, asked):
            lines.append(_line(what, await times_ms_async(question, few), floor, "its bytes"))
    finally:
        await pool.close()
    return lines


def page_questions(
    pool: Pool, asked: Asked
) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Give the questions whose answer is a page of runs, or one run."""
    best, ten = RunSearch(FILTER, ORDER), RunSearch(order_by=ORDER, max_results=10)
    by_name = PageRequest("Name", "Ascending")
    yield "read: 100 newest runs", lambda: list_runs(pool, ACCOUNT, "asked", PageRequest())
    yield "read: 100 runs by name", lambda: list_runs(pool, ACCOUNT, "asked", by_name)
    yield "read: 2 conditions, best 100", lambda: search_runs(pool, ACCOUNT, "asked", best)
    yield "read: order only, best 10", lambda: search_runs(pool, ACCOUNT, "asked", ten)
    yield "read: one run", lambda: get_run(pool, ACCOUNT, asked.run_id)


def series_questions(
    pool: Pool, asked: Asked
) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Give the questions about the long series."""
    run = (ACCOUNT, asked.run_id)
    yield (
        f"read: {POINTS} points to {COLUMNS} buckets",
        lambda: metric_buckets(pool, run, "long", COLUMNS),
    )
    yield "read: first 100000 points", lambda: metric_series(pool, run, "long")


async def fetch_bytes(pool: Pool, run_id: UUID) -> object:
    """Fetch what the reduction needs, and do nothing with it."""
    return await pool.fetch(
        "SELECT substring(data FROM 1 FOR 8 * points), substring(data FROM 16 * points + 1)"
        " FROM live.metric_chunks WHERE run_id = $1",
        run_id,
    )


def times_ms(question: Callable[[], object], repeats: int) -> list[float]:
    """Ask often, one after the other; return the sorted times."""
    for _ in range(WARM_UP):
        question()
    times = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        question()
        times.append((time.perf_counter() - began_s) * 1000)
    return sorted(times)


async def times_ms_async(question: Callable[[], Awaitable[object]], repeats: int) -> list[float]:
    """Do the same with a question that is awaited."""
    for _ in range(WARM_UP):
        await question()
    times = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        await question()
        times.append((time.perf_counter() - began_s) * 1000)
    return sorted(times)


def _line(what: str, times: list[float], floor: list[float], floor_is: str) -> Line:
    return Line(
        what=what,
        unit="ms",
        median=percentile(times, 50),
        p99=percentile(times, 99),
        floor=percentile(floor, 50),
        floor_is=floor_is,
    )


async def fill(dsn: str, runs: int) -> UUID:
    """Fill the read model; return the run that has the long series."""
    pool = await open_pool(dsn)
    try:
        rows = Rows(pool)
        run_id = await fill_runs(pool, rows, "asked", runs)
        await fill_runs(pool, rows, "other", runs)
        await fill_series(pool, run_id)
        await pool.execute("VACUUM ANALYZE")
    finally:
        await pool.close()
    return run_id


async def fill_runs(pool: Pool, rows: Rows, experiment: str, count: int) -> UUID:
    """Make an experiment with runs of random parameters and metrics; return one of the runs."""
    dice = np.random.default_rng(7)
    experiment_id = await rows.experiment(experiment)
    ids = [uuid4() for _ in range(count)]
    for number, run_id in enumerate(ids):
        await rows.run(experiment_id, RunRow(f"run-{number:06}", minute=number, run_id=run_id))
    draws = dice.random((count, PARAMETERS + METRICS))
    at = START + timedelta(days=1)
    parameters, summaries = [], []
    for run_id, draw in zip(ids, draws.tolist(), strict=True):
        for number, value in enumerate(draw[:PARAMETERS]):
            parameters.append((run_id, f"p{number:02}", repr(value), value, None, at, 0))
        for number, value in enumerate(draw[PARAMETERS:]):
            bounds = (value / 2, value * 2, value * 100)
            summaries.append((run_id, f"m{number:02}", 100, value, 99, 99, *bounds, 100, at, at, 0))
    await pool.copy_records_to_table("parameters", records=parameters, schema_name="gen_1")
    await pool.copy_records_to_table("metric_summaries", records=summaries, schema_name="gen_1")
    return ids[0]


async def fill_series(pool: Pool, run_id: UUID) -> None:
    """Give the run a series of 500,000 points in order of step."""
    values = np.random.default_rng(7).random(POINTS)
    chunks = []
    for first in range(0, POINTS, CHUNK_POINTS):
        steps = np.arange(first, min(first + CHUNK_POINTS, POINTS), dtype="<i8")
        data = steps.tobytes() * 2 + values[first : first + len(steps)].astype("<f8").tobytes()
        bounds = (int(steps[0]), int(steps[-1]), [0], [len(steps)])
        chunks.append((run_id, "long", first, len(steps), *bounds, data))
    await pool.copy_records_to_table("metric_chunks", records=chunks, schema_name="gen_1")


def main() -> None:
    """Measure what the arguments say and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = Load()
    parser.add_argument("--runs", type=int, default=usual.runs)
    parser.add_argument("--repeats", type=int, default=usual.repeats)
    chosen = parser.parse_args()
    print_table(measure(Load(runs=chosen.runs, repeats=chosen.repeats)))


if __name__ == "__main__":
    main()
