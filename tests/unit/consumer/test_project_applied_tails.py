"""Which records are looked at once more, and what is said of a log that has others there."""

from __future__ import annotations

import pytest

from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import LogRecord, NewRecord, Partition
from trialog_server.log.memory import MemoryLog
from trialog_server.project.applied_tails import (
    PAUSE_S,
    PAUSES_MAX,
    Pauses,
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
    return [one.offset for one in pauses.to_look_at()]


# K2
async def test_record_before_each_pause_is_looked_at_and_the_newest() -> None:
    """A log that was away for a moment has lost that one at least, if it has lost anything."""
    log = await filled(PAUSES_MAX + 100)
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
    assert seen(pauses) == [one.offset for one in stored[-PAUSES_MAX - 1 :]]


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
