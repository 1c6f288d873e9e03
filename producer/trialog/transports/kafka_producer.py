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
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from trialog.transports.kafka_connection import AiokafkaConnection
from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    LimitExceededError,
    UnavailableError,
)
from trialog_schemas.limits import RECORD_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trialog.transports.kafka_connection import KafkaConnection

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

    Args:
        bootstrap: the brokers.
        settings: how long it tries.
        connect: makes a producer that is not started; None makes aiokafka's.
    """

    def __init__(
        self,
        bootstrap: str,
        settings: ProducerSettings | None = None,
        connect: Callable[[], KafkaConnection] | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._settings = settings or ProducerSettings()
        self._connect = connect or self._connect_to_brokers
        self._connection: KafkaConnection | None = None
        self._connecting = asyncio.Lock()
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
                return await (await self._connected()).partition_count(topic)
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
        await self._discard(self._connection)

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
        if not batch:
            return
        try:
            await self._send_batch(topic, partition, batch)
        except ClientError as exc:
            # Everything behind the batch fails with it: it must not overtake it.
            _fail([*batch, *waiting], exc)
            waiting.clear()
        finally:
            _fail(batch, UnavailableError("the producer was closed before the broker answered"))

    async def _send_batch(self, topic: str, partition: int, batch: Sequence[_Item]) -> None:
        try:
            first = await self._send_until(topic, partition, batch)
        except LimitExceededError as exc:
            if len(batch) == 1:
                _fail(batch, exc)
                return
            # Together they are too much for the topic; each by itself may be not. They may come
            # from many runs, which are not to pay for one of them.
            for item in batch:
                await self._send_batch(topic, partition, [item])
            return
        for index, item in enumerate(batch):
            if not item.offset.done():
                item.offset.set_result(first + index)

    async def _send_until(self, topic: str, partition: int, batch: Sequence[_Item]) -> int:
        """Send one batch, with new producers if need be, and return the offset of its first."""
        settings = self._settings
        deadline_s = time.monotonic() + settings.give_up_s
        pause_s = settings.retry_pause_s
        records = [(item.key, item.value) for item in batch]
        size = sum(len(item.value) for item in batch)
        while True:
            connection: KafkaConnection | None = None
            try:
                async with asyncio.timeout_at(_loop_time(deadline_s, settings.answer_timeout_s)):
                    connection = await self._connected()
                    return await connection.send(topic, partition, records)
            except (MessageSizeTooLargeError, RecordListTooLargeError) as exc:
                await self._discard(connection)
                raise LimitExceededError(
                    f"kafka topic {topic!r} takes no record of {size} bytes; set "
                    f"its max.message.bytes to {RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES}",
                    field="record",
                    limit="max.message.bytes",
                ) from exc
            except TopicAuthorizationFailedError as exc:
                await self._discard(connection)
                raise AccessRefusedError(
                    f"kafka at {self._bootstrap} does not let us write to {topic!r}; allow it"
                ) from exc
            except KAFKA_AWAY as exc:
                await self._discard(connection)
                if time.monotonic() + pause_s >= deadline_s:
                    raise self._unavailable(exc) from exc
            except asyncio.CancelledError:
                await self._discard(connection)
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 1.0)

    async def _connected(self) -> KafkaConnection:
        async with self._connecting:
            if self._connection is None:
                connection = self._connect()
                await connection.start()
                self._connection = connection
            return self._connection

    def _connect_to_brokers(self) -> KafkaConnection:
        settings = self._settings
        return AiokafkaConnection(
            self._bootstrap,
            settings.client_id,
            settings.answer_timeout_s,
            RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES,
        )

    async def _discard(self, connection: KafkaConnection | None) -> None:
        """Throw a failed producer away; whoever comes next makes a new one."""
        if connection is not None and self._connection is connection:
            # The other lanes' batches fail with it, find it gone and go on with the next one.
            self._connection = None
            await connection.abandon()

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
