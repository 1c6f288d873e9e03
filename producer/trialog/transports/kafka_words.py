"""Keeps aiokafka from saying of our own connections again and again what trialog says once.

A broker that is away costs aiokafka a line for each attempt, four a second while somebody waits. A
filter on its loggers lets each text of ours through once an hour; of other clients in the program
everything. Must not set levels or handlers, which are the program's own.
"""

from __future__ import annotations

import functools
import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_AFTER_S = 3600.0
"""After this long the same is said again."""

_LOGGERS = ("aiokafka", "aiokafka.cluster", "aiokafka.conn", "aiokafka.producer.sender")
"""A filter is asked by its own logger alone, not for those below it."""

_TEXTS_MAX = 100

_is_ours: ContextVar[bool] = ContextVar("trialog_kafka", default=False)


def say_once_of_ours() -> None:
    """Have aiokafka say things once of the clients that this task, and what it starts, makes."""
    _add_filters()
    _is_ours.set(True)


class RepeatedWords(logging.Filter):
    """Lets what is said of our clients through, but not again within an hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said_at_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be seen."""
        if not _is_ours.get():
            return True
        text, now_s = record.getMessage(), self._clock()
        if now_s < self._said_at_s.get(text, float("-inf")) + AGAIN_AFTER_S:
            return False
        if len(self._said_at_s) >= _TEXTS_MAX:
            self._said_at_s.clear()
        self._said_at_s[text] = now_s
        return True


@functools.cache
def _add_filters() -> None:
    words = RepeatedWords()
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(words)
