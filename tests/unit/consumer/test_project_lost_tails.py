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
    Seen,
    TailLost,
    check_seen,
)

PLACE = Partition(EVENTS_TOPIC, 0)


async def filled(count: int = 10) -> MemoryLog:
    """Return a log with so many records in one partition."""
    log = MemoryLog(1)
    await log.append([NewRecord(EVENTS_TOPIC, "run", b"%d" % number) for number in range(count)])
    return log


def seen(pauses: Pauses) -> list[int]:
    """Return the offsets of the records to be looked at."""
    return [one.offset for one in pauses.take()]


# K2
async def test_record_before_each_pause_is_looked_at_and_the_newest() -> None:
    """A log that was away for a moment has lost that one at least, if it has lost anything."""
    stored = (await filled(200)).stored(PLACE)
    pauses = Pauses()
    assert seen(pauses) == []
    pauses.note(stored[:3], 0.0)
    pauses.note(stored[3:5], PAUSE_S)
    pauses.note(stored[5:6], 2 * PAUSE_S + 0.1)
    pauses.note(stored[6:7], 2 * PAUSE_S + 0.2)
    assert seen(pauses) == [4, 6]
    assert seen(pauses) == [6]
    for number, record in enumerate(stored):
        pauses.note([record], 10.0 + number)
    assert len(seen(pauses)) == PAUSES_MAX + 2


# K2 K6
async def test_record_that_is_another_one_or_gone_is_told() -> None:
    """With its offset; what was dropped behind an archive, or cannot be read now, is no loss."""
    log, pauses = await filled(), Pauses()
    stored = log.stored(PLACE)
    pauses.note(stored[:5], 0.0)
    pauses.note(stored[5:], 1.0)
    told = pauses.take()
    assert [one.offset for one in told] == [4, 9]
    await check_seen(log, PLACE, told)
    await check_seen(log, PLACE, [])
    kept = stored[4]
    stored[4] = LogRecord(PLACE, 4, kept.at_us, kept.key, b"another")
    with pytest.raises(TailLost, match="record 4 is another one in the log than was applied"):
        await check_seen(log, PLACE, told)
    log.is_away = True
    await check_seen(log, PLACE, told)
    log.is_away = False
    await log.drop_before({PLACE: 6})
    await check_seen(log, PLACE, told)
    log.stored(PLACE).pop()
    with pytest.raises(TailLost, match="the log ends at 9 and its first 10 records are applied"):
        await check_seen(log, PLACE, [Seen(9, b"")])


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
    assert list(Loss([cut]).lines())[-1].endswith("is in the log, at another place")
    assert list(Loss().lines()) == []
