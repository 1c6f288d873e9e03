"""Starting and stopping a Kafka client: both run to their end, whatever becomes of the caller."""

from __future__ import annotations

import asyncio

import pytest

from trialog.transports.kafka_client import start_client, stop_client


class Client:
    """A client whose start and stop wait until the test lets them go on."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.steps: list[str] = []
        self.may_start = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.has_stopped = asyncio.Event()
        self._failure = failure

    async def start(self) -> None:
        """Connect, at the test's pace; note whether it was cut short."""
        try:
            await self.may_start.wait()
        except asyncio.CancelledError:
            self.steps.append("start cut short")
            raise
        self.steps.append("started")
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Close, at the test's pace; note whether it was cut short."""
        try:
            await self.may_stop.wait()
        except asyncio.CancelledError:
            self.steps.append("stop cut short")
            raise
        self.steps.append("stopped")
        self.has_stopped.set()


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task in the middle of its work and let it take notice."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)


async def test_start_that_succeeds_leaves_the_client_running() -> None:
    """Nothing is stopped that the caller wants."""
    client = Client()
    client.may_start.set()
    await start_client(client.start(), client.stop)
    assert client.steps == ["started"]


async def test_start_that_fails_stops_the_client_and_says_why() -> None:
    """The caller gets the client's own error, after what was opened is closed."""
    client = Client(ConnectionError("no broker"))
    client.may_start.set()
    with pytest.raises(ConnectionError, match="no broker"):
        await start_client(client.start(), client.stop)
    assert client.steps == ["started", "stopped"]


@pytest.mark.parametrize("failure", [None, ConnectionError("no broker")])
async def test_start_given_up_runs_to_its_end_and_is_stopped(failure: Exception | None) -> None:
    """A cancelled caller waits until the start has ended, then for the stop, then is cancelled."""
    client = Client(failure)
    starting = asyncio.create_task(start_client(client.start(), client.stop))
    await cancelled(starting)
    assert client.steps == []

    client.may_start.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert client.steps == ["started", "stopped"]


async def test_start_given_up_twice_is_stopped_all_the_same() -> None:
    """Also a caller that does not wait any more leaves a start behind that ends in a stop."""
    client = Client()
    starting = asyncio.create_task(start_client(client.start(), client.stop))
    await cancelled(starting)
    await cancelled(starting)
    await asyncio.gather(starting, return_exceptions=True)

    client.may_start.set()
    await client.has_stopped.wait()
    assert client.steps == ["started", "stopped"]


async def test_stop_given_up_runs_to_its_end() -> None:
    """A connection that is being closed is closed, also when nobody waits for it any more."""
    client = Client()
    client.may_stop.clear()
    stopping = asyncio.create_task(stop_client(client.stop()))
    await cancelled(stopping)
    await asyncio.gather(stopping, return_exceptions=True)

    client.may_stop.set()
    await client.has_stopped.wait()
    assert client.steps == ["stopped"]


async def test_stop_that_fails_says_so() -> None:
    """A stop that raises what it should have kept to itself is a defect, and not hidden."""

    async def stop() -> None:
        raise RuntimeError("defect")

    with pytest.raises(RuntimeError, match="defect"):
        await stop_client(stop())
