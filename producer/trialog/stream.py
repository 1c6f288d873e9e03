"""From a writer's spool to records of the log: the same bytes each time it is read.

A stretch, what stands between two cuts, becomes events in a way that depends on nothing but the
stretch, the seq and the chain before it. Reading it again after a crash gives the same seqs and
digests, so that sending it again has no second effect. Must not send anything.

A spool is kept until its events are applied, so that a log which has lost its end can be given them
again: the reader then goes back to where the oldest segment begins.

What damage does: a record that cannot be read is left out, reported and its segment kept; the
events around it take its place in the count of seqs, so that no hole comes of it. What the log had
acknowledged before is never read again, damaged or not. One case is beyond repair: bytes that the
log took, whose writer died before it noted that, and that were damaged after. The events behind
them then get seqs that the log knows already, as many as the damage cost; the projection drops
these as duplicates, and shows the writer's broken chain as a gap.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from trialog.spool import ROW_NAMES_MAX
from trialog.spool_ack import Ack
from trialog.spool_format import (
    CHECKSUM,
    EVENT_SHAPES,
    HEADER,
    POINT,
    ROW,
    SEGMENT_HEAD,
    TIME,
    Damage,
    SegmentScan,
)
from trialog_schemas.errors import SpoolError
from trialog_schemas.events import LongBlock, MetricsLogged, WideBlock
from trialog_schemas.limits import PAYLOAD_BYTES_TARGET
from trialog_schemas.versions import EVENT_VERSIONS
from trialog_schemas.wire import (
    RecordHeader,
    body_blob,
    body_json,
    encode_raw_event,
    event_id_for,
    first_hash,
    head_start,
    next_hash,
    pack_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog.spool_facts import SpoolMeta
    from trialog.spool_folder import SpoolFolder
    from trialog.spool_format import Region, Stretch
    from trialog_schemas.events import Block

_WORD = 8
_STEP, _TIME, _VALUE = 2, 3, 4
"""Words of a POINT or ROW record behind its header of two words."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has no seq yet: type and version, time in µs, body as JSON, columns."""

    shape: tuple[str, int]
    at_us: int
    body: bytes
    blob: bytes = b""
    points: int = 0


@dataclass(frozen=True, slots=True)
class ReadyRecord:
    """A record to send, and how far the stream is taken once the log has it.

    Args:
        key, value: as the log takes them.
        seqs: of its first and last event.
        ack: what its acceptance earns; None while more of its stretch follows.
    """

    key: str
    value: bytes
    seqs: tuple[int, int]
    ack: Ack | None


@dataclass(frozen=True, slots=True)
class LostBytes:
    """What of a segment could not be read; everything around it was."""

    segment: int
    damage: Damage


def first_ack(meta: SpoolMeta) -> Ack:
    """Return where a stream begins of which the log has nothing yet."""
    start = first_hash(meta.account, meta.user, meta.run_id, meta.writer_id)
    return Ack(1, SEGMENT_HEAD.size, 1, start, is_catalog_acked=meta.catalog is None)


class StreamReader:
    """Reads one writer's spool from where the log has it to its end; keeps what it learned.

    Args:
        folder: the writer's folder, whose lock is held.
        is_checked: look at checksums: another process wrote it, or a power failure came between.
        start: where to begin; None begins where the log has it.

    Raises:
        SpoolError: how far the log has it cannot be told any more.
    """

    def __init__(self, folder: SpoolFolder, *, is_checked: bool, start: Ack | None = None) -> None:
        self._folder = folder
        self._is_checked = is_checked
        self.taken: Ack = start or folder.read_ack() or first_ack(folder.meta)
        self._starts: dict[int, Ack] = {}
        self.lost: list[LostBytes] = []
        """What could not be read."""
        self.ack = self.taken
        self.restart()
        self.start = start or self._oldest_start()

    def take(self, ack: Ack) -> None:
        """Note on the disk that the log has everything before an ack.

        What is sent again moves it nowhere until it is past the place where the log was before.
        """
        if (ack.segment, ack.offset) >= (self.taken.segment, self.taken.offset):
            self._folder.write_ack(ack)
            self.taken = ack

    @property
    def is_behind(self) -> bool:
        """Tell whether the log has had what is read next."""
        return (self.ack.segment, self.ack.offset) < (self.taken.segment, self.taken.offset)

    def rewind(self) -> None:
        """Go back to the beginning of what is kept: the log has lost some of what it took."""
        self._scan, self._scanned = SegmentScan(is_checked=self._is_checked), 0
        self.ack = replace(self.start, is_catalog_acked=self.ack.is_catalog_acked)

    def forget_before(self, segment: int) -> None:
        """Note on the disk that nothing before a segment is needed; what it cannot tell, it keeps.

        Raises:
            OSError: the disk does not take it; the segments must stay.
        """
        start = self._starts.get(segment)
        if start is not None:
            self._folder.acks.write_start(start)
            self.start = start
            self._starts = {one: ack for one, ack in self._starts.items() if one >= segment}

    def _oldest_start(self) -> Ack:
        start = self._folder.acks.read_start()
        if start is None:
            first = first_ack(self._folder.meta)
            start = first if self._folder.segment_path(first.segment).exists() else self.ack
        return start

    def restart(self) -> None:
        """Go back to where the log has it, because what was read since was not taken."""
        self._scan = SegmentScan(is_checked=self._is_checked)
        self._scanned = 0
        self.ack = self.taken
        segments = self._folder.segments()
        if segments and segments[0] > self.ack.segment:
            # Segments go when they are applied, and never the one the ack points into. To go on
            # here would give the events seqs that others have had.
            raise SpoolError(
                f"segment {self.ack.segment} of spool {self._folder.path} is gone or its ack is "
                f"damaged, segments from {segments[0]} on are there; they stay for you to look at"
            )

    def records(self, end: tuple[int, int] | None = None) -> Iterator[ReadyRecord]:
        """Yield the records up to a place (segment, offset), or to the end of a dead spool.

        The last record of a stretch carries the `Ack` that its acceptance earns. Stop only behind
        such a one; the reader goes on from there, so `restart` it if the log did not take it.
        """
        before = self.ack.segment
        for number in self._folder.segments():
            if number < before or (end is not None and number > end[0]):
                continue
            for missing in range(before + 1, number):
                self._lose(missing, [Damage(0, 0)])
            stop = end[1] if end is not None and number == end[0] else None
            yield from self._segment_records(number, stop)
            before = number

    def counts(self, end: tuple[int, int]) -> Iterator[Ack]:
        """Go on to a place and yield behind each stretch the count of events, as `records` has it.

        The chain of these acks is of no use: this is for a reader that sends nothing.
        """
        before = self.ack.segment
        for number in self._folder.segments():
            if before <= number <= end[0]:
                stop = end[1] if number == end[0] else None
                for drafts, reached in self._stretches(number, stop):
                    self.ack = replace(
                        reached,
                        next_seq=self.ack.next_seq + len(drafts),
                        points=self.ack.points + sum(draft.points for draft in drafts),
                    )
                    yield self.ack

    def go_to(self, ack: Ack) -> None:
        """Go on from another place than where the log has it."""
        self._scan, self._scanned = SegmentScan(is_checked=self._is_checked), 0
        self.ack = ack

    def _segment_records(self, number: int, stop: int | None) -> Iterator[ReadyRecord]:
        for drafts, reached in self._stretches(number, stop):
            yield from self._records_of(drafts, reached)

    def _stretches(self, number: int, stop: int | None) -> Iterator[tuple[list[Draft], Ack]]:
        """Yield what a segment's stretches hold, each with the place behind it."""
        if number != self.ack.segment or self.ack.offset == SEGMENT_HEAD.size:
            start_ack = replace(self.ack, segment=number, offset=SEGMENT_HEAD.size)
            self._starts[number] = start_ack
        start = self.ack.offset if number == self.ack.segment else SEGMENT_HEAD.size
        base = start if number == self._scanned else SEGMENT_HEAD.size
        data = memoryview(self._folder.read_segment(number, base, stop))
        if number != self._scanned:
            self._scan, self._scanned = SegmentScan(is_checked=self._is_checked), number
            if self._is_checked and not self._folder.has_sound_head(number):
                self._lose(number, [Damage(0, SEGMENT_HEAD.size)])
            # Names are declared before they are used: learn those of the part the log has. It is
            # scanned by itself, so that no damage in it can join it to what comes behind.
            for known in self._scan.stretches(data[: start - base], base, base):
                self._lose(number, known.damages)
        for stretch in self._scan.stretches(data, base, start):
            self._lose(number, stretch.damages)
            if stretch.damages and self.is_behind:
                # Sent again without its damaged part it would get the seqs of what follows.
                raise SpoolError(
                    f"what the log has lost cannot be sent again from spool {self._folder.path}: "
                    f"segment {number} is damaged; it stays for you to look at"
                )
            drafts = list(_drafts(stretch, data, base, self._scan))
            yield drafts, replace(self.ack, segment=number, offset=stretch.end)

    def _lose(self, number: int, damages: list[Damage]) -> None:
        """Report damages, and keep their segment for people before anything is deleted."""
        fresh = [lost for lost in map(partial(LostBytes, number), damages) if lost not in self.lost]
        if fresh:
            self.lost += fresh
            self._folder.keep_segment(number)

    def _records_of(self, drafts: list[Draft], reached: Ack) -> Iterator[ReadyRecord]:
        """Give the drafts their seqs and put them into records of about the usual size."""
        seq, chain = self.ack.next_seq, self.ack.chain
        points = self.ack.points + sum(draft.points for draft in drafts)
        self.ack = reached
        ready: list[tuple[int, bytes, list[bytes]]] = []
        filled = PAYLOAD_BYTES_TARGET
        for draft in drafts:
            event = _encode(self._folder.meta.writer_id, seq, draft)
            if filled + len(event) > PAYLOAD_BYTES_TARGET:
                ready.append((seq, chain, []))
                filled = 0
            ready[-1][2].append(event)
            filled += len(event)
            chain, seq = next_hash(chain, event), seq + 1
        self.ack = replace(reached, next_seq=seq, chain=chain, points=points)
        meta = self._folder.meta
        for index, (first, prev, events) in enumerate(ready, 1):
            header = RecordHeader(
                meta.account, meta.user, meta.run_id, meta.writer_id, first, len(events), prev
            )
            ack = self.ack if index == len(ready) else None
            seqs = (first, first + len(events) - 1)
            yield ReadyRecord(header.key, pack_record(header, events), seqs, ack)


def _encode(writer_id: str, seq: int, draft: Draft) -> bytes:
    event_id = event_id_for(writer_id, seq, draft.at_us)
    start = head_start(seq, event_id, draft.shape, draft.at_us)
    return encode_raw_event(start, draft.body, draft.blob)


def _drafts(stretch: Stretch, data: memoryview, base: int, scan: SegmentScan) -> Iterator[Draft]:
    """Yield the events of a stretch: metric blocks together, up to the usual size of a record."""
    at_us = _last_time(stretch, data, base) if stretch.at_us is None else stretch.at_us
    blocks: list[Block] = []
    filled = 0
    for region in stretch.regions:
        if region.kind not in (POINT, ROW):
            if blocks:
                yield _metrics(blocks, at_us)
                blocks, filled = [], 0
            yield _event_draft(region, data, base)
            continue
        for part in _parts(region, len(scan.tables.names)):
            block = _block(part, data[part.start - base :], scan)
            size = part.records * part.stride + sum(map(len, block.names))
            if blocks and filled + size > PAYLOAD_BYTES_TARGET:
                yield _metrics(blocks, at_us)
                blocks, filled = [], 0
            blocks.append(block)
            filled += size
    if blocks:
        yield _metrics(blocks, at_us)


def _last_time(stretch: Stretch, data: memoryview, base: int) -> int:
    """Return the time of a stretch without a cut: its last record's, to be the same each time."""
    if not stretch.regions:
        return 0
    region = stretch.regions[-1]
    last = region.start - base + (region.records - 1) * region.stride
    word = _TIME if region.kind in (POINT, ROW) else _STEP
    (at_us,) = TIME.unpack_from(data, last + word * _WORD)
    return int(at_us)


def _metrics(blocks: list[Block], at_us: int) -> Draft:
    body = MetricsLogged(tuple(blocks))
    shape = ("metrics_logged", EVENT_VERSIONS["metrics_logged"])
    return Draft(shape, at_us, body_json(body), body_blob(body), body.points)


def _event_draft(region: Region, data: memoryview, base: int) -> Draft:
    at = region.start - base
    (size,) = CHECKSUM.unpack_from(data, at + CHECKSUM.size)
    (at_us,) = TIME.unpack_from(data, at + HEADER.size)
    body = bytes(data[at + HEADER.size + TIME.size : at + size])
    return Draft(EVENT_SHAPES[region.shape], at_us, body)


def _parts(region: Region, names: int) -> Iterator[Region]:
    """Cut a long region into pieces of about the usual size of a record.

    Where there are very many names, each point of a piece may bring its own into the event.
    """
    most = max(1, PAYLOAD_BYTES_TARGET // region.stride)
    if region.kind == POINT and names > ROW_NAMES_MAX:
        most = min(most, ROW_NAMES_MAX)
    for first in range(0, region.records, most):
        yield region._replace(
            start=region.start + first * region.stride, records=min(most, region.records - first)
        )


def _block(region: Region, data: memoryview, scan: SegmentScan) -> Block:
    """Gather the columns of equal records: strided copies in C, nothing per point."""
    words = data[: region.records * region.stride].cast("Q")
    stride = region.stride // _WORD
    steps, times = words[_STEP::stride].tobytes(), words[_TIME::stride].tobytes()
    if region.kind == ROW:
        names = scan.tables.shapes[region.shape]
        values = b"".join(words[_VALUE + i :: stride].tobytes() for i in range(len(names)))
        return WideBlock(names, region.records, steps, times, values)
    numbers = data[: region.records * region.stride].cast("I")[3 :: region.stride // 4].tolist()
    used = {number: index for index, number in enumerate(dict.fromkeys(numbers))}
    ids = array("I", map(used.__getitem__, numbers)).tobytes()
    names = tuple(scan.tables.names[number] for number in used)
    return LongBlock(names, region.records, ids, steps, times, words[_VALUE::stride].tobytes())
