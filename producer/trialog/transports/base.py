"""What the sender needs of a way to the log; the ways are beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from trialog_schemas.wire import Position

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class OutRecord:
    """A record on its way: topic, key, bytes."""

    topic: str
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """The log will never take this record; sending it again is of no use."""

    code: str
    message: str


Receipt: TypeAlias = Position | RefusedRecord


class Transport(Protocol):
    """Takes records to the log, in order for each key. Belongs to one event loop."""

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Append the records durably; return a receipt for each.

        Raises:
            UnavailableError: not all are known to be in the log; send them all again.
        """

    async def close(self) -> None:
        """Let go of connections."""
