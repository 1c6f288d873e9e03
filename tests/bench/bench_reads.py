"""How long questions take: lists, comparisons and series, beside the floor of a bare round trip.

    python -m tests.bench.bench_reads [--runs 1000] [--repeats 200]

The read model is filled by COPY: runs of one experiment with 20 parameters and 20 metric summaries
each, beside as many runs of other experiments with the same names, and one series of 500,000
points in the chunks that a worker writes. Each line is one question asked alone; the lines marked
HTTP go through the whole application, from request to the bytes of the answer. The floor is
SELECT 1 on the same pool, and the bare fetch of the series' bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import httpx2
import numpy as np

from tests.integration.read_model_rows import ACCOUNT, START, Rows, RunRow
from tests.services.postgres import fresh_database, open_server
from trialog_schemas.limits import Limits
from trialog_server.artifacts import ArtifactStore
from trialog_server.log.memory import MemoryLog
from trialog_server.postgres.migrate import migrate
from trialog_server.postgres.pool import open_pool
from trialog_server.read.list_runs import get_run, list_runs
from trialog_server.read.metric_series import metric_buckets, metric_series
from trialog_server.read.pages import PageRequest
from trialog_server.read.search_runs import RunSearch, search_runs
from trialog_server.serve.access import AccessPolicy
from trialog_server.serve.app import build_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trialog_server.postgres.pool import Pool

PARAMETERS = METRICS = 20
POINTS = 500_000
CHUNK_POINTS = 65_536
COLUMNS = 1000
WARM_UP = 10


def main() -> None:
    """Fill a fresh database, ask, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=200)
    chosen = parser.parse_args()
    with open_server() as server_url, fresh_database(server_url) as url:
        asyncio.run(bench(url, chosen.runs, chosen.repeats))


async def bench(url: str, runs: int, repeats: int) -> None:
    """Measure every question on a database of so many runs."""
    await migrate(url)
    pool = await open_pool(url)
    rows = Rows(pool)
    asked = await fill_runs(pool, rows, "asked", runs)
    await fill_runs(pool, rows, "other", runs)
    await fill_series(pool, asked)
    await pool.execute("VACUUM ANALYZE")
    with tempfile.TemporaryDirectory() as folder:
        app = build_app(
            pool=pool,
            log=MemoryLog(),
            store=ArtifactStore.in_folder(Path(folder)),
            access=AccessPolicy(),
            limits=Limits(),
        )
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            print(f"{runs} runs of {PARAMETERS} parameters and {METRICS} metrics, {repeats} times")
            print(f"{'question':<58}{'p50 ms':>9}{'p99 ms':>9}")
            for name, question in questions(pool, client, asked):
                await measure(name, question, repeats)
    await pool.close()


def questions(
    pool: Pool, client: httpx2.AsyncClient, run_id: UUID
) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Give every line of the table: its name and what it asks."""
    page, run = PageRequest(), (ACCOUNT, run_id)
    best = RunSearch("params.p00 > 0.2 and metrics.m01.min < 0.9", "metrics.m00 DESC")
    search = {"filter": best.filter, "order_by": best.order_by}
    base = "/api/v1/experiments/asked/runs"
    series = f"/api/v1/runs/{run_id.hex}/series?name=long"
    yield "floor: SELECT 1", lambda: pool.fetchval("SELECT 1")
    yield "list 100 newest runs", lambda: list_runs(pool, ACCOUNT, "asked", page)
    yield (
        "list 100 runs by name",
        lambda: list_runs(pool, ACCOUNT, "asked", PageRequest("Name", "Ascending")),
    )
    yield "search: 2 conditions, best 100", lambda: search_runs(pool, ACCOUNT, "asked", best)
    yield (
        "search: order only, best 10",
        lambda: search_runs(
            pool, ACCOUNT, "asked", RunSearch(order_by="metrics.m00 DESC", max_results=10)
        ),
    )
    yield "one run", lambda: get_run(pool, ACCOUNT, run_id)
    yield "HTTP list 100 newest runs", lambda: client.get(base)
    yield "HTTP search: 2 conditions, best 100", lambda: client.post(f"{base}/search", json=search)
    yield f"floor: fetch the bytes of {POINTS} steps and values", lambda: fetch_bytes(pool, run_id)
    yield (
        f"{POINTS} points to {COLUMNS} buckets",
        lambda: metric_buckets(pool, run, "long", COLUMNS),
    )
    yield (
        f"HTTP {POINTS} points to {COLUMNS} buckets",
        lambda: client.get(f"{series}&buckets={COLUMNS}"),
    )
    yield "first 100000 points of the series", lambda: metric_series(pool, run, "long")


async def fetch_bytes(pool: Pool, run_id: UUID) -> object:
    """Fetch what the reduction needs, and do nothing with it."""
    return await pool.fetch(
        "SELECT substring(data FROM 1 FOR 8 * points), substring(data FROM 16 * points + 1)"
        " FROM live.metric_chunks WHERE run_id = $1",
        run_id,
    )


async def measure(name: str, question: Callable[[], Awaitable[object]], repeats: int) -> None:
    """Ask often, one after the other, and print the usual and the nearly worst time."""
    for _ in range(WARM_UP):
        await question()
    times_ms = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        await question()
        times_ms.append((time.perf_counter() - start_s) * 1000)
    cuts = statistics.quantiles(times_ms, n=100)
    print(f"{name:<58}{cuts[49]:>9.2f}{cuts[98]:>9.2f}")


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


if __name__ == "__main__":
    main()
