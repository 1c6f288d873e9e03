"""Runs in asyncio: the event loop goes on whatever the service does, and no ending is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.senders import end_sender
from tests.services.proxy import Direction, Proxy
from tests.services.trialog import wait_until
from trialog.run_context import current_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.services.trialog import TrialogService

STALL_S = 0.8
GAP_S_MAX = 0.5 * STALL_S
"""A loop that waited for the service would stand still for the whole stall, a thread beside it not:
by how much more the loop may stand still than the thread does, on a machine that may be busy."""

LET_GO_S = 4.0
"""Far less than waits for a service that does not answer, and enough for a busy machine."""

LEFT_IN_HASTE = """
import asyncio, json, sys
import trialog

async def main():
    session = trialog.Session(**json.loads(sys.argv[1]))
    async with asyncio.timeout(0.3), trialog.Run(sys.argv[2], "haste", session):
        print("entered")

try:
    asyncio.run(main())
except TimeoutError:
    print("given up", flush=True)
"""


class Ticker:
    """Ticks once a millisecond, as long as the event loop lets it; beside it, so does a thread."""

    def __init__(self) -> None:
        self.longest_gap_s = 0.0
        self.ticks = 0
        self.machines_gap_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick_beside, daemon=True)

    async def tick(self) -> None:
        """Tick until cancelled."""
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now_s = time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now_s - last_s)
            self.ticks += 1
            last_s = now_s

    def _tick_beside(self) -> None:
        last_s = time.monotonic()
        while not self._ended.wait(0.001):
            now_s = time.monotonic()
            self.machines_gap_s = max(self.machines_gap_s, now_s - last_s)
            last_s = now_s

    def start_beside(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end_beside(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    @property
    def loops_gap_s(self) -> float:
        """How much longer the loop has stood still than the machine."""
        return self.longest_gap_s - self.machines_gap_s


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    """Tick beside the block."""
    ticker = Ticker()
    ticker.start_beside()
    task = asyncio.create_task(ticker.tick())
    yield ticker
    ticker.end_beside()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def stalled(proxy: Proxy, waited_for: Awaitable[object]) -> None:
    """Await something that the service must answer, while it does not for a while."""

    async def go_on() -> None:
        await asyncio.sleep(STALL_S)
        await asyncio.to_thread(proxy.resume)

    await asyncio.to_thread(proxy.stall)
    going_on = asyncio.create_task(go_on())
    await waited_for
    assert going_on.done(), "it did not wait for the service"
    await going_on


@pytest.fixture
def proxy(service: TrialogService) -> Iterator[Proxy]:
    """The way to the service, which can be made to fail."""
    parts = urlsplit(service.url)
    assert parts.hostname is not None
    assert parts.port is not None
    with Proxy((parts.hostname, parts.port)) as way:
        yield way


@pytest.fixture
def proxied(proxy: Proxy, tmp_path: Path) -> Iterator[trialog.Session]:
    """A session that has all its connections through the proxy."""
    session = trialog.Session(url=f"http://{proxy.address}", spool_dir=tmp_path / "proxied")
    yield session
    proxy.resume()
    end_sender(session)


def asides() -> list[threading.Thread]:
    """Return the threads that wait for something on a task's behalf; the sender's are quick."""
    return [one for one in threading.enumerate() if one.name == "trialog-aside"]


async def ended_run(session: trialog.Session, experiment_name: str, name: str) -> trialog.Run:
    """Return a run that somebody ends, once it has ended."""

    def exists() -> bool:
        with contextlib.suppress(trialog.ResourceNotFoundError):
            trialog.load_run(experiment_name, name, session)
            return True
        return False

    await asyncio.to_thread(wait_until, exists, f"{name} is created")
    run = await asyncio.to_thread(trialog.load_run, experiment_name, name, session)
    await run.wait_async(30)
    return run


# B24
@ON_ONE_LOG
async def test_event_loop_goes_on_while_the_service_is_slow(
    proxy: Proxy, proxied: trialog.Session, experiment_name: str
) -> None:
    """Entering, flushing, waiting inside and outside, leaving: each waits, the loop does not."""
    run = trialog.Run(experiment_name, "one", proxied)
    async with ticking() as ticker:
        await stalled(proxy, run.__aenter__())
        run.log_metric("loss", 0.5)
        await stalled(proxy, run.flush_async(30))
        run.log_metric("loss", 0.4)
        await stalled(proxy, run.wait_async(30))
        run.log_metric("loss", 0.3)
        await stalled(proxy, run.__aexit__(None, None, None))
        await stalled(proxy, run.wait_async(30))
    assert ticker.loops_gap_s < GAP_S_MAX
    assert ticker.ticks > 100
    assert (run.status, run.metrics["loss"].count) == ("Completed", 3)


# B24 B11
@ON_ONE_LOG
async def test_event_loop_goes_on_while_the_service_is_away(
    proxy: Proxy, proxied: trialog.Session, experiment_name: str
) -> None:
    """The run is kept, the program's own error goes on, and everything arrives later."""
    await asyncio.to_thread(proxy.refuse)
    run = trialog.Run(experiment_name, "one", proxied)

    async def work() -> None:
        async with run:
            run.log_metric("loss", 0.5)
            assert not await run.flush_async(STALL_S)
            raise ValueError("my own")

    async with ticking() as ticker:
        with pytest.raises(ValueError, match="my own"):
            await work()
        with pytest.raises(TimeoutError, match=r"is not in the log after 0\.1 s"):
            await run.wait_async(0.1)
        await asyncio.to_thread(proxy.accept)
        await run.wait_async(30)
    assert ticker.loops_gap_s < GAP_S_MAX
    assert (run.status, run.failure_message) == ("Failed", "my own")
    assert run.metrics["loss"].count == 1


# B24 B17 H3
async def test_tasks_with_runs_of_their_own_never_mix(
    session: trialog.Session, experiment_name: str
) -> None:
    """8 tasks at once, each with a run, a child in it and a handle that joins: all stay apart."""
    entered = asyncio.Barrier(8)

    async def search(index: int) -> None:
        async with trialog.Run(experiment_name, f"run-{index}", session) as run:
            await entered.wait()
            assert current_run() is run
            async with trialog.Run(experiment_name, f"child-{index}", session) as child:
                for step in range(100):
                    child.log_metric("loss", float(index), step)
                    await asyncio.sleep(0)
            assert current_run() is run
            async with trialog.load_run() as joined:
                joined.log_parameter("index", index)
            assert await asyncio.to_thread(current_run) is run
            run.log_metric("loss", float(index))

    await asyncio.gather(*map(search, range(8)))
    assert current_run() is None
    for listed in trialog.Run.iterate(experiment_name, session=session):
        await listed.wait_async(30)
        kind, _, index = listed.run_name.partition("-")
        is_child = kind == "child"
        summary = listed.metrics["loss"]
        assert (listed.status, listed.parent_run_name) == (
            "Completed",
            f"run-{index}" if is_child else None,
        )
        assert (summary.count, summary.min, summary.max) == (
            100 if is_child else 1,
            float(index),
            float(index),
        )
        assert listed.parameters == ({} if is_child else {"index": int(index)})


# B24 B5
async def test_async_block_refuses_what_the_blocking_one_refuses(
    session: trialog.Session, experiment_name: str
) -> None:
    """The same errors at the same places; what could not be entered is never the current run."""
    async with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("lr", 1)
        with pytest.raises(trialog.ResourceInUseError):
            await trialog.Run(experiment_name, "one", session).__aenter__()
        assert current_run() is run
        with pytest.raises(RuntimeError, match="entered already"):
            await run.__aenter__()
        await run.wait_async(30)
        async with await asyncio.to_thread(
            trialog.load_run, experiment_name, "one", session
        ) as other:
            with pytest.raises(trialog.ParameterImmutableError):
                other.log_parameter("lr", 2)
    with pytest.raises(RuntimeError, match="was left"):
        run.log_metric("loss", 1.0)
    twice = trialog.Run(experiment_name, "two", session)
    found = await asyncio.gather(twice.__aenter__(), twice.__aenter__(), return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["Run", "RuntimeError"]
    await twice.__aexit__(None, None, None)
    late = trialog.Run(experiment_name, "late", session)
    for call in (late.wait_async, late.flush_async):
        with pytest.raises(RuntimeError, match="not entered"):
            await call()
        with pytest.raises(trialog.ValidationError, match="timeout_s"):
            await call(-1)


# B24
@ON_ONE_LOG
async def test_task_cancelled_while_it_enters_leaves_no_run_open(
    proxy: Proxy, proxied: trialog.Session, session: trialog.Session, experiment_name: str
) -> None:
    """It is let go at once; the run that is created all the same is Failed and says why."""
    run = trialog.Run(experiment_name, "one", proxied)
    await asyncio.to_thread(proxy.stall)
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), run:
            pytest.fail("it was entered")
    assert time.monotonic() - began_s < LET_GO_S
    assert current_run() is None
    with pytest.raises(RuntimeError, match="entered already"):
        run.__enter__()
    await asyncio.to_thread(proxy.resume)
    ended = await ended_run(session, experiment_name, "one")
    assert (ended.status, ended.run_id) == ("Failed", run.run_id)
    assert (
        ended.failure_message == "CancelledError: the task was cancelled, while it entered the run"
    )
    with pytest.raises(RuntimeError, match="was left"):
        run.log_metric("loss", 1.0)


# B10
@ON_ONE_LOG
def test_interrupt_while_a_blocking_run_is_entered_leaves_no_run_open(
    proxy: Proxy, proxied: trialog.Session, session: trialog.Session, experiment_name: str
) -> None:
    """Ctrl-C while the service is at it goes on at once; the run that is created is Failed."""
    run = trialog.Run(experiment_name, "one", proxied)
    proxy.stall(Direction.TO_CLIENT)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt), run:
        pytest.fail("it was entered")
    assert time.monotonic() - began_s < LET_GO_S
    assert current_run() is None
    proxy.resume()
    ended = asyncio.run(ended_run(session, experiment_name, "one"))
    assert (ended.status, ended.run_id) == ("Failed", run.run_id)
    assert ended.failure_message == "KeyboardInterrupt: stopped by SIGINT"


# B24
@ON_ONE_LOG
def test_program_that_ends_while_a_run_is_being_entered_ends_the_run(
    proxy: Proxy, proxied: trialog.Session, session: trialog.Session, experiment_name: str
) -> None:
    """Its last seconds are enough for a service that answers by then."""
    fields = {"url": proxied.url, "spool_dir": str(proxied.spool_dir)}
    command = [sys.executable, "-c", LEFT_IN_HASTE, json.dumps(fields), experiment_name]
    proxy.stall()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "given up\n"
        proxy.resume()
        assert program.wait(30) == 0
    run = asyncio.run(ended_run(session, experiment_name, "haste"))
    assert run.failure_message == "CancelledError: the task was cancelled, while it entered the run"


# B24 B10
async def test_task_cancelled_in_its_block_fails_the_run(
    session: trialog.Session, experiment_name: str
) -> None:
    """While it works or waits; the cancellation goes on, and the reason is told."""

    async def work(name: str, rest: Callable[[trialog.Run], Awaitable[object]]) -> None:
        async with trialog.Run(experiment_name, name, session) as run:
            run.log_metric("loss", 0.5)
            entered.set()
            await rest(run)

    async def wait_for_parent(run: trialog.Run) -> None:
        assert run.parent_run_name == "parent"
        (parent,) = (
            one
            for one in trialog.Run.iterate(experiment_name, session=session)
            if one.run_name == "parent"
        )
        await parent.wait_async()  # which goes on while the test is in its block

    ways = {"works": lambda _run: asyncio.sleep(60), "waits": wait_for_parent}
    async with trialog.Run(experiment_name, "parent", session):
        for name, rest in ways.items():
            entered = asyncio.Event()
            task = asyncio.create_task(work(name, rest))
            await entered.wait()
            if name == "waits":
                await asyncio.to_thread(wait_until, lambda: bool(asides()), "it waits")
            task.cancel("shutting down")
            with pytest.raises(asyncio.CancelledError):
                await task
    for name in ways:
        run = await ended_run(session, experiment_name, name)
        assert (run.status, run.metrics["loss"].count) == ("Failed", 1)
        assert run.failure_message == "CancelledError: the task was cancelled, shutting down"
    await asyncio.to_thread(wait_until, lambda: not asides(), "no thread waits for nobody")


# B24 B9
@ON_ONE_LOG
async def test_task_cancelled_while_it_leaves_has_ended_its_run(
    proxy: Proxy, proxied: trialog.Session, session: trialog.Session, experiment_name: str
) -> None:
    """The block had come to its end: what is given up is the wait for the log."""
    leaving = asyncio.Event()

    async def work() -> None:
        async with trialog.Run(experiment_name, "one", proxied) as run:
            run.log_metric("loss", 0.5)
            await asyncio.to_thread(proxy.stall)
            leaving.set()

    task = asyncio.create_task(work())
    await leaving.wait()
    await asyncio.to_thread(wait_until, lambda: bool(asides()), "it waits for the log")
    assert not task.done()
    task.cancel()
    began_s = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began_s < LET_GO_S
    await asyncio.to_thread(proxy.resume)
    run = await ended_run(session, experiment_name, "one")
    assert (run.status, run.metrics["loss"].count) == ("Completed", 1)


# B24 B20
async def test_waiting_async_tells_what_was_refused(
    session: trialog.Session, experiment_name: str
) -> None:
    """As `wait` does, and leaving warns of it in the line that leaves."""
    async with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("lr", 1)
        await run.wait_async(30)
        handles = [trialog.load_run(experiment_name, "one", session) for _ in range(2)]

        async def differ() -> None:
            async with handles[0], handles[1]:
                for index, handle in enumerate(handles):
                    handle.log_parameter("momentum", index)

        with pytest.warns(UserWarning, match="1 refusal in run 'one'") as caught:
            await differ()
        assert {warning.filename for warning in caught} == {__file__}
        with pytest.raises(TimeoutError, match=r"has not ended after 0\.1 s"):
            await trialog.load_run(experiment_name, "one", session).wait_async(0.1)
    refused = 0
    for handle in handles:
        try:
            await handle.wait_async(30)
        except trialog.RunRejectedError as exc:
            refused += len(exc.rejections)
    assert refused == 1
