"""Deletes of spools what is applied: segments, artifacts' bytes, and at last the whole folder.

Accepted by the log is not enough: as long as the service has not said that the events are in its
tables, they stay here. A service that cannot say so costs disk, never data. What it says is taken
by the writer's seqs: a position alone may be another record's, in a log that has lost its end. Then
the shipment is told what to send again. Must not send.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from trialog.call_aside import call_aside
from trialog_schemas.errors import ClientError
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, SHORT_NAME_BY_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trialog.answers import DurabilityAnswer
    from trialog.progress import Told
    from trialog.shipper import Shipment
    from trialog_schemas.wire import Position

LOOK_INTERVAL_S = 5.0
"""How often it is asked what became of the events of a run that goes on and has nothing to delete:
so soon a log that has lost its end is noticed without anything new being sent."""

QUIET_LOOKS = 6
"""How many times longer that takes when all of them are applied."""

ASKED_MAX = 500
"""Spools that one question is about, and positions: more of either a service does not take."""
POSITIONS_MAX = 64

FEED_PAUSE_S = 10.0
"""How long it is waited before a spool is sent again once more from the same event on, twice as
long each time."""

FEEDS_MAX = 7
"""How often that is done, within some ten minutes: a service that is another log's, or cannot read
the records, would never have them, and the log would fill with copies. What it lacks then stays in
the spool for the next process."""


class Applying(Protocol):
    """Knows how far writers are; the service does."""

    def durability(
        self, writers: Sequence[tuple[str, str]], positions: Sequence[str], wait_s: float
    ) -> DurabilityAnswer:
        """Tell how far writers (run and id of each) are, once the positions are applied."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What of a shipment may go once its events are applied.

    Args:
        seq: of the newest event that must be.
        below: segments before this one.
        blobs: digests of artifacts.
        is_whole: nothing can come any more; the folder may go.
        positions: where its newest records are.
        at_s: when this was so, by the monotonic clock.
    """

    shipment: Shipment
    seq: int
    below: int
    blobs: frozenset[str]
    is_whole: bool
    positions: Mapping[tuple[str, int], Position]
    at_s: float


@dataclass(frozen=True, slots=True)
class _Fed:
    """What was sent again of a spool: the first event that was lacking, how often, when next."""

    first: int
    times: int
    again_at_s: float


class Cleaner:
    """Asks for many shipments at once, and for what is not applied again at the next turn.

    What is asked of a shipment stays the same until it is applied: a question that moved on with
    every new event would never be answered with yes under load. Others do not wait for that.
    """

    def __init__(
        self,
        service: Applying,
        look_interval_s: float = LOOK_INTERVAL_S,
        feed_pause_s: float = FEED_PAUSE_S,
    ) -> None:
        self._service = service
        self._feed_pause_s = feed_pause_s
        self._look_interval_s = look_interval_s
        self._parts: list[_Part] = []
        self._cleaned: dict[str, int] = {}
        self._look_at_s: dict[str, float] = {}
        self._feeds: dict[str, _Fed] = {}

    async def clean(self, shipments: Sequence[Shipment], wait_s: float) -> list[Shipment]:
        """Delete what is applied of the shipments; return those whose folder we have left.

        What the log has lost becomes the shipment's `lost_from`, or its `is_catalog_lost`.

        Args:
            shipments: what this process has open.
            wait_s: how long the service may take to apply it.
        """
        asked_for = {id(part.shipment) for part in self._parts}
        self._parts += self._due_parts([one for one in shipments if id(one) not in asked_for])
        # One that is being sent again is asked for anew when that is done.
        self._parts = [part for part in self._parts if not part.shipment.is_on_its_way]
        few = _few(self._parts)
        # Behind the others at the next turn, so that what is never applied keeps none from it.
        self._parts = [*self._parts[len(few) :], *few]
        left = []
        for part, told in await self._ask(few, wait_s):
            if part.shipment.is_on_its_way or self._is_to_be_sent_again(part, told):
                continue
            if self._is_applied(part, told):
                self._parts = [one for one in self._parts if one is not part]
                part.shipment.applied_at_s = part.at_s
                if await self._delete(part):
                    left.append(part.shipment)
        return left

    def look_soon(self, shipment: Shipment) -> None:
        """Ask what became of a shipment at the next turn; from any thread."""
        self._look_at_s[shipment.folder.meta.writer_id] = float("-inf")

    def forget(self, shipment: Shipment) -> None:
        """Ask no more for a shipment whose folder was left as it is."""
        self._parts = [part for part in self._parts if part.shipment is not shipment]
        for known in (self._cleaned, self._look_at_s, self._feeds):
            known.pop(shipment.folder.meta.writer_id, None)

    def _due_parts(self, shipments: Sequence[Shipment]) -> Iterator[_Part]:
        now_s = time.monotonic()
        for shipment in shipments:
            # Critical: looked at before what is in the log is noted, so that nothing comes between.
            is_whole, below = shipment.is_sent, shipment.acked.segment
            is_acked, seq = is_whole or shipment.is_acked, shipment.marks.newest.seq
            blobs = frozenset(shipment.uploaded) if is_acked else frozenset()
            writer_id = shipment.folder.meta.writer_id
            is_news = seq >= shipment.first_not_applied
            look_at_s = self._look_at_s.setdefault(writer_id, now_s + self._look_interval_s)
            is_new = below > self._cleaned.get(writer_id, 1)
            if is_whole or blobs or is_new or (shipment.positions and now_s >= look_at_s):
                looks = 1 if is_news else QUIET_LOOKS
                self._look_at_s[writer_id] = now_s + looks * self._look_interval_s
                yield _Part(shipment, seq, below, blobs, is_whole, dict(shipment.positions), now_s)

    async def _ask(self, parts: Sequence[_Part], wait_s: float) -> list[tuple[_Part, Told | None]]:
        """Have the service tell how far the writers of parts are; of those in no log, nothing.

        Of a service that does not answer nothing is returned: the sender says that it is away.
        """
        if not any(part.positions for part in parts):
            return [(part, None) for part in parts]
        newest: dict[tuple[str, int], Position] = {}
        for part in parts:
            for key, position in part.positions.items():
                if key not in newest or newest[key] < position:
                    newest[key] = position
        metas = [part.shipment.folder.meta for part in parts]
        writers = [(meta.run_id, meta.writer_id) for meta in metas]
        tokens = [position.token() for position in newest.values()]
        try:
            answer = await call_aside(self._service.durability, writers, tokens, wait_s)
        except ClientError:
            return []
        # Kept as they are: whoever else asks of a shipment may have been told something older.
        return [
            (part, part.shipment.hear(progress, answer["log"]))
            for part, progress in zip(parts, answer["writers"], strict=True)
        ]

    def _is_applied(self, part: _Part, told: Told | None) -> bool:
        shipment = part.shipment
        if not part.positions:
            return True  # the log refused all of it, and it is kept beside
        if told is None or shipment.is_unfeedable or any(_cut_off(part, told)):
            return False
        if shipment.first_lacking(told) > part.seq:
            # Of a run that is not there its creation may be in the log and not be applied yet.
            return told.is_known or (
                _is_passed(part, told) and not self._can_create_again(part, told)
            )
        return told.is_parked and _is_passed(part, told)

    def _is_to_be_sent_again(self, part: _Part, told: Told | None) -> bool:
        """Tell whether the log has lost some of a part; then the shipment knows what."""
        shipment = part.shipment
        if told is None or shipment.is_unfeedable:
            return False
        first, cut_off = shipment.first_lacking(told), list(_cut_off(part, told))
        fed = self._feeds.get(shipment.folder.meta.writer_id)
        if fed is not None and fed.first != first:
            shipment.is_given_up = False  # the service has got to see some of it since
        behind = [
            shipment.marks.before(replace(one, offset=end)).seq + 1
            for one, end in cut_off
            if one.topic == EVENTS_TOPIC
        ]
        if first <= part.seq and _is_passed(part, told) and not told.is_parked:
            behind.append(first)
        if not (behind or cut_off or self._can_create_again(part, told)):
            return False
        if not self._may_feed(shipment, first):
            return False
        if behind:
            shipment.lose(min([first, *behind]))
        is_creation_gone = any(one.topic == CATALOG_TOPIC for one, _ in cut_off)
        shipment.is_catalog_lost = shipment.folder.meta.catalog is not None and (
            is_creation_gone or not told.is_known
        )
        return shipment.is_on_its_way

    def _may_feed(self, shipment: Shipment, first: int) -> bool:
        """Tell whether a spool may be sent again now, and note it; `first` is what is lacking."""
        writer_id, now_s = shipment.folder.meta.writer_id, time.monotonic()
        fed = self._feeds.get(writer_id)
        if fed is not None and now_s < fed.again_at_s:
            return False
        times = fed.times if fed is not None and fed.first == first else 0
        shipment.is_given_up = times >= FEEDS_MAX
        if shipment.is_given_up:
            return False
        self._feeds[writer_id] = _Fed(first, times + 1, now_s + self._feed_pause_s * 2**times)
        return True

    def _can_create_again(self, part: _Part, told: Told) -> bool:
        """Tell whether the event that creates the run is lost, and has not been sent again."""
        shipment = part.shipment
        meta = shipment.folder.meta
        return (
            meta.catalog is not None
            and not told.is_known
            and meta.writer_id not in self._feeds
            and _is_passed(part, told)
        )

    async def _delete(self, part: _Part) -> bool:
        """Delete what of a part is applied; tell whether that is the folder."""
        shipment = part.shipment
        writer_id = shipment.folder.meta.writer_id
        if part.below > self._cleaned.get(writer_id, 1) and not part.is_whole:
            shipment.reader.forget_before(part.below)
        await call_aside(_delete, part, shipment.reader.start.segment)
        if part.is_whole:
            self.forget(shipment)
            return True
        self._cleaned[writer_id] = part.below
        return False


def _few(parts: Sequence[_Part]) -> list[_Part]:
    """Return as many of the first parts as one question may be about."""
    few: list[_Part] = []
    places: set[tuple[str, int]] = set()
    for part in parts[:ASKED_MAX]:
        places |= part.positions.keys()
        if len(places) > POSITIONS_MAX:
            break
        few.append(part)
    return few


def _place_of(position: Position) -> str:
    return f"{SHORT_NAME_BY_TOPIC[position.topic]}:{position.partition}"


def _is_passed(part: _Part, told: Told) -> bool:
    """Tell whether the projection has passed the records of a part, or what stands there now."""
    return all(
        _place_of(position) in told.log
        and told.log[_place_of(position)]["applied"] > position.offset
        for position in part.positions.values()
    )


def _cut_off(part: _Part, told: Told) -> Iterator[tuple[Position, int]]:
    """Yield the positions of a part that the log ends before, each with that end."""
    for position in part.positions.values():
        known = told.log.get(_place_of(position))
        if known is not None and known["end"] is not None and position.offset >= known["end"]:
            yield position, known["end"]


def _delete(part: _Part, start: int) -> None:
    """Delete segments before a number, or the whole."""
    folder = part.shipment.folder
    if part.is_whole and not folder.has_refused:
        folder.remove()
        return
    gone = [number for number in folder.segments() if number < start or part.is_whole]
    if gone:
        # With the deletions on the disk but not the ack, a power failure would leave a spool whose
        # seqs nobody can tell.
        folder.sync_ack_to_disk()
    for number in gone:
        folder.delete_segment(number)
    for name in part.blobs:
        folder.delete_blob(name)
    part.shipment.uploaded -= part.blobs
    if part.is_whole:
        folder.release()
