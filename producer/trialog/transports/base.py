"""What the sender needs of a way to the log; the ways are beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from trialog_schemas.errors import LimitExceededError
from trialog_schemas.limits import RECORD_BYTES_MAX
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

        A record that is refused does not keep the others out.

        Raises:
            UnavailableError: not all are known to be in the log; send them all again.
            AccessRefusedError: this key or process may not write; likewise, once it may.
            ClientError: the log refuses the sending as a whole; likewise, once that is mended.
        """

    async def close(self) -> None:
        """Let go of connections."""


def refusal_of(record: OutRecord) -> RefusedRecord | None:
    """Return why a record needs no sending, or None: no log takes it."""
    if len(record.value) <= RECORD_BYTES_MAX:
        return None
    return RefusedRecord(
        LimitExceededError.code,
        f"a record of {len(record.value)} bytes is too large, allowed are {RECORD_BYTES_MAX}; "
        "log less at once",
    )
