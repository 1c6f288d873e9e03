"""What a damaged spool gives up: all that is whole, nothing wrong, and a report of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.producer.spools import META, events_of, new_folder, points_of
from trialog.spool import Spool
from trialog.spool_folder import SpoolFolder
from trialog.spool_format import POINT_BYTES, SEGMENT_HEAD
from trialog.stream import LostBytes, StreamReader
from trialog_schemas.errors import SpoolError
from trialog_schemas.events import MetricsLogged, ParametersLogged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trialog_schemas.events import Event

Facts = list[tuple[str, object]]


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    """A folder with a small spool: points, rows, other events and a cut, in one segment."""
    made = new_folder(tmp_path / "spool")
    spool = Spool(made)
    spool.append_event(ParametersLogged({"lr": 0.1}), 5)
    for step in range(4):
        spool.append_point("loss", step, 10 + step, step / 3)
    spool.append_row(("a", "b"), 4, 20, (1.5, 2.5))
    spool.cut()
    for step in range(5, 8):
        spool.append_point("acc", step, 10 + step, step / 7)
    spool.append_row(("a", "b"), 8, 21, (3.5, 4.5))
    spool.append_event(ParametersLogged({"depth": 3}), 30)
    spool.close()
    return made


def facts_of(events: list[Event]) -> Facts:
    """Return what events say, one entry a fact, sorted: how they are grouped does not matter."""
    facts: Facts = [
        (event.type, repr(event.body))
        for event in events
        if not isinstance(event.body, MetricsLogged)
    ]
    for name, points in points_of(events).items():
        facts += [(name, point) for point in points]
    return sorted(facts, key=repr)


def read(folder: SpoolFolder) -> tuple[Facts, list[LostBytes]]:
    """Return what an adopter gets out of a folder; seqs must be without a hole."""
    reader = StreamReader(folder, is_checked=True)
    events = events_of(list(reader.records()))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return facts_of(events), reader.lost


def is_subset(part: Facts, whole: Facts) -> bool:
    """Tell whether every fact is one that was recorded, none more often than it was."""
    left = list(whole)
    for fact in part:
        if fact not in left:
            return False
        left.remove(fact)
    return True


def changed(folder: SpoolFolder, raw: bytes) -> Iterator[SpoolFolder]:
    """Give the folder with other bytes in its segment, and nothing kept from before."""
    path = folder.segment_path(1)
    path.unlink()
    path.write_bytes(raw)
    for kept in (folder.path / "refused").glob("*"):
        kept.unlink()
    yield folder


# K9
def test_spool_cut_at_every_byte_gives_what_was_before_the_cut(folder: SpoolFolder) -> None:
    """A file that ends early gives a growing part of the facts, never a wrong or a doubled one."""
    raw = folder.segment_path(1).read_bytes()
    whole, _ = read(folder)
    assert len(whole) == 2 + 4 + 3 + 4
    counts = []
    for end in range(len(raw) + 1):
        for cut in changed(folder, raw[:end]):
            found, _ = read(cut)
            assert is_subset(found, whole), end
            counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == len(whole)


def test_spool_with_any_byte_flipped_gives_the_rest_and_reports_it(folder: SpoolFolder) -> None:
    """One wrong byte costs one record, or those that need its names; all else is given up."""
    raw = folder.segment_path(1).read_bytes()
    whole, _ = read(folder)
    for place in range(len(raw)):
        damaged = bytearray(raw)
        damaged[place] ^= 0x41
        for flipped in changed(folder, bytes(damaged)):
            found, lost = read(flipped)
            assert is_subset(found, whole), place
            assert len(found) >= len(whole) - 4, place
            if len(found) < len(whole):
                assert lost, place
                assert (flipped.path / "refused" / "000001.spool").read_bytes() == bytes(damaged)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_spool_with_garbage_anywhere_never_raises_and_invents_nothing(
    folder: SpoolFolder, data: st.DataObject
) -> None:
    """Whatever stands in the file, what comes out is some of what was recorded."""
    path = folder.path / "original"
    if not path.exists():
        path.write_bytes(folder.segment_path(1).read_bytes())
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        garbage = data.draw(st.binary(max_size=64))
        raw[at : at + len(garbage)] = garbage
    whole = next(read(one)[0] for one in changed(folder, path.read_bytes()))
    for broken in changed(folder, bytes(raw)):
        assert is_subset(read(broken)[0], whole)


def test_spool_whose_name_is_damaged_reports_the_points_of_that_name(tmp_path: Path) -> None:
    """Points without a name are of no use; those of other names in between are given up."""
    folder = new_folder(tmp_path)
    spool = Spool(folder)
    for step in range(50):
        spool.append_point("lost", step, step, 0.5)
        spool.append_point("loss", step, step, 0.5)
    raw = bytearray(folder.segment_path(1).read_bytes())
    raw[SEGMENT_HEAD.size + 16] ^= 1
    folder.segment_path(1).write_bytes(raw)
    reader = StreamReader(folder, is_checked=True)
    points = points_of(events_of(list(reader.records())))
    assert {name: len(found) for name, found in points.items()} == {"loss": 50}
    assert sum(lost.damage.size for lost in reader.lost) == 24 + 50 * POINT_BYTES


# D12
def test_spool_damaged_where_the_log_has_it_sends_nothing_again(folder: SpoolFolder) -> None:
    """A damaged end of an acknowledged stretch does not join it to what comes behind."""
    reader = StreamReader(folder, is_checked=True)
    first = next(record for record in reader.records() if record.ack is not None)
    assert first.ack is not None
    folder.write_ack(first.ack)
    rest = facts_of(events_of(list(StreamReader(folder, is_checked=True).records())))
    raw = bytearray(folder.segment_path(1).read_bytes())
    raw[first.ack.offset - 8] ^= 1  # in the cut
    folder.segment_path(1).write_bytes(raw)
    again = StreamReader(folder, is_checked=True)
    events = events_of(list(again.records()))
    assert facts_of(events) == rest
    assert events[0].seq == first.ack.next_seq
    assert [lost.segment for lost in again.lost] == [1]


def test_spool_whose_ack_is_damaged_is_read_from_its_beginning(folder: SpoolFolder) -> None:
    """Without an ack the same seqs are given again; the projection knows them."""
    reader = StreamReader(folder, is_checked=True)
    records = list(reader.records())
    for record in records:
        if record.ack is not None:
            folder.write_ack(record.ack)
    (folder.path / "ack").write_bytes(b"\1" * 300)
    again = StreamReader(folder, is_checked=True).records()
    assert [record.value for record in again] == [record.value for record in records]


def test_spool_whose_ack_is_lost_behind_deleted_segments_is_left_for_people(
    tmp_path: Path,
) -> None:
    """Nobody can tell the seqs any more: an error that names the folder, and nothing is sent."""
    folder = new_folder(tmp_path)
    spool = Spool(folder)
    for step in range(10_000):
        spool.append_point("loss", step, step, 0.5)
    assert folder.segments() == [1, 2]
    folder.delete_segment(1)
    with pytest.raises(SpoolError, match="segment 1 of spool"):
        StreamReader(folder, is_checked=True)
    assert folder.segments() == [2]


def test_spool_with_a_segment_missing_in_the_middle_reports_it(tmp_path: Path) -> None:
    """Somebody deleted a file by hand: what is there is given up, what is not is reported."""
    folder = new_folder(tmp_path)
    spool = Spool(folder)
    step = 0
    while len(folder.segments()) < 3:
        spool.append_row(tuple(f"m{i}" for i in range(200)), step, step, [0.5] * 200)
        step += 1
    folder.delete_segment(2)
    reader = StreamReader(folder, is_checked=True)
    assert points_of(events_of(list(reader.records())))
    assert [(lost.segment, lost.damage.size) for lost in reader.lost] == [(2, 0)]


def test_stream_of_a_dead_writer_is_the_same_each_time_it_is_read(tmp_path: Path) -> None:
    """Also without a cut at its end, so that two adopters one after the other send the same."""
    folder = SpoolFolder.create(tmp_path, META)
    spool = Spool(folder)
    spool.append_point("loss", 1, 77, 0.5)
    spool.append_event(ParametersLogged({"lr": 1}), 99)
    first = [record.value for record in StreamReader(folder, is_checked=True).records()]
    assert first == [record.value for record in StreamReader(folder, is_checked=True).records()]
