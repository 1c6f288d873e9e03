"""Bugs of the processes that log.

Each replaces one function of the product by one that is wrong as a tired programmer would make it.
Some wait a little where the bug's window is: that a fault hits it is then a matter of seconds, not
of days. Which rounds must find which bug is told in `tests/chaos/plants.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from trialog.adoption import Adopter
from trialog.deadline import Deadline
from trialog.run_logging import RunLogging
from trialog.run_writer import RunWriter
from trialog.sender import Sender
from trialog.shipper import Shipper
from trialog.spool import Spool
from trialog.stream import StreamReader
from trialog.transports.http import HttpTransport
from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import Position, partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WINDOW_S = 0.1
"""How long the windows of bugs are open."""


def _receipts(records: Sequence[Any]) -> list[Any]:

    return [Position(one.topic, partition_of(one.key, 4), 0) for one in records]


def acknowledge_before_write() -> None:
    """Records count as sent when they are on their way."""
    send = HttpTransport.send
    on_their_way = set()

    async def late(self: Any, records: Sequence[Any]) -> None:
        await asyncio.sleep(5 * WINDOW_S)
        await send(self, records)

    async def hasty(self: Any, records: Sequence[Any]) -> list[Any]:
        on_their_way.add(asyncio.create_task(late(self, records)))
        return _receipts(records)

    HttpTransport.send = hasty  # type: ignore[method-assign]


def swallow_send_error() -> None:
    """That the service is away is noted nowhere."""
    send, ship_blobs = HttpTransport.send, Shipper._ship_blobs

    async def careless(self: Any, records: Sequence[Any]) -> list[Any]:
        try:
            return await send(self, records)
        except UnavailableError:
            return _receipts(records)

    async def careless_blobs(self: Any, shipment: Any) -> None:
        with contextlib.suppress(UnavailableError):
            await ship_blobs(self, shipment)

    HttpTransport.send = careless  # type: ignore[method-assign]
    Shipper._ship_blobs = careless_blobs  # type: ignore[method-assign]


def go_on_behind_what_failed() -> None:
    """What was read and not sent is not read again."""
    open_ = Shipper._open

    async def going_on(self: Any, shipment: Any) -> Any:
        shipment.is_stale = False
        return await open_(self, shipment)

    Shipper._open = going_on  # type: ignore[method-assign]


def forget_the_dead() -> None:
    """The spools of dead processes are removed, not sent."""

    async def forget(self: Any, folder: Any, report: Any, *, is_moved: bool) -> None:
        assert self is not None
        assert is_moved in {True, False}
        folder.remove()
        report.outcome = "sent"

    Adopter._send = forget  # type: ignore[method-assign]


def wait_for_the_log() -> None:
    """A log call waits until the log has it."""
    log_metric = RunLogging.log_metric

    def waiting(self: Any, *arguments: Any) -> None:
        log_metric(self, *arguments)
        self.flush(5.0)

    RunLogging.log_metric = waiting  # type: ignore[method-assign,assignment]


def forget_what_was_dropped() -> None:
    """On a full disk calls are dropped, and nobody counts them."""
    make_room = Spool._make_room

    def forgetful(self: Any, size: int) -> bool:
        has_room = make_room(self, size)
        self.dropped_calls = 0
        return has_room

    Spool._make_room = forgetful  # type: ignore[method-assign]


def raise_on_a_full_disk() -> None:
    """A full disk ends the training."""

    def loud(_self: Any, error: OSError) -> None:
        raise error

    Spool._note_no_room = loud  # type: ignore[method-assign,assignment]


def flush_before_the_answer() -> None:
    """A flush counts on an answer that does not come soon."""
    wait_acked = Sender.wait_acked

    def hasty(self: Any, shipment: Any, place: Any, _deadline: Any, **how: Any) -> bool:
        wait_acked(self, shipment, place, Deadline(WINDOW_S), **how)
        return True

    Sender.wait_acked = hasty  # type: ignore[method-assign,assignment]


def applied_when_accepted() -> None:
    """What the log has counts as applied."""
    RunWriter.ask_applied = lambda *_, **__: (True, [])  # type: ignore[method-assign]


def trust_what_is_damaged() -> None:
    """The spools of dead processes are read without a look at their checksums."""
    make = StreamReader.__init__

    def trusting(self: Any, folder: Any, **how: Any) -> None:
        make(self, folder, **{**how, "is_checked": False})

    StreamReader.__init__ = trusting  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        acknowledge_before_write,
        swallow_send_error,
        go_on_behind_what_failed,
        forget_the_dead,
        wait_for_the_log,
        forget_what_was_dropped,
        raise_on_a_full_disk,
        flush_before_the_answer,
        applied_when_accepted,
        trust_what_is_damaged,
    )
}
