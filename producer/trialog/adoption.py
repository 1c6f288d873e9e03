"""Sends the spools that dead processes left, one after the other, under their old writers.

A process that runs does so in the background with what belongs to its own service; `trialog sync`
does it with all and tells what became of each. The lock on a folder decides who adopts it, so
that of two adopters one wins. Must not touch a spool whose process lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from trialog.cleaner import Applying, Cleaner
from trialog.client import Client
from trialog.shipper import BlobStore, Shipment, Shipper
from trialog.spool_folder import SpoolFolder, sweep_removed, writer_folders
from trialog.stream import StreamReader
from trialog.transports.choose import new_transport
from trialog_schemas.errors import ClientError, SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trialog.settings import Endpoint
    from trialog.spool_facts import SpoolMeta
    from trialog.stream import LostBytes
    from trialog.transports.base import Transport

APPLIED_WAIT_S = 10.0
"""How long an adopter waits until what it sent is applied, before it leaves the folder there."""

FEEDS_MAX = 3
"""How often a spool is sent: once, and again what a log has lost, which may happen meanwhile."""

Outcome: TypeAlias = Literal["sent", "kept", "unconfirmed", "left", "elsewhere", "alive"]
"""What became of a spool.

sent         all of it is applied, its folder is removed
kept         all that can be is applied; what is damaged or refused stays for people
unconfirmed  all of it is in the log; that it is applied nobody said, so its folder stays
left         it could not be sent, or not all of it
elsewhere    it was recorded for another service
alive        its process is running
"""


class SpoolService(BlobStore, Applying, Protocol):
    """What a spool needs of the service until it is empty; `Client` is it."""


@dataclass(slots=True)
class SpoolReport:
    """What became of one spool.

    Args:
        path: its folder.
        run: experiment and run, or nothing when its facts cannot be read.
        address: the service it was recorded for.
        bytes_sent: of records and artifacts.
        lost: what could not be read.
        refusals: what the log or the store would not take.
        reason: why it was left.
    """

    path: Path
    outcome: Outcome = "left"
    run: str = ""
    address: str = ""
    bytes_sent: int = 0
    lost: list[LostBytes] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def bytes_lost(self) -> int:
        """How many bytes could not be read."""
        return sum(lost.damage.size for lost in self.lost)

    @property
    def is_clean(self) -> bool:
        """Tell whether nobody has to look at it; what was kept earlier has been said."""
        is_news = bool(self.lost or self.refusals)
        return self.outcome in {"sent", "elsewhere", "alive"} or (
            self.outcome == "kept" and not is_news
        )


def belongs_to(meta: SpoolMeta, endpoint: Endpoint) -> bool:
    """Tell whether a spool was recorded for this service: on Kafka the brokers say which it is."""
    if meta.account != endpoint.account:
        return False
    if meta.kafka is not None and endpoint.kafka is not None:
        return meta.kafka == endpoint.kafka
    return meta.url == endpoint.url


class Adopter:
    """Adopts folders of one spool folder and ships them with a transport that others may share.

    Args:
        endpoint: where and as whom.
        transport: the way to the log.
        watch: called with each report whenever it has changed.
        service: stores artifacts and knows what is applied; None is the one of the endpoint.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        watch: Callable[[SpoolReport], None] | None = None,
        service: SpoolService | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._watch = watch or (lambda _report: None)
        self._service = service or Client(endpoint)
        self._shipper = Shipper(
            self._service, transport, self._note_bytes, has_own_log=endpoint.kafka is not None
        )
        self._report = SpoolReport(endpoint.spool_dir)

    def folders(self) -> Iterator[Path]:
        """Yield the folders that may be adopted, oldest first."""
        sweep_removed(self._endpoint.spool_dir)
        yield from writer_folders(self._endpoint.spool_dir)

    async def adopt(self, path: Path, *, is_moved: bool = False) -> SpoolReport:
        """Send one spool if its process is dead.

        Args:
            path: the folder.
            is_moved: also send what was recorded for another address.

        Raises:
            ClientError: the log cannot be reached, or takes nothing from us; the folder stays as
                it was.
        """
        report = self._report = SpoolReport(path)
        try:
            folder = SpoolFolder.adopt(path)
        except SpoolError as exc:
            report.reason = exc.message
            return self._done(report)
        if folder is None:
            report.outcome = "alive"
            return self._done(report)
        try:
            await self._send(folder, report, is_moved=is_moved)
        except (SpoolError, OSError) as exc:
            report.reason = f"{exc}: {path}"
        finally:
            folder.release()
        return self._done(report)

    async def _send(self, folder: SpoolFolder, report: SpoolReport, *, is_moved: bool) -> None:
        meta = folder.meta
        report.run = f"{meta.experiment_name}/{meta.run_name}"
        report.address = f"kafka {meta.kafka}" if meta.kafka else meta.url
        if not is_moved and not belongs_to(meta, self._endpoint):
            report.outcome = "elsewhere"
            return
        self._watch(report)
        shipment = Shipment(folder, None, StreamReader(folder, is_checked=True))
        report.lost, report.refusals = shipment.reader.lost, shipment.refusals
        cleaner = Cleaner(self._service)
        for _ in range(FEEDS_MAX):
            await self._shipper.ship([shipment])
            if not shipment.is_sent:
                report.reason = shipment.trouble or self._shipper.store_fault or "not all was sent"
                return
            if await cleaner.clean([shipment], APPLIED_WAIT_S):
                report.outcome = "kept" if folder.has_refused else "sent"
                return
            if not shipment.is_on_its_way:
                break
        report.outcome = "unconfirmed"

    def _note_bytes(self, size: int) -> None:
        self._report.bytes_sent += size
        self._watch(self._report)

    def _done(self, report: SpoolReport) -> SpoolReport:
        self._watch(report)
        return report


async def sync_spools(
    endpoint: Endpoint,
    watch: Callable[[SpoolReport], None] | None = None,
    *,
    is_moved: bool = False,
) -> list[SpoolReport]:
    """Send what dead processes left; return what became of each spool.

    A log that takes nothing is tried once: the spools behind are left with the same reason.
    """
    transport = new_transport(endpoint)
    adopter = Adopter(endpoint, transport, watch)
    reports: list[SpoolReport] = []
    away: str | None = None
    try:
        for path in adopter.folders():
            if away is not None:
                reports.append(SpoolReport(path, reason=away))
                continue
            try:
                reports.append(await adopter.adopt(path, is_moved=is_moved))
            except ClientError as exc:
                away = exc.message
                reports.append(SpoolReport(path, reason=away))
    finally:
        await transport.close()
    return reports
