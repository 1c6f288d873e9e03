"""What a worker remembers of runs between batches, and how much of it."""

from __future__ import annotations

import pytest

from tests.unit.consumer.project_writers import AT_US, RUN
from trialog_schemas.events import Event, RunEnded
from trialog_schemas.rules import RunState
from trialog_server.project.runs import KnownRun, RunCache, Writer
from trialog_server.project.series import Summary

OTHER = "0191" + "cd" * 14


def run_of(run_id: str, *, metrics: int = 0, parameters: int = 0, writers: int = 0) -> KnownRun:
    """A run with so many things that take memory."""
    return KnownRun(
        run_id,
        state=RunState(parameters={f"p{at}": at for at in range(parameters)}),
        metrics={f"m{at}": Summary() for at in range(metrics)},
        writers={f"w{at}": Writer() for at in range(writers)},
    )


def kept(cache: RunCache, *run_ids: str) -> list[bool]:
    """Which of the runs the cache still has; they are taken out by the look."""
    return [cache.take(run_id) is not None for run_id in run_ids]


def test_known_run_counts_what_takes_memory() -> None:
    """Every writer, parameter and metric counts; a metric twice, for its summary and its chunks."""
    assert run_of(RUN).items == 4
    assert run_of(RUN, writers=3).items == 7
    assert run_of(RUN, parameters=300).items == 304
    assert run_of(RUN, metrics=20).items == 44


def test_cache_gives_back_the_very_run_once() -> None:
    """A run that is being folded is out of the cache: half-folded state is never found in it."""
    cache, run = RunCache(100), run_of(RUN)
    cache.put([run])

    assert cache.take(RUN) is run
    assert cache.take(RUN) is None


def test_cache_of_an_unknown_run_has_nothing() -> None:
    """A miss is no error: the run is loaded."""
    assert RunCache(100).take(RUN) is None


def test_cache_beyond_its_bound_forgets_the_runs_used_longest_ago() -> None:
    """Memory is bounded by items, and what was used last stays."""
    cache = RunCache(12)
    cache.put([run_of("a"), run_of("b"), run_of("c")])
    again = cache.take("a")
    assert again is not None
    cache.put([again])
    cache.put([run_of("d")])

    assert kept(cache, "a", "b", "c", "d") == [True, False, True, True]


def test_cache_keeps_one_run_however_large() -> None:
    """A run larger than the bound is still remembered, or it would be loaded for every batch."""
    cache = RunCache(12)
    cache.put([run_of("small"), run_of("large", metrics=1000)])

    assert kept(cache, "small", "large") == [False, True]


def test_cache_counts_a_run_as_large_as_it_came_back() -> None:
    """A run grows while it is out; the bound holds for what it is then."""
    cache = RunCache(30)
    cache.put([run_of("a"), run_of("b")])
    grown = cache.take("b")
    assert grown is not None
    grown.metrics.update({f"m{at}": Summary() for at in range(12)})
    cache.put([grown])

    assert kept(cache, "a", "b") == [False, True]


def test_cache_that_was_emptied_by_takes_has_room_again() -> None:
    """What is taken out no longer counts."""
    cache = RunCache(8)
    for _ in range(50):
        cache.put([run_of("a")])
        assert cache.take("a") is not None
    cache.put([run_of("a"), run_of("b")])

    assert kept(cache, "a", "b") == [True, True]


def test_cache_forgets_everything_at_once() -> None:
    """After a fault nothing remembered may be believed, and its room is free."""
    cache = RunCache(8)
    cache.put([run_of("a"), run_of("b")])
    cache.clear()
    cache.put([run_of("c"), run_of("d")])

    assert kept(cache, "a", "b", "c", "d") == [False, False, True, True]


@pytest.mark.parametrize("seq", [1, 2**63 - 1])
def test_writer_moves_to_its_newest_event(seq: int) -> None:
    """Count, chain and place move together: they are one row."""
    event = Event(
        account="default",
        user="ada@forge",
        run_id=RUN,
        writer_id=OTHER,
        seq=seq,
        event_id="e",
        at_us=AT_US,
        body=RunEnded("Completed"),
        prev_hash=b"c" * 32,
        digest=b"d" * 32,
    )
    writer = Writer(3, b"before")
    writer.move_to(17, event)

    assert writer == Writer(seq, b"d" * 32, 17)


def test_known_run_starts_before_the_log() -> None:
    """A run that nothing is stored of is at no offset and quarantined from none."""
    run = KnownRun(RUN)
    assert (run.account, run.log_offset, run.parked_from, run.last_event_at_us) == (
        "", -1, None, None,
    )  # fmt: skip
    assert KnownRun(RUN).writers is not run.writers
