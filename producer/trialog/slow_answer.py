"""A word to whoever waits for a service that takes its time; must not ask or end anything."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from trialog.notice_logger import notice_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog.settings import Endpoint


@contextlib.contextmanager
def said_when_slow(endpoint: Endpoint, after_s: float) -> Iterator[None]:
    """Say that the service does not answer, if the block is not over after so many seconds."""

    def say() -> None:
        notice_logger().warning(
            "the service does not answer yet; it is waited for",
            address=endpoint.url,
            silent_s=after_s,
        )

    timer = threading.Timer(after_s, say)
    timer.name, timer.daemon = "trialog-slow-answer", True
    with contextlib.suppress(RuntimeError):  # no more threads: then without a word
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
