"""A way to the log and a service in memory, for tests: no file, no socket, faults on demand.

They stand behind the ports that the sender, `sync` and their parts use. Must not be used by trialog
itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trialog.transports.base import RefusedRecord, refusal_of
from trialog_schemas.wire import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog.answers import DurabilityAnswer, LogAnswer, ProgressAnswer
    from trialog.transports.base import OutRecord, Receipt
    from trialog_schemas.errors import ClientError

_FAR = 2**62
"""Behind every seq and position of a test."""


@dataclass
class MemoryTransport:
    """A transport whose log is a list, one partition a topic.

    Args:
        fault: what every send raises, until it is None again.
        faults_after: what the next sends raise although they took the records: lost answers.
        refused: records that hold these bytes are refused; None refuses none.
        delay_s: how long each send takes.
        records: what was taken, in order.
        sends: how many records each send brought.
        is_closed: `close` was called.
    """

    fault: ClientError | None = None
    faults_after: list[ClientError] = field(default_factory=list)
    refused: bytes | None = None
    delay_s: float = 0.0
    records: list[OutRecord] = field(default_factory=list)
    sends: list[int] = field(default_factory=list)
    is_closed: bool = False

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Append the records; return a receipt for each."""
        await asyncio.sleep(self.delay_s)
        if self.fault is not None:
            raise self.fault
        self.sends.append(len(records))
        receipts = [self._take(record) for record in records]
        if self.faults_after:
            raise self.faults_after.pop(0)
        return receipts

    def _take(self, record: OutRecord) -> Receipt:
        too_large = refusal_of(record)
        if too_large is not None:
            return too_large
        if self.refused is not None and self.refused in record.value:
            return RefusedRecord("Refused", "a record that this log does not take")
        self.records.append(record)
        return Position(record.topic, 0, len(self.values(record.topic)) - 1)

    def values(self, topic: str) -> list[bytes]:
        """Return the records' bytes of a topic, in the order of the log."""
        return [record.value for record in self.records if record.topic == topic]

    async def close(self) -> None:
        """Let go of nothing but the way itself."""
        self.is_closed = True


@dataclass
class MemoryService:
    """A service that stores artifacts and says what is applied.

    Args:
        fault: what every question raises, until it is None again.
        is_applied: what it says of all positions.
        last_seqs: the newest event that the tables have, by writer; of others, all of them.
        missing: holes before that, by writer.
        log_ends: where the log ends, by `topic:partition`; of others behind every position.
        log_applied: before which offset records are applied, by `topic:partition`; of others what
            `is_applied` says.
        rejected: refusals of a writer's events by code, by writer.
        sealed: before which offset records are sealed, by `topic:partition`; of others none is.
        is_known: whether the runs exist.
        blobs: artifacts' bytes by digest.
        questions: the positions of each question.
    """

    fault: ClientError | None = None
    is_applied: bool = True
    last_seqs: dict[str, int] = field(default_factory=dict)
    missing: dict[str, list[list[int]]] = field(default_factory=dict)
    log_ends: dict[str, int] = field(default_factory=dict)
    log_applied: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)
    sealed: dict[str, int] = field(default_factory=dict)
    is_known: bool = True
    blobs: dict[str, bytes] = field(default_factory=dict)
    questions: list[list[str]] = field(default_factory=list)

    def put_artifact(self, sha256: str, content: bytes) -> None:
        """Store an artifact's bytes under their digest."""
        if self.fault is not None:
            raise self.fault
        self.blobs[sha256] = content

    def durability(
        self, writers: Sequence[tuple[str, str]], positions: Sequence[str], wait_s: float
    ) -> DurabilityAnswer:
        """Tell how far writers are, without any wait; nothing is ever refused."""
        if self.fault is not None:
            raise self.fault
        self.questions.append(list(positions))
        return {
            "applied": self.is_applied,
            "writers": [self._progress(*writer) for writer in writers],
            "log": [self._log(Position.parse(token)) for token in positions],
        }

    def _progress(self, run_id: str, writer_id: str) -> ProgressAnswer:
        missing = self.missing.get(writer_id, [])
        return {
            "run_id": run_id,
            "writer_id": writer_id,
            "last_seq": self.last_seqs.get(writer_id, _FAR if self.is_applied else 0),
            "missing": missing,
            "missing_count": sum(last - first + 1 for first, last in missing),
            "is_parked": False,
            "is_known": self.is_known,
            "rejected": self.rejected.get(writer_id, {}),
        }

    def _log(self, position: Position) -> LogAnswer:
        place, _, _ = position.token().rpartition(":")
        return {
            "partition": place,
            "end": self.log_ends.get(place, _FAR),
            "applied": self.log_applied.get(place, _FAR if self.is_applied else 0),
            "sealed": self.sealed.get(place, 0),
            "sealed_at": None,
        }
