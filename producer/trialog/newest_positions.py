"""Where the newest records of runs that this process has left are, so that it reads them.

Loading or resuming a run that was just left must see its end. One position a partition is kept
for each experiment, so that it stays small however many runs a process has.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialog_schemas.wire import Position


class _NewestPositions:
    """The positions of this process, by service, experiment and partition. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, str], dict[tuple[str, int], Position]] = {}

    def note(self, url: str, experiment_name: str, positions: Iterable[Position]) -> None:
        """Remember where a run that was left ended."""
        with self._lock:
            known = self._newest.setdefault((url, experiment_name), {})
            for position in positions:
                place = (position.topic, position.partition)
                if place not in known or known[place].offset < position.offset:
                    known[place] = position

    def tokens(self, url: str, experiment_name: str) -> list[str]:
        """Return what a question about the experiment's runs must wait for."""
        with self._lock:
            known = self._newest.get((url, experiment_name), {})
            return [position.token() for position in known.values()]

    def forget_lock_in_child(self) -> None:
        """Take a new lock in a child made by fork, where the old one may be taken for good."""
        self._lock = threading.Lock()


_here = _NewestPositions()
note_positions, newest_positions = _here.note, _here.tokens

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_here.forget_lock_in_child)
