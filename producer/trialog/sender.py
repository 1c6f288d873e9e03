"""Takes what is in spools to the log: one thread in a process and session, and `sync` for the dead.

The thread cuts each open spool about twenty times a second, sends what is new and notes how far
the log has it. A service that cannot be reached is said once; everything waits in the spool. Must
not raise into the program, whatever becomes of the service.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401  see _at_exit
import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import structlog

from trialog.client import Client
from trialog.ids import catalog_writer_of
from trialog.spool_folder import SpoolFolder, writer_folders
from trialog.stream import StreamReader
from trialog.transports.base import OutRecord, RefusedRecord, Transport
from trialog.transports.http import HttpTransport
from trialog.transports.kafka import KafkaTransport
from trialog_schemas.errors import ClientError, SpoolError, UnavailableError
from trialog_schemas.events import NIL_ID
from trialog_schemas.wire import (
    CATALOG_TOPIC,
    EVENTS_TOPIC,
    Position,
    RecordHeader,
    encode_raw_event,
    event_id_for,
    first_hash,
    pack_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trialog.settings import Endpoint
    from trialog.spool import Place, Spool

FLUSH_INTERVAL_S = 0.05
"""How often new events are sent; what a reader waits for at most beside the way itself."""

BACKOFF_S_MAX = 5.0
EXIT_DRAIN_S = 5.0
"""How long an ending interpreter waits for the log; what is left is sent by the next process."""

log = structlog.get_logger("trialog")


@dataclass(slots=True)
class Shipment:
    """A spool on its way: `spool` is None when its writer is dead."""

    folder: SpoolFolder
    spool: Spool | None
    reader: StreamReader
    acked: tuple[int, int] = (1, 0)
    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    refused: int = 0


def _at_exit(end: Callable[[], None]) -> None:
    """Have `end` called when the interpreter ends, while threads can still be started.

    Executors are shut down before atexit's functions run. What is registered with `threading`
    runs last in, first out, so it must come after the executors' own: hence their import above.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    register(end)


def new_transport(endpoint: Endpoint) -> Transport:
    """Return the way to the log that the session names."""
    return KafkaTransport(endpoint.kafka) if endpoint.kafka else HttpTransport(endpoint)


class Shipper:
    """Sends what one shipment has; shared by the thread and `sync`."""

    def __init__(self, endpoint: Endpoint, transport: Transport) -> None:
        self._client = Client(endpoint)
        self._transport = transport

    async def ship(self, shipment: Shipment) -> None:
        """Send everything that is in the spool now and note it.

        Raises:
            UnavailableError: the log or the artifact store is not there; call again later.
        """
        spool, folder = shipment.spool, shipment.folder
        end = None if spool is None else spool.cut()
        if end is not None and end <= shipment.acked:
            return
        try:
            await self._ship_blobs(folder)
            await self._ship_catalog(shipment)
            await self._ship_records(shipment, end)
        except UnavailableError:
            # What the reader gave was not taken: the next one begins at the last ack.
            shipment.reader = StreamReader(folder, is_checked=spool is None)
            raise

    async def _ship_blobs(self, folder: SpoolFolder) -> None:
        for path in sorted((folder.path / "blobs").glob("[0-9a-f]*")):
            content = path.read_bytes()
            try:
                await asyncio.to_thread(self._client.put_artifact, path.name, content)
            except UnavailableError:
                raise
            except ClientError as exc:
                log.warning("an artifact was refused and is kept", reason=exc.message)
                folder.keep_refused(path.name, content)
            folder.delete_blob(path.name)

    async def _ship_catalog(self, shipment: Shipment) -> None:
        meta, ack = shipment.folder.meta, shipment.reader.ack
        if meta.catalog is None or ack.is_catalog_acked:
            return
        writer_id = catalog_writer_of(meta.writer_id)
        event_id = event_id_for(writer_id, 1, meta.catalog.at_us)
        head = f'{{"seq":1,"id":"{event_id}","type":"run_created","v":1,"at":{meta.catalog.at_us},'
        event = encode_raw_event(head + '"body":', meta.catalog.body.encode())
        start = first_hash(meta.account, meta.user, NIL_ID, writer_id)
        header = RecordHeader(meta.account, meta.user, NIL_ID, writer_id, 1, 1, start)
        record = OutRecord(CATALOG_TOPIC, meta.account, pack_record(header, [event]))
        self._note(shipment, record, (await self._transport.send([record]))[0])
        shipment.reader.ack = replace(ack, is_catalog_acked=True)
        shipment.folder.write_ack(shipment.reader.ack)

    async def _ship_records(self, shipment: Shipment, end: Place | None) -> None:
        ready = list(shipment.reader.records(end))
        if ready:
            records = [OutRecord(EVENTS_TOPIC, one.key, one.value) for one in ready]
            for record, receipt in zip(records, await self._transport.send(records), strict=True):
                self._note(shipment, record, receipt)
            acks = [one.ack for one in ready if one.ack is not None]
            shipment.folder.write_ack(acks[-1])
        ack = shipment.reader.ack
        shipment.acked = (ack.segment, ack.offset) if end is None else end

    @staticmethod
    def _note(shipment: Shipment, record: OutRecord, receipt: Position | RefusedRecord) -> None:
        if isinstance(receipt, Position):
            shipment.positions[receipt.topic, receipt.partition] = receipt
            return
        shipment.refused += 1
        log.warning("the log refused a record; it is kept", reason=receipt.message)
        shipment.folder.keep_refused(f"{time.time_ns()}.record", record.value)


class Sender:
    """The thread of one process and session; `of` gives the one there is, or makes it."""

    _lock = threading.Lock()
    _senders: ClassVar[dict[Endpoint, Sender]] = {}

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._shipments: list[Shipment] = []
        self._changed = threading.Condition()
        self._is_ending = False
        self._is_away = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="trialog-sender", daemon=True)
        self._thread.start()
        _at_exit(self.end)

    @classmethod
    def of(cls, endpoint: Endpoint) -> Sender:
        """Return the sender of this process for a session."""
        with cls._lock:
            if endpoint not in cls._senders:
                cls._senders[endpoint] = cls(endpoint)
            return cls._senders[endpoint]

    @classmethod
    def forget_in_child(cls) -> None:
        """Begin anew in a child made by fork, which has no sender thread."""
        cls._lock, cls._senders = threading.Lock(), {}

    def add(self, folder: SpoolFolder, spool: Spool) -> Shipment:
        """Take a spool on; it is sent from now on."""
        shipment = Shipment(folder, spool, StreamReader(folder, is_checked=False))
        with self._changed:
            self._shipments.append(shipment)
            self._changed.notify_all()
        return shipment

    def wait_acked(self, shipment: Shipment, place: Place, timeout_s: float) -> bool:
        """Wait until the log has everything up to a place of the spool; tell whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: shipment.acked >= place, timeout_s)

    def end(self) -> None:
        """Send what is left, for a few seconds at most."""
        if self._pid != os.getpid():
            return  # inherited by a child made by fork, which has no such thread
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        self._thread.join(EXIT_DRAIN_S)

    def _run(self) -> None:
        asyncio.run(self._send_until_end())

    async def _send_until_end(self) -> None:
        transport = new_transport(self._endpoint)
        shipper, pause_s = Shipper(self._endpoint, transport), FLUSH_INTERVAL_S
        try:
            while True:
                is_last = self._is_ending
                is_there = await self._send_once(shipper)
                if is_last:
                    return
                pause_s = FLUSH_INTERVAL_S if is_there else min(pause_s * 2, BACKOFF_S_MAX)
                await asyncio.to_thread(self._pause, pause_s)
        finally:
            await transport.close()

    async def _send_once(self, shipper: Shipper) -> bool:
        is_there = True
        for shipment in tuple(self._shipments):
            try:
                await shipper.ship(shipment)
            except UnavailableError as exc:
                is_there = False
                self._say_away(exc)
                break
            except (OSError, ClientError, SpoolError) as exc:
                log.warning("a spool cannot be sent now and is tried again", reason=str(exc))
                is_there = False
        if is_there and self._is_away:
            self._is_away = False
            log.info("the log is back; what was kept is sent", address=self._endpoint.log_address)
        with self._changed:
            self._changed.notify_all()
        return is_there

    def _say_away(self, error: UnavailableError) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning(
                "the log cannot be reached; events are kept in the spool and sent later",
                address=self._endpoint.log_address,
                spool=str(self._endpoint.spool_dir),
                reason=error.message,
            )

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if not self._is_ending:
                self._changed.wait_for(lambda: self._is_ending, seconds)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Sender.forget_in_child)


async def sync_dead(endpoint: Endpoint) -> tuple[int, int]:
    """Send what dead processes left; return how many spools were sent and how many are left.

    A spool whose process lives is left alone. What was sent is in the log: its folder is removed.
    """
    transport = new_transport(endpoint)
    shipper = Shipper(endpoint, transport)
    try:
        outcomes = [
            await _sync_folder(shipper, path) for path in writer_folders(endpoint.spool_dir)
        ]
    finally:
        await transport.close()
    return outcomes.count(True), outcomes.count(False)


async def _sync_folder(shipper: Shipper, path: Path) -> bool | None:
    """Send one dead writer's spool; None when its process lives."""
    try:
        folder = SpoolFolder.adopt(path)
        if folder is None:
            return None
        await shipper.ship(Shipment(folder, None, StreamReader(folder, is_checked=True)))
    except (ClientError, SpoolError) as exc:
        log.warning("a spool could not be sent", reason=exc.message)
        return False
    if folder.has_refused:
        folder.release()
    else:
        folder.remove()
    return True
