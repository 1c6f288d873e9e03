"""The way into a run's block: by a thread, so that whoever gives it up leaves no run open.

Between the service's creating a run and the first event of its writer nothing may come. In the
caller's own thread a Ctrl-C could, or whatever else the handler of a signal raises.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

from trialog.at_exit import call_at_exit
from trialog.call_aside import call_uninterrupted
from trialog.deadline import Deadline
from trialog.run_context import pop_run, push_run

if TYPE_CHECKING:
    from trialog.run import Run

    AnyRun = TypeVar("AnyRun", bound=Run)

EXIT_GIVEN_UP_S = 5.0
"""How long an ending interpreter waits for enterings that were given up, to record their end."""


def enter(run: AnyRun) -> AnyRun:
    """Enter a run's block and make it the current one.

    An exception of a signal handler goes on at once. The run may be created all the same, by a
    request that is under way: it is then ended as Failed, with this exception.
    """
    entering = Entering(run)
    is_entered = False
    try:
        call_uninterrupted(entering.enter)
        push_run(run)
        is_entered = True
    finally:
        if not is_entered:
            if entering.is_in:
                pop_run(run)
            entering.give_up(sys.exception())
    return run


class Entering:
    """A run on its way into its block, which may be given up before it is there."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._is_over = threading.Event()
        self.is_in = False

    def enter(self) -> None:
        """Enter the block, in a thread."""
        try:
            self._run._open()  # noqa: SLF001  this is a part of the run that stands in this module
            self.is_in = True
        finally:
            self._is_over.set()

    def give_up(self, why: BaseException | None) -> None:
        """Have the run ended by a thread as soon as it is entered, if it ever is; do not wait."""
        if self._is_over.is_set() and not self.is_in:
            return
        thread = threading.Thread(
            target=self._end, args=(why,), name="trialog-given-up", daemon=True
        )
        _given_up.add(thread)
        _end_given_up_at_exit()
        thread.start()

    def _end(self, why: BaseException | None) -> None:
        self._is_over.wait()
        if self.is_in:
            self._run._block.leave(why)  # noqa: SLF001
        _given_up.discard(threading.current_thread())


_given_up: set[threading.Thread] = set()


@functools.cache
def _end_given_up_at_exit() -> None:
    call_at_exit(_wait_given_up)


def _wait_given_up() -> None:
    deadline = Deadline(EXIT_GIVEN_UP_S)
    for thread in tuple(_given_up):
        thread.join(deadline.left_s)
