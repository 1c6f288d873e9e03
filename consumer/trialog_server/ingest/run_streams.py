"""The service as a writer of events, for clients that send it calls instead of records.

Each run that this process writes to has a stream of its own here: a writer id, a seq without holes
and a hash chain, as a writer of the SDK has. Appends to one run come one after the other. Must not
know rules, tables or HTTP.

What may happen to an append
----------------------------
* The log takes it: the stream goes on behind it.
* Whether it took it is unknown (`UnavailableError`, a cancelled request): that writer is never used
  again, so that no hole and no fork comes of it; the next append begins a new one.
* A client asks again for the same (`again`): the same bytes are sent again, under the same writer
  and seq, and the projection drops them if it has them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from trialog.ids import new_id, now_us
from trialog.refusals import RefusedCalls
from trialog_schemas.events import NIL_ID
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, next_record, stream_start
from trialog_server.log.base import NewRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trialog_schemas.events import CatalogBody, Rejection, RunBody
    from trialog_schemas.wire import Position, StreamEnd
    from trialog_server.log.base import Log

STREAMS_MAX = 10_000
"""Runs whose streams are remembered, a few hundred bytes each; a run that is forgotten gets a new
writer with its next event."""

KEPT_BYTES_MAX = 16_777_216
"""Bytes of records that are kept to be sent again: some thousands of single points."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A record that the log has: where, and which events of which writer are in it."""

    position: Position
    writer_id: str
    seqs: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Made:
    """A record that was made, whether or not the log has it."""

    record: NewRecord
    writer_id: str
    seqs: tuple[int, int]


@dataclass(slots=True)
class _Stream:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    end: StreamEnd | None = None
    refused: RefusedCalls = field(default_factory=RefusedCalls)


class RunStreams:
    """The streams of one process of the service.

    Args:
        log: where events go.
        user: who acts, `user@host`, in the streams of runs.
        on_append: told the bytes of each record that the log has taken.
    """

    def __init__(
        self,
        log: Log,
        user: str,
        on_append: Callable[[int], None] = lambda _size: None,
        streams_max: int = STREAMS_MAX,
        kept_bytes_max: int = KEPT_BYTES_MAX,
    ) -> None:
        self._log = log
        self._on_append = on_append
        self._user = user
        self._streams_max = streams_max
        self._kept_bytes_max = kept_bytes_max
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._kept: OrderedDict[bytes, _Made] = OrderedDict()
        self._kept_bytes = 0

    async def append(
        self,
        account: str,
        run_id: str,
        told: Sequence[tuple[int, RunBody]],
        request: bytes | None = None,
    ) -> Appended:
        """Append events of a run, each a time in µs and a body, as one record.

        Args:
            account: whose run it is.
            run_id: the run.
            told: what happened.
            request: what tells the request from every other one whose effect would be another, if
                doing it twice would be wrong; see `again`.

        Raises:
            UnavailableError: the log did not say that it has the record.
        """
        stream = self._stream_of(run_id)
        async with stream.lock:
            if request is not None and (twin := self._kept.get(request)) is not None:
                return await self._append_made(twin)
            end = stream.end or stream_start(account, self._user, run_id, new_id())
            # From here until the log answers nobody knows where this writer's stream ends.
            stream.end = None
            value, next_end = next_record(end, told)
            record = NewRecord(EVENTS_TOPIC, run_id, value)
            made = _Made(record, end.writer_id, (end.next_seq, next_end.next_seq - 1))
            if request is not None:
                self._keep(request, made)
            appended = await self._append_made(made)
            stream.end = next_end
        return appended

    def turn(self, run_id: str) -> asyncio.Lock:
        """Return what a change that builds on what is applied holds until it is applied itself.

        It is there for as long as somebody has it, and for this process alone.
        """
        return self._turns.setdefault(run_id, asyncio.Lock())

    async def again(self, request: bytes) -> Appended | None:
        """Append what a request was made into before, if it is one that is asked again.

        A client that got no answer, or one that says to ask again, sends the same bytes. So do two
        clients that tell of the same point of the same time, which is one point.

        Raises:
            UnavailableError: the log did not say that it has the record.
        """
        made = self._kept.get(request)
        return None if made is None else await self._append_made(made)

    async def append_refused(self, account: str, run_id: str, refusal: Rejection) -> None:
        """Append that a call on a run was refused; of very many, some that stand for all."""
        told = self._stream_of(run_id).refused.count(refusal)
        if told is not None:
            await self.append(account, run_id, [(now_us(), told)])

    async def append_command(
        self, account: str, user: str, at_us: int, body: CatalogBody
    ) -> Appended:
        """Append an event of the catalog, by a writer of its own.

        Raises:
            UnavailableError: the log did not say that it has the record.
        """
        start = stream_start(account, user, NIL_ID, new_id())
        value, _ = next_record(start, [(at_us, body)])
        record = NewRecord(CATALOG_TOPIC, account, value)
        return await self._append_made(_Made(record, start.writer_id, (1, 1)))

    async def _append_made(self, made: _Made) -> Appended:
        (position,) = await self._log.append([made.record])
        self._on_append(len(made.record.value))
        return Appended(position, made.writer_id, made.seqs)

    def _stream_of(self, run_id: str) -> _Stream:
        stream = self._streams.setdefault(run_id, _Stream())
        self._streams.move_to_end(run_id)
        # One that is forgotten in the middle of an append ends with it.
        while len(self._streams) > self._streams_max:
            self._streams.popitem(last=False)
        return stream

    def _keep(self, request: bytes, made: _Made) -> None:
        self._kept[request] = made
        self._kept_bytes += len(made.record.value)
        while self._kept_bytes > self._kept_bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.record.value)
