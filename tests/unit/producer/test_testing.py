"""The fakes behind the ports do what the real ones promise, and the faults they are asked for."""

from __future__ import annotations

import pytest

from trialog.testing import MemoryService, MemoryTransport
from trialog.transports.base import OutRecord, RefusedRecord, refusal_of
from trialog_schemas.errors import AccessRefusedError, ClientError, UnavailableError
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, Position

FAULTS = [UnavailableError("away"), AccessRefusedError("no such key"), ClientError("not so")]


def records(*values: bytes, topic: str = EVENTS_TOPIC) -> list[OutRecord]:
    """Return records of one key."""
    return [OutRecord(topic, "run", value) for value in values]


async def test_memory_log_appends_each_topic_in_order() -> None:
    """Positions are those of a log of one partition a topic."""
    log = MemoryTransport()
    assert await log.send(records(b"a", b"b")) == [Position(EVENTS_TOPIC, 0, n) for n in (0, 1)]
    assert await log.send(records(b"c", topic=CATALOG_TOPIC)) == [Position(CATALOG_TOPIC, 0, 0)]
    assert await log.send(records(b"d")) == [Position(EVENTS_TOPIC, 0, 2)]
    assert await log.send([]) == []
    assert log.values(EVENTS_TOPIC) == [b"a", b"b", b"d"]
    assert log.values(CATALOG_TOPIC) == [b"c"]


async def test_memory_log_refuses_what_every_log_refuses() -> None:
    """The neighbours of a record that is too large are taken."""
    log = MemoryTransport()
    large = records(bytes(RECORD_BYTES_MAX + 1))[0]
    receipts = await log.send([*records(b"a"), large, *records(b"b")])
    assert receipts == [
        Position(EVENTS_TOPIC, 0, 0),
        refusal_of(large),
        Position(EVENTS_TOPIC, 0, 1),
    ]


async def test_memory_log_refuses_records_that_hold_what_it_was_told() -> None:
    """A poisonous record that the test chooses."""
    log = MemoryTransport(refused=b"poison")
    receipts = await log.send(records(b"a", b"some poison", b"b"))
    assert [type(receipt) for receipt in receipts] == [Position, RefusedRecord, Position]
    assert log.values(EVENTS_TOPIC) == [b"a", b"b"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_memory_log_with_a_fault_takes_nothing(fault: ClientError) -> None:
    """Until the test takes the fault away."""
    log = MemoryTransport(fault=fault)
    with pytest.raises(type(fault)):
        await log.send(records(b"a"))
    assert log.records == []
    log.fault = None
    await log.send(records(b"a"))
    assert log.values(EVENTS_TOPIC) == [b"a"]


async def test_memory_log_that_loses_an_answer_has_the_records() -> None:
    """Once for each fault that it was given; then answers arrive again."""
    log = MemoryTransport(faults_after=[FAULTS[0]])
    with pytest.raises(UnavailableError):
        await log.send(records(b"a"))
    assert await log.send(records(b"a")) == [Position(EVENTS_TOPIC, 0, 1)]
    assert log.values(EVENTS_TOPIC) == [b"a", b"a"]
    assert log.sends == [1, 1]


async def test_memory_log_knows_that_it_was_closed() -> None:
    """A sender that forgets it is found by its test."""
    log = MemoryTransport()
    assert not log.is_closed
    await log.close()
    assert log.is_closed


@pytest.mark.parametrize("fault", FAULTS)
def test_memory_service_with_a_fault_stores_and_says_nothing(fault: ClientError) -> None:
    """Every question raises it."""
    service = MemoryService(fault=fault)
    with pytest.raises(type(fault)):
        service.put_artifact("aa", b"content")
    with pytest.raises(type(fault)):
        service.durability([("r", "w")], [], 0)
    assert (service.blobs, service.questions) == ({}, [])


@pytest.mark.parametrize("is_applied", [True, False])
def test_memory_service_says_of_all_positions_the_same(is_applied: bool) -> None:
    """And remembers what it was asked."""
    service = MemoryService(is_applied=is_applied)
    answer = service.durability([("r", "w")], ["events:0:1"], 0)
    assert answer["applied"] is is_applied
    assert [one["last_seq"] > 0 for one in answer["writers"]] == [is_applied]
    assert [(one["partition"], one["applied"] > 1) for one in answer["log"]] == [
        ("events:0", is_applied)
    ]
    assert service.questions == [["events:0:1"]]
