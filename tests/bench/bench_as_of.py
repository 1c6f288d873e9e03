"""How long a question about then takes: from the log's start, from a copy, and once more.

    python -m tests.bench.bench_as_of [--runs 1000]

A real `trialog up` takes the events of as many runs in one experiment, and as many again in another
one: a record of the catalog each, 5 records of 10 metrics with 20 points. Each question is asked as
of moments between them, in turns without any older tables, and with those of the moment before,
200 records or more away. CPU is that of the service and Postgres together: on a machine that others
use as well, the time by the clock is mostly waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
import urllib3

import trialog
from tests.services.trialog import TrialogService
from tests.unit.consumer.project_writers import Writer, catalog_writer, metrics
from trialog.client import Client
from trialog_schemas.events import ParametersLogged, RunCreated
from trialog_schemas.wire import frame
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog_server.log.base import NewRecord

RECORDS, NAMES, ROWS = 5, tuple(f"m{number:02d}" for number in range(10)), 20
EXPERIMENTS = {name: f"0190{number:028x}" for number, name in enumerate(("asked", "other"), 1)}
SENT_AT_ONCE = 200
REPEATS = 3


@dataclass(frozen=True)
class Timed:
    """How long something took, by the clock and in the processes of the service."""

    seconds: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.seconds:6.2f} s ({self.cpu_s:5.2f} s CPU)"


def records(runs: int) -> Iterator[NewRecord]:
    """Give the records of all runs, those of the two experiments in turns."""
    for number in range(2 * runs):
        home = ("asked", "other")[number % 2]
        run_id = f"0191{number:028x}"
        created = RunCreated(run_id, home, f"run-{number}", EXPERIMENTS[home])
        yield catalog_writer(number + 1).record(created)
        writer = Writer(run_id, f"0192{number:028x}")
        yield writer.record(ParametersLogged({"lr": number / runs, "layers": 3}))
        for part in range(RECORDS):
            values = [[number + row / 7 + at for at in range(len(NAMES))] for row in range(ROWS)]
            yield writer.record(metrics(values, part * ROWS, NAMES))


def fill(client: Client, runs: int) -> list[str]:
    """Send the records and wait until they are applied; return moments between them."""
    positions: dict[str, str] = {}
    moments: list[str] = []
    waiting: list[bytes] = []

    def send() -> None:
        for receipt in client.send_records(b"".join(waiting)):
            place = receipt["position"].rpartition(":")[0]
            positions[place] = receipt["position"]
        waiting.clear()
        moments.append(",".join(positions.values()))

    for record in records(runs):
        waiting.append(frame([record.value]))
        if len(waiting) == SENT_AT_ONCE:
            send()
    if waiting:
        send()
    asked = [("position", token) for token in positions.values()]
    while not _get(client, "/applied", [*asked, ("wait_s", "30")])["applied"]:
        pass
    return moments


def _get(client: Client, path: str, fields: list[tuple[str, str]]) -> Any:
    url = f"{client._endpoint.url}/api/v1{path}"
    while True:
        answer = urllib3.request("GET", url, fields=fields, timeout=60, retries=False)
        if answer.status != 503:  # the tables of then are still being made
            assert answer.status == 200, answer.data
            return orjson.loads(answer.data)


def timed(service: TrialogService, client: Client, path: str, as_of: str | None) -> Timed:
    """Ask once."""
    began_s, before_s = time.perf_counter(), cpu_s(service)
    _get(client, path, [] if as_of is None else [("as_of", as_of)])
    return Timed(time.perf_counter() - began_s, cpu_s(service) - before_s)


def cpu_s(service: TrialogService) -> float:
    """Return the CPU time of the service's processes so far."""
    used = 0.0
    for process in service.family():
        times = process.cpu_times()
        used += times.user + times.system
    return used


def measure(runs: int) -> None:
    """Fill a service, ask, and print a table."""
    with tempfile.TemporaryDirectory() as folder, TrialogService(Path(folder)) as service:
        session = trialog.Session(url=service.url, spool_dir=Path(folder) / "spool")
        client = Client(session.resolve())
        began_s = time.perf_counter()
        moments = fill(client, runs)
        print(f"{2 * runs} runs sent and applied in {time.perf_counter() - began_s:.1f} s")
        run_id = f"0191{0:028x}"
        for what, path in (
            ("the experiments", "/experiments"),
            ("one run", f"/runs/{run_id}"),
            (f"100 of {runs} runs", "/experiments/asked/runs"),
        ):
            for turn in range(REPEATS):
                older, moment = moments[-3 - 2 * turn], moments[-2 - 2 * turn]
                forget(service)
                replayed = timed(service, client, path, moment)
                forget(service)
                timed(service, client, path, older)
                copied, second = (timed(service, client, path, moment) for _ in range(2))
                now = timed(service, client, path, None)
                print(
                    f"{what:20} replayed {replayed}, copied {copied}, second "
                    f"{second.seconds * 1000:6.0f} ms, now {now.seconds * 1000:6.0f} ms"
                )


def forget(service: TrialogService) -> None:
    """Drop the tables of all moments."""
    asyncio.run(_forget(service.postgres_url))


async def _forget(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(load_query("drop_old_snapshots"), 0.0, 0)
    assert await connection.fetchval("SELECT count(*) FROM trialog.snapshots") == 0
    await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    measure(parser.parse_args().runs)
