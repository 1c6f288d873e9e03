"""Records into Kafka directly, to the partition that our own hash of the key names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from trialog.transports.base import RefusedRecord, refusal_of
from trialog.transports.kafka_producer import ReliableProducer
from trialog_schemas.errors import LimitExceededError
from trialog_schemas.wire import Position, partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog.transports.base import OutRecord, Receipt
    from trialog.transports.kafka_producer import ProducerSettings


class Producer(Protocol):
    """What the transport appends with; `ReliableProducer` says what each call promises."""

    async def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""

    async def send_all(
        self, topic: str, partition: int, key: str, values: Sequence[bytes]
    ) -> list[int]:
        """Append values to a partition, one after the other; return their offsets."""

    async def close(self) -> None:
        """Finish what is under way and close the connections."""


class KafkaTransport:
    """Produces with one reliable producer; keys keep their order, and do not wait for each other.

    Args:
        bootstrap: the brokers.
        settings: how long the producer tries.
        producer: what appends to partitions; None is a reliable producer on the brokers.
    """

    def __init__(
        self,
        bootstrap: str,
        settings: ProducerSettings | None = None,
        producer: Producer | None = None,
    ) -> None:
        self._producer = producer or ReliableProducer(bootstrap, settings)
        self._partition_counts: dict[str, int] = {}

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Append the records durably; return a receipt for each.

        Raises:
            UnavailableError: not all are known to be in the log; send them all again.
            AccessRefusedError: the broker does not let us write; likewise, once it does.
        """
        receipts: dict[int, Receipt] = {}
        groups: dict[tuple[str, str], list[int]] = {}
        for index, record in enumerate(records):
            refusal = refusal_of(record)
            if refusal is not None:
                receipts[index] = refusal
            else:
                groups.setdefault((record.topic, record.key), []).append(index)
        for topic in dict.fromkeys(topic for topic, _ in groups):
            if topic not in self._partition_counts:
                self._partition_counts[topic] = await self._producer.partition_count(topic)
        sends = [
            self._send_key(topic, key, [records[index].value for index in indexes])
            for (topic, key), indexes in groups.items()
        ]
        # All run to their end, also when one fails: none may go on behind the caller's back.
        found = await asyncio.gather(*sends, return_exceptions=True)
        for indexes, answer in zip(groups.values(), found, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            receipts.update(zip(indexes, answer, strict=True))
        return [receipts[index] for index in range(len(records))]

    async def _send_key(self, topic: str, key: str, values: Sequence[bytes]) -> list[Receipt]:
        partition = partition_of(key, self._partition_counts[topic])
        try:
            offsets = await self._producer.send_all(topic, partition, key, values)
        except LimitExceededError as exc:
            # One of them is more than the topic takes; the others are not to go with it.
            if len(values) == 1:
                return [RefusedRecord(exc.code, exc.message)]
            return [
                receipt for value in values for receipt in await self._send_key(topic, key, [value])
            ]
        return [Position(topic, partition, offset) for offset in offsets]

    async def close(self) -> None:
        """Finish what is under way and close the connections."""
        await asyncio.shield(self._producer.close())
