"""How many events came to which stage, as a program sees it; the log and the service in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.services.trialog import wait_until
from tests.unit.producer.memory_runs import MemoryRuns, memory_runs
from tests.unit.producer.spools import events_in
from trialog.deadline import Deadline
from trialog.durability import STAGES, StageCounts, check_stage
from trialog.run import Run
from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_schemas.events import MetricsLogged
from trialog_schemas.wire import EVENTS_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trialog.durability import Stage

AWAY = UnavailableError("away")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[MemoryRuns]:
    """A session whose log and service are in memory."""
    with memory_runs(tmp_path / "spool") as made:
        yield made


def entered(runs: MemoryRuns) -> Run:
    """Return a run that its owner has entered."""
    run = Run.existing(runs.run_answer(), runs.endpoint)
    run._block.enter(run._answer, runs.opening())
    return run


def in_log(runs: MemoryRuns) -> StageCounts:
    """Count what the log has."""
    events = events_in(runs.log.values(EVENTS_TOPIC))
    bodies = [event.body for event in events]
    points = sum(body.points for body in bodies if isinstance(body, MetricsLogged))
    return StageCounts(len(events), points)


def log_all(run: Run) -> None:
    """Log ten points in two ways, and two events."""
    run.log_parameter("lr", 0.1)
    for step in range(4):
        run.log_metric("loss", math.nan, step)
    run.log_metrics({"a": 1.0, "b": 2.0, "c": 3.0}, 1)
    run.log_metrics({"a": 1.0, "b": 2.0, "c": 3.0}, 2)
    run.set_tags({"k": "v"})


# B11
def test_durability_without_a_log_says_that_all_is_recorded_and_no_more(runs: MemoryRuns) -> None:
    """Nothing is promised that nobody has said; afterwards the log has exactly what was counted."""
    runs.log.fault = runs.store.fault = AWAY
    run = entered(runs)
    log_all(run)
    told = run.durability()
    assert told.recorded.points == 10
    assert (told.accepted, told.applied, told.sealed, told.told_at) == (
        StageCounts(), StageCounts(), StageCounts(), None,
    )  # fmt: skip
    assert run.durability(ask_now=True).told_at is None
    run.log_metric("loss", 1.0)
    more = run.durability()
    assert more.recorded == StageCounts(told.recorded.events + 1, 11)
    assert run.flush(30, stage="flushed")
    assert run.durability().flushed == more.recorded
    runs.log.fault = runs.store.fault = None
    assert run.flush(30)
    assert run.durability().accepted == more.recorded == in_log(runs)


# K10
def test_durability_of_what_a_log_that_is_away_will_get_is_exact(runs: MemoryRuns) -> None:
    """Over several segments, counted piece by piece amid the calls; each byte is read once."""
    runs.log.fault = runs.store.fault = AWAY
    run = entered(runs)
    row = {f"m{number}": float(number) for number in range(20)}
    seen = []
    for step in range(30_000):
        run.log_metrics(row, step)
        if step % 7000 == 0:
            seen.append(run.durability().recorded)
    told = run.durability()
    assert [one.points for one in seen] == [20 * (7000 * turn + 1) for turn in range(len(seen))]
    assert told.recorded.points == 600_000
    assert len(list(runs.endpoint.spool_dir.glob("*/*.spool"))) > 2
    runs.log.fault = runs.store.fault = None
    assert run.flush(60)
    assert run.durability().accepted == told.recorded == in_log(runs)


def test_durability_while_the_log_takes_all_counts_what_it_has(runs: MemoryRuns) -> None:
    """Event by event, over many stretches; the service says what of it is applied and sealed."""
    run = entered(runs)
    for _ in range(5):
        log_all(run)
        assert run.flush(30)
    runs.store.last_seqs[str(run.durability().writer_id)] = in_log(runs).events - 2
    runs.store.sealed["events:0"] = 1
    told = run.durability(ask_now=True)
    assert told.recorded == told.flushed == told.accepted == in_log(runs)
    assert told.recorded.points == 50
    assert told.applied == StageCounts(told.accepted.events - 2, 40)
    assert told.sealed.events == events_in(runs.log.values(EVENTS_TOPIC)[:1])[-1].seq
    assert told.told_at is not None
    assert run.durability().told_at == told.told_at
    assert str(told).startswith(f"recorded {told.recorded.events} events with 50 points; flushed")


def test_durability_counts_what_the_log_and_the_rules_refused(runs: MemoryRuns) -> None:
    """Each by its code; what is missing is told with its count."""
    run = entered(runs)
    assert run.flush(30)
    writer_id = str(run.durability().writer_id)
    runs.log.refused = writer_id.encode()
    run.log_parameter("lr", 0.1)
    assert run.flush(30)
    runs.log.refused = None
    runs.store.rejected[writer_id] = {"param_limit": 3}
    runs.store.missing[writer_id] = [[2, 2]]
    told = run.durability(ask_now=True)
    assert told.rejected == {"Refused": 1, "param_limit": 3}
    assert told.missing == 1
    with pytest.raises(TypeError):
        told.rejected["x"] = 1  # type: ignore[index]
    assert "refused 3 param_limit; 1 events missing" in str(told)


def test_durability_goes_on_after_the_folder_of_an_ended_run_is_gone(runs: MemoryRuns) -> None:
    """What is known stays known."""
    run = entered(runs)
    log_all(run)
    run._block.leave(None)
    spool_dir = runs.endpoint.spool_dir
    wait_until(lambda: not list(spool_dir.glob("[0-9a-f]*")), "its folder is gone")
    told = run.durability()
    assert told.recorded == told.accepted == in_log(runs)


def test_durability_of_a_run_that_was_not_entered_is_an_error(runs: MemoryRuns) -> None:
    """Nothing was logged, and zeros would look like a loss."""
    run = Run.existing(runs.run_answer(), runs.endpoint)
    for call in (run.durability, lambda: run.wait(0, stage="accepted"), lambda: run.flush(0)):
        with pytest.raises(RuntimeError, match="was not entered"):
            call()


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ("aplied", "did you mean 'applied'"),
        ("rejected", "run.rejections"),
        ("", "'recorded'"),
        (1, "is none of"),
        (None, "is none of"),
        (["applied"], "is none of"),
    ],
)
def test_stage_that_there_is_not_is_refused_with_those_there_are(stage: object, says: str) -> None:
    """A slip of the pen must not wait for something else."""
    with pytest.raises(ValidationError, match=says) as caught:
        check_stage(stage)
    assert caught.value.field == "stage"
    assert all(repr(name) in caught.value.message for name in STAGES)


async def test_flush_and_wait_refuse_stages_that_are_none_of_theirs(runs: MemoryRuns) -> None:
    """Before anything is waited for, in both forms."""
    run = entered(runs)
    stages: tuple[Stage, ...] = ("applied", "sealed", "recorded")
    for stage in stages:
        with pytest.raises(ValidationError, match=rf"wait\(stage='{stage}'\) waits for it"):
            run.flush(0, stage)
        with pytest.raises(ValidationError):
            await run.flush_async(0, stage)
    with pytest.raises(ValidationError, match="did you mean 'sealed'"):
        run.wait(0, "seald")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="did you mean 'sealed'"):
        await run.wait_async(0, "seald")  # type: ignore[arg-type]
    run._block.leave(None)


def test_wait_for_a_stage_ends_in_time_and_says_what_is_missing(runs: MemoryRuns) -> None:
    """Sealed comes by a checkpoint only; recorded is at once."""
    run = entered(runs)
    log_all(run)
    run.wait(0, stage="recorded")
    run.wait(30, stage="flushed")
    run.wait(30, stage="accepted")
    with pytest.raises(TimeoutError, match="is not sealed, which `trialog checkpoint` does, after"):
        run.wait(0.3, stage="sealed")
    runs.store.sealed["events:0"] = 1000
    run.wait(30, stage="sealed")
    runs.log.fault = AWAY
    run.log_metric("loss", 1.0)
    with pytest.raises(TimeoutError, match="is not accepted after"):
        run.wait(0.1, stage="accepted")
    runs.log.fault = None
    run._block.leave(None)
    assert run._block.flush(Deadline(30))


def test_durability_is_public() -> None:
    """Whoever annotates what it returns needs no private module."""
    assert trialog.Durability().recorded == trialog.Durability().sealed == StageCounts()
