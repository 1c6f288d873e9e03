"""Starts and stops aiokafka's clients so that no connection stays open; must not know what for.

A start of aiokafka 0.14 that is cancelled forgets the connection over which it asks for the
brokers, and a stop that is cancelled those it has not come to; nobody can close them then. So
both run to their end in tasks of their own, whatever becomes of the caller.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

STOP_WAIT_S = 5.0
"""How long a caller waits for a stop; one that takes longer goes on without it."""

_stopping: set[asyncio.Task[None]] = set()
"""Keeps the stops alive that nobody waits for any more: the event loop itself does not."""


async def start_client(
    start: Coroutine[Any, Any, None], stop: Callable[[], Awaitable[None]]
) -> None:
    """Start a client; when that fails or is given up, stop it as soon as its start has ended.

    A start ends by itself: aiokafka bounds each of its answers by the client's request timeout.

    Args:
        start: the client's `start()`.
        stop: closes the client; raises nothing when the broker is away.
    """
    starting = asyncio.create_task(start)
    try:
        await asyncio.wait([starting])  # other than `await starting`, it hands no cancellation on
        starting.result()
    except BaseException:
        await stop_client(_stop_started(starting, stop))
        raise


async def stop_client(stop: Coroutine[Any, Any, None]) -> None:
    """Stop a client, waiting for a few seconds at most; the stop itself is never cut short."""
    stopping = asyncio.create_task(stop)
    _stopping.add(stopping)
    stopping.add_done_callback(_stopping.discard)
    await asyncio.wait([stopping], timeout=STOP_WAIT_S)
    if stopping.done():
        stopping.result()


async def _stop_started(starting: asyncio.Task[None], stop: Callable[[], Awaitable[None]]) -> None:
    await asyncio.wait([starting])
    if not starting.cancelled():
        starting.exception()  # the caller has it, or has gone: nothing is left to be warned of
    await stop()
