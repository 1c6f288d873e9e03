"""What the sender says to people, each thing once; must not decide or do anything.

Where it goes is `notice_logger`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.durability import lacking_events
from trialog.notice_logger import notice_logger
from trialog_schemas.errors import UnavailableError

if TYPE_CHECKING:
    from trialog.adoption import SpoolReport
    from trialog.settings import Endpoint
    from trialog.shipper import Shipment
    from trialog_schemas.errors import ClientError

_SAID_MAX = 1000
"""Reasons that are remembered as said; beyond it some are said again."""


class Notices:
    """Remembers what was said, so that a service that is away for hours costs one line."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._said: set[str] = set()
        self._is_store_away = False
        self.is_away = False

    def away(self, error: ClientError) -> None:
        """Say that the log takes nothing, why, and what becomes of the data meanwhile."""
        if not self.is_away:
            self.is_away = True
            is_there = not isinstance(error, UnavailableError)
            what = "the log refuses us" if is_there else "the log cannot be reached"
            notice_logger().warning(
                f"{what}; events are kept in the spool and sent later",
                address=self._endpoint.log_address,
                spool=str(self._endpoint.spool_dir),
                reason=error.message,
            )

    def back(self) -> None:
        """Say that a log which was away is there again."""
        if self.is_away:
            self.is_away = False
            notice_logger().info(
                "the log is back; what was kept is sent", address=self._endpoint.log_address
            )

    def store(self, fault: str | None) -> None:
        """Say that artifacts wait because their store is away while the log is not, or no more."""
        if fault is not None and not self._is_store_away:
            notice_logger().warning(
                "artifacts cannot be stored now; they are kept in the spool and sent later",
                address=self._endpoint.url,
                spool=str(self._endpoint.spool_dir),
                reason=fault,
            )
        elif fault is None and self._is_store_away:
            notice_logger().info(
                "artifacts can be stored again; what was kept is sent", address=self._endpoint.url
            )
        self._is_store_away = fault is not None

    def disk(self, error: OSError) -> None:
        """Say that the spool's disk does not do what it should beside keeping what is written."""
        if self._is_new(f"disk {error.strerror}"):
            notice_logger().warning(
                "the spool's disk fails; what is recorded stays in it, and this is tried again",
                spool=str(self._endpoint.spool_dir),
                reason=str(error),
            )

    def shipment(self, shipment: Shipment) -> None:
        """Say what is wrong with one spool."""
        meta = shipment.folder.meta
        run, path = f"{meta.experiment_name}/{meta.run_name}", str(shipment.folder.path)
        if shipment.trouble is not None and self._is_new(shipment.trouble):
            notice_logger().warning(
                "a spool cannot be sent now and is tried again",
                run=run,
                spool=path,
                reason=shipment.trouble,
            )
        self._refused(run, path, shipment.refusals)

    def fed_again(self, shipment: Shipment) -> None:
        """Say that a log has lost what it had taken, and what becomes of it."""
        lost_from = shipment.feeding_from or shipment.lost_from
        meta = shipment.folder.meta
        if lost_from and self._is_new(f"lost {meta.writer_id}"):
            notice_logger().warning(
                "the log has lost events that it had taken; they are sent again from the spool",
                run=f"{meta.experiment_name}/{meta.run_name}",
                from_event=lost_from,
            )

    def given_up(self, shipment: Shipment) -> None:
        """Say that a service does not get to see what was sent to it again and again."""
        meta = shipment.folder.meta
        if shipment.is_given_up and self._is_new(f"given up {meta.writer_id}"):
            notice_logger().warning(
                "the service still lacks events that were sent to it again and again; this program "
                "sends them no more. They stay in the spool: see that the service reads the log "
                "that they are sent to, then `trialog sync` sends them once this program has ended",
                run=f"{meta.experiment_name}/{meta.run_name}",
                spool=str(shipment.folder.path),
                from_event=shipment.first_not_applied,
                events=lacking_events(shipment),
            )

    def dropped(self, shipment: Shipment) -> None:
        """Say that a disk without room costs log calls; the log may be there or away."""
        meta, spool = shipment.folder.meta, shipment.spool
        if spool is not None and spool.dropped_calls and self._is_new(f"dropped {meta.writer_id}"):
            notice_logger().warning(
                "the spool has no room: log calls are dropped and counted until there is some",
                run=f"{meta.experiment_name}/{meta.run_name}",
                spool=str(shipment.folder.path),
                reason=spool.room_fault,
            )

    def adopted(self, report: SpoolReport) -> None:
        """Say what became of a dead process's spool, if it is worth a word."""
        if report.outcome == "sent" and report.bytes_sent:
            notice_logger().info(
                "sent what an earlier process left", run=report.run, bytes=report.bytes_sent
            )
        if report.lost:
            notice_logger().warning(
                "a spool is damaged; what is whole was sent, the segments are kept",
                run=report.run,
                spool=str(report.path),
                bytes_lost=report.bytes_lost,
            )
        if report.reason and self._is_new(report.reason):
            notice_logger().warning(
                "a spool is left as it is", spool=str(report.path), reason=report.reason
            )
        self._refused(report.run, str(report.path), report.refusals)

    def slow_upload(self, size: int) -> None:
        """Say that an upload is still under way."""
        notice_logger().info(
            "an artifact is still being uploaded", bytes=size, address=self._endpoint.url
        )

    def slow_end(self, wait_s: float) -> None:
        """Say at the end of the program why it does not end, and how it can be ended."""
        notice_logger().warning(
            f"the log is slow; the program ends when it has everything, in {wait_s:g} s at most, "
            "or by Ctrl-C: what is not sent is kept",
            address=self._endpoint.log_address,
        )

    def kept(self, runs: int) -> None:
        """Say at the end of the program what is not with the log."""
        are_kept = "1 run is kept" if runs == 1 else f"{runs} runs are kept"
        where = self._endpoint.spool_dir
        said = f"{are_kept} in {where}; `trialog sync` or the next run sends them"
        notice_logger().warning(said)

    def defect(self, error: Exception) -> None:
        """Say that something of ours broke, with where."""
        if self._is_new(f"{type(error).__name__}: {error}"):
            notice_logger().error(
                "a defect of trialog; nothing recorded is lost by it", exc_info=error
            )

    def _refused(self, run: str, path: str, refusals: list[str]) -> None:
        if refusals:
            notice_logger().warning(
                "records or artifacts were refused and are kept",
                run=run,
                refused=len(refusals),
                spool=path,
                reason=refusals[0],
            )
            refusals.clear()

    def _is_new(self, what: str) -> bool:
        if what in self._said:
            return False
        if len(self._said) >= _SAID_MAX:
            self._said.clear()
        self._said.add(what)
        return True
