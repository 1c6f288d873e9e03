"""What a process knows of its events: marks of a stream, and what the service told."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from trialog.progress import MARKS_MAX, Mark, Marks, Told
from trialog.spool import Place
from trialog_schemas.wire import EVENTS_TOPIC, Position

NAMED = 3


def mark(seq: int) -> Mark:
    """A place after so many events of two points, whose newest record is at twice the offset."""
    return Mark(seq, 2 * seq, Place(1, 16 + 8 * seq), Position(EVENTS_TOPIC, 0, 2 * seq))


def marks_of(count: int) -> Marks:
    """Marks behind each of so many events."""
    marks = Marks()
    for seq in range(1, count + 1):
        marks.add(mark(seq))
    return marks


def told_of(came: set[int], *, named: int = NAMED) -> Told:
    """What a service tells whose tables have these events; it names the first holes only."""
    last = max(came, default=0)
    missing = sorted(set(range(1, last)) - came)
    firsts = [seq for seq in missing if seq - 1 not in missing]
    holes = [
        (first, next(seq for seq in range(first, last) if seq + 1 not in missing))
        for first in firsts
    ]
    return Told(last, holes[:named], len(missing), False, True, {}, {}, datetime.now(UTC))


def test_marks_are_found_by_seq_place_and_position() -> None:
    """Each the furthest one that is not beyond; before all of them nothing is counted."""
    marks = marks_of(9)
    assert marks.up_to_seq(4) == mark(4)
    assert marks.up_to_place(Place(1, 16 + 8 * 5 + 7)) == mark(5)
    assert marks.before(Position(EVENTS_TOPIC, 0, 13)) == mark(6)
    assert marks.before(Position(EVENTS_TOPIC, 0, 12)) == mark(5)
    assert marks.before(Position(EVENTS_TOPIC, 1, 99)).seq == 0
    assert marks.up_to_seq(0) == Mark(0, 0, Place(1, 0))


def test_marks_that_are_told_anew_replace_those_behind_them() -> None:
    """A stream that is sent again has other positions from there on."""
    marks = marks_of(9)
    again = mark(4)._replace(position=Position(EVENTS_TOPIC, 0, 77))
    marks.add(again)
    assert marks.newest == again
    assert marks.up_to_seq(3) == mark(3)


def test_marks_stay_few_and_round_down() -> None:
    """However long a run is; the newest is always exact."""
    marks = marks_of(10 * MARKS_MAX)
    assert len(marks._marks) <= MARKS_MAX
    assert marks.newest == mark(10 * MARKS_MAX)
    for seq in (1, 700, 5 * MARKS_MAX, 10 * MARKS_MAX - 1):
        found = marks.up_to_seq(seq)
        assert found.seq <= seq
        assert found == (mark(found.seq) if found.seq else Mark(0, 0, Place(1, 0)))


@given(
    st.sets(st.integers(1, 24)), st.integers(1, 26), st.sets(st.integers(1, 26)), st.integers(1, 3)
)
def test_first_event_that_is_not_applied_is_never_missed(
    came: set[int], start: int, refused: set[int], named: int
) -> None:
    """It is the first that neither came nor was refused, or one before it where holes are many."""
    told = told_of(came, named=named)
    first = told.first_not_applied(start, [(seq, seq) for seq in refused])
    exact = next(seq for seq in range(start, 99) if seq not in came | refused)
    assert start <= first <= exact
    if len(told.missing) < named or told.missing_count == sum(b - a + 1 for a, b in told.missing):
        assert first == exact
    assert told.applied == len(came)
