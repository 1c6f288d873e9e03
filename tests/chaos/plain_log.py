"""The log read naively: bytes to plain values by the format's description alone.

Nothing of the product's own reader is used: an error there is none here as well.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, NamedTuple

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS, CATALOG = "trialog.events.v1", "trialog.catalog.v1"

_PREFIX = struct.Struct("<4sBBH")
_LENGTHS = struct.Struct("<II")


class Entry(NamedTuple):
    """A record as it stands in the log."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes


class Row(NamedTuple):
    """Points that were logged together."""

    names: tuple[str, ...]
    step: int
    at_us: int
    values: tuple[float, ...]


class PlainEvent(NamedTuple):
    """One event; of metrics the rows in their order, of others the body."""

    seq: int
    kind: str
    at_us: int
    body: dict[str, object]
    blocks: tuple[tuple[bool, tuple[Row, ...]], ...] = ()

    @property
    def rows(self) -> Iterator[Row]:
        """The rows of all blocks."""
        for _, rows in self.blocks:
            yield from rows


class PlainRecord(NamedTuple):
    """A record that can be read: consecutive events of one writer of one run."""

    run_id: str
    writer_id: str
    first_seq: int
    events: tuple[PlainEvent, ...]


def read_record(value: bytes) -> PlainRecord | None:
    """Return a record, or None of bytes that are none."""
    try:
        return _record(value)
    except (ValueError, KeyError, struct.error, zstandard.ZstdError):
        return None


def _record(value: bytes) -> PlainRecord:
    magic, version, codec, size = _PREFIX.unpack_from(value)
    if magic != b"TLOG" or version != 1:
        raise ValueError(magic)
    head = json.loads(value[_PREFIX.size : _PREFIX.size + size])
    payload = value[_PREFIX.size + size :]
    if codec == 1:
        payload = zstandard.ZstdDecompressor().decompress(payload)
    events = tuple(_events(payload))
    seqs = range(head["seq"], head["seq"] + head["count"])
    if [event.seq for event in events] != list(seqs):
        raise ValueError("the seqs are others than the header says")
    return PlainRecord(head["run"], head["writer"], head["seq"], events)


def _events(payload: bytes) -> Iterator[PlainEvent]:
    at = 0
    while at < len(payload):
        head_bytes, blob_bytes = _LENGTHS.unpack_from(payload, at)
        start = at + _LENGTHS.size
        at = start + head_bytes + blob_bytes
        head = json.loads(payload[start : start + head_bytes])
        body = head["body"]
        blocks: tuple[tuple[bool, tuple[Row, ...]], ...] = ()
        if head["type"] == "metrics_logged":
            blocks = tuple(_blocks(body["blocks"], payload[start + head_bytes : at]))
        yield PlainEvent(head["seq"], head["type"], head["at"], body, blocks)


def _blocks(
    layouts: list[dict[str, object]], blob: bytes
) -> Iterator[tuple[bool, tuple[Row, ...]]]:
    at = 0
    for layout in layouts:
        names, rows = layout["names"], layout["rows"]
        if not isinstance(names, list) or not isinstance(rows, int):
            raise ValueError("a block without names or rows")  # noqa: TRY004  read_record's word
        is_wide = layout["kind"] == "wide"
        width = len(names) if is_wide else 1
        columns = f"<{'' if is_wide else f'{rows}I'}{rows}q{rows}q{width * rows}d"
        numbers = struct.unpack_from(columns, blob, at)
        at += struct.calcsize(columns)
        yield is_wide, tuple(_rows(tuple(names), rows, numbers, is_wide=is_wide))


def _rows(
    names: tuple[str, ...], rows: int, numbers: tuple[float, ...], *, is_wide: bool
) -> Iterator[Row]:
    first = 0 if is_wide else rows
    for row in range(rows):
        own = names if is_wide else (names[int(numbers[row])],)
        values = numbers[first + 2 * rows :]
        yield Row(
            own,
            int(numbers[first + row]),
            int(numbers[first + rows + row]),
            tuple(values[column * rows + row] for column in range(len(own))),
        )
