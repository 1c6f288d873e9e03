"""Takes what is in spools to the log, the same way for living and for dead writers.

Sends the artifacts' bytes first, then the event that creates the run, then the records, and notes
what the log has. A crash between a send and its note has the same records sent again, under the
same writer and seqs. So has a log that lost its end: what it had taken and the spool still has is
read again, from `Shipment.lost_from` on. Must not decide when, nor say anything to people.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from trialog.call_aside import call_aside
from trialog.ids import catalog_writer_of
from trialog.progress import Mark, Marks, Told
from trialog.spool import Place
from trialog.transports.base import OutRecord, RefusedRecord
from trialog_schemas.errors import (
    ClientError,
    LimitExceededError,
    SpoolError,
    UnavailableError,
    ValidationError,
    WireError,
)
from trialog_schemas.events import NIL_ID
from trialog_schemas.wire import (
    CATALOG_TOPIC,
    EVENTS_TOPIC,
    Position,
    RecordHeader,
    encode_raw_event,
    event_id_for,
    first_hash,
    head_start,
    pack_record,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from trialog.answers import LogAnswer, ProgressAnswer
    from trialog.progress import Seqs
    from trialog.spool import Spool
    from trialog.spool_ack import Ack
    from trialog.spool_folder import SpoolFolder
    from trialog.stream import ReadyRecord, StreamReader
    from trialog.transports.base import Receipt, Transport

SEND_BYTES_MAX = 4_194_304
"""Bytes of records given to the transport at once: some eighty of the usual size, so that many are
under way; and about what is in memory of a spool, however much has gathered in it."""

STORE_RETRY_S = 2.0
"""How long the artifact store is left alone after it could not be reached, while events go on."""

SLOW_UPLOAD_S = 5.0
"""From here on the upload of an artifact is worth a word."""

NOWHERE = Place(1, 0)
"""Before the first record of any spool."""

SPOOL_FAULTS = (OSError, ClientError, SpoolError, WireError)
"""What concerns one spool, or this process's rights: the others are sent nevertheless."""


class BlobStore(Protocol):
    """Takes artifacts' bytes; the service does."""

    def put_artifact(self, sha256: str, content: bytes) -> None:
        """Store an artifact's bytes under their digest."""


@dataclass(slots=True)
class Shipment:
    """A spool on its way: `spool` is None when its writer is dead.

    Args:
        acked: everything before this place is in the log.
        positions: where the newest records are, one for each partition.
        uploaded: digests of the artifacts whose bytes are stored and still in the folder.
        refusals: what the log or the store would not take, for people; emptied by who shows it.
        trouble: why it could not be sent now, or None.
        has_blobs: bytes of artifacts are here that the store does not have.
        synced: everything before this place would survive a power failure.
        marks: places up to which the log has it, with their counts.
        applied_at_s: when what the log had was last found to be applied, by the monotonic clock.
        told: what the service said of the writer, and when; None until it did.
        refused: seqs that the log would not take, with the code; they are kept beside the spool.
        lost_from: the log has lost what it had taken from this seq on, as far as is known; 0:
            nothing that is still to be sent again.
        feeding_from: from this seq on is being sent again; 0: nothing is.
        is_catalog_lost: the event that creates the run is to be sent again.
        is_unfeedable: what the log has lost cannot be read any more; the folder stays for people.
        is_drained: a dead writer's spool was sent to its end.
        is_stale: what the reader gave was not taken.
    """

    folder: SpoolFolder
    spool: Spool | None
    reader: StreamReader
    acked: Place = NOWHERE
    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    uploaded: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    trouble: str | None = None
    synced: Place = NOWHERE
    marks: Marks = field(default_factory=Marks)
    applied_at_s: float = field(default_factory=time.monotonic)
    told: Told | None = None
    refused: list[tuple[Seqs, str]] = field(default_factory=list)
    lost_from: int = 0
    feeding_from: int = 0
    has_blobs: bool = False
    is_drained: bool = False
    is_stale: bool = False
    is_catalog_lost: bool = False
    is_unfeedable: bool = False
    is_given_up: bool = False

    def __post_init__(self) -> None:
        ack = self.reader.ack
        if ack.partition >= 0:
            self.note_position(Position(EVENTS_TOPIC, ack.partition, ack.log_offset))
            self._mark(ack)

    def note_position(self, position: Position) -> None:
        """Remember where a record is in the log."""
        before = self.positions.get((position.topic, position.partition))
        if (
            before is not None
            and position.offset <= before.offset
            and position.topic == EVENTS_TOPIC
            and not self.feeding_from
        ):
            # A log only grows: it was cut back to here, or further, and what it had taken is gone.
            self.lose(self.marks.before(position).seq + 1)
        self.positions[position.topic, position.partition] = position

    @property
    def first_not_applied(self) -> int:
        """The first seq that the spool still has and that nobody has said to be in the tables."""
        return self.reader.start.next_seq if self.told is None else self.first_lacking(self.told)

    def first_lacking(self, told: Told) -> int:
        """Return the first seq that the spool still has and that the tables lack, as was told."""
        return told.first_not_applied(
            self.reader.start.next_seq, [seqs for seqs, _ in self.refused]
        )

    def hear(self, progress: ProgressAnswer, log: Sequence[LogAnswer] | None = None) -> Told:
        """Take what the service tells of the writer, and of the log unless that stays as it was."""
        if log is None:
            log = [] if self.told is None else list(self.told.log.values())
        told = self.told = Told.of(progress, log, datetime.now(UTC))
        return told

    def has_applied(self, seq: int) -> bool:
        """Tell whether all up to a seq is applied, or kept for good, by what the service told."""
        return self.told is not None and (self.first_not_applied > seq or self.told.is_parked)

    def is_overdue(self, seconds: float) -> bool:
        """Tell whether it is longer ago that all the log had was known to be applied."""
        is_waiting = self.marks.newest.seq >= self.first_not_applied
        return is_waiting and time.monotonic() - self.applied_at_s > seconds

    @property
    def is_on_its_way(self) -> bool:
        """Tell whether something that the log has lost is to be sent again."""
        return bool(self.lost_from or self.feeding_from or self.is_catalog_lost)

    def take(self, ack: Ack) -> None:
        """Note that the log has everything before an ack.

        Raises:
            OSError: the disk does not take the note.
        """
        for position in self.positions.values():
            if position.topic == EVENTS_TOPIC:
                ack = replace(ack, partition=position.partition, log_offset=position.offset)
        self.reader.take(ack)
        self.acked = Place(ack.segment, ack.offset)
        self._mark(ack)

    def lose(self, seq: int) -> None:
        """Note that the log has lost what it had taken from a seq on; it is to be sent again."""
        start = self.reader.start
        self.lost_from = max(seq, start.next_seq)
        self.acked, self.is_drained = Place(start.segment, start.offset), False
        self.uploaded.clear()  # bytes that are still here are stored again, too

    def go_back(self) -> None:
        """Begin to send again what the log has lost."""
        self.reader.rewind()
        self.feeding_from = self.lost_from or self.feeding_from
        self.lost_from = 0
        self.acked = Place(self.reader.ack.segment, self.reader.ack.offset)
        self.is_stale = False

    def _mark(self, ack: Ack) -> None:
        at = Position(EVENTS_TOPIC, ack.partition, ack.log_offset) if ack.partition >= 0 else None
        self.marks.add(Mark(ack.seq, ack.points, Place(ack.segment, ack.offset), at))

    @property
    def is_acked(self) -> bool:
        """Tell whether the log has everything that was appended, and the store its artifacts."""
        if self.is_catalog_lost:
            return False
        if self.spool is None:
            return self.is_drained and not self.has_blobs
        return self.acked >= self.spool.end and not self.has_blobs

    @property
    def is_sent(self) -> bool:
        """Tell whether nothing can come any more and everything is where it belongs."""
        return (self.spool is None or self.spool.is_closed) and self.is_acked


@dataclass(slots=True)
class _Flow:
    """What of one shipment is sent in this round."""

    shipment: Shipment
    records: Iterator[ReadyRecord]
    end: Place | None
    is_done: bool = False

    def take(self, bytes_wanted: int) -> list[ReadyRecord]:
        """Return the next records, up to an ack at which the reader may be left."""
        part: list[ReadyRecord] = []
        size = 0
        for record in self.records:
            if record.seqs[1] >= self.shipment.feeding_from:
                part.append(record)
            size += len(record.value)
            if record.ack is not None and size >= bytes_wanted:
                return part
        self.is_done = True
        return part


class Shipper:
    """Sends what shipments have; shared by the sender's thread and `sync`.

    Args:
        store: where artifacts' bytes go.
        transport: the way to the log.
        watch: called with the bytes of each step that is done.
        has_own_log: the log may be there although the store is not.
    """

    def __init__(
        self,
        store: BlobStore,
        transport: Transport,
        watch: Callable[[int], None] | None = None,
        *,
        has_own_log: bool = False,
    ) -> None:
        self._store = store
        self._transport = transport
        self._watch = watch or (lambda _bytes: None)
        self._has_own_log = has_own_log
        self._answers = 0
        self._store_retry_at_s = float("-inf")
        self.slow_upload: Callable[[int], None] = lambda _bytes: None
        self.store_fault: str | None = None

    async def ship(self, shipments: Sequence[Shipment]) -> bool:
        """Send everything that is in the spools now and note it; tell whether the log answered.

        What concerns one spool becomes its `trouble`.

        Raises:
            UnavailableError: the log is not there; call again later.
            ClientError: the log takes nothing from us; call again when that may be mended.
        """
        flows: list[_Flow] = []
        before = self._answers
        try:
            for shipment in shipments:
                flow = await self._open(shipment)
                if flow is not None:
                    flows.append(flow)
            while flows:
                flows = await self._send_some(flows)
        finally:
            # Those left were not taken: their readers begin anew at the last ack.
            for flow in flows:
                flow.shipment.is_stale = True
        return self._answers > before

    async def _open(self, shipment: Shipment) -> _Flow | None:
        """Send what must be there before the records; None when there are none."""
        spool = shipment.spool
        end = None if spool is None else spool.cut()
        if shipment.lost_from or (shipment.is_stale and shipment.feeding_from):
            shipment.go_back()
        is_all_there = end is not None and end <= shipment.acked and not shipment.has_blobs
        if is_all_there and not shipment.is_catalog_lost:
            return None
        try:
            if shipment.is_stale:
                shipment.reader.restart()
                shipment.is_stale = False
            await self._ship_blobs(shipment)
            await self._ship_catalog(shipment)
        except UnavailableError:
            raise
        except SPOOL_FAULTS as exc:
            _set_trouble(shipment, exc)
            return None
        return _Flow(shipment, shipment.reader.records(end), end)

    async def _ship_blobs(self, shipment: Shipment) -> None:
        waiting = [name for name in shipment.folder.blob_names() if name not in shipment.uploaded]
        shipment.has_blobs = bool(waiting)
        if not waiting or time.monotonic() < self._store_retry_at_s:
            return
        for name in waiting:
            content = shipment.folder.read_blob(name)
            if content is None:
                continue
            try:
                await self._patiently(
                    call_aside(self._store.put_artifact, name, content), len(content)
                )
            except UnavailableError as exc:
                if not self._has_own_log:
                    raise
                # The log may be there although the service is not: events do not wait for it.
                self._store_retry_at_s = time.monotonic() + STORE_RETRY_S
                self.store_fault = exc.message
                return
            except (ValidationError, LimitExceededError) as exc:
                # Of what else is refused, a key for example, the cause can be mended: it waits.
                shipment.folder.keep_refused(name, content)
                shipment.refusals.append(exc.message)
            # Without a log of its own, who stores artifacts is who takes records.
            self._answers += not self._has_own_log
            shipment.uploaded.add(name)
            self._watch(len(content))
        self.store_fault = None
        shipment.has_blobs = False

    async def _patiently(self, upload: Awaitable[None], size: int) -> None:
        """Wait for an upload, and say it when that takes long."""
        task = asyncio.ensure_future(upload)
        await asyncio.wait([task], timeout=SLOW_UPLOAD_S)
        if not task.done():
            self.slow_upload(size)
        await task

    async def _ship_catalog(self, shipment: Shipment) -> None:
        meta, ack = shipment.folder.meta, shipment.reader.ack
        if meta.catalog is None or (ack.is_catalog_acked and not shipment.is_catalog_lost):
            return
        writer_id = catalog_writer_of(meta.writer_id)
        event_id = event_id_for(writer_id, 1, meta.catalog.at_us)
        shape = ("run_created", meta.catalog.version)
        head = head_start(1, event_id, shape, meta.catalog.at_us)
        event = encode_raw_event(head, meta.catalog.body.encode())
        start = first_hash(meta.account, meta.user, NIL_ID, writer_id)
        header = RecordHeader(meta.account, meta.user, NIL_ID, writer_id, 1, 1, start)
        record = OutRecord(CATALOG_TOPIC, meta.account, pack_record(header, [event]))
        (receipt,) = await self._deliver([record])
        _note_receipt(shipment, record.value, (0, 0), receipt)
        shipment.is_catalog_lost = False
        shipment.reader.ack = replace(ack, is_catalog_acked=True)
        shipment.reader.take(shipment.reader.ack)

    async def _send_some(self, flows: Sequence[_Flow]) -> list[_Flow]:
        """Send a share of each flow together; return the flows that have more."""
        parts: list[tuple[_Flow, list[ReadyRecord]]] = []
        for flow in flows:
            try:
                parts.append((flow, await _take(flow, SEND_BYTES_MAX // len(flows))))
            except SPOOL_FAULTS as exc:
                _set_trouble(flow.shipment, exc)
        records = [
            OutRecord(EVENTS_TOPIC, ready.key, ready.value) for _, part in parts for ready in part
        ]
        receipts = iter(await self._deliver(records) if records else ())
        for flow, part in parts:
            # Each takes as many receipts as it gave records, also when noting them fails.
            own = [next(receipts) for _ in part]
            try:
                self._note(flow, part, own)
            except OSError as exc:
                _set_trouble(flow.shipment, exc)
        self._watch(sum(len(record.value) for record in records))
        return [flow for flow, _ in parts if not flow.is_done and not flow.shipment.is_stale]

    async def _deliver(self, records: Sequence[OutRecord]) -> list[Receipt]:
        receipts = await self._transport.send(records)
        self._answers += 1
        return receipts

    def _note(self, flow: _Flow, part: Sequence[ReadyRecord], receipts: Sequence[Receipt]) -> None:
        shipment = flow.shipment
        for ready, receipt in zip(part, receipts, strict=True):
            _note_receipt(shipment, ready.value, ready.seqs, receipt)
        if shipment.lost_from:
            shipment.is_stale = True  # what was just sent comes once more, behind what was lost
            return
        if part and part[-1].ack is not None:
            shipment.take(part[-1].ack)
        if flow.is_done:
            shipment.trouble = None
            shipment.feeding_from = 0
            if flow.end is None:
                ack = shipment.reader.ack
                shipment.is_drained, shipment.acked = True, Place(ack.segment, ack.offset)
            else:
                shipment.acked = flow.end


def _note_receipt(shipment: Shipment, value: bytes, seqs: Seqs, receipt: Receipt) -> None:
    if isinstance(receipt, RefusedRecord):
        # Named by its bytes: refused again after a crash, it is kept once.
        shipment.folder.keep_refused(f"{hashlib.sha256(value).hexdigest()[:32]}.record", value)
        shipment.refusals.append(receipt.message)
        if (seqs, receipt.code) not in shipment.refused:
            shipment.refused.append((seqs, receipt.code))
    else:
        shipment.note_position(receipt)


async def _take(flow: _Flow, bytes_wanted: int) -> list[ReadyRecord]:
    if flow.end is not None:
        return flow.take(bytes_wanted)
    # Checksums of a dead writer's spool take a while; the living are not to wait for them.
    return await call_aside(flow.take, bytes_wanted)


def _set_trouble(shipment: Shipment, error: Exception) -> None:
    if isinstance(error, OSError):
        shipment.trouble = (
            f"spool {shipment.folder.path} cannot be read or written: {error.strerror or error}; "
            "see to it that this user may and that its files are files"
        )
    else:
        shipment.trouble = str(error)
        if shipment.feeding_from and isinstance(error, SpoolError):
            shipment.feeding_from, shipment.is_unfeedable = 0, True
    shipment.is_stale = True
