"""The bytes of a spool segment: how records are written and found again; must not do I/O.

A segment begins with a 16-byte head (magic, number) and holds records at 8-byte boundaries:

    u32 crc32 of the rest   u32 size in bytes   u32 kind   u32 shape   body

    kind    shape                 body
    POINT   id of the name        i64 step (−1 none), i64 time in µs, f64 value
    ROW     id of the names       i64 step, i64 time in µs, f64 value of each name
    NAME    the id it declares    the name in UTF-8
    SHAPE   the id it declares    the names as a JSON list
    EVENT   index in EVENT_SHAPES i64 time in µs, the event's body as JSON
    CUT     0                     i64 time in µs: here ends a stretch, which is sent as a whole

A size of zero is where writing ended. Names are declared in each segment anew, so that it can be
read alone; a stretch never reaches over the end of its segment. Everything is little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import orjson

from trialog_schemas.versions import EVENT_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT_VERSION = 1
"""Version of records and of how they become events; an adopter must know a spool's version.

What is added to `EVENT_SHAPES` raises it, so that an older release leaves such a spool alone.
"""

SEGMENT_HEAD = struct.Struct("<8sQ")
SEGMENT_MAGIC = b"TLSPOOL1"
HEADER = struct.Struct("<IIII")
POINT_BODY = struct.Struct("<IIIqqd")
"""A POINT record without its checksum: size, kind, shape, step, time, value."""

CHECKSUM = struct.Struct("<I")
TAIL_BODY = struct.Struct("<III")
TIME = struct.Struct("<q")

POINT, ROW, NAME, SHAPE, EVENT, CUT = range(1, 7)
_KINDS = frozenset((POINT, ROW, NAME, SHAPE, EVENT, CUT))

POINT_BYTES = HEADER.size + 24
CUT_BYTES = HEADER.size + TIME.size
ALIGNMENT = 8

EVENT_SHAPES = (
    ("run_started", 1),
    ("run_resumed", 1),
    ("run_joined", 1),
    ("run_ended", 1),
    ("parameters_logged", 1),
    ("artifact_logged", 1),
    ("tags_set", 1),
    ("call_refused", 1),
)
"""Types and versions of what EVENT records hold, by their shape; append only, never reorder.

A spool may be sent by a later release than the one that wrote it, so a shape says the version too.
"""

_COLUMN_FIRST, _COLUMN_LATER_MAX = 16, 65_536
_ROW_START_BYTES = 16
_ZEROS_BYTES = 4096
_ZEROS = memoryview(bytes(_ZEROS_BYTES))


def shape_of(kind: str) -> int:
    """Return the shape of a type in the version that this release writes."""
    return EVENT_SHAPES.index((kind, EVENT_VERSIONS[kind]))


def aligned(size: int) -> int:
    """Return the bytes a record of this size takes in the segment."""
    return (size + ALIGNMENT - 1) & -ALIGNMENT


def pack_tail(kind: int, shape: int, body: bytes) -> bytes:
    """Return a record of any kind but the hot ones, padded to its place."""
    rest = TAIL_BODY.pack(HEADER.size + len(body), kind, shape) + body
    return CHECKSUM.pack(crc32(rest)) + rest + bytes(-len(body) % ALIGNMENT)


def pack_cut(at_us: int) -> bytes:
    """Return the record that ends a stretch."""
    return pack_tail(CUT, 0, TIME.pack(at_us))


def row_struct(names: int) -> struct.Struct:
    """Return the packer of ROW records of so many names, without the checksum."""
    return struct.Struct(f"<IIIqq{names}d")


class Region(NamedTuple):
    """Neighbouring records of one kind and shape; points count as one whatever their names.

    `start` is an offset in the segment, `stride` the bytes of each record.
    """

    kind: int
    shape: int
    start: int
    stride: int
    records: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that cannot be read; what stands before and behind them can."""

    start: int
    size: int


@dataclass(slots=True)
class Tables:
    """What a segment has declared so far."""

    names: dict[int, str] = field(default_factory=dict)
    shapes: dict[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Stretch:
    """The records between two cuts.

    Args:
        regions: what was recorded, in order.
        end: offset in the segment behind the cut, or behind the last record when there is none.
        at_us: time of the cut, or None when it is missing.
        damages: what could not be read.
    """

    regions: list[Region]
    end: int
    at_us: int | None
    damages: list[Damage]


class SegmentScan:
    """Finds the regions of a segment, stretch by stretch, and learns its names on the way.

    Runs of equal records are found by comparing columns of headers as a whole, so the cost of a
    million points is that of a few dozen comparisons. Checksums are only looked at when asked
    for: what this process wrote itself is not checked again.
    """

    def __init__(self, *, is_checked: bool) -> None:
        self.tables = Tables()
        self._is_checked = is_checked

    def stretches(self, data: memoryview, base: int, start: int) -> Iterator[Stretch]:
        """Yield the stretches of a segment, the last one without a cut if there is none.

        Args:
            data: bytes of the segment from offset `base` on.
            base: a multiple of 8.
            start: offset in the segment of the first record to read.
        """
        regions: list[Region] = []
        damages: list[Damage] = []
        at, end = start - base, len(data)
        while at + HEADER.size <= end:
            region = self._region(data, at)
            if region is None:
                sound = self._next_sound(data, at + ALIGNMENT)
                if sound is None:
                    break
                damages.append(Damage(base + at, sound - at))
                at = sound
                continue
            stop = at + region.stride * region.records
            if region.kind == CUT:
                (at_us,) = TIME.unpack_from(data, at + HEADER.size)
                yield Stretch(regions, base + stop, at_us, damages)
                regions, damages = [], []
            elif region.kind in (NAME, SHAPE):
                self._declare(data, region, at)
            else:
                regions.append(region._replace(start=base + at))
            at = stop
        damages += self._unread_tail(data, at, base)
        if regions or damages:
            yield Stretch(regions, base + at, None, damages)

    def _region(self, data: memoryview, at: int) -> Region | None:
        """Return the region that begins here, or None where no sound record is."""
        _, size, kind, shape = HEADER.unpack_from(data, at)
        if kind not in _KINDS or size < HEADER.size or at + aligned(size) > len(data):
            return None
        stride = aligned(size)
        if kind == POINT:
            if size != POINT_BYTES:
                return None
            count = _equal_run(data.cast("I"), at // 4 + 2, stride // 4, (len(data) - at) // stride)
        elif kind == ROW:
            count = _equal_run(data.cast("Q"), at // 8 + 1, stride // 8, (len(data) - at) // stride)
        else:
            count = 1
        if self._is_checked:
            count = self._sound_count(data, at, stride, count)
        return Region(kind, shape, at, stride, count) if count else None

    def _sound_count(self, data: memoryview, at: int, stride: int, count: int) -> int:
        """Return how many of the records can be read before the first that cannot."""
        for index in range(count):
            start = at + index * stride
            (size,) = CHECKSUM.unpack_from(data, start + CHECKSUM.size)
            if aligned(size) != stride or not self._is_sound(data, start):
                return index
        return count

    def _is_sound(self, data: memoryview, at: int) -> bool:
        """Tell whether a record stands here that is as it was written, and whose names are known.

        A point whose name's declaration is damaged is whole and nevertheless of no use.
        """
        crc, size, kind, shape = HEADER.unpack_from(data, at)
        if kind not in _KINDS or size < HEADER.size or at + aligned(size) > len(data):
            return False
        if crc32(data[at + CHECKSUM.size : at + size]) != crc:
            return False
        if kind == POINT:
            return shape in self.tables.names and size == POINT_BYTES
        if kind == ROW:
            names = self.tables.shapes.get(shape)
            return names is not None and size == HEADER.size + _ROW_START_BYTES + 8 * len(names)
        return True

    def _declare(self, data: memoryview, region: Region, at: int) -> None:
        (size,) = CHECKSUM.unpack_from(data, at + 4)
        body = bytes(data[at + HEADER.size : at + size])
        if region.kind == NAME:
            self.tables.names[region.shape] = body.decode()
        else:
            self.tables.shapes[region.shape] = tuple(orjson.loads(body))

    def _next_sound(self, data: memoryview, first: int) -> int | None:
        """Return where the next record that can be read is, from a place on."""
        at, last = first, len(data) - HEADER.size
        while at <= last:
            if data[at : at + _ZEROS_BYTES] == _ZEROS[: len(data) - at]:
                # Passed over as a whole: a segment is megabytes of zeros when its writer dies.
                at += _ZEROS_BYTES
            elif self._is_sound(data, at):
                return at
            else:
                at += ALIGNMENT
        return None

    @staticmethod
    def _unread_tail(data: memoryview, at: int, base: int) -> list[Damage]:
        """Return what stands behind the last record: nothing, if it is only zeros."""
        rest = bytes(data[at:]).rstrip(b"\0")
        return [Damage(base + at, len(rest))] if rest else []


def _equal_run(words: memoryview, first: int, step: int, limit: int) -> int:
    """Return how many words from `first` on, `step` apart, are equal; at most `limit`."""
    if limit <= 1 or words[first + step] != words[first]:
        return 1
    column = words[first::step]
    word = column[:1].tobytes()
    count, ahead = 1, _COLUMN_FIRST
    while count < limit:
        chunk = column[count : min(count + ahead, limit)].tobytes()
        if chunk != word * (len(chunk) // len(word)):
            return count + _first_other(chunk, word)
        count += len(chunk) // len(word)
        ahead = min(ahead * 8, _COLUMN_LATER_MAX)
    return count


def _first_other(chunk: bytes, word: bytes) -> int:
    """Return the index of the first word in the chunk that differs; there is one."""
    low, high = 0, len(chunk) // len(word) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if chunk[: middle * len(word)] == word * middle:
            low = middle
        else:
            high = middle - 1
    return low
