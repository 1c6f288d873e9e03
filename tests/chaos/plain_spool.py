"""A spool's segment read naively, and what damage may cost: by the format's description alone.

Nothing of the product's own reader is used: an error there is none here as well.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.effects import calls_of
from tests.chaos.plain_log import PlainEvent, Row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from tests.chaos.ledgers import Call

HEAD_BYTES = 16
WORD_BYTES = 8

_HEADER = struct.Struct("<IIII")
_START = struct.Struct("<qq")
_POINT, _ROW, _NAME, _SHAPE, _EVENT, _CUT = range(1, 7)
_EVENTS = [
    "run_started",
    "run_resumed",
    "run_joined",
    "run_ended",
    "parameters_logged",
    "artifact_logged",
    "tags_set",
    "call_refused",
]


class Piece(NamedTuple):
    """A record of a segment.

    Args:
        start, size: its bytes, without what fills its last word up.
        kind, number: what it is, and which name, names or type it declares or uses.
        calls: those that it is all there is of.
    """

    start: int
    size: int
    kind: int
    number: int
    calls: tuple[Call, ...] = ()

    @property
    def stop(self) -> int:
        """Where the next record begins."""
        return self.start + -(-self.size // WORD_BYTES) * WORD_BYTES


class Hole(NamedTuple):
    """Bytes of a segment that nobody can read any more; the last of them may be zeros."""

    start: int
    stop: int


class Cost(NamedTuple):
    """What damage to a segment costs: calls, and where the segment cannot be read."""

    calls: set[Call]
    holes: list[Hole]


def pieces_of(data: bytes) -> list[Piece]:
    """Return the records of an undamaged segment."""
    return list(_pieces(data))


def _pieces(data: bytes) -> Iterator[Piece]:
    at = HEAD_BYTES
    names: dict[tuple[int, int], tuple[str, ...]] = {}
    while at + _HEADER.size <= len(data):
        _, size, kind, number = _HEADER.unpack_from(data, at)
        if size == 0:
            return
        body = data[at + _HEADER.size : at + size]
        if kind == _NAME:
            names[_POINT, number] = (body.decode(),)
        elif kind == _SHAPE:
            names[_ROW, number] = tuple(json.loads(body))
        event = _event(kind, number, body, names)
        calls = tuple(call for call, _ in calls_of(event)) if event else ()
        piece = Piece(at, size, kind, number, calls)
        yield piece
        at = piece.stop


def _event(
    kind: int, number: int, body: bytes, names: dict[tuple[int, int], tuple[str, ...]]
) -> PlainEvent | None:
    """Return what a record says as the log would have it, or None of one that logs nothing."""
    if kind in (_POINT, _ROW):
        step, at_us = _START.unpack_from(body)
        own = names[kind, number]
        values = struct.unpack_from(f"<{len(own)}d", body, _START.size)
        return PlainEvent(
            0, "metrics_logged", at_us, {}, ((False, (Row(own, step, at_us, values),)),)
        )
    if kind == _EVENT:
        (at_us,) = struct.unpack_from("<q", body)
        return PlainEvent(0, _EVENTS[number], at_us, json.loads(body[WORD_BYTES:]))
    return None


def cost_of_cut(pieces: Sequence[Piece], end: int) -> Cost:
    """Return what it costs that a segment ends at a place: all that is not whole before it.

    A reader takes whole words. Where nothing is left of the first record that is not whole, nobody
    can know that there was one.
    """
    end -= end % WORD_BYTES
    lost = [piece for piece in pieces if piece.stop > end]
    holes = [Hole(lost[0].start, end)] if lost and lost[0].start < end else []
    return Cost({call for piece in lost for call in piece.calls}, holes)


def cost_of_flips(pieces: Sequence[Piece], places: Collection[int]) -> Cost:
    """Return what wrong bits in some bytes cost: their records, and those that need these.

    What fills a record's last word up says nothing.
    """
    lost: list[Piece] = []
    declarations: set[tuple[int, int]] = set()
    for piece in pieces:
        is_hit = any(piece.start <= place < piece.start + piece.size for place in places)
        if is_hit or (piece.kind, piece.number) in declarations:
            lost.append(piece)
            if piece.kind in (_NAME, _SHAPE):
                declarations.add(({_NAME: _POINT, _SHAPE: _ROW}[piece.kind], piece.number))
    holes: list[Hole] = []
    for piece in lost:
        if holes and holes[-1].stop == piece.start:
            holes[-1] = Hole(holes[-1].start, piece.stop)
        else:
            holes.append(Hole(piece.start, piece.stop))
    return Cost({call for piece in lost for call in piece.calls}, holes)
