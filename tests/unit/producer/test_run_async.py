"""A run's methods for asyncio at their edges: cancelled or closed, it keeps its ending."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.services.trialog import wait_until
from tests.unit.producer.memory_runs import MemoryRuns, memory_runs
from trialog.run_context import current_run
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import RunEnded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

AWAY = UnavailableError("the log is away")
WHILE_ENTERING = RunEnded(
    "Failed", "CancelledError: the task was cancelled, while it entered the run", is_owner=True
)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[MemoryRuns]:
    """A session whose log is in memory; its service is not there."""
    with memory_runs(tmp_path / "spool") as made:
        yield made


async def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    await asyncio.to_thread(wait_until, is_so, "what a thread does by itself")


def has_ended(runs: MemoryRuns) -> bool:
    """Tell whether the log has an ending."""
    return "run_ended" in runs.types()


def threads_named(name: str) -> list[threading.Thread]:
    """Return the threads of a name that are alive."""
    return [one for one in threading.enumerate() if one.name == name]


# B24
async def test_async_block_records_what_the_blocking_one_does(runs: MemoryRuns) -> None:
    """The task that entered has the run as its current one; no thread keeps it."""
    async with trialog.Run("e", "r", runs.session) as run:
        assert current_run() is run
        run.log_metric("loss", 0.5)
        assert await run.flush_async(30)
    assert current_run() is None
    assert runs.types() == ["run_started", "metrics_logged", "run_ended"]
    assert runs.events()[-1].body == RunEnded("Completed", is_owner=True)


# B24
@pytest.mark.parametrize("is_told_first", [True, False])
async def test_task_cancelled_when_it_has_just_entered_ends_the_run(
    runs: MemoryRuns, is_told_first: bool
) -> None:
    """The thread is done and the task does not know it yet, or knows and has not gone on."""
    run = trialog.Run("e", "r", runs.session)
    task = asyncio.create_task(run.__aenter__())
    await asyncio.sleep(0)
    while threads_named("trialog-aside") or not run.is_open:
        time.sleep(0.001)  # noqa: ASYNC251  the loop must not hear of it
    if is_told_first:
        asyncio.get_running_loop().call_soon(task.cancel)
    else:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert current_run() is None
    await wait_for(lambda: has_ended(runs))
    assert runs.events()[-1].body == WHILE_ENTERING
    assert not run.is_open


# B24 B5
async def test_task_cancelled_while_it_cannot_enter_may_try_again(runs: MemoryRuns) -> None:
    """A handle that never got in has nothing to end."""
    run = trialog.Run("e", "r", runs.session)
    place = runs.endpoint.spool_dir
    place.write_bytes(b"a file where the folder should be")
    task = asyncio.create_task(run.__aenter__())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_for(lambda: not threads_named("trialog-given-up"))
    assert run.status is None
    place.unlink()
    async with run:
        pass
    assert runs.events()[-1].body == RunEnded("Completed", is_owner=True)


# B24
@pytest.mark.parametrize("way", ["flush_async", "wait_async"])
async def test_wait_that_is_cancelled_leaves_no_thread_behind(runs: MemoryRuns, way: str) -> None:
    """However long it was to be: a program that waits again and again piles up nothing."""
    async with trialog.Run("e", "r", runs.session) as run:
        runs.log.fault = AWAY
        run.log_metric("loss", 0.5)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(getattr(run, way)(), 0.05)
        await wait_for(lambda: not threads_named("trialog-aside"))
        runs.log.fault = None
    assert runs.events()[-1].body == RunEnded("Completed", is_owner=True)


# B10
def test_generator_that_nobody_asks_for_more_completes_its_run(runs: MemoryRuns) -> None:
    """As after a `break`; what it logged is there."""

    def epochs() -> Iterator[int]:
        with trialog.Run("e", "r", runs.session) as run:
            for epoch in range(100):
                run.log_metric("loss", 1 / (epoch + 1), epoch)
                yield epoch

    for epoch in epochs():
        if epoch == 2:
            break
    gc.collect()
    assert current_run() is None
    assert runs.events()[-1].body == RunEnded("Completed", is_owner=True)


# B24 B10
async def test_asynchronous_generator_that_is_closed_completes_its_run(runs: MemoryRuns) -> None:
    """As the other kind does."""

    async def epochs() -> AsyncGenerator[int]:
        async with trialog.Run("e", "r", runs.session):
            for epoch in range(100):
                yield epoch

    async with contextlib.aclosing(epochs()) as running:
        async for epoch in running:
            if epoch == 2:
                break
    await wait_for(lambda: has_ended(runs))
    assert runs.events()[-1].body == RunEnded("Completed", is_owner=True)


# B24
async def test_coroutine_that_is_closed_ends_its_run_without_waiting(runs: MemoryRuns) -> None:
    """One that is thrown away must not await: its end is recorded, and sent when it is."""

    async def work() -> None:
        async with trialog.Run("e", "r", runs.session):
            await asyncio.sleep(0)
            raise AssertionError("it went on")

    coroutine = work()
    entering = coroutine.send(None)
    assert isinstance(entering, asyncio.Future)
    entering._asyncio_future_blocking = False  # as a task says that it waits for it
    await entering
    coroutine.send(None)
    coroutine.close()
    await wait_for(lambda: has_ended(runs))
    assert runs.events()[-1].body == RunEnded("Completed", is_owner=True)


# B24
async def test_coroutine_that_is_closed_while_it_enters_ends_its_run(runs: MemoryRuns) -> None:
    """Its block never began."""
    coroutine = trialog.Run("e", "r", runs.session).__aenter__()
    coroutine.send(None)
    coroutine.close()
    await wait_for(lambda: has_ended(runs))
    assert runs.events()[-1].body == WHILE_ENTERING
