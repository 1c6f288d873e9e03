"""Where the log ends: how seldom that is asked, and that an old end makes nothing lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.log.base import NewRecord, Partition
from trialog_server.log.memory import MemoryLog
from trialog_server.read import log_ends
from trialog_server.read.log_ends import LogEnds

if TYPE_CHECKING:
    from collections.abc import Collection

EVENTS, CATALOG = Partition(EVENTS_TOPIC, 0), Partition(CATALOG_TOPIC, 0)


class Asked(MemoryLog):
    """A log of one partition a topic that takes its time and counts the questions."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[set[Partition]] = []
        self.delay_s = 0.0

    async def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Answer, after a while."""
        self.asked.append(set(partitions))
        found = await super().bounds(partitions)
        await asyncio.sleep(self.delay_s)
        return found

    async def grow(self, records: int) -> None:
        """Take so many records."""
        await self.append([NewRecord(EVENTS_TOPIC, "key", b"x")] * records)


async def test_end_that_was_seen_answers_for_what_lies_before_it() -> None:
    """A hundred senders that ask whether their records are there cost one question."""
    log = Asked()
    await log.grow(5)
    ends = LogEnds(log)
    found = [await ends.at({EVENTS: offset}) for offset in (4, 0, 3)]
    assert found == [{EVENTS: 5}] * 3
    assert log.asked == [{EVENTS}]


async def test_what_lies_behind_the_end_is_asked_for_anew() -> None:
    """It may have been taken a moment ago, and must not count as lost."""
    log = Asked()
    await log.grow(5)
    ends = LogEnds(log)
    await ends.at({EVENTS: 4})
    await log.grow(1)
    assert await ends.at({EVENTS: 5, CATALOG: -1}) == {EVENTS: 6, CATALOG: 0}
    assert await ends.at({EVENTS: 6}) == {EVENTS: 6}
    assert len(log.asked) == 3


async def test_question_is_not_answered_by_a_look_that_began_before_it() -> None:
    """A record that is acknowledged while another one's look is under way is not lost."""
    log = Asked()
    ends = LogEnds(log)
    log.delay_s = 0.05
    early = asyncio.create_task(ends.at({EVENTS: 0}))
    await asyncio.sleep(0)
    await log.grow(1)
    assert await ends.at({EVENTS: 0}) == {EVENTS: 1}
    assert await early == {EVENTS: 0}


async def test_many_that_ask_at_once_share_a_look() -> None:
    """Those that came before it began need no other one."""
    log = Asked()
    ends = LogEnds(log)
    log.delay_s = 0.01
    found = await asyncio.gather(*(ends.at({EVENTS: 7}) for _ in range(20)))
    assert found == [{EVENTS: 0}] * 20
    assert len(log.asked) <= 2


async def test_log_that_is_away_or_silent_tells_no_end() -> None:
    """Nothing is said of it, and nobody waits long."""
    log = Asked()
    ends = LogEnds(log)
    log.is_away = True
    assert await ends.at({EVENTS: -1}) == {}
    log.is_away = False
    log.delay_s = 10 * log_ends.ANSWER_S
    async with asyncio.timeout(2 * log_ends.ANSWER_S):
        assert await ends.at({EVENTS: -1}) == {}
