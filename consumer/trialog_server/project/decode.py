"""Records of the log to events; what cannot be read becomes a reason. Must not do I/O."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import WireError
from trialog_schemas.wire import HASH_BYTES, RecordHeader, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trialog_schemas.decode import AnyEvent
    from trialog_server.log.base import LogRecord


class Decoded(NamedTuple):
    """A record that was read: where and when the log took it, and its events in order."""

    log_offset: int
    at_us: int
    header: RecordHeader
    events: Sequence[AnyEvent]


class Unreadable(NamedTuple):
    """A record that no event can be read from. It is listed; its bytes stay in the log."""

    log_offset: int
    at_us: int
    reason: str


def decode_record(record: LogRecord, partitions: int) -> Decoded | Unreadable:
    """Read one record; `partitions` is how many its topic has.

    A record in a partition that is not its run's is refused as well: all events of a run must pass
    one worker in one order, or its rules would be broken.
    """
    try:
        header, events = unpack_record(record.value)
    except WireError as exc:
        return Unreadable(record.offset, record.at_us, exc.reason)
    if header.topic != record.partition.topic:
        return Unreadable(record.offset, record.at_us, f"record of topic {header.topic}")
    number = partition_of(header.key, partitions)
    if number != record.partition.number:
        return Unreadable(record.offset, record.at_us, f"record of partition {number}")
    return Decoded(record.offset, record.at_us, header, events)


def extend_chain(chain: bytes, records: Iterable[LogRecord]) -> bytes:
    """Return a partition's chain after more records: each hash covers the one before."""
    for record in records:
        digest = blake2b(chain, digest_size=HASH_BYTES)
        digest.update(record.value)
        chain = digest.digest()
    return chain
