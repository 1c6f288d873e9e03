"""A log in a Postgres table, for one machine. Knows the log's table only through its statements.

Appends from all tasks are committed together: while one transaction is under way the next one
collects. Offsets are counted here, by the one process that appends; should there be a second one by
mistake, the primary key refuses its offsets and it counts anew, so that the log stays dense.

Readers in this process are woken directly, those in other processes by NOTIFY. It is sent after
the commit, in a transaction of its own: notifying transactions commit one after the other in the
whole database, and the fsync of an append must not be part of that queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import asyncpg

from trialog_schemas.errors import ClientError, UnavailableError
from trialog_schemas.wire import CATALOG_TOPIC, Position
from trialog_server.log.base import (
    LAPTOP_PARTITIONS,
    OffsetMissing,
    Partition,
    check_sizes,
    partition_for,
    topic_partitions,
)
from trialog_server.log.table import LogTable, Row
from trialog_server.log.wakeups import Wakeups
from trialog_server.postgres.pool import postgres_away
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trialog_server.log.base import LogRecord, NewRecord
    from trialog_server.postgres.pool import Pool

COMMIT_BYTES_MAX = 8_388_608
"""Bytes that are committed together; above that more bytes no longer raised the throughput."""

ANSWER_TIMEOUT_S = 10.0
"""How long Postgres may take for one statement before the log counts as away."""

POLL_INTERVAL_S = 1.0
"""How often a waiting reader looks without having been woken, in case a wake-up was lost."""

_COUNTS_MAX = 5


@dataclass(slots=True)
class _Append:
    """One caller's records, and where it waits for their positions."""

    records: Sequence[NewRecord]
    positions: asyncio.Future[list[Position]]

    @property
    def size(self) -> int:
        return sum(len(record.value) for record in self.records)


class EmbeddedLog:
    """The log in table `trialog.log_records`. Make it with `open`.

    The pool stays the caller's; it must have four connections to spare: two for appending, for
    listening, and for each reader at work.
    """

    def __init__(self, table: LogTable, events_partitions: int) -> None:
        self._table = table
        self._events_partitions = events_partitions
        self._wakeups = Wakeups(table.pool)
        self._waiting: deque[_Append] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._ends: dict[Partition, int] | None = None
        self._last_at_us = 0
        self._unannounced: set[Partition] = set()
        self._announcer: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        pool: Pool,
        *,
        events_partitions: int = LAPTOP_PARTITIONS,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Self:
        """Open the log of a migrated database.

        Args:
            pool: connections to the database.
            events_partitions: used when the log is opened for the first time; later ones keep to
                what was chosen then, because a run must not move to another partition.
            answer_timeout_s: how long Postgres may take for one statement before it counts as away.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        with postgres_away():
            fixed = await pool.fetchval(
                load_query("fix_setting"), "events_partitions", str(events_partitions)
            )
        return cls(LogTable(pool, answer_timeout_s), int(fixed))

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Store the records durably; return their positions."""
        check_sizes(records)
        if not records:
            return []
        waiting = _Append(records, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writer is None:
            self._writer = asyncio.create_task(self._drain())
        return await waiting.positions

    def reader(self) -> EmbeddedLogReader:
        """Return a new reader, without an assignment."""
        return EmbeddedLogReader(self._table, self._wakeups)

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return of each partition the first offset that is there and the next record's."""
        return await self._table.bounds(partitions)

    async def ends_at(self, partitions: Collection[Partition], at_us: int) -> dict[Partition, int]:
        """Return where each partition ended at a time: the first offset that the log took later."""
        return await self._table.ends_at(partitions, at_us)

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records at the given offsets, in ascending order of offset."""
        records = await self._table.read_at(partition, offsets)
        missing = set(offsets) - {record.offset for record in records}
        if missing:
            bounds = await self.bounds([partition])
            raise OffsetMissing(partition, min(missing), *bounds[partition])
        return records

    async def drop_before(self, ends: Mapping[Partition, int]) -> None:
        """Remove the records before the given offsets; the last one stays: offsets follow it."""
        bounds = await self._table.bounds(ends)
        await self._table.remove({one: min(end, bounds[one][1] - 1) for one, end in ends.items()})

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return 1 if topic == CATALOG_TOPIC else self._events_partitions

    async def close(self) -> None:
        """Finish the appends that are under way and stop listening."""
        for task in (self._writer, self._announcer):
            if task is not None:
                await asyncio.wait([task])
        await self._wakeups.close()

    async def _drain(self) -> None:
        """Commit what waits, together, until nothing waits any more."""
        try:
            while self._waiting:
                await self._commit_next()
        finally:
            # Critical: no await between the last look at `_waiting` and this line, so that a new
            # append always finds either this task still looking or no task.
            self._writer = None

    async def _commit_next(self) -> None:
        group = self._take_group()
        try:
            positions = await self._commit([record for item in group for record in item.records])
        except ClientError as exc:
            _fail(group, exc)
        else:
            start = 0
            for item in group:
                end = start + len(item.records)
                if not item.positions.done():
                    item.positions.set_result(positions[start:end])
                start = end
        finally:
            _fail(group, UnavailableError("the log was closed during the append"))

    def _take_group(self) -> list[_Append]:
        group: list[_Append] = []
        size = 0
        while self._waiting and (not group or size + self._waiting[0].size <= COMMIT_BYTES_MAX):
            item = self._waiting.popleft()
            # A caller that was cancelled meanwhile is left out whole.
            if not item.positions.done():
                group.append(item)
                size += item.size
        return group

    async def _commit(self, records: Sequence[NewRecord]) -> list[Position]:
        for _ in range(_COUNTS_MAX):
            # Critical: the connection comes first. When there is one to a Postgres that was put
            # back to an older copy, the end of those before it has been heard of.
            with contextlib.suppress(asyncpg.UniqueViolationError):
                async with self._table.storing(self._forget_ends) as connection:
                    ends = dict(self._ends or await self._count_ends())
                    rows = self._rows(records, ends)
                    self._ends = None  # unknown until the commit has returned
                    await self._table.store(connection, rows)
                    self._ends = ends
                break
        else:
            raise UnavailableError(
                "other processes append to the embedded log all the time; stop them, one service "
                "owns it"
            )
        changed = {Partition(row.topic, row.number) for row in rows}
        self._wakeups.wake(changed)
        self._announce(changed)
        return [Position(row.topic, row.number, row.offset) for row in rows]

    async def _count_ends(self) -> dict[Partition, int]:
        partitions = topic_partitions(self)
        bounds = await self._table.bounds(partitions)
        # A machine's clock may have been set back while no service ran.
        self._last_at_us = max(self._last_at_us, await self._table.last_at_us(partitions))
        return {partition: end for partition, (_, end) in bounds.items()}

    def _forget_ends(self, _connection: object) -> None:
        """Count anew: the Postgres that comes back may be an older copy, whose log ends sooner."""
        self._ends = None

    def _rows(self, records: Sequence[NewRecord], ends: dict[Partition, int]) -> list[Row]:
        """Give each record its offset, counting `ends` on."""
        self._last_at_us = max(self._last_at_us, time.time_ns() // 1000)
        rows = []
        for record in records:
            partition = partition_for(self, record)
            offset = ends[partition]
            ends[partition] = offset + 1
            rows.append(Row(*partition, offset, self._last_at_us, record.key, record.value))
        return rows

    def _announce(self, changed: set[Partition]) -> None:
        self._unannounced |= changed
        if self._announcer is None:
            self._announcer = asyncio.create_task(self._announce_all())

    async def _announce_all(self) -> None:
        """Notify other processes; several appends meanwhile make one notification."""
        try:
            while self._unannounced:
                changed, self._unannounced = self._unannounced, set()
                # A lost notification costs a reader one polling interval, so it is not repeated.
                with contextlib.suppress(UnavailableError):
                    await self._table.notify(changed)
        finally:
            self._announcer = None


class EmbeddedLogReader:
    """Reads the log's table."""

    def __init__(self, table: LogTable, wakeups: Wakeups) -> None:
        self._table = table
        self._wakeups = wakeups
        self._positions: dict[Partition, int] = {}
        self._is_checked = False

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Replace what is read: each partition with the offset to read next."""
        self._positions = dict(positions)
        self._is_checked = False

    async def fetch(self, *, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return the next records, or an empty mapping after `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        with self._wakeups.subscribe(self._positions) as woken:
            while True:
                woken.clear()
                found = await self._read(bytes_max)
                left_s = deadline_s - time.monotonic()
                if found or left_s <= 0:
                    return found
                await self._wakeups.listen()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), min(left_s, POLL_INTERVAL_S))

    async def close(self) -> None:
        """Do nothing; the pool and the listening connection are the log's."""

    async def _read(self, bytes_max: int) -> dict[Partition, list[LogRecord]]:
        if not self._positions:
            return {}
        try:
            found = await self._table.fetch(self._positions, bytes_max)
        except UnavailableError:
            # The Postgres that comes back may be an older copy, which has lost records.
            self._is_checked = False
            raise
        await self._check(found)
        for partition, records in found.items():
            self._positions[partition] = records[-1].offset + 1
        return found

    async def _check(self, found: Mapping[Partition, list[LogRecord]]) -> None:
        """Raise `OffsetMissing` at a hole, or where a position lies beyond the end."""
        for partition, records in found.items():
            for expected, record in enumerate(records, self._positions[partition]):
                if record.offset != expected:
                    bounds = await self._table.bounds([partition])
                    raise OffsetMissing(partition, expected, *bounds[partition])
        if self._is_checked:
            return
        silent = [partition for partition in self._positions if partition not in found]
        bounds = await self._table.bounds(silent)
        for partition in silent:
            start, end = bounds[partition]
            # A record may have been appended since the fetch; an end beyond the position is fine.
            if self._positions[partition] > end:
                raise OffsetMissing(partition, self._positions[partition], start, end)
        self._is_checked = True


def _fail(group: Sequence[_Append], error: ClientError) -> None:
    for item in group:
        if not item.positions.done():
            item.positions.set_exception(error)
            # A caller that was cancelled does not look at it; that is not worth a warning.
            item.positions.exception()
