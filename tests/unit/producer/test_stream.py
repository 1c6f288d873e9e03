"""Behaviour of spool and stream: what was appended comes out as events, each time alike."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import META, bits, events_of, points_of
from trialog.spool import Spool
from trialog.spool_folder import SpoolFolder
from trialog.spool_format import EVENT_SHAPES, shape_of
from trialog.stream import StreamReader
from trialog_schemas.events import RUN_TYPES, ParametersLogged
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.versions import EVENT_VERSIONS

if TYPE_CHECKING:
    from pathlib import Path

NAN_BITS = 0x7FF8_0000_0000_1234


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    """A writer's folder in a spool of its own."""
    return SpoolFolder.create(tmp_path / "spool", META)


# D7
def test_stream_gives_back_points_and_events_in_order_and_bit_for_bit(folder: SpoolFolder) -> None:
    """Single points, rows and other events come out as they went in, NaN with its payload."""
    odd = struct.unpack("<d", struct.pack("<Q", NAN_BITS))[0]
    spool = Spool(folder)
    spool.append_event(ParametersLogged({"lr": 0.1}))
    for step in range(5):
        spool.append_point("loss", step, 100 + step, odd)
        spool.append_point("acc", -1, 100 + step, float(step))
    spool.append_row(("a", "b"), 7, 300, (1.0, -0.0))
    spool.append_row(("a", "b"), 8, 301, (float("inf"), 2.0))
    events = events_of(list(StreamReader(folder, is_checked=True).records(spool.cut())))
    assert [event.type for event in events] == ["parameters_logged", "metrics_logged"]
    points = points_of(events)
    assert points["loss"] == [(step, 100 + step, NAN_BITS) for step in range(5)]
    assert points["acc"] == [(-1, 100 + step, bits(float(step))) for step in range(5)]
    assert points["a"] == [(7, 300, bits(1.0)), (8, 301, bits(float("inf")))]
    assert points["b"] == [(7, 300, bits(-0.0)), (8, 301, bits(2.0))]


# K8
def test_spool_has_a_shape_for_each_type_in_the_version_that_is_written() -> None:
    """A shape says the version, so that a later release sends what was kept as what it is."""
    kept = set(RUN_TYPES) - {"metrics_logged"}  # points are kept as numbers, without an event
    assert {EVENT_SHAPES[shape_of(kind)] for kind in kept} == {
        (kind, EVENT_VERSIONS[kind]) for kind in kept
    }
    assert len(set(EVENT_SHAPES)) == len(EVENT_SHAPES)


# D12
def test_stream_read_again_gives_the_same_bytes(folder: SpoolFolder) -> None:
    """A second reader, as after a crash, makes the same records with the same seqs."""
    spool = Spool(folder)
    for step in range(5000):
        spool.append_row(("a", "b", "c"), step, step, (1.0, 2.0, 3.0))
        if step % 700 == 0:
            spool.append_event(ParametersLogged({f"p{step}": step}))
            spool.cut()
    end = spool.cut()
    first = list(StreamReader(folder, is_checked=False).records(end))
    again = list(StreamReader(folder, is_checked=True).records())
    assert [record.value for record in first] == [record.value for record in again]
    events = events_of(first)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert sum(len(column) for column in points_of(events).values()) == 15_000
    assert all(len(record.value) < RECORD_BYTES_MAX for record in first)


def test_stream_goes_on_from_its_ack(folder: SpoolFolder) -> None:
    """What the log has is not sent again, and the next events follow in seq and chain."""
    spool = Spool(folder)
    spool.append_point("loss", 0, 1, 0.5)
    first = list(StreamReader(folder, is_checked=False).records(spool.cut()))
    assert first[-1].ack is not None
    folder.write_ack(first[-1].ack)
    spool.append_point("loss", 1, 2, 0.25)
    second = events_of(list(StreamReader(folder, is_checked=False).records(spool.cut())))
    assert [event.seq for event in second] == [2]
    assert second[0].prev_hash == events_of(first)[-1].digest
    assert points_of(second) == {"loss": [(1, 2, bits(0.25))]}


# K9
def test_stream_of_a_dead_writer_gives_up_what_was_never_cut(folder: SpoolFolder) -> None:
    """Calls that returned before the process died are read without a cut behind them."""
    spool = Spool(folder)
    for step in range(100):
        spool.append_point("loss", step, step, 0.5)
    reader = StreamReader(folder, is_checked=True)
    assert len(points_of(events_of(list(reader.records())))["loss"]) == 100
    assert reader.lost == []


def test_stream_with_a_flipped_bit_gives_up_the_rest_and_reports_it(folder: SpoolFolder) -> None:
    """One damaged record is reported with its place; all others are read."""
    spool = Spool(folder)
    for step in range(100):
        spool.append_point("loss", step, step, 0.5)
    path = folder.segment_path(1)
    raw = bytearray(path.read_bytes())
    raw[2000] ^= 1
    path.write_bytes(raw)
    reader = StreamReader(folder, is_checked=True)
    assert len(points_of(events_of(list(reader.records())))["loss"]) == 99
    assert [(lost.segment, lost.damage.size) for lost in reader.lost] == [(1, 40)]
