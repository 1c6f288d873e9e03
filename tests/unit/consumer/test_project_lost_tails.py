"""Which records are looked at once more, and what is said of a log that has lost some."""

from __future__ import annotations

import pytest

from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import LogRecord, NewRecord, Partition
from trialog_server.log.memory import MemoryLog
from trialog_server.project.lost_tails import (
    EVENTS_SHOWN_MAX,
    PAUSE_S,
    PAUSES_MAX,
    Cut,
    EventsLostError,
    Loss,
    LostEvents,
    Pauses,
    TailLost,
    check_seen,
    check_told,
)

PLACE = Partition(EVENTS_TOPIC, 0)


async def filled(count: int = 10) -> MemoryLog:
    """Return a log with so many records in one partition."""
    log = MemoryLog(1)
    await log.append([NewRecord(EVENTS_TOPIC, "run", b"%d" % number) for number in range(count)])
    return log


def seen(pauses: Pauses) -> list[int]:
    """Return the offsets of the records to be looked at."""
    return [one.offset for one in pauses.to_look_at()]


# K2
async def test_record_before_each_pause_is_looked_at_and_the_newest() -> None:
    """A log that was away for a moment has lost that one at least, if it has lost anything."""
    log = await filled(200)
    stored, pauses = log.stored(PLACE), Pauses()
    assert seen(pauses) == []
    pauses.note(stored[:3], 0.0)
    pauses.note(stored[3:5], PAUSE_S)
    pauses.note(stored[5:6], 2 * PAUSE_S + 0.1)
    pauses.note(stored[6:7], 2 * PAUSE_S + 0.2)
    assert seen(pauses) == [4, 6]
    await check_seen(log, PLACE, pauses)
    assert seen(pauses) == [6]
    for number, record in enumerate(stored):
        pauses.note([record], 10.0 + number)
    assert len(seen(pauses)) == PAUSES_MAX + 2


# K2 K6
async def test_record_that_is_another_one_or_gone_is_told() -> None:
    """With its offset; what was dropped behind an archive is no loss."""
    log, pauses = await filled(), Pauses()
    stored = log.stored(PLACE)
    await check_seen(log, PLACE, pauses)
    pauses.note(stored[:5], 0.0)
    pauses.note(stored[5:], 1.0)
    assert seen(pauses) == [4, 9]
    kept = stored[4]
    stored[4] = LogRecord(PLACE, 4, kept.at_us, kept.key, b"another")
    with pytest.raises(TailLost, match="record 4 is another one in the log than was applied"):
        await check_seen(log, PLACE, pauses)
    await log.drop_before({PLACE: 6})
    await check_seen(log, PLACE, pauses)
    assert seen(pauses) == [9]
    log.stored(PLACE).pop()
    with pytest.raises(TailLost, match="the log ends at 9 and its first 10 records are applied"):
        await check_seen(log, PLACE, pauses)


# K2 K6
async def test_record_that_cannot_be_read_now_is_looked_at_later() -> None:
    """A log that is away is the one that may be losing it just then."""
    log, pauses = await filled(), Pauses()
    stored = log.stored(PLACE)
    pauses.note(stored[:5], 0.0)
    pauses.note(stored[5:], 1.0)
    log.is_away = True
    await check_seen(log, PLACE, pauses)
    assert seen(pauses) == [4, 9]
    log.is_away = False
    stored[4] = LogRecord(PLACE, 4, 0, stored[4].key, b"another")
    with pytest.raises(TailLost, match="record 4 is another one"):
        await check_seen(log, PLACE, pauses)


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
    both = [LostEvents(run, run, "e", True, "c", 5, 5) for run in ("one", "two")]
    loss = Loss([cut], both)
    assert (loss.count, loss.runs) == (1, 2)
    assert "the catalog, about run one (e/one), writer c: seq 5" in str(both[0])
    assert str(LostEvents("0", None, None, True, "c", 5, 5)) == "the catalog, writer c: seq 5"
    error = EventsLostError(loss)
    assert isinstance(error, UnavailableError)
    assert error.message.startswith("the log lacks 1 events of 2 runs that the live tables hold:")
    back = EventsLostError(loss, is_back=True).message
    assert back.startswith("the tables before lack 1 events of 2 runs that the live tables hold:")
    assert "--accept-lost-events those before are live again" in back
    of_two = [LostEvents(run, run, "e", False, "w", 5, 5) for run in ("one", "two")]
    assert Loss([cut], of_two).count == 2
    assert list(Loss([cut]).lines())[-1].endswith("is in the log, at another place")
    assert list(Loss().lines()) == []
