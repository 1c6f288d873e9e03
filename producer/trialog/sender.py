"""The thread of one process and session that takes its spools to the log, and what it says of it.

Some twenty times a second it cuts each open spool and sends what is new. Beside that it deletes
what is applied, has the disk keep what the log has not yet, and adopts what dead processes left.
A service that cannot be reached is said once; everything waits in the spool. Must not raise into
the program, whatever becomes of the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from trialog.adoption import Adopter
from trialog.at_exit import call_at_exit
from trialog.call_aside import call_aside
from trialog.cleaner import Cleaner
from trialog.client import Client
from trialog.deadline import Deadline
from trialog.notices import Notices
from trialog.shipper import Shipment, Shipper
from trialog.stream import StreamReader
from trialog.transports.choose import new_transport
from trialog_schemas.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from trialog.adoption import SpoolService
    from trialog.settings import Endpoint
    from trialog.spool import Place, Spool
    from trialog.spool_folder import SpoolFolder
    from trialog.transports.base import Transport

FLUSH_INTERVAL_S = 0.05
"""How often new events are sent; a flush is not kept waiting for it."""

BACKOFF_S_MAX = 2.0
"""How long a service that is away is left alone; what a log call that flushes never waits for."""

WAITED_BACKOFF_S_MAX = 0.25
"""The same while somebody waits for the log."""

DISK_SYNC_INTERVAL_S = 1.0
"""How often what the log does not have yet is made safe on the disk: a power failure costs at most
about this much. What the log has needs no disk any more."""

UNAPPLIED_S = 10.0
"""What the log has and nobody has said to be applied after this long is made safe on the disk, too:
a log that does not wait for its own disk may lose its end in the same power failure."""

CLEAN_INTERVAL_S = 1.0
"""How often what is applied is deleted."""

UNCONFIRMED_S = 60.0
"""After this long nobody is asked any more whether a run that has ended is applied; its folder
stays for a sync, or for the next process."""

ENDED_MAX = 1000
"""Runs that have ended and wait for that answer; the oldest are left to a sync beyond it."""

EXIT_AWAY_S = 5.0
"""How long an ending interpreter waits for a log that is away; the next process sends the rest."""

EXIT_DRAIN_S = 30.0
"""How long it waits beyond that for a log that is there and slow: as long as one answer may take.
Of 200 programs that end at once on two cores, the last one's turn comes after some ten seconds. A
log that takes connections and never answers looks the same, until an answer is overdue."""

GIVEN_UP_CHECK_S = 1.0
"""How soon a wait for the log notices that nobody wants it any more, or that the log is away."""

EXIT_APPLIED_S = 2.0
"""How long it waits, of this, to delete what is applied, to let an adoption come to its end, and
to send what workers of this program have left that were killed."""


class Sender:
    """The thread of one process and session; `of` gives the one there is, or makes it.

    Args:
        endpoint: where and as whom.
        service: stores artifacts and knows what is applied; None is the one of the endpoint.
        connect: makes the way to the log, in the thread.
    """

    _lock = threading.Lock()
    _senders: ClassVar[dict[Endpoint, Sender]] = {}

    def __init__(
        self,
        endpoint: Endpoint,
        service: SpoolService | None = None,
        connect: Callable[[Endpoint], Transport] = new_transport,
    ) -> None:
        self._endpoint = endpoint
        # Replaced, never changed, so that the thread can go through it without a lock.
        self._shipments: tuple[Shipment, ...] = ()
        self._ended: deque[tuple[float, Shipment]] = deque()
        self.service = service or Client(endpoint)
        self._connect = connect
        self.cleaner = Cleaner(self.service)
        self._changed = threading.Condition()
        self._cleaning = asyncio.Lock()
        self._looked_at: set[Path] = set()
        self._notices = Notices(endpoint)
        self._troubled_again_at_s = float("-inf")
        self._waiting = 0
        self._is_ending = self._has_ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="trialog-sender", daemon=True)
        self._thread.start()
        call_at_exit(self.end)

    @classmethod
    def of(cls, endpoint: Endpoint) -> Sender:
        """Return the sender of this process for a session."""
        with cls._lock:
            if endpoint not in cls._senders:
                cls._senders[endpoint] = cls(endpoint)
            return cls._senders[endpoint]

    @classmethod
    def forget_in_child(cls) -> None:
        """Begin anew in a child made by fork, which has no sender thread.

        What it inherited it may neither write nor hold: a lock that lives on in a child would
        make its dead parent look alive.
        """
        senders, cls._lock, cls._senders = cls._senders, threading.Lock(), {}
        for sender in senders.values():
            sender.drop_in_child()

    def drop_in_child(self) -> None:
        """Let go of every spool; the parent goes on with them."""
        for shipment in (*self._shipments, *(one for _, one in tuple(self._ended))):
            shipment.folder.forget_in_child()
            if shipment.spool is not None:
                shipment.spool.forget_in_child()

    @property
    def is_away(self) -> bool:
        """Tell whether the log could not be reached when it was last tried."""
        return self._notices.is_away

    def add(self, folder: SpoolFolder, spool: Spool) -> Shipment:
        """Take a spool on; it is sent from now on, until it is closed and everything is applied."""
        shipment = Shipment(folder, spool, StreamReader(folder, is_checked=False))
        with self._changed:
            self._shipments = (*self._shipments, shipment)
        self._poke()
        return shipment

    def wait_acked(
        self, shipment: Shipment, place: Place, deadline: Deadline, *, or_flushed: bool = False
    ) -> bool:
        """Wait until the log has everything up to a place of the spool; tell whether it has.

        Behind the end of the thread, in a program's last moments, nobody sends and nobody waits.

        Args:
            shipment: the spool on its way.
            place: up to where.
            deadline: how long at most.
            or_flushed: what is on the disk counts as well.
        """

        def is_so() -> bool:
            return shipment.acked >= place or (or_flushed and shipment.synced >= place)

        def is_over() -> bool:
            return is_so() or self._has_ended or deadline.left_s <= 0

        with self._changed:
            self._waiting += 1
            self._poke()
            try:
                while not self._changed.wait_for(is_over, min(deadline.left_s, GIVEN_UP_CHECK_S)):
                    pass
            finally:
                self._waiting -= 1
        return is_so()

    def end(self, away_s: float = EXIT_AWAY_S, slow_s: float = EXIT_DRAIN_S) -> None:
        """Send what is left, for some seconds at most, and say what then still is.

        Args:
            away_s: how long to wait for a log that is away.
            slow_s: how long to wait beyond it for one that is slow; Ctrl-C ends that.
        """
        if self._is_ending or self._pid != os.getpid():
            return  # ended already, or inherited by a child made by fork, which has no such thread
        self._is_ending = True
        self._poke()
        with contextlib.suppress(KeyboardInterrupt):  # nothing is lost, and that is said below
            self._thread.join(away_s)
            if self._thread.is_alive() and not self.is_away:
                if _unsent(self._shipments):
                    self._notices.slow_end(slow_s)
                self._join_while_there(Deadline(slow_s))
        kept = _unsent(self._shipments)
        if kept:
            self._notices.kept(kept)

    def _join_while_there(self, deadline: Deadline) -> None:
        while self._thread.is_alive() and deadline.left_s > 0 and not self.is_away:
            self._thread.join(min(deadline.left_s, GIVEN_UP_CHECK_S))

    def _poke(self) -> None:
        """Have the thread look now and not at its next turn."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._wake.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        finally:
            self._has_ended = True
            self._notify()

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        transport = self._connect(self._endpoint)
        shipper = Shipper(
            self.service,
            transport,
            lambda _bytes: self._notify(),
            has_own_log=self._endpoint.kafka is not None,
        )
        shipper.slow_upload = self._notices.slow_upload
        adopter = Adopter(self._endpoint, transport, service=self.service)
        adopting = asyncio.create_task(self._adopt(adopter))
        beside = [
            asyncio.create_task(self._always(self._clean, CLEAN_INTERVAL_S)),
            asyncio.create_task(self._always(self._sync_disk, DISK_SYNC_INTERVAL_S)),
        ]
        try:
            await self._send_until_end(shipper)
            if not self.is_away:
                # Who ends early leaves no folder behind that somebody would have to look at.
                await self._clean_at_end()
                await asyncio.wait([adopting], timeout=EXIT_APPLIED_S)
                await self._adopt_at_end(adopter)
        finally:
            for task in (adopting, *beside):
                task.cancel()
            await asyncio.gather(adopting, *beside, return_exceptions=True)
            await transport.close()

    async def _send_until_end(self, shipper: Shipper) -> None:
        pause_s = FLUSH_INTERVAL_S
        while True:
            self._wake.clear()
            is_last = self._is_ending
            is_there = await self._survive(partial(self._send, shipper))
            self._retire()
            self._notify()
            if is_last:
                return
            pause_s = FLUSH_INTERVAL_S if is_there else min(pause_s * 2, BACKOFF_S_MAX)
            if not self._shipments:
                await self._wake.wait()
            elif self._waiting:
                await self._pause(min(pause_s, WAITED_BACKOFF_S_MAX))
            else:
                await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _send(self, shipper: Shipper) -> bool:
        """Send what is new; tell whether to go on at once."""
        shipments = self._shipments
        for shipment in shipments:
            self._notices.dropped(shipment)
        now_s = time.monotonic()
        if now_s < self._troubled_again_at_s:
            # Those with a fault of their own are not to keep the others or the service busy.
            shipments = tuple(one for one in shipments if one.trouble is None)
        else:
            self._troubled_again_at_s = now_s + BACKOFF_S_MAX
        try:
            is_there = await shipper.ship(shipments)
        except ClientError as exc:
            self._notices.away(exc)
            if self._waiting:
                # Who flushes gets at least the disk.
                await self._sync_disk()
            return False
        if is_there:  # with nothing to send nobody knows
            self._notices.back()
        self._notices.store(shipper.store_fault)
        for shipment in shipments:
            self._notices.shipment(shipment)
            self._notices.fed_again(shipment)
        return True

    def _retire(self) -> None:
        """Look no more for news of runs that have ended and are sent."""
        sent = {id(shipment) for shipment in self._shipments if shipment.is_sent}
        if sent:
            now_s = time.monotonic()
            with self._changed:
                self._ended += [(now_s, one) for one in self._shipments if id(one) in sent]
                self._shipments = tuple(one for one in self._shipments if id(one) not in sent)

    async def _clean(self, wait_s: float = CLEAN_INTERVAL_S) -> bool:
        async with self._cleaning:
            ended = [shipment for _, shipment in self._ended]
            left = await self.cleaner.clean([*self._shipments, *ended], wait_s)
            for shipment in (*self._shipments, *ended):
                self._notices.given_up(shipment)
            gone = {id(shipment) for shipment in left}
            self._ended = deque(one for one in self._ended if id(one[1]) not in gone)
            # What the log has lost is taken up again, of runs that have ended as well.
            lost = [one for _, one in self._ended if one.is_on_its_way]
            with self._changed:
                self._ended = deque(one for one in self._ended if not one[1].is_on_its_way)
                self._shipments = (*self._shipments, *lost)
            if any(one.is_on_its_way for one in self._shipments):
                self._wake.set()
            too_old_s = time.monotonic() - UNCONFIRMED_S
            while self._ended and (self._ended[0][0] < too_old_s or len(self._ended) > ENDED_MAX):
                _, shipment = self._ended.popleft()
                self.cleaner.forget(shipment)
                shipment.folder.release()
        return True

    async def _clean_at_end(self) -> None:
        deadline_s = time.monotonic() + EXIT_APPLIED_S
        while self._ended and (left_s := deadline_s - time.monotonic()) > 0:
            # What is asked for may be from before the last run ended: so more than once.
            if not await self._survive(partial(self._clean, left_s / 2)):
                return

    async def _sync_disk(self) -> bool:
        for shipment in self._shipments:
            spool = shipment.spool
            if spool is None:
                continue
            end, safe = spool.end, shipment.synced
            if not shipment.is_overdue(UNAPPLIED_S):
                safe = max(safe, shipment.acked)
            if safe < end or shipment.has_blobs:
                numbers = range(safe.segment, end.segment + 1)
                await call_aside(shipment.folder.sync_to_disk, numbers)
                shipment.synced = end
                self._notify()
        return True

    async def _adopt(self, adopter: Adopter) -> None:
        """Send what dead processes left; at the end once more what was no dead one's before."""
        is_last = self._is_ending
        for path in adopter.folders():
            if self._is_ending and not is_last:
                return
            if path not in self._looked_at:
                await self._survive(partial(self._adopt_one, adopter, path))

    async def _adopt_at_end(self, adopter: Adopter) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_APPLIED_S):
                await self._adopt(adopter)

    async def _adopt_one(self, adopter: Adopter, path: Path) -> bool:
        pause_s = FLUSH_INTERVAL_S
        while True:
            try:
                report = await adopter.adopt(path)
            except ClientError:  # the log takes nothing now: what is our own says it
                pause_s = min(pause_s * 2, BACKOFF_S_MAX)
                await asyncio.sleep(pause_s)
            else:
                self._notices.adopted(report)
                if report.outcome != "alive":
                    self._looked_at.add(path)
                return True

    async def _always(self, step: Callable[[], Awaitable[bool]], interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            await self._survive(step)

    async def _survive(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """Do one step; whatever becomes of it, the program and the other steps go on."""
        try:
            return await step()
        except OSError as exc:
            self._notices.disk(exc)
            return False
        except Exception as exc:  # noqa: BLE001  the thread must outlive every defect of ours
            self._notices.defect(exc)
            return False

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _unsent(shipments: Iterable[Shipment]) -> int:
    return sum(not shipment.is_acked for shipment in shipments)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Sender.forget_in_child)
