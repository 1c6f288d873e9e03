"""What is said of a log that has lost what was applied, and what is not given up unsaid."""

from __future__ import annotations

import pytest

from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.project.lost_tails import (
    EVENTS_SHOWN_MAX,
    Cut,
    EventsLostError,
    Loss,
    LostEvents,
    check_told,
)

PLACE = Partition(EVENTS_TOPIC, 0)


@pytest.mark.parametrize(
    ("end", "reached", "is_told"),
    [
        (8, 8, True),
        (8, 7, False),
        (12, 10, True),
        (12, 9, False),
        (None, 10, True),
        (None, 9, False),
    ],
)
def test_what_a_log_loses_after_it_was_looked_at_is_not_given_up(
    end: int | None, reached: int, *, is_told: bool
) -> None:
    """Ten records are applied; what was found is where the log ended, or that nothing is lost."""
    loss = Loss([] if end is None else [Cut(PLACE, 6, 10, end)])
    if is_told:
        check_told(loss, {PLACE: 10}, {PLACE: reached})
        return
    with pytest.raises(UnavailableError, match=f"ends before {min(end or 10, 10)};"):
        check_told(loss, {PLACE: 10}, {PLACE: reached})


def test_loss_is_said_in_lines_and_counted_once() -> None:
    """Of very many events the first are shown; one event of the catalog may be about many runs."""
    cut = Cut(PLACE, 6, 7, 9)
    assert str(cut) == (
        f"{EVENTS_TOPIC} partition 0: 1 record from offset 6 on was applied and is lost, the log "
        "has others from there on, to 8"
    )
    events = [
        LostEvents(f"{number:032x}", None, None, False, "w", 1, 2)
        for number in range(EVENTS_SHOWN_MAX + 3)
    ]
    lines = list(Loss([cut], events).lines())
    assert len(lines) == 1 + EVENTS_SHOWN_MAX + 1
    assert lines[-1] == "  and 3 more; --json has all"
    assert lines[1] == f"  nowhere in the log: run {0:032x}, writer w: seq 1 to 2"
    back = list(Loss([cut], events[:1]).lines(is_back=True))
    assert back == [f"  not in the tables before: run {0:032x}, writer w: seq 1 to 2"]
    assert list(Loss([cut]).lines(is_back=True)) == []
    both = [LostEvents(run, run, "e", True, "c", 5, 5) for run in ("one", "two")]
    loss = Loss([cut], both)
    assert (loss.count, loss.runs) == (1, 2)
    assert "the catalog, about run one (e/one), writer c: seq 5" in str(both[0])
    assert str(LostEvents("0", None, None, True, "c", 5, 5)) == "the catalog, writer c: seq 5"
    error = EventsLostError(loss)
    assert isinstance(error, UnavailableError)
    assert error.message.startswith("the log lacks 1 events of 2 runs that the live tables hold:")
    words = EventsLostError(loss, is_back=True).message
    assert words.startswith("the tables before lack 1 events of 2 runs that the live tables hold:")
    assert "--accept-lost-events those before are live again" in words
    of_two = [LostEvents(run, run, "e", False, "w", 5, 5) for run in ("one", "two")]
    assert Loss([cut], of_two).count == 2
    assert list(Loss([cut]).lines())[-1].endswith("is in the log, at another place")
    assert list(Loss().lines()) == []
