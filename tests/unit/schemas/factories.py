"""Small factories of events for tests of the rules."""

from __future__ import annotations

import struct

from trialog_schemas.events import NIL_ID, Body, CatalogBody, Event, LongBlock, WideBlock

RUN = "ab" * 16
AT_US = 1_700_000_000_000_000


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
