"""Deletes of spools what is applied: segments, artifacts' bytes, and at last the whole folder.

Accepted by the log is not enough: as long as the service has not said that the events are in its
tables, they stay here. A service that cannot say so costs disk, never data. Must not send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trialog.call_aside import call_aside
from trialog_schemas.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trialog.answers import AppliedAnswer
    from trialog.shipper import Shipment
    from trialog_schemas.wire import Position


class Applying(Protocol):
    """Knows how far the projection is; the service does."""

    def applied(
        self, positions: Sequence[str], *, run_id: str, writer_id: str, wait_s: float
    ) -> AppliedAnswer:
        """Tell whether the positions are applied, and what was refused of this writer."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a shipment may go once its positions are applied.

    Args:
        below: segments before this one.
        blobs: digests of artifacts.
        is_whole: nothing can come any more; the folder may go.
    """

    shipment: Shipment
    below: int
    blobs: frozenset[str]
    is_whole: bool
    positions: Mapping[tuple[str, int], Position]


class Cleaner:
    """Asks for many shipments at once, and goes on asking for the same until they are applied.

    A question that moved on with every new event would never be answered with yes under load.
    """

    def __init__(self, service: Applying) -> None:
        self._service = service
        self._parts: list[_Part] = []
        self._cleaned: dict[str, int] = {}

    async def clean(self, shipments: Sequence[Shipment], wait_s: float) -> list[Shipment]:
        """Delete what is applied of the shipments; return those whose folder we have left.

        Args:
            shipments: what this process has open.
            wait_s: how long the service may take to apply it.
        """
        if not self._parts:
            found = (self._part(shipment) for shipment in shipments)
            self._parts = [part for part in found if part is not None]
        if not self._parts or not await self._are_applied(wait_s):
            return []
        parts, self._parts = self._parts, []
        left = []
        for part in parts:
            await call_aside(_delete, part)
            writer_id = part.shipment.folder.meta.writer_id
            if part.is_whole:
                left.append(part.shipment)
                self._cleaned.pop(writer_id, None)
            else:
                self._cleaned[writer_id] = part.below
        return left

    def forget(self, shipment: Shipment) -> None:
        """Ask no more for a shipment whose folder was left as it is."""
        self._parts = [part for part in self._parts if part.shipment is not shipment]
        self._cleaned.pop(shipment.folder.meta.writer_id, None)

    def _part(self, shipment: Shipment) -> _Part | None:
        # Critical: looked at before what is in the log is noted, so that nothing comes between.
        is_whole, below = shipment.is_sent, shipment.acked.segment
        is_acked = is_whole or shipment.is_acked
        blobs = frozenset(shipment.uploaded) if is_acked else frozenset()
        is_new = below > self._cleaned.get(shipment.folder.meta.writer_id, 1)
        if not (is_whole or blobs or is_new):
            return None
        return _Part(shipment, below, blobs, is_whole, dict(shipment.positions))

    async def _are_applied(self, wait_s: float) -> bool:
        newest: dict[tuple[str, int], Position] = {}
        for part in self._parts:
            for key, position in part.positions.items():
                if key not in newest or newest[key] < position:
                    newest[key] = position
        if not newest:
            return True  # the log refused all of it, and it is kept beside
        meta = self._parts[0].shipment.folder.meta
        try:
            return await call_aside(
                _ask_applied, self._service, newest.values(), (meta.run_id, meta.writer_id), wait_s
            )
        except ClientError:
            return False  # the sender says that the service is away


def _ask_applied(
    service: Applying, positions: Iterable[Position], of: tuple[str, str], wait_s: float
) -> bool:
    tokens = [position.token() for position in positions]
    return service.applied(tokens, run_id=of[0], writer_id=of[1], wait_s=wait_s)["applied"]


def _delete(part: _Part) -> None:
    folder = part.shipment.folder
    if part.is_whole and not folder.has_refused:
        folder.remove()
        return
    # With the deletions on the disk but not the ack, a power failure would leave a spool whose
    # seqs nobody can tell.
    folder.sync_ack_to_disk()
    for number in folder.segments():
        if number < part.below or part.is_whole:
            folder.delete_segment(number)
    for name in part.blobs:
        folder.delete_blob(name)
    part.shipment.uploaded -= part.blobs
    if part.is_whole:
        folder.release()
