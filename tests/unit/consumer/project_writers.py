"""Writers that make real records of events, and small factories of metric blocks; no I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from trialog_schemas.events import (
    NIL_ID,
    Body,
    LongBlock,
    MetricsLogged,
    RunCreated,
    WideBlock,
)
from trialog_schemas.wire import (
    RecordHeader,
    encode_event,
    event_id_for,
    first_hash,
    next_hash,
    pack_record,
)
from trialog_server.log.base import NewRecord

AT_US = 1_700_000_000_000_000
RUN = "0190" + "ab" * 14
EXPERIMENT = "0190" + "ee" * 14


@dataclass
class Writer:
    """One process's stream of events in a run, or in the catalog."""

    run_id: str = RUN
    writer_id: str = "0190" + "cc" * 14
    account: str = "default"
    user: str = "ada@forge"
    seq: int = 0
    chain: bytes = field(default=b"")

    def record(self, *bodies: Body, at_us: int = AT_US) -> NewRecord:
        """Return the next record of this writer."""
        if not self.chain:
            self.chain = first_hash(self.account, self.user, self.run_id, self.writer_id)
        header = RecordHeader(
            self.account,
            self.user,
            self.run_id,
            self.writer_id,
            self.seq + 1,
            len(bodies),
            self.chain,
        )
        events = []
        for body in bodies:
            self.seq += 1
            event_id = event_id_for(self.writer_id, self.seq, at_us)
            events.append(encode_event(self.seq, event_id, at_us, body))
            self.chain = next_hash(self.chain, events[-1])
        return NewRecord(header.topic, header.key, pack_record(header, events))


def catalog_writer(number: int = 0, account: str = "default") -> Writer:
    """Return a writer of the catalog."""
    return Writer(NIL_ID, f"0190{number:028x}", account)


def run_created(run_id: str = RUN, name: str = "first", **more: object) -> RunCreated:
    """Return the event that makes a run in experiment `digits`."""
    return RunCreated(run_id, "digits", name, EXPERIMENT, **more)  # type: ignore[arg-type]


def wide(names: tuple[str, ...], rows: list[list[float]], step: int = 0) -> WideBlock:
    """Return a block of calls with consecutive steps; one list of values a call."""
    count = len(rows)
    columns = [value for column in zip(*rows, strict=True) for value in column]
    return WideBlock(
        names,
        count,
        struct.pack(f"<{count}q", *range(step, step + count)),
        struct.pack(f"<{count}q", *(AT_US + step + at for at in range(count))),
        struct.pack(f"<{len(columns)}d", *columns),
    )


def long(points: list[tuple[str, int, float]]) -> LongBlock:
    """Return a block of single points (name, step, value)."""
    names = tuple(dict.fromkeys(name for name, _, _ in points))
    count = len(points)
    return LongBlock(
        names,
        count,
        struct.pack(f"<{count}I", *(names.index(name) for name, _, _ in points)),
        struct.pack(f"<{count}q", *(step for _, step, _ in points)),
        struct.pack(f"<{count}q", *(AT_US + at for at in range(count))),
        struct.pack(f"<{count}d", *(value for _, _, value in points)),
    )


def metrics(rows: list[list[float]], step: int = 0, names: tuple[str, ...] = ("loss",)) -> Body:
    """Return an event of one wide block."""
    return MetricsLogged((wide(names, rows, step),))
