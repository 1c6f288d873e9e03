"""One idempotent producer of aiokafka, from its start to its end; must not try anything twice.

`kafka_producer` makes a new one when one has failed. The port stands here beside its one real
implementation, so that the former can be tested without a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from trialog.transports.kafka_client import start_client, stop_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka.producer.message_accumulator import MessageAccumulator

_CLOSE_TIMEOUT_S = 5.0


class KafkaConnection(Protocol):
    """What is needed of a producer until it fails. Every call may raise a `KafkaError`."""

    async def start(self) -> None:
        """Connect; a start that fails or is given up leaves no connection."""

    async def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""

    async def send(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Append (key, value) pairs as one batch; return the offset of the first.

        Raises:
            MessageSizeTooLargeError, RecordListTooLargeError: the topic does not take so much.
            TopicAuthorizationFailedError: we may not write to it.
            KafkaError, OSError: whether the batch is in the log nobody knows.
        """

    async def abandon(self) -> None:
        """Close it without waiting for what it still wants to deliver; raises nothing."""


class AiokafkaConnection:
    """A `KafkaConnection` with acks of all replicas and idempotence.

    Args:
        bootstrap: the brokers.
        client_id: the name the broker shows in its logs and metrics.
        answer_timeout_s: after this long without an answer a request has failed.
        request_bytes_max: of the largest batch with everything around it.
    """

    def __init__(
        self, bootstrap: str, client_id: str, answer_timeout_s: float, request_bytes_max: int
    ) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,  # batches are made by our caller, and full when they are given away
            max_batch_size=2 * request_bytes_max,
            max_request_size=request_bytes_max,
            request_timeout_ms=round(answer_timeout_s * 1000),
        )

    async def start(self) -> None:
        """Connect; a start that fails or is given up leaves no connection."""
        await start_client(self._producer.start(), self._close)

    async def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return len(await self._producer.partitions_for(topic))

    async def send(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Append (key, value) pairs as one batch; return the offset of the first."""
        builder = self._producer.create_batch()
        for key, value in records:
            if builder.append(timestamp=None, key=key, value=value) is None:
                raise MessageSizeTooLargeError(f"record of {len(value)} bytes")
        builder.close()
        acknowledged = await self._producer.send_batch(builder, topic, partition=partition)
        first: int = (await acknowledged).offset
        if first < 0:
            # The broker knows the batch as a duplicate but no longer where it is. Sent anew by a
            # new producer it gets an offset; the projection drops the older or the newer copy.
            raise KafkaError("acknowledged without an offset")
        return first

    async def abandon(self) -> None:
        """Close it without waiting for what it still wants to deliver; raises nothing."""
        await stop_client(self._close())

    async def _close(self) -> None:
        """Close the connections first.

        `stop()` waits for every batch, and an idempotent producer never gives one up: with the
        broker away that is for ever. Without connections its sender task ends at once when it is
        cancelled.
        """
        producer = self._producer
        with contextlib.suppress(KafkaError, OSError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await producer.client.close()
                await producer._sender.close()  # noqa: SLF001  aiokafka has no public way to give up
        _fail_all(producer._message_accumulator)  # noqa: SLF001  same reason
        with contextlib.suppress(KafkaError, OSError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await producer.stop()


def _fail_all(accumulator: MessageAccumulator) -> None:
    """End what a producer has not delivered, so that nobody is told of it but who waits.

    aiokafka 0.14 takes a batch that it wants to try again for one that is under way when it ends,
    and gives its own waiters errors that nobody asks for: asyncio prints both with their traces.
    """
    batches = [batch for waiting in accumulator._batches.values() for batch in waiting]  # noqa: SLF001
    under_way = accumulator._pending_batches  # noqa: SLF001
    under_way.update(batches)
    accumulator.fail_all(ProducerClosed())
    for batch in under_way:
        for waiter in (batch.future, batch._drain_waiter):  # noqa: SLF001
            if waiter.done() and not waiter.cancelled():
                waiter.exception()
