"""Waits for a blocking call that runs in a daemon thread; must not know what is called.

`asyncio.to_thread` is not used, because the interpreter joins its threads when it ends: a question
to a service that does not answer would hold the user's program for as long as it may take.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trialog_schemas.errors import InternalError, TrialogError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def call_aside(function: Callable[..., T], *arguments: object) -> T:
    """Return what the call returns, or raise what it raises of the errors that callers know.

    These are `TrialogError`, `OSError` and `RuntimeError`. Any other is shown by the thread and
    becomes an `InternalError` here. The call sees the context variables of who awaits it; what it
    sets of them is its own. Who gives up waiting ends the call by no means.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    answer: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        failure = InternalError(f"{getattr(function, '__qualname__', function)} ended unexpectedly")
        tell = partial(_fail, answer, failure)
        try:
            tell = partial(_succeed, answer, context.run(function, *arguments))
        except (TrialogError, OSError, RuntimeError) as exc:
            tell = partial(_fail, answer, exc)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(tell)

    threading.Thread(target=work, name="trialog-aside", daemon=True).start()
    return await answer


def call_uninterrupted(function: Callable[..., T], *arguments: object) -> T:
    """Return or raise what the call does, as `call_aside` does, and wait for it.

    What a signal handler raises ends the wait, and not the call in the middle.
    """
    context = contextvars.copy_context()
    answer: Future[T] = Future()

    def work() -> None:
        failure: BaseException = InternalError(
            f"{getattr(function, '__qualname__', function)} ended unexpectedly"
        )
        try:
            answer.set_result(context.run(function, *arguments))
        except (TrialogError, OSError, RuntimeError) as exc:
            failure = exc
        finally:
            if not answer.done():
                answer.set_exception(failure)

    try:
        threading.Thread(target=work, name="trialog-aside", daemon=True).start()
    except RuntimeError:  # no more threads, as in a program's last moments
        return function(*arguments)
    return answer.result()


def _succeed(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _fail(answer: asyncio.Future[T], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
