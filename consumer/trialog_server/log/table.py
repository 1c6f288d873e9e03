"""The embedded log's table: store, read, bounds, notify. Counts no offsets and wakes nobody.

Every call ends within a bound and turns "Postgres is away" into `UnavailableError`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from trialog_schemas.wire import SHORT_NAME_BY_TOPIC
from trialog_server.log.base import LogRecord, Partition, share_bytes
from trialog_server.postgres.pool import postgres_away
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Collection,
        Iterable,
        Mapping,
        Sequence,
    )

    from trialog_server.postgres.pool import Connection, Pool

FETCH_RECORDS_MAX = 2000
"""Records a partition gives to one fetch, however small they are."""

_COLUMNS = ("topic", "partition", "log_offset", "at_us", "key", "value")


class Row(NamedTuple):
    """A row of `trialog.log_records`."""

    topic: str
    number: int
    offset: int
    at_us: int
    key: str
    value: bytes


class LogTable:
    """The statements of the log's table.

    Args:
        pool: connections to a migrated database; stays the caller's.
        answer_timeout_s: how long Postgres may take for one of them before it counts as away.
    """

    def __init__(self, pool: Pool, answer_timeout_s: float) -> None:
        self.pool = pool
        self._answer_timeout_s = answer_timeout_s

    @asynccontextmanager
    async def storing(
        self, on_end: Callable[[object], None] | None = None
    ) -> AsyncIterator[Connection]:
        """Give a connection to `store` with.

        Args:
            on_end: called when that connection has ended, however much later.

        Raises:
            UnavailableError: Postgres does not answer; what was stored may be there nevertheless.
        """
        with postgres_away():
            async with self.pool.acquire(timeout=self._answer_timeout_s) as connection:
                if on_end is not None:
                    connection.add_termination_listener(on_end)
                yield connection

    async def store(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Add rows durably, all or none.

        Raises:
            asyncpg.UniqueViolationError: one of the offsets is taken.
        """
        # One COPY outside a transaction block is one transaction: one wait for the disk.
        await connection.copy_records_to_table(
            "log_records",
            schema_name="trialog",
            columns=_COLUMNS,
            records=rows,
            timeout=self._answer_timeout_s,
        )

    async def fetch(
        self, positions: Mapping[Partition, int], bytes_max: int
    ) -> dict[Partition, list[LogRecord]]:
        """Return what there is from the positions on, in order, about `bytes_max` together."""
        with postgres_away():
            rows = await self.pool.fetch(
                load_query("log_fetch"),
                [partition.topic for partition in positions],
                [partition.number for partition in positions],
                list(positions.values()),
                FETCH_RECORDS_MAX,
                share_bytes(bytes_max, len(positions)),
                timeout=self._answer_timeout_s,
            )
        found: dict[Partition, list[LogRecord]] = {}
        for topic, number, *rest in rows:
            partition = Partition(topic, number)
            found.setdefault(partition, []).append(LogRecord(partition, *rest))
        return found

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return those records of a partition that are there, in ascending order of offset."""
        with postgres_away():
            rows = await self.pool.fetch(
                load_query("log_read_at"),
                partition.topic,
                partition.number,
                list(offsets),
                timeout=self._answer_timeout_s,
            )
        return [LogRecord(partition, *row) for row in rows]

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return for each partition its first offset and the one its next record will get."""
        with postgres_away():
            rows = await self.pool.fetch(
                load_query("log_bounds"),
                [partition.topic for partition in partitions],
                [partition.number for partition in partitions],
                timeout=self._answer_timeout_s,
            )
        return {
            Partition(topic, number): (0, 0) if last is None else (first, last + 1)
            for topic, number, first, last in rows
        }

    async def remove(self, ends: Mapping[Partition, int]) -> None:
        """Remove the records before some offsets, partition by partition."""
        with postgres_away():
            for partition, end in ends.items():
                await self.pool.execute(
                    load_query("log_remove"), *partition, end, timeout=self._answer_timeout_s
                )

    async def ends_at(self, partitions: Collection[Partition], at_us: int) -> dict[Partition, int]:
        """Return of each partition the first offset whose record came later than a time."""
        with postgres_away():
            rows = await self.pool.fetch(
                load_query("log_ends_at"),
                [partition.topic for partition in partitions],
                [partition.number for partition in partitions],
                at_us,
                timeout=self._answer_timeout_s,
            )
        return {Partition(topic, number): end for topic, number, end in rows}

    async def last_at_us(self, partitions: Collection[Partition]) -> int:
        """Return the time of the newest record of some partitions, 0 where they are empty."""
        with postgres_away():
            newest = await self.pool.fetchval(
                load_query("log_last_at"),
                [partition.topic for partition in partitions],
                [partition.number for partition in partitions],
                timeout=self._answer_timeout_s,
            )
        return int(newest)

    async def notify(self, changed: Collection[Partition]) -> None:
        """Wake the readers of other processes that wait for these partitions."""
        names = [f"{SHORT_NAME_BY_TOPIC[topic]}:{number}" for topic, number in changed]
        with postgres_away():
            await self.pool.execute(load_query("log_notify"), names, timeout=self._answer_timeout_s)
