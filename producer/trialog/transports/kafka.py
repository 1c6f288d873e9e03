"""Records into Kafka directly, to the partition that our own hash of the key names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trialog.transports.base import RefusedRecord
from trialog.transports.kafka_producer import ReliableProducer
from trialog_schemas.errors import AccessRefusedError, LimitExceededError
from trialog_schemas.wire import Position, partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog.transports.base import OutRecord, Receipt


class KafkaTransport:
    """Produces with one reliable producer; keys keep their order."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = ReliableProducer(bootstrap)
        self._partition_counts: dict[str, int] = {}

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Append the records durably; return a receipt for each.

        Raises:
            UnavailableError: not all are known to be in the log; send them all again.
        """
        groups: dict[tuple[str, str], list[int]] = {}
        for index, record in enumerate(records):
            groups.setdefault((record.topic, record.key), []).append(index)
        receipts: dict[int, Receipt] = {}
        for (topic, key), indexes in groups.items():
            values = [records[index].value for index in indexes]
            found = await self._send_key(topic, key, values)
            receipts.update(zip(indexes, found, strict=True))
        return [receipts[index] for index in range(len(records))]

    async def _send_key(self, topic: str, key: str, values: Sequence[bytes]) -> list[Receipt]:
        if topic not in self._partition_counts:
            self._partition_counts[topic] = await self._producer.partition_count(topic)
        partition = partition_of(key, self._partition_counts[topic])
        try:
            offsets = await self._producer.send_all(topic, partition, key, values)
        except (AccessRefusedError, LimitExceededError) as exc:
            return [RefusedRecord(exc.code, exc.message) for _ in values]
        return [Position(topic, partition, offset) for offset in offsets]

    async def close(self) -> None:
        """Finish what is under way and close the connections."""
        await asyncio.shield(self._producer.close())
