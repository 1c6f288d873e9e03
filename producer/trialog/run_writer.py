"""What an entered run writes with: a spool on its way to the log, and what is known of the run.

Judges early by the rules themselves, on what this process knows; the projection judges again with
authority. Knows nothing of blocks, owners or names of things: see `run` and `run_lifecycle`.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from trialog.client import Client
from trialog.deadline import Deadline
from trialog.durability import Counting, durability_of, sealed_mark
from trialog.ids import catalog_writer_of
from trialog.refusals import RefusedCalls, refusal_error, rejection_of
from trialog.sender import Sender
from trialog.spool import NoRoomError, Spool
from trialog.spool_folder import bear_folder, discard_folder, no_place, prepare_folder
from trialog.stream import first_ack
from trialog_schemas.errors import ClientError, LimitExceededError
from trialog_schemas.events import RAISED_FACT
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.rules import decide_body, evolve_body
from trialog_schemas.wire import body_json

if TYPE_CHECKING:
    from trialog.answers import LogAnswer, ProgressAnswer
    from trialog.durability import Durability
    from trialog.run_lifecycle import Opening
    from trialog.settings import Endpoint
    from trialog.spool_facts import SpoolMeta
    from trialog_schemas.events import (
        ArtifactLogged,
        ParametersLogged,
        Rejection,
        RunEnded,
        TagsSet,
    )
    from trialog_schemas.rules import Verdict
    from trialog_schemas.wire import Position

FLUSH_S = 5.0
"""How long leaving a block and reading wait for the log; what is left is sent in the background."""

AWAY_FLUSH_S = 0.5
"""The same while the log is away: time for one more attempt."""


EVENT_BYTES_MAX = RECORD_BYTES_MAX - 4096
"""Bytes of an event's body; the rest of a record says whose it is. The default policy's largest
call has 0.8 MB, only one under a raised policy can have more."""


class WriterPlace:
    """All that a writer needs of this machine, made before anybody is told of its run.

    A run that was created and has no writer would be in progress for ever.

    Args:
        endpoint: where and as whom.
        meta: whose stream it will be, as far as that is known.

    Raises:
        SpoolError: its folder cannot be made.
    """

    def __init__(self, endpoint: Endpoint, meta: SpoolMeta) -> None:
        self.endpoint = endpoint
        self.sender = Sender.of(endpoint)
        self.folder = prepare_folder(endpoint.spool_dir, meta)
        self.spool = Spool(self.folder)

    def check_room(self) -> None:
        """See to it that the run's start and its end can be kept.

        Raises:
            SpoolError: the disk has no room; nothing is left of the place.
        """
        if not self.spool.has_room:
            self.discard()
            raise no_place(self.folder.path.parent, self.spool.room_fault or "no room")

    def discard(self) -> None:
        """Delete everything; nobody is to write here."""
        self.spool.close()
        discard_folder(self.folder)


class RunWriter:
    """One writer of a run. Safe for threads; a child made by fork must make one of its own.

    Args:
        place: where it writes.
        meta: whose stream it is.
        opening: how the run was entered.
    """

    def __init__(self, place: WriterPlace, meta: SpoolMeta, opening: Opening) -> None:
        self._endpoint = place.endpoint
        self.meta = meta
        self.state = opening.state
        self._is_created = opening.is_created
        self._is_created_later = opening.catalog is not None and not opening.is_created
        self._refused_calls = RefusedCalls()
        # Reentrant, because a signal handler may log while its own thread is in a log call.
        self._lock = threading.RLock()
        self._folder, self.spool, self._sender = place.folder, place.spool, place.sender
        bear_folder(self._folder, meta)
        if opening.is_created:
            self._folder.write_ack(replace(first_ack(meta), is_catalog_acked=True))
        self.spool.append_event(opening.first)
        self._shipment = self._sender.add(self._folder, self.spool)
        self._counting = Counting(self._shipment, self.spool)

    def record(self, body: ParametersLogged | TagsSet) -> None:
        """Append what the rules accept of a body, or raise the error for what they refuse.

        All or nothing: with one refusal nothing is appended.
        """
        with self._lock:
            verdict = self._decide(body)
            if verdict.accepted is not None:
                _check_fits(body)
                self.spool.append_event(body)
                self.state = evolve_body(self.state, verdict)

    def record_artifact(self, body: ArtifactLogged, content: bytes | None) -> None:
        """Keep an artifact's bytes (a model has none here) and append its event, or raise."""
        with self._lock:
            verdict = self._decide(body)
            if verdict.accepted is None:
                return  # the same content again
            # A full disk never stops training: the spool has counted what it drops.
            with contextlib.suppress(NoRoomError):
                if content is not None and body.sha256 is not None:
                    self.spool.store_blob(body.sha256, content)
                self.spool.append_event(body)
                self.state = evolve_body(self.state, verdict)

    def _decide(self, body: ParametersLogged | TagsSet | ArtifactLogged) -> Verdict:
        """Judge by what is known here; what is refused is raised, and recorded as an attempt."""
        verdict = decide_body(self.state, body)
        if verdict.rejections:
            first = verdict.rejections[0]
            told = self._refused_calls.count(first)
            if told is not None:
                self.spool.append_event(told)
            raise refusal_error(first)
        return verdict

    def end(self, body: RunEnded) -> None:
        """Append the last event; a log call that still comes raises RuntimeError."""
        with self._lock:
            told = self._refused_calls.rest()
            if told is not None:
                self.spool.append_event(told)
        self.spool.append_event(body)
        self.spool.close()

    def flush(self, deadline: Deadline) -> bool:
        """Wait until the log has everything appended so far; tell whether it has."""
        return self._sender.wait_acked(self._shipment, self.spool.cut(), deadline)

    def flush_to_disk(self, deadline: Deadline) -> bool:
        """Wait until all that was appended would survive a power failure; tell whether so."""
        place = self.spool.cut()
        return self._sender.wait_acked(self._shipment, place, deadline, or_flushed=True)

    def durability(self, *, ask_now: bool) -> Durability:
        """Return what has become of the events, by what the service told last, or tells now."""
        if ask_now:
            with contextlib.suppress(ClientError):  # what it told last, and when, is known
                self._shipment.hear(*self._ask())
        return durability_of(self._shipment, self.spool, self._counting)

    def recorded_seq(self) -> int:
        """Return the seq of the newest event that was recorded."""
        return self._counting.recorded().seq

    def is_sealed(self, seq: int) -> bool:
        """Ask the service and tell whether all events up to a seq are sealed.

        Raises:
            UnavailableError: the service cannot be reached.
        """
        self._shipment.hear(*self._ask())
        return sealed_mark(self._shipment).seq >= seq

    def _ask(self) -> tuple[ProgressAnswer, list[LogAnswer]]:
        meta, tokens = self.meta, [position.token() for position in self.positions]
        writers = [(meta.run_id, meta.writer_id)]
        answer = self._sender.service.durability(writers, tokens, 0)
        return answer["writers"][0], answer["log"]

    def flush_briefly(self) -> bool:
        """Wait for the log as a program's own thread may; not much when it is known to be away."""
        if self.flush(Deadline(AWAY_FLUSH_S)):
            return True
        return not self._sender.is_away and self.flush(Deadline(FLUSH_S - AWAY_FLUSH_S))

    @property
    def positions(self) -> list[Position]:
        """Where the newest records are, for reading one's own writes."""
        return list(self._shipment.positions.values())

    def ask_applied(self, wait_s: float, seq: int) -> tuple[bool, list[Rejection]]:
        """Tell whether all up to a seq is applied, and what was then refused of this writer.

        Positions alone do not say it: in a log that has lost its end others' records may stand
        there. What its calls have raised is not among it: they have told it already.

        Args:
            wait_s: how long the service may wait for it.
            seq: of an event that was recorded.

        Raises:
            UnavailableError: the service cannot be reached.
        """
        client, meta = Client(self._endpoint), self.meta
        tokens = [position.token() for position in self.positions]
        answer = client.applied(tokens, run_id=meta.run_id, writer_id=meta.writer_id, wait_s=wait_s)
        is_applied = answer["applied"]
        if is_applied and answer["progress"] is not None:
            self._shipment.hear(answer["progress"])
            is_gone = self._is_created and not answer["progress"]["is_known"]
            is_applied = self._shipment.has_applied(seq) and not is_gone
            if not is_applied:
                self._sender.cleaner.look_soon(self._shipment)
        refused = answer["rejections"]
        if is_applied and self._is_created_later:
            # The event that created the run was sent later, by a writer of its own.
            writers = {meta.writer_id, catalog_writer_of(meta.writer_id)}
            found = client.rejections(meta.run_id, tokens)
            refused = [one for one in found if one["writer_id"] in writers]
        late = [one for one in refused if RAISED_FACT not in one["facts"]]
        return is_applied, [rejection_of(one) for one in late]

    def forget_in_child(self) -> None:
        """Drop what a child made by fork inherited; the parent goes on writing."""
        self.spool.forget_in_child()
        self._folder.forget_in_child()


def _check_fits(body: ParametersLogged | TagsSet) -> None:
    size = len(body_json(body))
    if size > EVENT_BYTES_MAX:
        raise LimitExceededError(
            f"what the call logs has {size} bytes, a record of the log holds {EVENT_BYTES_MAX}; "
            "log it in several calls",
            field="parameters",
            value=size,
            limit=EVENT_BYTES_MAX,
        )


def sha256_of(content: bytes) -> str:
    """Return the digest under which an artifact's bytes are stored."""
    return hashlib.sha256(content).hexdigest()
