"""A service whose processes may be killed and whose tables may be looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from tests.services.blocking import run_blocking

if TYPE_CHECKING:
    from tests.services.kafka import KafkaBroker
    from tests.services.trialog import TrialogService

LONG_FOLDER = "a-folder-whose-path-is-too-long-for-a-unix-socket" * 2
"""The embedded Postgres then has its socket elsewhere, and must keep it when it is restarted."""


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
