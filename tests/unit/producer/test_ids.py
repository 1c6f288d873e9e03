"""Ids and times of new events, and the ids that are made of others."""

from __future__ import annotations

import time

from trialog.ids import catalog_writer_of, new_id, now_us, storable_us
from trialog_schemas.limits import TIME_US_MAX


def test_ids_are_different_and_begin_with_their_time() -> None:
    """10,000 made at once differ; the first digits are the milliseconds since the epoch."""
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in made)
    assert {one[12] for one in made} == {"7"}
    assert abs(int(made[0][:12], 16) / 1000 - time.time()) < 3600


def test_time_is_that_of_the_clock_in_microseconds() -> None:
    """Whole ones, since the epoch."""
    before = time.time()
    at_us = now_us()
    assert before - 0.001 <= at_us / 1e6 <= time.time() + 0.001
    assert type(at_us) is int


def test_time_beyond_the_year_9999_is_the_last_that_can_be_stored() -> None:
    """The rules refuse a later one, with everything that was logged at it."""
    assert storable_us(TIME_US_MAX) == storable_us(TIME_US_MAX + 1) == TIME_US_MAX
    assert storable_us(TIME_US_MAX - 1) == TIME_US_MAX - 1


# D12
def test_writer_of_a_catalog_event_is_the_same_for_every_sending() -> None:
    """It is made of the stream's writer alone, is none of its own, and has its time."""
    writer_id = new_id()
    assert catalog_writer_of(writer_id) == catalog_writer_of(writer_id)
    assert catalog_writer_of(writer_id) != writer_id
    assert catalog_writer_of(writer_id)[:12] == writer_id[:12]
    assert len({catalog_writer_of(new_id()) for _ in range(1000)}) == 1000
