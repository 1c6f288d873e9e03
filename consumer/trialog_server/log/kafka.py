"""The log on Apache Kafka. Uses no consumer group and no Kafka transaction: leases replace both.

Topics are created when they are missing: never compacted, kept for ever, stamped by the broker.
Each reader has a consumer of its own, assigned by hand; a further one answers `bounds` and
`read_at`. A consumer that fails, or that falls silent while there is something to read, is
replaced: the positions are ours, so that nothing is lost with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError

from trialog.transports.kafka_client import start_client, stop_client
from trialog.transports.kafka_producer import (
    KAFKA_AWAY,
    ProducerSettings,
    ReliableProducer,
)
from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import Position
from trialog_server.log.base import (
    LAPTOP_PARTITIONS,
    LogRecord,
    OffsetMissing,
    Partition,
    check_sizes,
    partition_for,
    share_bytes,
)
from trialog_server.log.kafka_admin import administrating, away, ensure_topics, find_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from trialog_server.log.base import NewRecord

FETCH_BYTES_MAX = 8_388_608
"""Bytes a broker puts into one answer; a consumer keeps about one answer in memory."""

PARTITION_FETCH_BYTES_MAX = 4_194_304
"""Bytes of one partition in an answer, so that a long one does not fill it alone."""

_US_PER_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Where Kafka is and how long to try.

    Args:
        bootstrap: `host:port` of one or more brokers, joined by commas.
        answer_timeout_s: how long a broker may take for one answer before it counts as away. After
            half of it without records a reader asks where the log ends, to tell an idle log from
            a consumer that hangs and from a broker that is gone.
        give_up_s: after this long without success an append raises `UnavailableError`.
        topic_prefix: put before the topics' names, so that several installations share a cluster.
        client_id: the name the brokers show in their logs and metrics.
    """

    bootstrap: str = ""
    answer_timeout_s: float = 10.0
    give_up_s: float = 15.0
    topic_prefix: str = ""
    client_id: str = "trialog"

    def place(self, partition: Partition) -> TopicPartition:
        """Return where Kafka has a partition of ours."""
        return TopicPartition(self.topic_prefix + partition.topic, partition.number)

    def partition(self, place: TopicPartition) -> Partition:
        """Return which partition of ours Kafka has at a place."""
        return Partition(place.topic.removeprefix(self.topic_prefix), place.partition)


class KafkaLog:
    """The log in two Kafka topics. Make it with `open`."""

    def __init__(self, settings: KafkaSettings, partition_counts: Mapping[str, int]) -> None:
        self._settings = settings
        self._partition_counts = dict(partition_counts)
        self._producer = ReliableProducer(
            settings.bootstrap,
            ProducerSettings(
                answer_timeout_s=settings.answer_timeout_s,
                give_up_s=settings.give_up_s,
                client_id=settings.client_id,
            ),
        )
        self._lookup = _Connection(settings)
        self._lookup_lock = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        bootstrap: str,
        *,
        events_partitions: int = LAPTOP_PARTITIONS,
        settings: KafkaSettings | None = None,
        creates: bool = True,
    ) -> Self:
        """Create the topics where missing and learn how many partitions they have.

        Args:
            bootstrap: `host:port` of one or more brokers, joined by commas.
            events_partitions: used when the events topic is created; an existing one keeps its
                number, because a run must not move to another partition.
            settings: how long to try, and under which names.
            creates: make topics that are missing; who only reads makes none.

        Raises:
            UnavailableError: no broker answers.
            ResourceNotFoundError: topics are missing, and none are made.
        """
        chosen = replace(settings or KafkaSettings(), bootstrap=bootstrap)
        # Three answers: whom to ask, the topics created, the topics described.
        async with administrating(chosen, answers=3) as admin:
            if creates:
                return cls(chosen, await ensure_topics(admin, chosen, events_partitions))
            return cls(chosen, await find_topics(admin, chosen))

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Store the records on every in-sync replica; return their positions."""
        check_sizes(records)
        partitions = [partition_for(self, record) for record in records]
        # Stable: the records of a partition stay in their order. Runs of one key go together, and
        # gather starts the sends in the order in which they are given.
        order = sorted(range(len(records)), key=lambda index: partitions[index])
        groups = [
            list(group)
            for _, group in itertools.groupby(
                order, key=lambda index: (partitions[index], records[index].key)
            )
        ]
        answers = await asyncio.gather(
            *(
                self._producer.send_all(
                    self._settings.topic_prefix + partitions[group[0]].topic,
                    partitions[group[0]].number,
                    records[group[0]].key,
                    [records[index].value for index in group],
                )
                for group in groups
            ),
            return_exceptions=True,
        )
        offsets = [0] * len(records)
        for group, answer in zip(groups, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            for index, offset in zip(group, answer, strict=True):
                offsets[index] = offset
        return [
            Position(*partition, offset)
            for partition, offset in zip(partitions, offsets, strict=True)
        ]

    def reader(self) -> KafkaLogReader:
        """Return a new reader, without an assignment."""
        return KafkaLogReader(self._settings)

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return of each partition the first offset that is there and the next record's."""
        async with self._lookup_lock:
            return await self._lookup.bounds(partitions)

    async def ends_at(self, partitions: Collection[Partition], at_us: int) -> dict[Partition, int]:
        """Return where each partition ended at a time; the broker counts in milliseconds."""
        # A broker takes negative times for words: -1 is the end, -2 the start.
        later_ms = max(at_us // _US_PER_MS + 1, 0)
        async with self._lookup_lock:
            return await self._lookup.ends_at(partitions, later_ms)

    async def read_at(self, partition: Partition, offsets: Sequence[int]) -> list[LogRecord]:
        """Return the records at the given offsets, in ascending order of offset."""
        asked = set(offsets)
        wanted = sorted(asked)
        async with self._lookup_lock:
            start, end = (await self._lookup.bounds([partition]))[partition]
            found: dict[int, LogRecord] = {}
            for offset in wanted:
                if offset not in found and start <= offset < end:
                    records = await self._lookup.read_from(partition, offset)
                    found |= {one.offset: one for one in records if one.offset in asked}
                if offset not in found:
                    raise OffsetMissing(partition, offset, start, end)
        return [found[offset] for offset in wanted]

    async def drop_before(self, ends: Mapping[Partition, int]) -> None:
        """Have the brokers remove the records before the given offsets (DeleteRecords)."""
        if not ends:
            return
        asked = {
            self._settings.place(one): RecordsToDelete(before_offset=end)
            for one, end in ends.items()
        }
        # Three answers: whom to ask, who leads the partitions, the records removed.
        async with administrating(self._settings, answers=3) as admin:
            await admin.delete_records(
                asked, timeout_ms=round(self._settings.answer_timeout_s * 1000)
            )

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return self._partition_counts[topic]

    async def close(self) -> None:
        """Finish the appends that are under way and close the connections."""
        await self._producer.close()
        await self._lookup.drop()


class KafkaLogReader:
    """Reads the topics from our own positions on."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._connection = _Connection(settings)
        self._positions: dict[Partition, int] = {}
        self._in_hand: dict[Partition, list[LogRecord]] = {}
        self._heard_at_s = time.monotonic()
        self._was_behind = False

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Replace what is read: each partition with the offset to read next."""
        self._positions = dict(positions)
        self._in_hand = {}
        self._connection.is_assigned = False
        self._was_behind = False
        self._heard_at_s = time.monotonic()

    async def fetch(self, *, bytes_max: int, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return the next records, or an empty mapping after `wait_s`."""
        if not self._in_hand:
            await self._fill(wait_s)
        share = share_bytes(bytes_max, len(self._in_hand))
        return {partition: self._give(partition, share) for partition in list(self._in_hand)}

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.drop()

    async def _fill(self, wait_s: float) -> None:
        if not self._positions:
            await asyncio.sleep(wait_s)
            return
        deadline_s = time.monotonic() + wait_s
        try:
            if not self._connection.is_assigned:
                await self._connection.assign(self._positions)
            found = await self._connection.poll(max(deadline_s - time.monotonic(), 0.0))
        except OffsetOutOfRangeError as exc:
            raise await self._missing(exc) from exc
        if found:
            self._in_hand = found
            self._heard_at_s = time.monotonic()
            self._was_behind = False
        elif time.monotonic() - self._heard_at_s > self._settings.answer_timeout_s / 2:
            await self._check_silence()

    def _give(self, partition: Partition, bytes_max: int) -> list[LogRecord]:
        """Move records out of hand, at least one, and the position with them."""
        records = self._in_hand.pop(partition)
        size = 0
        count = 0
        for expected, record in enumerate(records, self._positions[partition]):
            if record.offset != expected:
                raise OffsetMissing(partition, expected, record.offset, records[-1].offset + 1)
            if count and size + len(record.value) > bytes_max:
                break
            size += len(record.value)
            count += 1
        if count < len(records):
            self._in_hand[partition] = records[count:]
        self._positions[partition] += count
        return records[:count]

    async def _check_silence(self) -> None:
        """Tell an idle log from a hanging consumer, a log cut short and a broker gone."""
        self._heard_at_s = time.monotonic()
        bounds = await self._connection.bounds(list(self._positions))
        is_behind = False
        for partition, position in self._positions.items():
            start, end = bounds[partition]
            if not start <= position <= end:
                raise OffsetMissing(partition, position, start, end)
            is_behind = is_behind or position < end
        if is_behind and self._was_behind:
            await self._connection.drop()
        self._was_behind = is_behind

    async def _missing(self, error: OffsetOutOfRangeError) -> OffsetMissing:
        """Return what is missing; `error` carries the partition and the offset asked for."""
        place, offset = next(iter(error.args[0].items()))
        partition = self._settings.partition(place)
        bounds = await self._connection.bounds([partition])
        self._connection.is_assigned = False
        return OffsetMissing(partition, offset, *bounds[partition])


class _Connection:
    """One consumer without a group, made when needed and replaced when it fails."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self.is_assigned = False

    async def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on."""
        async with self._answering() as consumer:
            asked = {self._settings.place(key): offset for key, offset in positions.items()}
            consumer.assign(list(asked))
            for place, offset in asked.items():
                consumer.seek(place, offset)
            self.is_assigned = True

    async def poll(self, wait_s: float) -> dict[Partition, list[LogRecord]]:
        """Return what has arrived of the assigned partitions.

        Raises:
            OffsetOutOfRangeError: a position is not in the log.
        """
        async with self._answering(wait_s) as consumer:
            batches = await consumer.getmany(timeout_ms=round(wait_s * 1000))
        found = {}
        for place, records in batches.items():
            partition = self._settings.partition(place)
            found[partition] = [_log_record(partition, record) for record in records]
        return found

    async def read_from(self, partition: Partition, offset: int) -> list[LogRecord]:
        """Return a few records from an offset on that is known to be there."""
        await self.assign({partition: offset})
        found = await self.poll(self._settings.answer_timeout_s)
        # An assigned consumer goes on fetching: a broker answers the next question only after the
        # fetch that waits at the end of the partition.
        await self.assign({})
        return found.get(partition, [])

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return where each partition starts and ends."""
        asked = [self._settings.place(partition) for partition in partitions]
        async with self._answering() as consumer:
            starts = await consumer.beginning_offsets(asked)
            ends = await consumer.end_offsets(asked)
        return {
            partition: (starts[place], ends[place])
            for partition, place in zip(partitions, asked, strict=True)
        }

    async def ends_at(
        self, partitions: Collection[Partition], later_ms: int
    ) -> dict[Partition, int]:
        """Return of each partition the first offset from a time on, or its end."""
        asked = {partition: self._settings.place(partition) for partition in partitions}
        async with self._answering() as consumer:
            # First the ends: what comes after this look has come later than any time before it.
            ends = await consumer.end_offsets(list(asked.values()))
            later = await consumer.offsets_for_times(dict.fromkeys(asked.values(), later_ms))
        return {
            partition: ends[place] if later[place] is None else later[place].offset
            for partition, place in asked.items()
        }

    async def drop(self) -> None:
        """Close the consumer; the next call makes a new one, without an assignment."""
        self.is_assigned = False
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await stop_client(_stop(consumer))

    @contextlib.asynccontextmanager
    async def _answering(self, wait_s: float = 0.0) -> AsyncIterator[AIOKafkaConsumer]:
        """Give a started consumer; drop it and raise `UnavailableError` when it fails or hangs."""
        try:
            async with (
                away(self._settings),
                asyncio.timeout(wait_s + self._settings.answer_timeout_s),
            ):
                if self._consumer is None:
                    self._consumer = await _start(self._settings)
                yield self._consumer
        except UnavailableError:
            await self.drop()
            raise


async def _start(settings: KafkaSettings) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        client_id=settings.client_id,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",  # a missing offset is data loss; never jump over it
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
        request_timeout_ms=round(settings.answer_timeout_s * 1000),
    )
    await start_client(consumer.start(), partial(_stop, consumer))
    return consumer


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer; to be run by `stop_client`, in a task that nobody cancels."""
    with contextlib.suppress(*KAFKA_AWAY):
        try:
            await consumer.stop()
        except asyncio.CancelledError:
            # aiokafka 0.14 cancels its fetches, waits for them, and falls over the first that is
            # amid the pause behind a failure. What it did not come to is to close connections.
            await consumer._client.close()  # noqa: SLF001  a second stop() does nothing


def _log_record(partition: Partition, record: ConsumerRecord[bytes, bytes]) -> LogRecord:
    # Somebody else's record may have no key or value; it becomes a dead row, not a crash.
    key = (record.key or b"").decode("utf-8", errors="replace")
    return LogRecord(
        partition, record.offset, record.timestamp * _US_PER_MS, key, record.value or b""
    )
