"""Records to events: what is read, what is listed as dead, and the partition's chain."""

from __future__ import annotations

import pytest

from tests.unit.consumer.project_writers import RUN, Writer, catalog_writer, metrics, run_created
from trialog_schemas.wire import partition_of
from trialog_server.log.base import LogRecord, Partition
from trialog_server.project.decode import Decoded, Unreadable, decode_record, extend_chain

HOME = Partition("trialog.events.v1", partition_of(RUN, 4))
CATALOG = Partition("trialog.catalog.v1", 0)


def stored(value: bytes, place: Partition = HOME, offset: int = 3) -> LogRecord:
    """Return a record of the log."""
    return LogRecord(place, offset, 17, "key", value)


def test_decode_sound_record_gives_its_events_and_place() -> None:
    """Offset and log time stay with the events."""
    read = decode_record(stored(Writer().record(metrics([[1.0]])).value), 4)
    assert isinstance(read, Decoded)
    assert (read.log_offset, read.at_us, len(read.events)) == (3, 17, 1)


@pytest.mark.parametrize("value", [b"", b"TLOG", b"\x00" * 50, b"TLOG\x01\x01\xff\xffnothing"])
def test_decode_foreign_bytes_are_unreadable(value: bytes) -> None:
    """Bytes that are no record become a reason, never an exception.  # K8."""
    read = decode_record(stored(value), 4)
    assert isinstance(read, Unreadable)
    assert read.reason


def test_decode_damaged_payload_is_unreadable() -> None:
    """A record whose compressed part is damaged is listed.  # K8."""
    value = Writer().record(metrics([[float(at)] for at in range(99)])).value
    assert isinstance(decode_record(stored(value[:-20] + b"\xff" * 20), 4), Unreadable)


def test_decode_record_in_the_wrong_topic_is_unreadable() -> None:
    """A catalog record among the events would pass by the catalog's worker."""
    value = catalog_writer().record(run_created()).value
    assert isinstance(decode_record(stored(value, CATALOG), 1), Decoded)
    assert isinstance(decode_record(stored(value, HOME), 4), Unreadable)


def test_decode_record_in_another_partition_is_unreadable() -> None:
    """All events of a run must be in its one partition, or its rules could not be kept."""
    value = Writer().record(metrics([[1.0]])).value
    astray = Partition(HOME.topic, (HOME.number + 1) % 4)
    assert isinstance(decode_record(stored(value, astray), 4), Unreadable)


def test_chain_depends_on_every_byte_and_not_on_batches() -> None:
    """The partition's chain is the same for any batches, and other for any other record.  # K6."""
    records = [stored(bytes([at]) * 40) for at in range(5)]
    whole = extend_chain(b"", records)
    assert extend_chain(extend_chain(b"", records[:2]), records[2:]) == whole
    assert extend_chain(b"", [*records[:4], stored(b"x")]) != whole
    assert extend_chain(b"", records[::-1]) != whole
