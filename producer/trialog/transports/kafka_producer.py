"""A Kafka producer that survives what aiokafka's does not; must not know records or receipts.

What it adds to `AIOKafkaProducer`:

* One batch of a partition is under way at a time, and the next one leaves only when it is
  acknowledged. So nothing of a partition can land before something that was given earlier, also
  when a send fails half-way; an event that landed before its predecessor would be taken for a gap.
* An idempotent producer stays poisoned after one OutOfOrderSequenceNumber, fencing or dead sender
  task. Then, and when an answer takes too long, it is thrown away and a new one sends the batch
  again. A record may then be in the log twice; the projection drops the second by its seq.
* Callers that wait for one partition share batches; without load nobody waits for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from trialog.transports.kafka_client import start_client, stop_client
from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    LimitExceededError,
    UnavailableError,
)
from trialog_schemas.limits import RECORD_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH_BYTES_MAX = 524_288
"""Bytes of records that travel in one batch, a larger single record excepted. From 512 KiB on
throughput no longer grew (measured), and a broker's default takes batches of 1 MiB."""

RECORD_OVERHEAD_BYTES = 4096
"""Room for key, lengths and Kafka's own header around the largest record."""

KAFKA_AWAY: tuple[type[Exception], ...] = (
    KafkaError,
    OSError,  # also TimeoutError
    AssertionError,  # aiokafka asserts that a partition is in its metadata, which may be stale
)
"""The errors after which a new producer or consumer may succeed."""

_CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """How long a producer tries.

    Args:
        answer_timeout_s: after this long without an answer the connection counts as dead.
        give_up_s: after this long without success a send raises `UnavailableError`.
        retry_pause_s: the pause before a new producer is made; doubles up to one second.
        client_id: the name the broker shows in its logs and metrics.
    """

    answer_timeout_s: float = 10.0
    give_up_s: float = 30.0
    retry_pause_s: float = 0.05
    client_id: str = "trialog"


@dataclass(slots=True)
class _Item:
    key: bytes
    value: bytes
    offset: asyncio.Future[int]

    @property
    def size(self) -> int:
        return len(self.key) + len(self.value) + 32


@dataclass(slots=True)
class _Lane:
    """What waits for one partition, and the task that sends it while there is any."""

    waiting: deque[_Item] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class ReliableProducer:
    """Sends values to partitions of Kafka topics, in order, and returns their offsets.

    Belongs to one event loop. Connects at the first send.
    """

    def __init__(self, bootstrap: str, settings: ProducerSettings | None = None) -> None:
        self._bootstrap = bootstrap
        self._settings = settings or ProducerSettings()
        self._producer: AIOKafkaProducer | None = None
        self._producer_lock = asyncio.Lock()
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._is_closed = False

    async def send_all(
        self, topic: str, partition: int, key: str, values: Sequence[bytes]
    ) -> list[int]:
        """Append values to a partition, one after the other; return their offsets.

        When this raises, a first part of the values may be in the log nevertheless; send the same
        values again.

        Raises:
            LimitExceededError: a value is larger than a record may be, or than the topic takes.
            AccessRefusedError: the broker does not let us write to the topic.
            UnavailableError: no success within `give_up_s`.
        """
        for value in values:
            if len(value) > RECORD_BYTES_MAX:
                raise LimitExceededError(
                    f"a record of {len(value)} bytes cannot be sent to {topic!r}, allowed are "
                    f"{RECORD_BYTES_MAX}; log less at once",
                    field="record",
                    limit=RECORD_BYTES_MAX,
                )
        if self._is_closed:
            raise UnavailableError(f"the producer for kafka at {self._bootstrap} is closed")
        lane = self._lanes.setdefault((topic, partition), _Lane())
        loop = asyncio.get_running_loop()
        items = [_Item(key.encode(), value, loop.create_future()) for value in values]
        lane.waiting.extend(items)
        if lane.task is None:
            lane.task = asyncio.create_task(self._drain(topic, partition, lane))
        return list(await asyncio.gather(*(item.offset for item in items)))

    async def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has.

        Raises:
            UnavailableError: no broker answers, or the topic does not exist.
        """
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                producer = await self._connected()
                return len(await producer.partitions_for(topic))
        except KAFKA_AWAY as exc:
            raise self._unavailable(exc) from exc

    async def close(self) -> None:
        """Finish what is under way, for a few seconds at most, and close the connections."""
        self._is_closed = True
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT_S)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await stop_client(_abandon(producer))

    async def _drain(self, topic: str, partition: int, lane: _Lane) -> None:
        try:
            while lane.waiting:
                await self._send_next(topic, partition, lane.waiting)
        finally:
            # Critical: no await between the last look at `waiting` and this line, so that a new
            # item always finds either this task still looking or no task.
            lane.task = None
            _fail(lane.waiting, UnavailableError("the producer was closed before the send"))
            lane.waiting.clear()

    async def _send_next(self, topic: str, partition: int, waiting: deque[_Item]) -> None:
        batch = _take_batch(waiting)
        try:
            base = await self._send_until(topic, partition, batch)
        except ClientError as exc:
            # Everything behind the batch fails with it: it must not overtake it.
            _fail([*batch, *waiting], exc)
            waiting.clear()
        else:
            for index, item in enumerate(batch):
                if not item.offset.done():
                    item.offset.set_result(base + index)
        finally:
            _fail(batch, UnavailableError("the producer was closed before the broker answered"))

    async def _send_until(self, topic: str, partition: int, batch: Sequence[_Item]) -> int:
        """Send one batch, with new producers if need be, and return the offset of its first."""
        settings = self._settings
        deadline_s = time.monotonic() + settings.give_up_s
        pause_s = settings.retry_pause_s
        while True:
            producer: AIOKafkaProducer | None = None
            try:
                async with asyncio.timeout_at(_loop_time(deadline_s, settings.answer_timeout_s)):
                    producer = await self._connected()
                    return await _send_batch(producer, topic, partition, batch)
            except (MessageSizeTooLargeError, RecordListTooLargeError) as exc:
                await self._discard(producer)
                raise LimitExceededError(
                    f"kafka topic {topic!r} takes no record of {len(batch[0].value)} bytes; set "
                    f"its max.message.bytes to {RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES}",
                    field="record",
                    limit="max.message.bytes",
                ) from exc
            except TopicAuthorizationFailedError as exc:
                await self._discard(producer)
                raise AccessRefusedError(
                    f"kafka at {self._bootstrap} does not let us write to {topic!r}; allow it"
                ) from exc
            except KAFKA_AWAY as exc:
                await self._discard(producer)
                if time.monotonic() + pause_s >= deadline_s:
                    raise self._unavailable(exc) from exc
            except asyncio.CancelledError:
                await self._discard(producer)
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 1.0)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._producer_lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._settings.client_id,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,  # batches are made here, and full when they are given away
                    max_batch_size=2 * RECORD_BYTES_MAX,
                    max_request_size=RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES,
                    request_timeout_ms=round(self._settings.answer_timeout_s * 1000),
                )
                await start_client(producer.start(), partial(_abandon, producer))
                self._producer = producer
            return self._producer

    async def _discard(self, producer: AIOKafkaProducer | None) -> None:
        """Throw a failed producer away; whoever comes next makes a new one."""
        if producer is not None and self._producer is producer:
            # The other lanes' batches fail with it, find it gone and go on with the next one.
            self._producer = None
            await stop_client(_abandon(producer))

    def _unavailable(self, cause: Exception) -> UnavailableError:
        reason = f"{type(cause).__name__}: {cause}".rstrip(": ")
        return UnavailableError(
            f"kafka at {self._bootstrap} cannot be reached now ({reason}); it is tried again, "
            "nothing is lost",
            field="bootstrap",
            value=self._bootstrap,
        )


def _take_batch(waiting: deque[_Item]) -> list[_Item]:
    """Remove the items of the next batch from the front; those nobody waits for are dropped."""
    batch: list[_Item] = []
    size = 0
    while waiting and (not batch or size + waiting[0].size <= BATCH_BYTES_MAX):
        item = waiting.popleft()
        if not item.offset.cancelled():
            batch.append(item)
            size += item.size
    return batch


async def _send_batch(
    producer: AIOKafkaProducer, topic: str, partition: int, batch: Sequence[_Item]
) -> int:
    if not batch:
        return -1
    builder = producer.create_batch()
    for item in batch:
        if builder.append(timestamp=None, key=item.key, value=item.value) is None:
            raise MessageSizeTooLargeError(f"record of {len(item.value)} bytes")
    builder.close()
    acknowledged = await producer.send_batch(builder, topic, partition=partition)
    base: int = (await acknowledged).offset
    if base < 0:
        # The broker knows the batch as a duplicate but no longer where it is. Sent anew by a new
        # producer it gets an offset; the projection drops the older or the newer copy.
        raise KafkaError("acknowledged without an offset")
    return base


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer without waiting for what it still wants to deliver.

    `stop()` waits for every batch, and an idempotent producer never gives one up: with the broker
    away that is for ever. Without connections its sender task ends at once when it is cancelled.
    """
    with contextlib.suppress(KafkaError, OSError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await producer.client.close()
            await producer._sender.close()  # noqa: SLF001  aiokafka has no public way to give up
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001  same reason
    with contextlib.suppress(KafkaError, OSError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await producer.stop()


def _fail(items: Sequence[_Item] | deque[_Item], error: ClientError) -> None:
    for item in items:
        if not item.offset.done():
            item.offset.set_exception(error)
            # A caller that was cancelled does not look at it; that is not worth a warning.
            item.offset.exception()


def _loop_time(deadline_s: float, longest_s: float) -> float:
    """Return the loop time of the earlier of a deadline and `longest_s` from now."""
    left_s = max(deadline_s - time.monotonic(), 0.0)
    return asyncio.get_running_loop().time() + min(left_s, longest_s)
