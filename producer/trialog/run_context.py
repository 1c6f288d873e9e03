"""Which run is the current one: a stack per thread and asyncio task. Must not open or end runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trialog.run import Run

_stack: ContextVar[tuple[Run, ...]] = ContextVar("trialog_runs", default=())


def current_run() -> Run | None:
    """Return the innermost run that is open in this thread or task, or None."""
    # A run may have been left in another context than it was entered in: it is passed over.
    return next((run for run in reversed(_stack.get()) if run.is_open), None)


def push_run(run: Run) -> None:
    """Make a run the current one."""
    _stack.set((*_stack.get(), run))


def pop_run(run: Run) -> None:
    """Take a run out, wherever in the stack it is: blocks need not be left in order."""
    _stack.set(tuple(other for other in _stack.get() if other is not run))
