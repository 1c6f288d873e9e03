"""Versions of event types, and the way from an older body to the newest one; pure, guesses nothing.

A release writes each type in its newest version and reads every version before. What is in the log
stays as it is: an older body is brought to the newest one step by step each time it is read.

A new version of a type is a new number in `EVENT_VERSIONS`, one entry of `UPGRADES`, a shape of the
spool's format, and new records of the corpus (`tests/corpus`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from trialog_schemas.events import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Upgrade: TypeAlias = Callable[[dict[str, object]], dict[str, object]]

EVENT_VERSIONS: dict[str, int] = dict.fromkeys(EVENT_TYPES, 1)
"""The version in which this release writes each type; it reads that and all before."""

UPGRADES: dict[tuple[str, int], Upgrade] = {}
"""From a type's version to the next one: the JSON body of the former to that of the latter.

Of metrics the body is the layout of the columns; the columns stay as they are.
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a release can read.

    Args:
        newest: the version of each type that it writes.
        upgrades: the step from each older version to the next.
    """

    newest: Mapping[str, int]
    upgrades: Mapping[tuple[str, int], Upgrade]

    def is_read(self, kind: str, version: int) -> bool:
        """Tell whether a type can be read in a version."""
        return 1 <= version <= self.newest.get(kind, 0)

    def upgraded(self, kind: str, version: int, body: dict[str, object]) -> dict[str, object]:
        """Return a body of a version that is read as the newest version has it.

        What a foreign producer's body lacks is an error of the upgrade's, whichever it is.
        """
        for step in range(version, self.newest[kind]):
            body = self.upgrades[kind, step](body)
        return body

    def reasons(self) -> list[str]:
        """Return what a release that cannot read as much may have listed events with."""
        return [
            unknown_reason(kind, version)
            for kind, newest in self.newest.items()
            for version in range(1, newest + 1)
        ]


THIS_RELEASE = Versions(EVENT_VERSIONS, UPGRADES)


def unknown_reason(kind: str, version: int) -> str:
    """Return what an event is listed with by a release that cannot read it."""
    return f"unknown_event {kind} of version {version}"
