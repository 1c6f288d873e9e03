"""The two ways to the log without a log: what is cut, refused, kept in order, and chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import pytest

from trialog.client import Client
from trialog.settings import Session
from trialog.transports.base import OutRecord, RefusedRecord, refusal_of
from trialog.transports.choose import new_transport
from trialog.transports.http import HttpTransport
from trialog.transports.kafka import KafkaTransport
from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    LimitExceededError,
    UnavailableError,
)
from trialog_schemas.limits import RECORD_BYTES_MAX, REQUEST_BYTES_MAX
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, Position, partition_of, unframe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trialog.settings import Endpoint

TOO_LARGE = OutRecord(EVENTS_TOPIC, "run", bytes(RECORD_BYTES_MAX + 1))


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    """A session's endpoint."""
    return Session(url="http://127.0.0.1:9", api_key="s3cret", spool_dir=tmp_path).resolve({})


@dataclass
class Gateway:
    """A service that takes framed records, in memory.

    Args:
        refused: records that begin with these bytes are refused.
        answers: statuses and bodies to give instead, one a request.
    """

    refused: bytes = b"\0"
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[list[bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Answer a request."""
        assert (method, url) == ("POST", "http://127.0.0.1:9/api/v1/records")
        assert body is not None
        assert len(body) <= REQUEST_BYTES_MAX
        self.headers.append(dict(headers))
        if self.answers:
            return self.answers.pop(0)
        before = sum(map(len, self.requests))
        self.requests.append(list(unframe(body)))
        receipts = [
            {"code": "Undecodable", "message": "no"}
            if record.startswith(self.refused)
            else {"position": f"events:0:{before + index}"}
            for index, record in enumerate(self.requests[-1])
        ]
        return 200, orjson.dumps({"receipts": receipts})


def transport_to(gateway: Gateway, endpoint: Endpoint) -> HttpTransport:
    """Return a transport whose service is in memory."""
    return HttpTransport(endpoint, Client(endpoint, gateway.request))


def records(*values: bytes) -> list[OutRecord]:
    """Return records of one run."""
    return [OutRecord(EVENTS_TOPIC, "run", value) for value in values]


def test_record_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    """The refusal has size, limit and remedy."""
    assert refusal_of(OutRecord(EVENTS_TOPIC, "run", bytes(RECORD_BYTES_MAX))) is None
    assert refusal_of(TOO_LARGE) == RefusedRecord(
        "ResourceLimitExceeded",
        f"a record of {RECORD_BYTES_MAX + 1} bytes is too large, allowed are {RECORD_BYTES_MAX}; "
        "log less at once",
    )


async def test_http_sends_all_in_one_request_with_key_and_type(endpoint: Endpoint) -> None:
    """Receipts come in the order of the records."""
    gateway = Gateway()
    receipts = await transport_to(gateway, endpoint).send(records(b"a", b"b", b"c"))
    assert receipts == [Position(EVENTS_TOPIC, 0, offset) for offset in range(3)]
    assert gateway.requests == [[b"a", b"b", b"c"]]
    assert gateway.headers[0]["Authorization"] == "Bearer s3cret"
    assert gateway.headers[0]["Content-Type"] == "application/x-trialog-records"


async def test_http_cuts_what_is_too_much_for_one_request(endpoint: Endpoint) -> None:
    """Each request is within the service's bound, and the order is kept over them."""
    gateway = Gateway()
    sent = records(*(bytes([number]) * RECORD_BYTES_MAX for number in range(1, 11)))
    receipts = await transport_to(gateway, endpoint).send(sent)
    assert [len(request) for request in gateway.requests] == [7, 3]
    assert [value for request in gateway.requests for value in request] == [
        record.value for record in sent
    ]
    assert receipts == [Position(EVENTS_TOPIC, 0, offset) for offset in range(10)]


async def test_http_refuses_what_no_log_takes_and_sends_the_rest(endpoint: Endpoint) -> None:
    """A record that is too large is not even sent; its neighbours are."""
    gateway = Gateway()
    receipts = await transport_to(gateway, endpoint).send(
        [*records(b"a"), TOO_LARGE, *records(b"b")]
    )
    assert [type(receipt) for receipt in receipts] == [Position, RefusedRecord, Position]
    assert gateway.requests == [[b"a", b"b"]]


async def test_http_of_nothing_but_refused_records_asks_nobody(endpoint: Endpoint) -> None:
    """There is nothing to send."""
    gateway = Gateway()
    (receipt,) = await transport_to(gateway, endpoint).send([TOO_LARGE])
    assert isinstance(receipt, RefusedRecord)
    assert await transport_to(gateway, endpoint).send([]) == []
    assert gateway.requests == []


async def test_http_gives_the_services_refusal_of_one_record(endpoint: Endpoint) -> None:
    """With its words; the others have their positions."""
    receipts = await transport_to(Gateway(refused=b"x"), endpoint).send(records(b"a", b"x", b"b"))
    assert receipts[1] == RefusedRecord("Undecodable", "no")
    assert [receipts[0], receipts[2]] == [Position(EVENTS_TOPIC, 0, n) for n in (0, 2)]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"error": {"code": "AccessRefused", "message": "no key"}}, AccessRefusedError),
        (503, {"error": {"code": "ServiceUnavailable", "message": "away"}}, UnavailableError),
        (500, {"error": {"code": "InternalError", "message": "broken"}}, UnavailableError),
        (408, {"error": {"code": "RequestTimeout", "message": "slow"}}, UnavailableError),
        (400, {"error": {"code": "Undecodable", "message": "damaged"}}, ClientError),
        (302, {}, UnavailableError),
        (200, "no json object of ours", UnavailableError),
    ],
)
async def test_http_answer_that_is_no_receipt_is_an_error(
    endpoint: Endpoint, status: int, body: object, kind: type[ClientError]
) -> None:
    """A part that was taken before is sent again by the caller: nothing of it is noted."""
    raw = orjson.dumps(body) if isinstance(body, dict) else b"<html>hello</html>"
    with pytest.raises(kind) as caught:
        await transport_to(Gateway(answers=[(status, raw)]), endpoint).send(records(b"a"))
    assert type(caught.value) is kind


@dataclass
class Partitions:
    """What `KafkaTransport` produces with, in memory.

    Args:
        bytes_max: a topic's own bound of a record.
        fault: what every send raises.
    """

    bytes_max: int = RECORD_BYTES_MAX
    fault: ClientError | None = None
    counts: list[str] = field(default_factory=list)
    values: dict[tuple[str, int], list[tuple[str, bytes]]] = field(default_factory=dict)
    is_closed: bool = False

    async def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        self.counts.append(topic)
        return 1 if topic == CATALOG_TOPIC else 32

    async def send_all(
        self, topic: str, partition: int, key: str, values: Sequence[bytes]
    ) -> list[int]:
        """Append values; all of them, or raise."""
        if self.fault is not None:
            raise self.fault
        if any(len(value) > self.bytes_max for value in values):
            raise LimitExceededError("too large for the topic")
        log = self.values.setdefault((topic, partition), [])
        log += [(key, value) for value in values]
        return list(range(len(log) - len(values), len(log)))

    async def close(self) -> None:
        """Close."""
        self.is_closed = True


async def test_kafka_puts_each_key_into_the_partition_of_our_own_hash() -> None:
    """All records of a run are in one partition, in order; those of others do not mix in."""
    partitions = Partitions()
    transport = KafkaTransport("brokers:9092", producer=partitions)
    sent = [
        OutRecord(EVENTS_TOPIC, f"run {number % 3}", str(number).encode()) for number in range(12)
    ]
    receipts = await transport.send([*sent, OutRecord(CATALOG_TOPIC, "default", b"c")])
    for record, receipt in zip(sent, receipts[:-1], strict=True):
        assert isinstance(receipt, Position)
        assert receipt.partition == partition_of(record.key, 32)
        log = partitions.values[EVENTS_TOPIC, receipt.partition]
        assert log[receipt.offset] == (record.key, record.value)
    assert receipts[-1] == Position(CATALOG_TOPIC, 0, 0)
    for number in range(3):
        log = partitions.values[EVENTS_TOPIC, partition_of(f"run {number}", 32)]
        own = [int(value) for key, value in log if key == f"run {number}"]
        assert own == sorted(own)


async def test_kafka_asks_for_a_topics_partitions_once() -> None:
    """They do not change while a process runs."""
    partitions = Partitions()
    transport = KafkaTransport("brokers:9092", producer=partitions)
    for _ in range(3):
        await transport.send(records(b"a"))
    assert partitions.counts == [EVENTS_TOPIC]


async def test_kafka_refuses_one_record_that_the_topic_does_not_take() -> None:
    """The others of its run are sent, in order."""
    partitions = Partitions(bytes_max=10)
    transport = KafkaTransport("brokers:9092", producer=partitions)
    receipts = await transport.send(records(b"a", bytes(11), b"b"))
    assert [type(receipt) for receipt in receipts] == [Position, RefusedRecord, Position]
    (log,) = partitions.values.values()
    assert [value for _, value in log] == [b"a", b"b"]


async def test_kafka_refuses_what_no_log_takes_without_asking() -> None:
    """The rule is the transports' own, so that both refuse the same."""
    partitions = Partitions()
    (receipt,) = await KafkaTransport("brokers:9092", producer=partitions).send([TOO_LARGE])
    assert receipt == refusal_of(TOO_LARGE)
    assert partitions.counts == []


@pytest.mark.parametrize("error", [UnavailableError("away"), AccessRefusedError("not allowed")])
async def test_kafka_fault_is_the_callers_to_send_again(error: ClientError) -> None:
    """Some keys may be in the log by then; none is noted."""
    transport = KafkaTransport("brokers:9092", producer=Partitions(fault=error))
    with pytest.raises(type(error)):
        await transport.send(records(b"a"))


async def test_kafka_closes_its_producer() -> None:
    """Connections do not stay open when the sender ends."""
    partitions = Partitions()
    await KafkaTransport("brokers:9092", producer=partitions).close()
    assert partitions.is_closed


def test_session_with_brokers_sends_to_them_and_any_other_to_the_service(tmp_path: Path) -> None:
    """One word in the session decides, and nothing connects yet."""
    over_http = Session(url="http://127.0.0.1:9", spool_dir=tmp_path).resolve({})
    direct = Session(kafka="127.0.0.1:9", spool_dir=tmp_path).resolve({})
    assert isinstance(new_transport(over_http), HttpTransport)
    assert isinstance(new_transport(direct), KafkaTransport)
