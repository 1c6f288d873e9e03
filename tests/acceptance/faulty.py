"""A service whose processes may be killed and whose tables may be looked at."""

from __future__ import annotations

import os
import re
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from tests.services.blocking import run_blocking
from tests.services.trialog import wait_until
from trialog_server.project.digests import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.kafka import KafkaBroker
    from tests.services.trialog import TrialogService

LONG_FOLDER = "a-folder-whose-path-is-too-long-for-a-unix-socket" * 2
"""The embedded Postgres then has its socket elsewhere, and must keep it when it is restarted."""

STALE_AFTER_S = 2
"""After so many seconds of silence a run of this service is stale; far below the default."""

REREAD_TIMEOUT_S = 120.0
"""How long a long log of chaos may take to be read again."""

# The owner finds its claims lost, claims them again and reads from where they say.
BACK_TO_THE_START = (
    "UPDATE trialog.leases SET next_offset = 0, chain = NULL, owner = NULL, until = NULL"
)


class Lease(NamedTuple):
    """How far a partition is applied, and the chain over its records up to there."""

    topic: str
    partition: int
    next_offset: int
    chain: bytes | None


@dataclass(frozen=True)
class Faulty:
    """A service of its own beside the shared one: the tests that use it leave it as it was."""

    service: TrialogService
    broker: KafkaBroker | None

    def query(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Ask the service's database."""

        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.service.postgres_url)
            try:
                return await connection.fetch(statement, *values)
            finally:
                await connection.close()

        return run_blocking(ask())

    @contextmanager
    def frozen_log(self) -> Iterator[None]:
        """Stop what takes records for the time of the block: the broker, or the API."""
        pid = self.service.pid if self.broker is None else self.broker.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def owners(self) -> set[int]:
        """Return the processes that hold partitions."""
        rows = self.query("SELECT DISTINCT owner FROM trialog.leases WHERE owner IS NOT NULL")
        return {int(re.split(r"[:/]", row["owner"])[-2]) for row in rows}

    def has_waiting_worker(self) -> bool:
        """Tell whether a transaction of a worker waits for somebody's lock on a table."""
        return bool(
            self.query(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'trialog-worker' "
                "AND wait_event_type = 'Lock' AND wait_event = 'relation'"
            )
        )

    def event_counts(self, run_id: str) -> dict[str, int]:
        """Return how many starts and ends of a run were applied."""
        rows = self.query(
            "SELECT type, count(*) FROM live.record_index, unnest(types) AS type "
            "WHERE run_id = $1 AND type IN ('run_started', 'run_ended') GROUP BY type",
            run_id,
        )
        return {row["type"]: row["count"] for row in rows}

    def leases(self) -> list[Lease]:
        """Return where every partition of the live tables is."""
        rows = self.query(
            "SELECT topic, partition, next_offset, chain FROM trialog.leases "
            "JOIN trialog.generations USING (generation) WHERE status = 'live' ORDER BY 1, 2"
        )
        return [Lease(*row) for row in rows]

    def deliver_again(self, *, into_nothing: bool = False) -> None:
        """Have the worker read the whole log again, and wait until it is where it was."""
        before = self.leases()
        assert sum(lease.next_offset for lease in before) > 0
        if into_nothing:
            self.query("TRUNCATE " + ", ".join(f"gen_1.{table}" for table in TABLES))
        self.query(BACK_TO_THE_START)
        wait_until(lambda: self.leases() == before, "everything is read again", REREAD_TIMEOUT_S)
