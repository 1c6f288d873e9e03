"""A log that loses the answers to appends, or the records, as a broker does that is killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError
from trialog_server.log.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog_schemas.wire import Position
    from trialog_server.log.base import NewRecord


class DoubtfulLog(MemoryLog):
    """Set how many of the next appends are stored and not answered, or neither."""

    def __init__(self) -> None:
        super().__init__()
        self.lost_answers = self.lost_records = 0
        self.gate: asyncio.Event | None = None
        self.is_at_gate = asyncio.Event()

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        """Store, or not, and tell, or not; other tasks have their turn meanwhile."""
        await asyncio.sleep(0)
        if self.gate is not None:
            self.is_at_gate.set()
            await self.gate.wait()
        if self.lost_records:
            self.lost_records -= 1
            raise UnavailableError("the log did not take it")
        positions = await super().append(records)
        if self.lost_answers:
            self.lost_answers -= 1
            raise UnavailableError("the log did not say that it took it")
        return positions
