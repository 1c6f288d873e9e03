"""One suite for every transport: records arrive in order, once, with their positions."""

from __future__ import annotations

import asyncio
import socket
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.services.trialog import TrialogService
from trialog.client import Client, request_over_http
from trialog.settings import Session
from trialog.transports.base import OutRecord, RefusedRecord, Transport
from trialog.transports.http import HttpTransport
from trialog.transports.kafka import KafkaTransport
from trialog.transports.kafka_producer import ProducerSettings
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import NIL_ID, RunCreated, TagsSet
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.wire import (
    CATALOG_TOPIC,
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
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tests.services.kafka import Broker
    from trialog.transports.base import Receipt

WRITER = "6b" * 16


@pytest.fixture(scope="module", params=["http", "kafka"])
def service(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    kafka_broker: Broker,
) -> Iterator[TrialogService]:
    """A service that the transports of this module share; each test has runs of its own."""
    kafka = kafka_broker.bootstrap if request.param == "kafka" else None
    with TrialogService(tmp_path_factory.mktemp(request.param), kafka=kafka) as running:
        yield running


@pytest.fixture
def client(service: TrialogService) -> Client:
    """Who asks the service what became of the records."""
    return Client(Session(url=service.url).resolve())


@pytest.fixture
async def transport(service: TrialogService) -> AsyncIterator[Transport]:
    """A transport to the service."""
    made: Transport
    if service.kafka is None:
        made = HttpTransport(Session(url=service.url).resolve())
    else:
        made = KafkaTransport(service.kafka)
    yield made
    await made.close()


def records(count: int, run_id: str | None = None) -> list[OutRecord]:
    """Return records of one event each, chained as a writer's; a new run unless one is named."""
    run = run_id or uuid.uuid4().hex
    chain = first_hash("default", "me@host", run, WRITER)
    made = []
    for seq in range(1, count + 1):
        event = encode_event(seq, event_id_for(WRITER, seq, 1), 1, TagsSet({"seq": str(seq)}))
        header = RecordHeader("default", "me@host", run, WRITER, seq, 1, chain)
        made.append(OutRecord(EVENTS_TOPIC, run, pack_record(header, [event])))
        chain = next_hash(chain, event)
    return made


def catalog_record(run_id: str) -> OutRecord:
    """Return a record that creates a run."""
    writer_id = uuid.uuid4().hex
    body = RunCreated(run_id, "transports", f"run-{run_id[:8]}", uuid.uuid4().hex)
    event = encode_event(1, event_id_for(writer_id, 1, 1), 1, body)
    start = first_hash("default", "me@host", NIL_ID, writer_id)
    header = RecordHeader("default", "me@host", NIL_ID, writer_id, 1, 1, start)
    return OutRecord(CATALOG_TOPIC, "default", pack_record(header, [event]))


def positions_of(receipts: Sequence[Receipt]) -> list[Position]:
    """Return the positions of receipts that are all positions."""
    found = [receipt for receipt in receipts if isinstance(receipt, Position)]
    assert len(found) == len(receipts), receipts
    return found


# K1
async def test_transport_appends_a_key_in_order_at_neighbouring_positions(
    transport: Transport,
) -> None:
    """All records of a run land in one partition, one behind the other."""
    positions = positions_of(await transport.send(records(20)))
    assert len({position.partition for position in positions}) == 1
    offsets = [position.offset for position in positions]
    assert offsets == list(range(offsets[0], offsets[0] + 20))


# K1
async def test_transport_brings_what_it_was_given(transport: Transport, client: Client) -> None:
    """Bytes come out of the log as they went in: every event of the run is readable in order."""
    run_id = uuid.uuid4().hex
    sent = [catalog_record(run_id), *records(10, run_id)]
    positions = positions_of(await transport.send(sent))
    await asyncio.to_thread(wait_applied, client, positions, run_id)
    found = await asyncio.to_thread(lambda: list(client.events(run_id)))
    tags = [event for event in found if event["type"] == "tags_set"]
    assert [event["seq"] for event in tags] == list(range(1, 11))
    assert [event["position"] for event in tags] == [one.token() for one in positions[1:]]
    assert tags[9]["body"] == {"tags": {"seq": "10"}, "removed": []}


def wait_applied(client: Client, positions: Sequence[Position], run_id: str) -> None:
    """Wait until the projection has the positions."""
    tokens = [position.token() for position in positions]
    answer = client.applied(tokens, run_id=run_id, writer_id=WRITER, wait_s=20)
    assert answer["applied"]


async def test_transport_sends_the_same_again_to_later_positions(transport: Transport) -> None:
    """A re-send is appended again: making it harmless is the projection's part."""
    sent = records(1)
    (first,) = positions_of(await transport.send(sent))
    (again,) = positions_of(await transport.send(sent))
    assert again.offset > first.offset
    assert again.partition == first.partition


async def test_transport_of_nothing_returns_nothing(transport: Transport) -> None:
    """A turn in which every record was refused before has nothing to send."""
    assert await transport.send([]) == []


async def test_transport_takes_many_runs_and_the_catalog_in_one_sending(
    transport: Transport,
) -> None:
    """Receipts come in the order of the records, whichever partition each went to."""
    runs = [records(3) for _ in range(12)]
    mixed = [record for same_seq in zip(*runs, strict=True) for record in same_seq]
    positions = positions_of(await transport.send([catalog_record(uuid.uuid4().hex), *mixed]))
    assert positions[0].topic == CATALOG_TOPIC
    assert {position.topic for position in positions[1:]} == {EVENTS_TOPIC}
    for number in range(12):
        own = positions[1 + number :: 12]
        assert len({position.partition for position in own}) == 1
        assert [one.offset for one in own] == sorted({one.offset for one in own})


async def test_transport_takes_sendings_at_once(transport: Transport) -> None:
    """The sender and the adoption of a dead spool share one; nobody's order suffers."""
    sendings = [records(20) for _ in range(5)]
    answers = await asyncio.gather(*(transport.send(sending) for sending in sendings))
    everything = [positions_of(answer) for answer in answers]
    for positions in everything:
        offsets = [position.offset for position in positions]
        assert offsets == sorted(offsets)
    flat = [position for positions in everything for position in positions]
    assert len(set(flat)) == 100


async def test_transport_refuses_a_record_that_is_too_large_and_takes_the_others(
    transport: Transport,
) -> None:
    """The receipt has size and limit; what stood around it is in the log."""
    before, after = records(2)
    large = OutRecord(EVENTS_TOPIC, before.key, bytes(RECORD_BYTES_MAX + 1))
    receipts = await transport.send([before, large, after])
    assert receipts[1] == RefusedRecord(
        "ResourceLimitExceeded",
        f"a record of {RECORD_BYTES_MAX + 1} bytes is too large, allowed are {RECORD_BYTES_MAX}; "
        "log less at once",
    )
    first, second = positions_of([receipts[0], receipts[2]])
    assert second.offset == first.offset + 1


async def test_transport_takes_a_record_of_the_largest_size(transport: Transport) -> None:
    """What no transport refuses the log takes, with everything that Kafka adds around it."""
    small = records(1)[0]
    largest = OutRecord(
        EVENTS_TOPIC, small.key, small.value + bytes(RECORD_BYTES_MAX - len(small.value))
    )
    assert len(positions_of(await transport.send([largest] * 9))) == 9


async def test_transport_goes_on_after_a_sending_was_given_up(transport: Transport) -> None:
    """A sender that is cancelled amid a sending leaves a transport that works."""
    sending = asyncio.create_task(transport.send(records(50)))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert len(positions_of(await transport.send(records(5)))) == 5


@pytest.mark.parametrize("way", ["http", "kafka"])
async def test_transport_without_a_log_says_unavailable_with_the_address(way: str) -> None:
    """An address where nothing listens is an error to retry, and said within its time."""
    made: Transport
    if way == "http":
        made = HttpTransport(Session(url="http://127.0.0.1:9").resolve())
    else:
        settings = ProducerSettings(answer_timeout_s=1.0, give_up_s=0.3)
        made = KafkaTransport("127.0.0.1:9", settings)
    try:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
            await made.send(records(1))
    finally:
        await made.close()


def test_service_that_takes_connections_and_says_nothing_is_another_fault_than_none() -> None:
    """Whoever waited for it in vain is not told to start one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TimeoutError):
            request_over_http("GET", url, None, {}, answer_timeout_s=0.05)
    with pytest.raises(ConnectionError):
        request_over_http("GET", url, None, {})
