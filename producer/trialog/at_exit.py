"""What is still to be done when the interpreter ends; must not know what that is."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  see call_at_exit
import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def call_at_exit(function: Callable[[], None]) -> None:
    """Have a function called when the interpreter ends, while threads can still be started.

    Executors are shut down before atexit's functions run. What is registered with `threading`
    runs last in, first out, so it must come after the executors' own: hence their import above.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    # Refused in a program's last moments. What is recorded in them stays in the spool, and the
    # next process sends what this one had no time for.
    with contextlib.suppress(RuntimeError):
        register(function)
