"""Spools to test with: folders, and what readers make of them."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from trialog.spool_facts import SpoolMeta
from trialog.spool_folder import SpoolFolder
from trialog_schemas.decode import unpack_record
from trialog_schemas.events import Event, MetricsLogged, WideBlock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trialog.stream import ReadyRecord

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
