"""What a page of a list or a search of 10,000 runs costs Postgres and the service, in CPU time.

    python -m tests.bench.bench_search_pages [--runs 10000] [--pages 15]

CPU time of the connection's own Postgres process and of this one, each divided by the pages asked
one after the other: unlike the time on the clock it says little of other programs beside.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.bench_reads import FILTER, ORDER, fill
from tests.integration.read_model_rows import ACCOUNT
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.postgres.migrate import migrate
from trialog_server.postgres.pool import PoolSettings, open_pool
from trialog_server.read.search_runs import RunSearch, search_runs

QUESTIONS = {
    "newest first": RunSearch(),
    "by name": RunSearch(order_by="run_name"),
    "by a metric": RunSearch(order_by=ORDER),
    "1 condition, newest first": RunSearch("params.p00 > 0.2"),
    "2 conditions, by a metric": RunSearch(FILTER, ORDER),
    "1 condition, 1 % met": RunSearch("params.p00 > 0.99"),
}


async def measure(dsn: str, runs: int, pages: int) -> None:
    """Fill the read model, ask, and print a line for each question."""
    await migrate(dsn)
    await fill(dsn, runs)
    pool = await open_pool(dsn, PoolSettings(connections_max=1))
    backend = psutil.Process(await pool.fetchval("SELECT pg_backend_pid()"))
    for what, question in QUESTIONS.items():
        token = None
        postgres_s, own_s = sum(backend.cpu_times()[:2]), time.process_time()
        for _ in range(pages):
            search = RunSearch(question.filter, question.order_by, 100, token)
            token = (await search_runs(pool, ACCOUNT, "asked", search)).next_token
        postgres_ms = 1000 * (sum(backend.cpu_times()[:2]) - postgres_s) / pages
        own_ms = 1000 * (time.process_time() - own_s) / pages
        print(f"{what:28}{postgres_ms:8.1f} ms in Postgres {own_ms:8.1f} ms here", flush=True)
    await pool.close()


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=15)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # Postgres runs as another user where we are root
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        dsn = postgres.start()
        try:
            asyncio.run(measure(dsn, chosen.runs, chosen.pages))
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
