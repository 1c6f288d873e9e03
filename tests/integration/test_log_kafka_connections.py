"""Kafka clients that are given up leave no connection open, and end nobody but themselves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.integration.log_stores import BYTES_MAX, KafkaStore, partition_of_run
from trialog.transports.kafka_producer import ProducerSettings, ReliableProducer
from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.log.kafka import KafkaLog, KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.services.kafka import Broker, KafkaBroker
    from trialog_server.log.base import LogReader

pytestmark = pytest.mark.kafka

MOMENTS = 24
"""So many moments of a connecting client at which it is given up, spread over its whole start."""


async def give_up_at_every_moment(connect: Callable[[], Awaitable[object]]) -> int:
    """Cancel a connecting client again and again, always later; count connections left open."""
    started_s = time.monotonic()
    await connect()
    whole_s = time.monotonic() - started_s
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for moment in range(MOMENTS):
            connecting = asyncio.ensure_future(connect())
            await asyncio.wait([connecting], timeout=whole_s * moment / MOMENTS)
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        gc.collect()
    return sum("Unclosed" in str(warning.message) for warning in caught)


async def test_reader_given_up_while_it_connects_leaves_no_connection(kafka_broker: Broker) -> None:
    """A worker that is stopped at any moment of its first fetch closes what was opened for it."""
    async with KafkaStore(kafka_broker.bootstrap).open() as log:

        async def fetch() -> None:
            reader = log.reader()
            reader.assign({partition_of_run(): 0})
            try:
                await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.0)
            finally:
                await reader.close()

        assert await give_up_at_every_moment(fetch) == 0


async def test_reader_of_a_broker_that_is_away_for_long_goes_on_when_it_is_back(
    private_kafka: KafkaBroker,
) -> None:
    """Its client, given up amid the pause behind a failed fetch, does not end the worker."""
    settings = KafkaSettings(bootstrap=private_kafka.bootstrap, answer_timeout_s=1.0)
    log = await KafkaLog.open(private_kafka.bootstrap, settings=settings)
    reader = log.reader()
    try:
        reader.assign({Partition(EVENTS_TOPIC, 0): 0})
        assert await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.1) == {}
        private_kafka.kill()
        with pytest.raises(UnavailableError):
            await fetch_until_it_fails(reader)
        private_kafka.start()
        await fetch_until_it_answers(reader)
    finally:
        await reader.close()
        await log.close()


async def fetch_until_it_answers(reader: LogReader) -> None:
    """Read a log again and again until its broker is there."""
    async with asyncio.timeout(30.0):
        while True:
            with contextlib.suppress(UnavailableError):
                assert await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.1) == {}
                return


async def fetch_until_it_fails(reader: LogReader) -> None:
    """Read an idle log for as long as its broker seems to be there."""
    async with asyncio.timeout(30.0):
        while True:
            await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.1)


async def test_producer_of_a_broker_that_is_away_for_long_leaves_nothing_to_complain_of(
    private_kafka: KafkaBroker,
) -> None:
    """Otherwise asyncio would print traces of aiokafka into the program's own words."""
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(str(context)))
    log = await KafkaLog.open(private_kafka.bootstrap)
    await log.close()
    settings = ProducerSettings(answer_timeout_s=1.0, give_up_s=3.0)
    producer = ReliableProducer(private_kafka.bootstrap, settings)
    try:
        assert await producer.send_all(EVENTS_TOPIC, 0, "k", [b"1"]) == [0]
        private_kafka.kill()
        sends = [producer.send_all(EVENTS_TOPIC, number, "k", [b"2"]) for number in range(4)]
        ended = await asyncio.gather(*sends, return_exceptions=True)
        assert [type(one) for one in ended] == [UnavailableError] * 4
    finally:
        await producer.close()
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_log_given_up_while_it_opens_leaves_no_connection(kafka_broker: Broker) -> None:
    """A service that is stopped while it starts closes what was opened for it."""
    store = KafkaStore(kafka_broker.bootstrap)

    async def open_and_close() -> None:
        log = await KafkaLog.open(store.bootstrap, settings=store.settings)
        await log.close()

    assert await give_up_at_every_moment(open_and_close) == 0


async def test_producer_given_up_while_it_connects_leaves_no_connection(
    kafka_broker: Broker,
) -> None:
    """A send that is cancelled at any moment of the first connecting closes what was opened."""
    store = KafkaStore(kafka_broker.bootstrap)
    async with store.open():

        async def ask() -> None:
            producer = ReliableProducer(store.bootstrap)
            try:
                await producer.partition_count(store.settings.topic_prefix + EVENTS_TOPIC)
            finally:
                await producer.close()

        assert await give_up_at_every_moment(ask) == 0
