"""Who waits for a partition is woken when it grows, and nobody else."""

from __future__ import annotations

import asyncpg
import pytest

from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.log.wakeups import Wakeups

FIRST, SECOND = Partition(EVENTS_TOPIC, 0), Partition(EVENTS_TOPIC, 1)
CATALOG = Partition(CATALOG_TOPIC, 0)


@pytest.fixture
async def wakeups() -> Wakeups:
    """Wakeups over a pool that was never connected: what happens inside one process."""
    return Wakeups(asyncpg.create_pool("postgresql://127.0.0.1:9/nowhere", min_size=0))


@pytest.mark.parametrize(
    ("waits_for", "grown", "is_woken"),
    [
        ([FIRST], [FIRST], True),
        ([FIRST, SECOND], [SECOND], True),
        ([FIRST], [SECOND, FIRST], True),
        ([FIRST], [SECOND], False),
        ([FIRST], [CATALOG], False),
        ([], [FIRST], False),
        ([FIRST], [], False),
    ],
)
def test_sleeper_is_woken_for_its_partitions_only(
    wakeups: Wakeups, waits_for: list[Partition], grown: list[Partition], is_woken: bool
) -> None:
    """One of the awaited partitions is enough; one of another topic with its number is not it."""
    with wakeups.subscribe(waits_for) as woken:
        wakeups.wake(grown)
        assert woken.is_set() is is_woken


def test_every_sleeper_of_a_partition_is_woken(wakeups: Wakeups) -> None:
    """Readers do not take the wake-up away from each other."""
    with wakeups.subscribe([FIRST]) as one, wakeups.subscribe([FIRST, SECOND]) as other:
        wakeups.wake([FIRST])
        assert one.is_set()
        assert other.is_set()


def test_sleeper_that_has_left_is_not_woken(wakeups: Wakeups) -> None:
    """Also who left by an exception is forgotten: nothing piles up."""
    with pytest.raises(KeyError), wakeups.subscribe([FIRST]) as woken:
        raise KeyError("left")
    wakeups.wake([FIRST])
    assert not woken.is_set()


async def test_close_without_a_connection_does_nothing(wakeups: Wakeups) -> None:
    """A log that never listened can be closed, and closed again."""
    await wakeups.close()
    await wakeups.close()
