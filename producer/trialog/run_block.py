"""The time between entering a run and leaving it: the writer of this process, across forks.

A child made by fork has the parent's memory but must never write into its spool: it forgets the
writer, and its first log call makes one of its own, which joins the run and never ends it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, NoReturn

from trialog.durability import Durability
from trialog.newest_positions import note_positions
from trialog.notice_logger import notice_logger
from trialog.refusals import refusal_error
from trialog.run_lifecycle import ending_of, join_run, new_meta
from trialog.run_writer import RunWriter, WriterPlace
from trialog_schemas.errors import ClientError, SpoolError, UnavailableError
from trialog_schemas.events import TagsSet
from trialog_schemas.rules import decide_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trialog.answers import RunAnswer
    from trialog.deadline import Deadline
    from trialog.run_lifecycle import Opening
    from trialog.settings import Endpoint
    from trialog.spool import Spool
    from trialog_schemas.events import Rejection
    from trialog_schemas.rules import RunState

APPLIED_WAIT_S = 5.0
"""How long one question whether the log is applied waits for it."""


class RunBlock:
    """The block of one handle; `spool` is None outside it, and in a child until it logs."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._claim = threading.Lock()
        self._lock = threading.RLock()
        self._run: RunAnswer | None = None
        self._writer: RunWriter | None = None
        self._inherited: RunState | None = None
        self._place: WriterPlace | None = None
        self._is_owner = False
        self.spool: Spool | None = None
        self.is_open = False
        self.status: str | None = None
        """What this handle knows of the run's status: asked when nobody else can be."""

    @contextlib.contextmanager
    def entering(self, name: str) -> Iterator[None]:
        """Keep the handle for one thread while that enters it.

        Raises:
            RuntimeError: it was entered already, or another thread or task is at it.
        """
        is_mine = self._claim.acquire(blocking=False)
        try:
            if not is_mine or self.is_entered:
                raise RuntimeError(f"run {name!r} was entered already; make another Run")
            yield
        finally:
            if is_mine:
                self._discard_place()
                self._claim.release()

    @property
    def is_entered(self) -> bool:
        """Tell whether the block was entered, however it stands now."""
        return self._run is not None

    def prepare(self, run: RunAnswer) -> None:
        """Make all that `enter` needs of this machine; what it does not use is deleted again.

        Raises:
            SpoolError: there is no place for the spool, or no room.
        """
        self._place = WriterPlace(self._endpoint, new_meta(self._endpoint, run))
        self._place.check_room()

    def enter(
        self, run: RunAnswer, opening: Opening, tags: Mapping[str, str] | None = None
    ) -> None:
        """Begin to write, with tags of the run as the first that is said.

        Raises:
            LimitExceededError: with these the run has more tags than it may; nothing is written.
            SpoolError: there is no place for the spool.
        """
        first_tags = TagsSet(dict(tags or {}))
        for refused in decide_body(opening.state, first_tags).rejections[:1]:
            raise refusal_error(refused)
        place, self._place = self._place, None
        if place is None:
            place = WriterPlace(self._endpoint, new_meta(self._endpoint, run))
        meta = new_meta(self._endpoint, run, place.folder.meta.writer_id, opening.catalog)
        self._writer = RunWriter(place, meta, opening)
        self._run, self._is_owner = run, opening.is_owner
        self.status = "InProgress"
        self.is_open = True
        self.spool = self._writer.spool
        _entered.add(self)
        if tags:
            self._writer.record(first_tags)

    def writer(self) -> RunWriter:
        """Return the writer of this process.

        Raises:
            RuntimeError: the block is not open.
        """
        with self._lock:
            if not self.is_open or self._run is None:
                self._refuse_closed()
            if self._writer is None and self._inherited is not None:
                self.enter(self._run, join_run(self._endpoint, self._inherited))
            if self._writer is None:
                self._refuse_closed()
            return self._writer

    def leave(self, error: BaseException | None) -> bool:
        """Record how the block ended, and settle; tell whether the log has everything."""
        return self.end(error) and self.settle()

    def end(self, error: BaseException | None) -> bool:
        """Record how the block ended, without any wait; tell whether there was anything to record.

        Whatever becomes of log and disk, the exception that ends the block is not replaced.
        """
        if not self.is_open:
            return False
        ending = ending_of(error, is_owner=self._is_owner)
        try:
            # A child that never logged has nothing to say, unless it failed.
            writer = self._writer if ending.status == "Completed" else self.writer()
        except SpoolError as exc:
            notice_logger().warning("a failure could not be recorded", reason=exc.message)
            writer = None
        self.is_open, self.spool = False, None
        if writer is None:
            return False
        if self._is_owner:
            self.status = ending.status
        writer.end(ending)
        return True

    def settle(self) -> bool:
        """Wait briefly until the log has everything of a block that ended; tell whether it has."""
        writer = self._writer
        if writer is None:
            return False
        is_flushed = writer.flush_briefly()
        note_positions(self._endpoint.url, writer.meta.experiment_name, writer.positions)
        return is_flushed

    def flush(self, deadline: Deadline) -> bool:
        """Wait until the log has everything of this process; tell whether it has."""
        return self._writer is None or self._writer.flush(deadline)

    def flush_to_disk(self, deadline: Deadline) -> bool:
        """Wait until everything of this process would survive a power failure here."""
        return self._writer is None or self._writer.flush_to_disk(deadline)

    def durability(self, *, ask_now: bool) -> Durability:
        """Return what has become of what this process logged."""
        writer = self._writer
        return Durability() if writer is None else writer.durability(ask_now=ask_now)

    def wait_sealed(self, deadline: Deadline, name: str) -> None:
        """Wait until everything of this process is sealed.

        Raises:
            TimeoutError: it is not within the time.
        """
        writer = self._writer
        if writer is None:
            return
        seq = writer.recorded_seq()
        if not writer.flush(deadline):
            deadline.check(f"run {name!r} is not in the log")
        while True:
            with contextlib.suppress(UnavailableError):  # a service that comes back is waited for
                if writer.is_sealed(seq):
                    return
            deadline.check(f"run {name!r} is not sealed, which `trialog checkpoint` does,")
            deadline.pause()

    def refusals_now(self, wait_s: float) -> list[Rejection]:
        """Return what is known to be refused after a short wait."""
        with contextlib.suppress(ClientError):  # the service went away, or refuses us: ask later
            writer = self._writer
            return [] if writer is None else writer.ask_applied(wait_s, writer.recorded_seq())[1]
        return []

    def wait_applied(self, deadline: Deadline, name: str) -> list[Rejection]:
        """Wait until everything of this process is applied; return what was refused of it.

        Raises:
            TimeoutError: it is not within the time.
        """
        writer = self._writer
        if writer is None:
            return []
        seq = writer.recorded_seq()
        if not writer.flush(deadline):
            deadline.check(f"run {name!r} is not in the log")
        while True:
            wait_s = min(deadline.left_s, APPLIED_WAIT_S)
            try:
                is_applied, refused = writer.ask_applied(wait_s, seq)
            except UnavailableError:  # a service that comes back is waited for
                is_applied, refused = False, []
            if is_applied:
                return refused
            deadline.check(f"run {name!r} is not applied")
            deadline.pause()

    def positions(self) -> list[str]:
        """Return where this process's newest records are, after everything is in the log.

        Raises:
            UnavailableError: the log does not take them now.
        """
        writer = self._writer
        if writer is None:
            return []
        if not writer.flush_briefly():
            raise UnavailableError(
                f"run {writer.meta.run_name!r} is not in the log yet; what was logged is kept in "
                "the spool and sent later"
            )
        return [position.token() for position in writer.positions]

    def forget_in_child(self) -> None:
        """Let go of the parent's writer; its lock may be held by a thread that is not here."""
        self._lock = threading.RLock()
        writer, self._writer, self.spool = self._writer, None, None
        self._is_owner = False
        if writer is not None:
            self._inherited = writer.state
            writer.forget_in_child()

    def _discard_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.discard()

    def _refuse_closed(self) -> NoReturn:
        state = "is not entered" if self._run is None else f"{self._run['run_name']!r} was left"
        raise RuntimeError(f"the run {state}; log inside its `with` block")


_entered: weakref.WeakSet[RunBlock] = weakref.WeakSet()


def _forget_in_child() -> None:
    for block in list(_entered):
        block.forget_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
