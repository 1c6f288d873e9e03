"""Where the newest records of runs that this process has left are, so that it reads them.

Loading or resuming a run that was just left must see its end. One position a partition is kept
for each experiment, so that it stays small however many runs a process has.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialog_schemas.wire import Position

_lock = threading.Lock()
_newest: dict[tuple[str, str], dict[tuple[str, int], Position]] = {}


def note_positions(url: str, experiment_name: str, positions: Iterable[Position]) -> None:
    """Remember where a run that was left ended."""
    with _lock:
        known = _newest.setdefault((url, experiment_name), {})
        for position in positions:
            place = (position.topic, position.partition)
            if place not in known or known[place].offset < position.offset:
                known[place] = position


def newest_positions(url: str, experiment_name: str) -> list[str]:
    """Return what a question about the experiment's runs must wait for."""
    with _lock:
        return [position.token() for position in _newest.get((url, experiment_name), {}).values()]
