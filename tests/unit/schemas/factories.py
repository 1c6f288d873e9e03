"""Small factories of events for tests of the rules."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from trialog_schemas.events import (
    NIL_ID,
    ArtifactLogged,
    Block,
    Body,
    CatalogBody,
    Event,
    LongBlock,
    WideBlock,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN = "ab" * 16
AT_US = 1_700_000_000_000_000
SHA, SHB = "a" * 64, "b" * 64

Point = tuple[str, int, float]
"""A metric's name, step (−1: none) and value."""


def event(body: Body, *, at_us: int = AT_US, seq: int = 1) -> Event:
    """Return an event around a body."""
    return Event(
        event_id="1" * 32,
        account="default",
        user="me@host",
        run_id=NIL_ID if isinstance(body, CatalogBody) else RUN,
        writer_id="2" * 32,
        seq=seq,
        prev_hash=bytes(32),
        digest=bytes(32),
        at_us=at_us,
        body=body,
    )


def wide(rows: int, names: tuple[str, ...] = ("loss",), step: int = 0) -> WideBlock:
    """Return a block of rows with ones as values."""
    return WideBlock(
        names,
        rows,
        struct.pack(f"<{rows}q", *([step] * rows)),
        struct.pack(f"<{rows}q", *([AT_US] * rows)),
        struct.pack(f"<{rows * len(names)}d", *([1.0] * rows * len(names))),
    )


def long(rows: int, at_us: int = AT_US) -> LongBlock:
    """Return a block of single points of one metric."""
    return LongBlock(
        ("loss",),
        rows,
        bytes(4 * rows),
        bytes(8 * rows),
        struct.pack(f"<{rows}q", *([at_us] * rows)),
        bytes(8 * rows),
    )


def wide_of(points: Sequence[Point]) -> WideBlock:
    """Pack points that are equal rows of the same names, one row after the other."""
    names = tuple(dict.fromkeys(name for name, _, _ in points))
    rows = len(points) // len(names)
    steps = [points[row * len(names)][1] for row in range(rows)]
    columns = [points[row * len(names) + at][2] for at in range(len(names)) for row in range(rows)]
    return WideBlock(
        names,
        rows,
        struct.pack(f"<{rows}q", *steps),
        struct.pack(f"<{rows}q", *([AT_US] * rows)),
        struct.pack(f"<{len(columns)}d", *columns),
    )


def long_of(points: Sequence[Point]) -> LongBlock:
    """Pack points of any names, in their order."""
    names = tuple(dict.fromkeys(name for name, _, _ in points))
    rows = len(points)
    return LongBlock(
        names,
        rows,
        struct.pack(f"<{rows}I", *(names.index(name) for name, _, _ in points)),
        struct.pack(f"<{rows}q", *(step for _, step, _ in points)),
        struct.pack(f"<{rows}q", *([AT_US] * rows)),
        struct.pack(f"<{rows}d", *(value for _, _, value in points)),
    )


def points_of(block: Block) -> list[Point]:
    """Unpack a block into its points in the order of the calls."""
    steps = struct.unpack(f"<{block.rows}q", block.steps)
    values = struct.unpack(f"<{block.points}d", block.values)
    if isinstance(block, LongBlock):
        ids = struct.unpack(f"<{block.rows}I", block.ids)
        names = [block.names[number] for number in ids]
        return list(zip(names, steps, values, strict=True))
    return [
        (name, steps[row], values[column * block.rows + row])
        for row in range(block.rows)
        for column, name in enumerate(block.names)
    ]


def artifact(name: str, sha256: str = SHA, size: int = 5) -> ArtifactLogged:
    """Return an artifact event."""
    return ArtifactLogged(name, "artifact", "text/plain", sha256=sha256, size=size)
