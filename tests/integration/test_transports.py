"""One suite for every transport: records arrive in order, once, with their positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.services.trialog import TrialogService
from trialog.settings import Session
from trialog.transports.base import OutRecord, Transport
from trialog.transports.http import HttpTransport
from trialog.transports.kafka import KafkaTransport
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import TagsSet
from trialog_schemas.wire import (
    EVENTS_TOPIC,
    Position,
    RecordHeader,
    encode_event,
    event_id_for,
    first_hash,
    next_hash,
    pack_record,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.services.kafka import Broker

RUN, WRITER = "5a" * 16, "6b" * 16


def records(count: int, run_id: str = RUN) -> list[OutRecord]:
    """Return records of one event each, chained as a writer's."""
    chain = first_hash("default", "me@host", run_id, WRITER)
    made = []
    for seq in range(1, count + 1):
        event = encode_event(seq, event_id_for(WRITER, seq, 1), 1, TagsSet({"seq": str(seq)}))
        header = RecordHeader("default", "me@host", run_id, WRITER, seq, 1, chain)
        made.append(OutRecord(EVENTS_TOPIC, run_id, pack_record(header, [event])))
        chain = next_hash(chain, event)
    return made


@pytest.fixture(params=["http", "kafka"])
async def transport(
    request: pytest.FixtureRequest, tmp_path: Path, kafka_broker: Broker
) -> AsyncIterator[Transport]:
    """A transport to a service of its own."""
    kafka = kafka_broker.bootstrap if request.param == "kafka" else None
    with TrialogService(tmp_path, kafka=kafka) as service:
        made: Transport
        if kafka is None:
            made = HttpTransport(Session(url=service.url, spool_dir=tmp_path).resolve())
        else:
            made = KafkaTransport(kafka)
        yield made
        await made.close()


# K1
async def test_transport_appends_a_key_in_order_at_neighbouring_positions(
    transport: Transport,
) -> None:
    """All records of a run land in one partition, one behind the other."""
    receipts = await transport.send(records(20))
    positions = [receipt for receipt in receipts if isinstance(receipt, Position)]
    assert len(positions) == 20
    assert len({position.partition for position in positions}) == 1
    offsets = [position.offset for position in positions]
    assert offsets == list(range(offsets[0], offsets[0] + 20))


async def test_transport_sends_the_same_again_to_later_positions(transport: Transport) -> None:
    """A re-send is appended again: making it harmless is the projection's part."""
    first = await transport.send(records(1, "7c" * 16))
    again = await transport.send(records(1, "7c" * 16))
    assert isinstance(first[0], Position)
    assert isinstance(again[0], Position)
    assert again[0].offset > first[0].offset


async def test_http_transport_without_a_service_says_unavailable(tmp_path: Path) -> None:
    """An address where nothing listens is an error to retry, with the address in it."""
    endpoint = Session(url="http://127.0.0.1:9", spool_dir=tmp_path).resolve()
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        await HttpTransport(endpoint).send(records(1))
