"""Spools to test with: folders, what readers make of them, and a log and a service in memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trialog.spool_folder import SpoolFolder, SpoolMeta
from trialog.transports.base import RefusedRecord
from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import Event, MetricsLogged, WideBlock
from trialog_schemas.wire import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from trialog.answers import AppliedAnswer
    from trialog.stream import ReadyRecord
    from trialog.transports.base import OutRecord, Receipt

META = SpoolMeta(
    writer_id="01" * 16,
    run_id="ab" * 16,
    account="default",
    user="me@host",
    experiment_name="e",
    run_name="r",
    url="http://127.0.0.1:7788",
    kafka=None,
)


def new_folder(spool_dir: Path, number: int = 1) -> SpoolFolder:
    """Make the folder of a writer; each number is a writer and a run of its own."""
    meta = replace(META, writer_id=f"{number:032x}", run_id=f"{number + 4096:032x}")
    return SpoolFolder.create(spool_dir, meta)


def events_in(values: Iterable[bytes]) -> list[Event]:
    """Return the decoded events of records."""
    found = [event for value in values for event in unpack_record(value)[1]]
    assert all(isinstance(event, Event) for event in found)
    return [event for event in found if isinstance(event, Event)]


def events_of(records: Iterable[ReadyRecord]) -> list[Event]:
    """Return the decoded events of records that are ready to send."""
    return events_in(record.value for record in records)


def points_of(events: Iterable[Event]) -> dict[str, list[tuple[int, int, int]]]:
    """Return each metric's (step, time, bits of the value) in order of the calls."""
    points: dict[str, list[tuple[int, int, int]]] = {}
    bodies = [event.body for event in events if isinstance(event.body, MetricsLogged)]
    for block in (block for body in bodies for block in body.blocks):
        steps, times = (struct.unpack(f"<{block.rows}q", c) for c in (block.steps, block.times))
        values = struct.unpack(f"<{len(block.values) // 8}Q", block.values)
        if isinstance(block, WideBlock):
            names = [name for name in block.names for _ in range(block.rows)]
            steps, times = steps * len(block.names), times * len(block.names)
        else:
            names = [block.names[i] for i in struct.unpack(f"<{block.rows}I", block.ids)]
        for name, *point in zip(names, steps, times, values, strict=True):
            points.setdefault(name, []).append((point[0], point[1], point[2]))
    return points


def steps_of(values: Iterable[bytes], name: str = "loss") -> list[int]:
    """Return the steps of one metric in records, in the order they were sent."""
    return [step for step, _, _ in points_of(events_in(values)).get(name, [])]


def bits(value: float) -> int:
    """Return the bits of a float."""
    (number,) = struct.unpack("<Q", struct.pack("<d", value))
    return int(number)


@dataclass
class MemoryLog:
    """A transport whose log is a list; it can be away, lose answers and refuse.

    Args:
        is_away: every send raises.
        lost_answers: so many sends are taken and raise nevertheless.
        refused: records that hold these bytes are refused.
    """

    is_away: bool = False
    lost_answers: int = 0
    refused: bytes | None = None
    records: list[OutRecord] = field(default_factory=list)
    sends: list[int] = field(default_factory=list)

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Append the records; return a receipt for each."""
        if self.is_away:
            raise UnavailableError("the log is away")
        self.sends.append(len(records))
        receipts = [self._take(record) for record in records]
        if self.lost_answers:
            self.lost_answers -= 1
            raise UnavailableError("the answer is lost")
        return receipts

    def _take(self, record: OutRecord) -> Receipt:
        if self.refused is not None and self.refused in record.value:
            return RefusedRecord("Refused", "not this one")
        self.records.append(record)
        return Position(record.topic, 0, len(self.records) - 1)

    @property
    def values(self) -> list[bytes]:
        """The records' bytes, in the order of the log."""
        return [record.value for record in self.records]

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class MemoryService:
    """A service that stores artifacts and says what is applied; it can be away."""

    is_away: bool = False
    is_applied: bool = True
    blobs: dict[str, bytes] = field(default_factory=dict)
    questions: list[list[str]] = field(default_factory=list)

    def put_artifact(self, sha256: str, content: bytes) -> None:
        """Store an artifact's bytes under their digest."""
        if self.is_away:
            raise UnavailableError("the service is away")
        self.blobs[sha256] = content

    def applied(
        self, positions: Sequence[str], *, run_id: str, writer_id: str, wait_s: float
    ) -> AppliedAnswer:
        """Tell whether the positions are applied."""
        if self.is_away:
            raise UnavailableError("the service is away")
        self.questions.append(list(positions))
        return {"applied": self.is_applied, "rejections": []}
