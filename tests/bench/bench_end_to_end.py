"""Points per second from `Run.log_metrics` in several processes to rows in PostgreSQL.

    python -m tests.bench.bench_end_to_end [--log embedded] [--log kafka] [--rounds 3]
        [--processes 4] [--runs 3] [--calls 24000]

A real `trialog up` serves; each trainer process opens its runs one after the other, as programs
do, and logs 20 metrics a call without a pause. The clock runs from the first call of any trainer
until `Run.wait()` has returned for every run in each: everything is applied then, which the sum of
points in `metric_chunks` confirms. Broker, service, Postgres and trainers share the machine.

The floor is a bare COPY of the very chunks of the round into a table like `metric_chunks`, in one
connection, while nothing else runs: no event, no log, no rule, no sum.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

import trialog
from tests.bench.table import Line, median_of, print_table
from tests.services.kafka import open_broker
from tests.services.trialog import TrialogService
from trialog_server.postgres.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier
    from uuid import UUID

METRICS = 20
POINTS_PER_S_MIN = 500_000
LOGS = ("embedded", "kafka")

_DIFFERENT_CALLS = 1024
_WAIT_S = 300.0
_CHUNKS_A_COPY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is logged: a run takes at most 500,000 points."""

    rounds: int = 3
    processes: int = 4
    runs: int = 3
    calls: int = 24_000

    @property
    def points(self) -> int:
        """Points of one round."""
        return self.processes * self.runs * self.calls * METRICS


@dataclass(frozen=True, slots=True)
class Trained:
    """When a trainer (monotonic clock, s) began, had logged everything, and saw it applied."""

    run_ids: list[str]
    began_s: float
    logged_s: float
    applied_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """Points a second of one round, of its floor, and of the trainers' own part."""

    applied: float
    floor: float
    logged: float


def train(
    session: trialog.Session,
    experiment: str,
    load: Load,
    start: Barrier,
    trained: SimpleQueue[Trained],
) -> None:
    """Be one trainer process."""
    dice = random.Random(experiment)
    names = [f"train/metric_{number:02d}" for number in range(METRICS)]
    calls = [{name: dice.gauss(1.0, 0.1) for name in names} for _ in range(_DIFFERENT_CALLS)]
    start.wait()
    began_s = time.monotonic()
    runs = []
    for _ in range(load.runs):
        with trialog.Run(experiment, session=session) as run:
            for step in range(load.calls):
                run.log_metrics(calls[step % _DIFFERENT_CALLS], step)
        runs.append(run)
    logged_s = time.monotonic()
    for run in runs:
        run.wait(_WAIT_S)
    trained.put(Trained([run.run_id for run in runs], began_s, logged_s, time.monotonic()))


def run_trainers(session: trialog.Session, load: Load) -> list[Trained]:
    """Start the trainers, let them begin together, and return what each has seen."""
    processes = multiprocessing.get_context("spawn")
    start, trained = processes.Barrier(load.processes), processes.SimpleQueue()
    experiment = f"bench-{uuid.uuid4().hex[:12]}"
    trainers = [
        processes.Process(target=train, args=(session, experiment, load, start, trained))
        for _ in range(load.processes)
    ]
    for trainer in trainers:
        trainer.start()
    for trainer in trainers:
        trainer.join()
        if trainer.exitcode:
            raise RuntimeError(f"a trainer ended with exit status {trainer.exitcode}")
    return [trained.get() for _ in trainers]


async def check_and_copy(dsn: str, run_ids: list[str], points: int) -> float:
    """Check that every point of the runs is in a row once; return the seconds of a bare COPY."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "gen_1, trialog"})
    try:
        ids: list[UUID] = [uuid.UUID(run_id) for run_id in run_ids]
        rows = await connection.fetch("SELECT * FROM metric_chunks WHERE run_id = ANY($1)", ids)
        stored = sum(row["points"] for row in rows)
        if stored != points:
            raise RuntimeError(f"{stored} points are in rows, {points} were logged")
        chunks = [tuple(row) for row in rows]
        await connection.execute("CREATE TABLE floor (LIKE metric_chunks INCLUDING ALL)")
        started_s = time.perf_counter()
        for start in range(0, len(chunks), _CHUNKS_A_COPY):
            part = chunks[start : start + _CHUNKS_A_COPY]
            await connection.copy_records_to_table("floor", records=part)
        took_s = time.perf_counter() - started_s
        await connection.execute("DROP TABLE floor")
        return took_s
    finally:
        await connection.close()


def measure_round(service: TrialogService, spool_dir: Path, load: Load) -> Round:
    """Train, and divide."""
    session = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=spool_dir)
    trained = run_trainers(session, load)
    began_s = min(one.began_s for one in trained)
    postgres = EmbeddedPostgres(service.data_dir / "postgres")
    postgres.ensure_running()
    run_ids = [run_id for one in trained for run_id in one.run_ids]
    copied_s = asyncio.run(check_and_copy(postgres.dsn, run_ids, load.points))
    return Round(
        applied=load.points / (max(one.applied_s for one in trained) - began_s),
        floor=load.points / copied_s,
        logged=load.points / (max(one.logged_s for one in trained) - began_s),
    )


@contextlib.contextmanager
def serving(log: str, folder: Path) -> Iterator[TrialogService]:
    """Give a service on a log of this kind."""
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(open_broker()).bootstrap if log == "kafka" else None
        yield stack.enter_context(TrialogService(folder, kafka=kafka))


def measure(load: Load, logs: tuple[str, ...] = LOGS) -> list[Line]:
    """Return a line for each log."""
    lines = []
    for log in logs:
        with tempfile.TemporaryDirectory() as folder, serving(log, Path(folder)) as service:
            spool_dir = Path(folder) / "spool"
            rounds = [measure_round(service, spool_dir, load) for _ in range(load.rounds)]
        applied = median_of(one.applied for one in rounds)
        lines.append(
            Line(
                what=f"{load.processes} processes to rows, {log} log",
                unit="M points/s",
                median=applied / 1e6,
                floor=median_of(one.floor for one in rounds) / 1e6,
                floor_is="bare COPY",
                target=f">= {POINTS_PER_S_MIN / 1e6:g}",
                is_kept=applied >= POINTS_PER_S_MIN,
            )
        )
        each = ", ".join(f"{one.applied / 1e6:.2f} ({one.logged / 1e6:.2f})" for one in rounds)
        print(f"{log}: M points/s applied (logged) of each round: {each}", flush=True)
    return lines


def main() -> None:
    """Measure what the arguments say and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = Load()
    parser.add_argument("--log", action="append", choices=LOGS)
    for name in ("rounds", "processes", "runs", "calls"):
        parser.add_argument(f"--{name}", type=int, default=getattr(usual, name))
    chosen = parser.parse_args()
    load = Load(
        rounds=chosen.rounds, processes=chosen.processes, runs=chosen.runs, calls=chosen.calls
    )
    print_table(measure(load, tuple(chosen.log or LOGS)))


if __name__ == "__main__":
    main()
