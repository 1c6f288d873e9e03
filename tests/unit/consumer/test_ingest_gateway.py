"""The gateway over the log in memory: what is right goes in, the rest is refused by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trialog_schemas.errors import LimitExceededError, UnavailableError, WireError
from trialog_schemas.events import NIL_ID
from trialog_schemas.limits import RECORD_BYTES_MAX, REQUEST_BYTES_MAX
from trialog_schemas.wire import (
    CATALOG_TOPIC,
    EVENTS_TOPIC,
    Position,
    RecordHeader,
    frame,
    pack_record,
)
from trialog_server.ingest.gateway import (
    EVENT_BYTES_MIN,
    RECORD_BYTES_MIN,
    RECORDS_MAX,
    SEQ_MAX,
    Gateway,
    Refused,
    check_record,
)
from trialog_server.log.base import NewRecord, Partition
from trialog_server.log.memory import MemoryLog

RUN_ID = "0" * 31 + "1"
HEADER = RecordHeader("default", "ada@lab", RUN_ID, "a" * 32, 1, 1, bytes(32))


def record(header: RecordHeader = HEADER, event: bytes = b"event") -> bytes:
    """A record whose header says what `header` does; its events are never looked at here."""
    return pack_record(header, [event])


async def test_accept_appends_what_is_right_and_tells_where() -> None:
    """Each good record gets its position, in the order given, and is in the log as it came."""
    log = MemoryLog(1)
    records = [record(replace(HEADER, first_seq=seq)) for seq in (1, 2, 3)]

    receipts = await Gateway(log).accept(frame(records), account="default")

    assert receipts == [Position(EVENTS_TOPIC, 0, offset) for offset in range(3)]
    stored = log.stored(Partition(EVENTS_TOPIC, 0))
    assert [(one.key, one.value) for one in stored] == [(RUN_ID, value) for value in records]


async def test_accept_keeps_the_right_records_of_a_batch_with_wrong_ones() -> None:
    """A wrong record is refused at its place and keeps none of the others out."""
    log = MemoryLog(1)
    good = record()
    framed = frame([good, b"not a record", record(replace(HEADER, account="eve")), good])

    first, damaged, foreign, last = await Gateway(log).accept(framed, account="default")

    assert (first, last) == (Position(EVENTS_TOPIC, 0, 0), Position(EVENTS_TOPIC, 0, 1))
    assert isinstance(damaged, Refused)
    assert damaged.code == WireError.code
    assert isinstance(foreign, Refused)
    assert foreign.code == "AccessRefused"
    assert len(log.stored(Partition(EVENTS_TOPIC, 0))) == 2


async def test_accept_of_the_catalog_goes_to_the_catalog() -> None:
    """Records without a run are commands: their key is the account, so that their order holds."""
    log = MemoryLog(4)
    (receipt,) = await Gateway(log).accept(
        frame([record(replace(HEADER, run_id=NIL_ID))]), account="default"
    )

    assert receipt == Position(CATALOG_TOPIC, 0, 0)
    assert log.stored(Partition(CATALOG_TOPIC, 0))[0].key == "default"


async def test_accept_of_nothing_but_wrong_records_appends_nothing() -> None:
    """Nothing good, nothing appended: the log may even be away."""
    log = MemoryLog()
    log.is_away = True

    (receipt,) = await Gateway(log).accept(frame([b"x"]), account="default")

    assert isinstance(receipt, Refused)


async def test_accept_with_damaged_framing_appends_nothing() -> None:
    """A length that leads beyond the end leaves it open what was meant: all is refused."""
    log = MemoryLog(1)
    with pytest.raises(WireError):
        await Gateway(log).accept(frame([record()]) + b"\xff\xff", account="default")
    assert log.stored(Partition(EVENTS_TOPIC, 0)) == []


async def test_accept_of_too_large_a_request_appends_nothing() -> None:
    """One byte above the limit is refused whole, with the limit as a number."""
    with pytest.raises(LimitExceededError) as caught:
        await Gateway(MemoryLog()).accept(bytes(REQUEST_BYTES_MAX + 1), account="default")
    assert (caught.value.field, caught.value.limit) == ("request", str(REQUEST_BYTES_MAX))


async def test_accept_of_too_many_records_appends_nothing() -> None:
    """Rubbish of one byte each would get receipts that are larger than it: refused whole."""
    log = MemoryLog(1)
    framed = frame([record(), *[b"x"] * RECORDS_MAX])
    with pytest.raises(LimitExceededError) as caught:
        await Gateway(log).accept(framed, account="default")
    assert (caught.value.value, caught.value.limit) == (str(RECORDS_MAX + 1), str(RECORDS_MAX))
    assert log.stored(Partition(EVENTS_TOPIC, 0)) == []


def test_smallest_record_that_can_be_is_above_the_least() -> None:
    """The bound on records refuses nobody: even the smallest record is larger than it assumes."""
    smallest = record(RecordHeader("a", "b", RUN_ID, "a" * 32, 1, 1, bytes(32)), b"")
    assert len(smallest) >= RECORD_BYTES_MIN


async def test_accept_with_the_log_away_can_be_repeated() -> None:
    """The whole request fails, and the same request succeeds when the log is back."""
    log = MemoryLog(1)
    log.is_away = True
    framed = frame([record()])
    with pytest.raises(UnavailableError):
        await Gateway(log).accept(framed, account="default")
    log.is_away = False
    assert await Gateway(log).accept(framed, account="default") == [Position(EVENTS_TOPIC, 0, 0)]


@pytest.mark.parametrize(
    ("raw", "code", "says"),
    [
        (b"", "Undecodable", ""),
        (b"\0" * 200, "Undecodable", ""),
        (bytes(RECORD_BYTES_MAX + 1), "ResourceLimitExceeded", f"allowed are {RECORD_BYTES_MAX}"),
        (record(replace(HEADER, account="eve")), "AccessRefused", "'eve'"),
        (record(replace(HEADER, count=2**31 // EVENT_BYTES_MIN)), "Undecodable", "no payload"),
        (record(replace(HEADER, first_seq=SEQ_MAX, count=2)), "Undecodable", str(SEQ_MAX)),
    ],
)
def test_check_record_refuses_with_code_and_reason(raw: bytes, code: str, says: str) -> None:
    """A refusal has the stable code of the error tree and says what was wrong."""
    refused = check_record(raw, "default")

    assert isinstance(refused, Refused)
    assert refused.code == code
    assert says in refused.message


def test_check_record_takes_the_last_seq_there_is() -> None:
    """The largest seq that Postgres can store is still legal."""
    raw = record(replace(HEADER, first_seq=SEQ_MAX))
    assert check_record(raw, "default") == NewRecord(EVENTS_TOPIC, RUN_ID, raw)
