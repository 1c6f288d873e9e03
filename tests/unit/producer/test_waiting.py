"""Deadlines, and blocking calls that a coroutine waits for: both end, whatever is waited for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from contextvars import ContextVar

import pytest

from trialog.call_aside import call_aside
from trialog.deadline import PAUSE_S, Deadline
from trialog_schemas.errors import InternalError, UnavailableError, ValidationError

NEVER_ANSWERED = """
import asyncio, threading
from trialog.call_aside import call_aside

async def ask():
    asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)
    await call_aside(threading.Event().wait)

try:
    asyncio.run(ask())
except asyncio.CancelledError:
    print("given up")
"""


def test_deadline_that_has_passed_says_what_is_missing() -> None:
    """With the seconds that were given, and what to do."""
    deadline = Deadline(0)
    assert deadline.left_s == 0.0
    with pytest.raises(TimeoutError) as caught:
        deadline.check("run 'r' has not ended")
    assert str(caught.value) == "run 'r' has not ended after 0 s; wait longer or look again"


def test_deadline_that_has_not_passed_lets_go_on() -> None:
    """What is left shrinks and never grows."""
    deadline = Deadline(1000)
    first = deadline.left_s
    deadline.check("nothing")
    assert 900 < deadline.left_s <= first <= 1000


def test_deadline_of_none_is_the_longest_wait_there_is() -> None:
    """Every wait of the standard library takes it; a larger number is cut to it."""
    for given in (None, 1e300, float("inf")):
        deadline = Deadline(given)
        assert deadline.timeout_s == threading.TIMEOUT_MAX
        assert threading.Event().wait(0) is False
        deadline.check("nothing")


@pytest.mark.parametrize("given", [-1, -0.001, float("nan"), "5", True, b"", [1]])
def test_deadline_of_no_seconds_is_refused(given: object) -> None:
    """With value, bounds and what None means."""
    with pytest.raises(ValidationError, match="allowed are seconds from 0 on, or None") as caught:
        Deadline(given)  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.limit) == ("timeout_s", "0..")


def test_deadline_that_is_given_up_is_over_at_once() -> None:
    """Also for a thread that pauses: nobody wants what it waits for any more."""
    deadline = Deadline(1000)
    before_s = time.monotonic()

    def pause() -> None:
        for _ in range(1000):
            deadline.pause()

    waiting = threading.Thread(target=pause)
    waiting.start()
    deadline.give_up()
    waiting.join(30)
    assert not waiting.is_alive()
    assert time.monotonic() - before_s < 30
    assert deadline.left_s == 0.0
    with pytest.raises(TimeoutError):
        deadline.check("anything")


def test_pause_does_not_go_beyond_the_end() -> None:
    """The last question is asked at the deadline and not after it."""
    before_s = time.monotonic()
    Deadline(0).pause()
    assert time.monotonic() - before_s < PAUSE_S


async def test_call_aside_returns_what_the_call_returns() -> None:
    """In another thread, with its arguments, while the loop goes on."""
    ticks = 0
    done = threading.Event()

    def work(one: int, other: int) -> tuple[int, bool]:
        done.wait(30)
        return one + other, threading.current_thread().daemon

    waiting = asyncio.ensure_future(call_aside(work, 1, 2))
    while ticks < 10:
        await asyncio.sleep(0)
        ticks += 1
    assert not waiting.done()
    done.set()
    assert await waiting == (3, True)


async def test_call_aside_sees_the_context_of_its_caller_and_leaves_it_alone() -> None:
    """As `asyncio.to_thread` does; what the thread sets is its own."""
    of_task = ContextVar("of_task", default="nothing")
    of_task.set("the task's")

    def work() -> str:
        seen = of_task.get()
        of_task.set("the thread's")
        return seen

    assert await call_aside(work) == "the task's"
    assert of_task.get() == "the task's"


@pytest.mark.parametrize(
    "error",
    [UnavailableError("away"), FileNotFoundError(2, "gone"), RuntimeError("not entered")],
)
async def test_call_aside_raises_what_the_call_raises(error: Exception) -> None:
    """The very same object: faults of service and disk, and misuse, are what callers know."""

    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await call_aside(work)
    assert caught.value is error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_call_aside_of_a_defect_is_an_internal_error() -> None:
    """The thread shows it with its trace; who waits is let go."""

    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(InternalError, match="work ended unexpectedly"):
        await call_aside(work)
    for thread in threading.enumerate():
        if thread.name == "trialog-aside":
            thread.join(30)  # it shows the error behind telling it


async def test_call_aside_whose_caller_gave_up_ends_by_itself() -> None:
    """Its answer is for nobody; that is no error."""
    go_on, ended = threading.Event(), threading.Event()

    def work() -> str:
        go_on.wait(30)
        ended.set()
        return "late"

    waiting = asyncio.ensure_future(call_aside(work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 30)


# B11
def test_call_aside_that_never_ends_does_not_hold_the_program() -> None:
    """The interpreter ends although a service still does not answer."""
    command = [sys.executable, "-c", NEVER_ANSWERED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert (done.stdout, done.stderr) == ("given up\n", "")
