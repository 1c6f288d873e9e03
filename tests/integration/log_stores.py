"""The kinds of log for tests: opened, killed and started again."""

from __future__ import annotations

import asyncio
import importlib
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from obstore.store import MemoryStore as ObjectStore

from trialog_schemas.wire import EVENTS_TOPIC, Position, partition_of
from trialog_server.archive.archived_log import ArchivedLog
from trialog_server.archive.place import BucketPlace
from trialog_server.archive.reading import Archive
from trialog_server.archive.write import archive_log
from trialog_server.log.base import LogRecord, NewRecord, Partition
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.log.kafka import KafkaLog, KafkaSettings
from trialog_server.log.memory import MemoryLog
from trialog_server.postgres.pool import PoolSettings, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from trialog_server.log.base import Log, LogReader

PARTITIONS = 4
BYTES_MAX = 8_388_608
WAIT_S = 15.0
"""How long a test waits for records that are there: far longer than it takes."""

ANSWER_TIMEOUT_S = 2.0
"""Shorter than in service, so that the tests of a store that is away are."""


class LogStore(Protocol):
    """Where a kind of log keeps its records."""

    def open(self) -> AbstractAsyncContextManager[Log]:
        """Give a log object of its own over the store; close it afterwards."""
        ...


class MemoryStore:
    """One `MemoryLog`; whoever opens it gets the same object."""

    def __init__(self) -> None:
        self.log = MemoryLog(PARTITIONS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Log]:
        """Give the log."""
        yield self.log


class EmbeddedStore:
    """A migrated database."""

    def __init__(self, url: str) -> None:
        self.url = url

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Log]:
        """Give an embedded log with a pool of its own."""
        pool = await open_pool(self.url, PoolSettings(connections_max=4))
        log = await EmbeddedLog.open(
            pool, events_partitions=PARTITIONS, answer_timeout_s=ANSWER_TIMEOUT_S
        )
        try:
            yield log
        finally:
            await log.close()
            await pool.close()


class KafkaStore:
    """A broker; topics of its own, so that tests can share the broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.settings = KafkaSettings(
            topic_prefix=f"test-{uuid.uuid4().hex}.",
            answer_timeout_s=ANSWER_TIMEOUT_S,
            give_up_s=ANSWER_TIMEOUT_S,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Log]:
        """Give a Kafka log with connections of its own."""
        log = await KafkaLog.open(
            self.bootstrap, events_partitions=PARTITIONS, settings=self.settings
        )
        try:
            yield log
        finally:
            await log.close()


class ArchivingLog(ArchivedLog):
    """A log whose records are in an archive, and nowhere else, as soon as they are appended."""

    def __init__(self, log: Log, archive: Archive, lock: asyncio.Lock) -> None:
        super().__init__(log, archive)
        self._lock = lock

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Append, archive and drop; a caller that goes away does not keep that from its end."""
        positions = await super().append(records)
        await asyncio.shield(self._drop())
        return positions

    async def _drop(self) -> None:
        async with self._lock:
            done = await archive_log(
                self._log, self._archive.place, {}, lambda _done, _total: None, records_max=7
            )
            ends = {one: done.manifest.end(one) - 1 for one in done.manifest.partitions}
            await self._log.drop_before(ends)


class ArchivedStore:
    """A log in memory and an archive in memory of everything in it."""

    def __init__(self) -> None:
        importlib.import_module("pyarrow.parquet")  # else the first append waits for it
        self.log = MemoryLog(PARTITIONS)
        self.place = BucketPlace(ObjectStore(), "memory:")
        self.lock = asyncio.Lock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Log]:
        """Give a log object of its own over both."""
        yield ArchivingLog(self.log, Archive(self.place), self.lock)


def run_key(number: int = 0) -> str:
    """Return a run id; equal numbers give equal ones."""
    return f"{number:032x}"


def event_record(value: bytes = b"value", run: int = 0) -> NewRecord:
    """Return a record for the events topic."""
    return NewRecord(EVENTS_TOPIC, run_key(run), value)


def partition_of_run(run: int = 0) -> Partition:
    """Return where the records of a run go."""
    return Partition(EVENTS_TOPIC, partition_of(run_key(run), PARTITIONS))


def at(partition: Partition, offset: int) -> Position:
    """Return the position of an offset."""
    return Position(partition.topic, partition.number, offset)


async def read_values(reader: LogReader, count: int) -> list[bytes]:
    """Read until a number of records has come, in the order in which they come."""
    return [record.value for record in await read_records(reader, count)]


async def read_records(reader: LogReader, count: int) -> list[LogRecord]:
    """Read until a number of records has come, in the order in which they come."""
    found: list[LogRecord] = []
    while len(found) < count:
        batches = await reader.fetch(bytes_max=BYTES_MAX, wait_s=WAIT_S)
        assert batches, f"only {len(found)} of {count} records came within {WAIT_S} s"
        found += [record for records in batches.values() for record in records]
    return found


@asynccontextmanager
async def reading(log: Log, positions: dict[Partition, int]) -> AsyncIterator[LogReader]:
    """Give a reader that is assigned, and close it afterwards."""
    reader = log.reader()
    reader.assign(positions)
    try:
        yield reader
    finally:
        await reader.close()


async def append_all(log: Log, values: Sequence[bytes], run: int = 0) -> list[Position]:
    """Append records of one run together."""
    return await log.append([event_record(value, run) for value in values])
