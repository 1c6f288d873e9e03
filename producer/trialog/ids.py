"""Makes ids and clock readings for new events; the pure forms are in `trialog_schemas.wire`."""

from __future__ import annotations

import os
import time

from trialog_schemas.limits import TIME_US_MAX
from trialog_schemas.wire import event_id_for, uuid7


def new_id() -> str:
    """Return a new UUIDv7 as 32 hex digits."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def now_us() -> int:
    """Return the time in microseconds since the epoch, at most the last one that can be stored."""
    return storable_us(time.time_ns() // 1000)


def storable_us(at_us: int) -> int:
    """Return the time of a clock; what is beyond the year 9999 is its end, and no event is lost."""
    return min(at_us, TIME_US_MAX)


def catalog_writer_of(writer_id: str) -> str:
    """Return the writer of a stream's one catalog event: the same one for every re-send."""
    return event_id_for(f"{writer_id}:catalog", 1, (int(writer_id, 16) >> 80) * 1000)
