"""A run's methods for asyncio: what blocks is done by a thread beside the event loop.

They are `Run`'s own, and `wait_async` is `RunView`'s; each is its blocking twin, called aside. What
decides which run is current is done in the task itself, because a thread has a context of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from trialog.call_aside import call_aside
from trialog.deadline import Deadline
from trialog.durability import FLUSH_STAGES, check_stage
from trialog.run_context import pop_run, push_run
from trialog.run_entering import Entering

if TYPE_CHECKING:
    from types import TracebackType

    from trialog.durability import Stage
    from trialog.run import Run
    from trialog.run_view import RunView

    AnyRun = TypeVar("AnyRun", bound=Run)


async def enter_async(self: AnyRun) -> AnyRun:
    """Enter the run as `with` does; the event loop goes on meanwhile.

    A task that is cancelled meanwhile is let go at once. The run may be created all the same, by
    a request that is under way: it is then ended as Failed, with a message that says so.
    """
    entering = Entering(self)
    try:
        await call_aside(entering.enter)
    except (asyncio.CancelledError, GeneratorExit):
        entering.give_up(asyncio.CancelledError("while it entered the run"))
        raise
    push_run(self)
    return self


async def leave_async(
    self: Run,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """Leave the run as `with` does; the event loop goes on while the log is waited for.

    How the block ended is recorded first, at once: a task that is cancelled while it waits for the
    log gives up the wait and no ending, and a run whose block came to its end stays Completed.
    """
    pop_run(self)
    # A coroutine that is being closed must not wait for anything.
    if self._block.end(error) and not isinstance(error, GeneratorExit):
        self._warn_of(await call_aside(self._settle, error))


async def flush_async(self: Run, timeout_s: float | None = None, stage: Stage = "accepted") -> bool:
    """Wait as `flush` does, while the event loop goes on; a task that is cancelled ends the wait.

    Args:
        timeout_s: seconds from 0 on; None waits as long as it takes.
        stage: `accepted` or `flushed`, as `flush` has them.

    Raises:
        RuntimeError: the run was never entered.
        ValidationError: `timeout_s` is no number from 0 on, or `stage` is another one.
    """
    deadline, known = Deadline(timeout_s), check_stage(stage, FLUSH_STAGES)
    try:
        return await call_aside(self._flush, deadline, known)
    finally:
        deadline.give_up()


async def wait_async(self: RunView, timeout_s: float | None = None) -> None:
    """Wait as `wait` does, while the event loop goes on; a task that is cancelled ends the wait.

    Args:
        timeout_s: seconds from 0 on; None waits as long as it takes.

    Raises:
        TimeoutError: it is not so within the time.
        RunRejectedError: some of what this handle logged was refused; `.rejections` lists it.
        RuntimeError: the run was not entered.
        ResourceNotFoundError: it was deleted.
        ValidationError: `timeout_s` is no number from 0 on.
    """
    deadline = Deadline(timeout_s)
    try:
        await call_aside(self._wait, deadline)
    finally:
        deadline.give_up()


async def wait_stage_async(
    self: Run, timeout_s: float | None = None, stage: Stage | None = None
) -> None:
    """Wait as `Run.wait` does, while the event loop goes on; see `wait_async`.

    Args:
        timeout_s: seconds from 0 on; None waits as long as it takes.
        stage: wait for this one instead of for the end, as `wait` has them.

    Raises:
        TimeoutError: it is not so within the time.
        RunRejectedError: some of what this handle logged was refused; `.rejections` lists it.
        RuntimeError: the run was not entered.
        ValidationError: `timeout_s` is no number from 0 on, or there is no such stage.
    """
    if stage is None:
        await wait_async(self, timeout_s)
        return
    deadline, known = Deadline(timeout_s), check_stage(stage)
    try:
        await call_aside(self._wait_stage, deadline, known)
    finally:
        deadline.give_up()
