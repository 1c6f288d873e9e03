"""The Kafka broker of the tests is a real one: it keeps what it acknowledged, and can be killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.services.errors import ServiceUnavailableError
from tests.services.kafka import BROKER_VARIABLE, open_broker
from tests.services.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Broker, KafkaBroker

_TOPIC = "records"


async def _make_topic(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(_TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _send(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Send the values and return once the broker has acknowledged all of them."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True
    ) as producer:
        sent = [await producer.send(topic, value, partition=0) for value in values]
        await asyncio.gather(*sent)


async def _read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Read so many values of the topic's only partition, from its start."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none") as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        return [(await consumer.getone()).value for _ in range(count)]


async def test_broker_gives_records_back_in_order(kafka_broker: Broker, kafka_topic: str) -> None:
    """Records come back in the order in which they were sent."""
    values = [b"%d" % number for number in range(100)]
    await _send(kafka_broker.bootstrap, kafka_topic, values)
    assert await _read(kafka_broker.bootstrap, kafka_topic, len(values)) == values


async def test_broker_after_sigkill_keeps_what_it_acknowledged_until_it_is_closed(
    private_kafka: KafkaBroker,
) -> None:
    """Killed and started again it has every record; closed it leaves neither process nor file."""
    values = [b"%d" % number for number in range(100)]
    address = private_kafka.bootstrap
    await _make_topic(address)
    await _send(address, _TOPIC, values)
    private_kafka.kill()
    private_kafka.start()
    assert private_kafka.bootstrap == address
    assert await _read(address, _TOPIC, len(values)) == values
    close_for_good(private_kafka)


def close_for_good(broker: KafkaBroker) -> None:
    """Close a broker, which leaves neither a process nor a file."""
    folder: Path = broker.folder
    assert folder.exists()
    broker.close()
    assert not broker.is_running
    assert not folder.exists()


async def test_broker_through_proxy_is_reached_only_through_it(private_kafka: KafkaBroker) -> None:
    """A client that comes through the proxy is never told the way around it."""
    await _make_topic(private_kafka.bootstrap)
    with Proxy(private_kafka.proxied_address, port=private_kafka.proxy_port) as proxy:
        async with AIOKafkaProducer(bootstrap_servers=proxy.address, acks="all") as producer:
            await producer.send_and_wait(_TOPIC, b"first", partition=0)
            proxy.stall()
            held_back = await producer.send(_TOPIC, b"second", partition=0)
            done, _ = await asyncio.wait([held_back], timeout=0.3)
            assert not done
            proxy.resume()
            await held_back
    assert await _read(private_kafka.bootstrap, _TOPIC, 2) == [b"first", b"second"]


def test_given_broker_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that no broker answers is an error that names it, never another broker."""
    monkeypatch.setenv(BROKER_VARIABLE, "127.0.0.1:1")
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1"), open_broker():
        pass
