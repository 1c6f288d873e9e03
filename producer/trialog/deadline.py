"""How long a caller still wants to wait, and whether; holds no rule of what is waited for."""

from __future__ import annotations

import threading
import time

from trialog_schemas.callers_code import plain_number
from trialog_schemas.errors import ValidationError, shown

PAUSE_S = 0.2
"""How long to pause before a question that found nothing yet is asked again."""


class Deadline:
    """The end of a wait of so many seconds from now; None is as long as it takes.

    Raises:
        ValidationError: the seconds are no number from 0 on.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = _checked(timeout_s)
        self._end_s = time.monotonic() + self.timeout_s
        self._given_up = threading.Event()

    @property
    def left_s(self) -> float:
        """Seconds that are left, never less than none."""
        return 0.0 if self._given_up.is_set() else max(self._end_s - time.monotonic(), 0.0)

    def give_up(self) -> None:
        """End the wait early, from another thread: there is nobody any more who wants it."""
        self._given_up.set()

    def check(self, what: str) -> None:
        """Raise TimeoutError, which says what is missing, when the time is over."""
        if self.left_s <= 0:
            raise TimeoutError(f"{what} after {self.timeout_s:g} s; wait longer or look again")

    def pause(self) -> None:
        """Let a moment pass before the next question, not beyond the end."""
        self._given_up.wait(min(PAUSE_S, self.left_s))


def _checked(timeout_s: object) -> float:
    if timeout_s is None:
        return threading.TIMEOUT_MAX
    # A truth value is an int for Python; NaN is not even 0 or more.
    seconds = plain_number(timeout_s)
    if seconds is not None and seconds >= 0:
        # More than this no wait of the standard library takes.
        return float(min(seconds, threading.TIMEOUT_MAX))
    raise ValidationError(
        f"timeout_s is {shown(timeout_s)}, allowed are seconds from 0 on, or None for as long as "
        "it takes",
        field="timeout_s",
        value=timeout_s,
        limit="0..",
    )
