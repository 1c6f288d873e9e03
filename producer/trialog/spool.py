"""The file that makes a returned call survive SIGKILL: appends records to mapped segments.

A `log_*` call ends when its bytes are in a shared mapping of a segment: they are then the
kernel's, whatever happens to the process. Segments are allocated before they are mapped, so that
a full disk is an error of the allocation and never a signal. When there is no room, calls are
dropped and counted, training goes on, and the count is recorded once there is room again, at the
latest with the run's end, for which room is kept.

Must not send anything or know the service; see `stream` for the other side.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from zlib import crc32

import orjson

from trialog.ids import now_us
from trialog.segment_file import allocate, whole_pages
from trialog.spool_format import (
    CHECKSUM,
    CUT_BYTES,
    EVENT,
    HEADER,
    NAME,
    POINT,
    POINT_BODY,
    POINT_BYTES,
    ROW,
    SEGMENT_HEAD,
    SEGMENT_MAGIC,
    SHAPE,
    TIME,
    pack_cut,
    pack_tail,
    row_struct,
    shape_of,
)
from trialog_schemas.events import DROPPED_TAG, TYPE_NAMES, RunEnded, TagsSet
from trialog_schemas.names import check_metric_name
from trialog_schemas.wire import body_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from trialog.spool_folder import SpoolFolder
    from trialog_schemas.events import RunBody

FIRST_SEGMENT_BYTES = 262_144
"""Bytes of a stream's first segment: short runs are many and should cost little disk."""

SEGMENT_BYTES = 4_194_304
"""Bytes of the later segments: one is read into memory as a whole when it is sent."""

SCARCE_SEGMENT_BYTES = 32_768
"""Bytes of a segment where the disk has no room for a usual one."""

SPARE_BYTES = 4096
"""Room of a segment for what a signal handler logs while the thread it interrupts makes the next
one. Else each handler would make one of its own, and be interrupted by the next handler, as deep as
the stack is."""

RESERVE_BYTES = 16_384
"""Room kept from the start for a run's end and the count of what was dropped: a full disk must not
leave a run in progress for ever, or hide what it has cost."""

ROOM_CHECK_S = 1.0
"""How often an allocation is tried again while the disk is full."""

ROW_NAMES_MAX = 512
"""Names of one row: their declaration and a row of them must fit a record of the log. A call with
more is kept as several rows of one step and time."""

_SHAPES_MAX = 4096
"""Sets of names whose packers are kept per segment, so that a caller who never repeats one does
not fill the memory."""

_NAME_BYTES_MAX = 1040
"""A declared name with its header: 255 characters of at most 4 bytes."""

_SEALED = 1 << 62

PointAppender: TypeAlias = "Callable[[str, int, int, float], None]"
RowAppender: TypeAlias = "Callable[[tuple[str, ...], int, int, Collection[float]], None]"


class Place(NamedTuple):
    """A place in a stream: a segment and an offset in it; they compare in order of writing."""

    segment: int
    offset: int


class NoRoomError(Exception):
    """The disk has no room; what was to be written is dropped and counted."""


class _Mapped:
    """A mapped segment and how far it is written; `position[0]` is where the next record goes.

    Critical: between reading the position and moving it nothing is called, so that neither a
    thread nor a signal handler can come between (the lock keeps threads out, but a handler in the
    thread that holds it passes).
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.limit = [len(memory) - CUT_BYTES - SPARE_BYTES]
        self.position = [SEGMENT_HEAD.size]

    @property
    def room(self) -> int:
        """Bytes that still fit; negative when sealed."""
        return self.limit[0] - self.position[0]

    @contextlib.contextmanager
    def open_spare(self) -> Iterator[None]:
        """Let what comes while the next segment is made go into the spare room of this one."""
        before = self.limit[0]
        self.limit[0] = len(self.memory) - CUT_BYTES
        try:
            yield
        finally:
            self.limit[0] = before

    def append(self, record: bytes) -> int:
        """Write a record and return where it ends; 0 when there is no room for it."""
        size, position = len(record), self.position
        end = position[0] + size
        if end > self.limit[0]:
            return 0
        self.memory[position[0] : end] = record
        position[0] = end
        return end

    def seal(self, cut: bytes) -> int:
        """End the segment with a cut (or nothing) in the room kept for it; return its end.

        Whoever still holds its appenders finds it full and is sent to the next segment.
        """
        size, position = len(cut), self.position
        end = position[0] + size
        self.memory[position[0] : end] = cut
        position[0] = _SEALED
        return end


def _point_appender(
    segment: _Mapped, lock: threading.RLock, when_full: PointAppender
) -> PointAppender:
    """Return the function behind `log_metric`, with everything it needs in its cells.

    A name in a cell is found in half the time of an attribute; this is the path of every call.
    """
    memory, position, limit = segment.memory, segment.position, segment.limit
    ids: dict[str, int] = {}
    pack, pack_checksum = POINT_BODY.pack, CHECKSUM.pack

    def declare(name: str) -> int | None:
        clean = check_metric_name(name)
        number = len(ids)
        if not segment.append(pack_tail(NAME, number, clean.encode())):
            return None
        return ids.setdefault(clean, number)

    def append_point(name: str, step: int, at_us: int, value: float) -> None:
        with lock:
            try:
                number: int | None = ids[name]
            except (KeyError, TypeError):  # a new name, or something that is none
                number = declare(name)
            if number is not None:
                body = pack(POINT_BYTES, POINT, number, step, at_us, value)
                record = pack_checksum(crc32(body)) + body
                if position[0] + POINT_BYTES <= limit[0]:
                    memory[position[0] : position[0] + POINT_BYTES] = record
                    position[0] += POINT_BYTES
                    return
            when_full(name, step, at_us, value)

    return append_point


def _row_appender(segment: _Mapped, lock: threading.RLock, when_full: RowAppender) -> RowAppender:
    """Return the function behind `log_metrics`; see `_point_appender`."""
    memory, position, limit = segment.memory, segment.position, segment.limit
    packers: dict[tuple[str, ...], tuple[int, int, Callable[..., bytes]]] = {}
    numbers = itertools.count()
    pack_checksum = CHECKSUM.pack

    def declare(names: tuple[str, ...]) -> tuple[int, int, Callable[..., bytes]] | None:
        if len(names) > ROW_NAMES_MAX:
            return None
        clean = [check_metric_name(name) for name in names]
        number = next(numbers)
        if not segment.append(pack_tail(SHAPE, number, orjson.dumps(clean))):
            return None
        if len(packers) >= _SHAPES_MAX:
            packers.clear()
        packer = row_struct(len(clean))
        packers[names] = known = (number, CHECKSUM.size + packer.size, packer.pack)
        return known

    def append_row(
        names: tuple[str, ...], step: int, at_us: int, values: Collection[float]
    ) -> None:
        with lock:
            known = packers.get(names) or declare(names)
            if known is not None:
                number, size, pack = known
                body = pack(size, ROW, number, step, at_us, *values)
                record = pack_checksum(crc32(body)) + body
                if position[0] + size <= limit[0]:
                    memory[position[0] : position[0] + size] = record
                    position[0] += size
                    return
            when_full(names, step, at_us, values)

    return append_row


class Spool:
    """Appends the records of one writer. Safe for threads, and for signal handlers that log.

    `append_point(name, step, at_us, value)` and `append_row(names, step, at_us, values)` are
    attributes because each segment brings its own; names are checked when they are new, values
    and steps must have been checked.
    """

    append_point: PointAppender
    append_row: RowAppender

    def __init__(
        self,
        folder: SpoolFolder,
        allocate: Callable[[Path, int], mmap.mmap] = allocate,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._allocate = allocate
        self._clock = clock
        # Reentrant, because a signal handler may log while its own thread is in a log call.
        self._lock = threading.RLock()
        self._number = 0
        self._segment: _Mapped | None = None
        self._last_cut = Place(1, SEGMENT_HEAD.size)
        self._room_checked_s = float("-inf")
        self._closed_because: str | None = None
        self._sealed_at = SEGMENT_HEAD.size
        self._reserve: mmap.mmap | None = None
        self.dropped_calls = 0
        self.room_fault = ""
        """Why there was no room when it was last looked for, in the system's words."""
        self._dropped_recorded = 0
        self.append_point, self.append_row = self._point_anew, self._row_anew
        with self._lock:
            self._roll_if_room(0)
            with contextlib.suppress(OSError):
                self._reserve = allocate(folder.reserve_path, RESERVE_BYTES)

    @property
    def end(self) -> Place:
        """Where the next record will go."""
        with self._lock:
            segment = self._segment
            return self._last_cut if segment is None else Place(self._number, segment.position[0])

    @property
    def has_room(self) -> bool:
        """Tell whether there is room for the first records and for the run's end."""
        return self._segment is not None and self._reserve is not None

    @property
    def is_closed(self) -> bool:
        """Tell whether no more can come."""
        return self._closed_because is not None

    def append_event(self, body: RunBody, at_us: int | None = None) -> None:
        """Append an event of any type but metrics."""
        packed = TIME.pack(now_us() if at_us is None else at_us) + body_json(body)
        record = pack_tail(EVENT, shape_of(TYPE_NAMES[type(body)]), packed)
        with self._lock:
            if isinstance(body, RunEnded) and not self.is_closed:
                self._make_room_for_end(len(record))
            self._append(record)

    def cut(self) -> Place:
        """End the stretch that is being written, if anything is in it; return its end."""
        with self._lock:
            if not self.is_closed:
                self._record_dropped()
            segment = self._segment
            if segment is not None and segment.position[0] > self._cut_offset(self._number):
                end = segment.append(pack_cut(now_us()))
                if end:
                    self._last_cut = Place(self._number, end)
                else:
                    self._go_over(self._number, None, (self._point_anew, self._row_anew))
            return self._last_cut

    def close(self) -> None:
        """End the spool: what is in it is sent, and a log call that comes later raises."""
        with self._lock:
            self.cut()
            has_segment = self._segment is not None
            self._closed_because = "the run is not open; log inside its `with` block"
            self._go_over(self._number, None, (self._point_anew, self._row_anew))
            self._drop_reserve()
            if has_segment:
                self._folder.truncate_segment(self._number, self._sealed_at)

    def forget_in_child(self) -> None:
        """Make a child made by fork unable to write into what it shares with its parent."""
        self._lock = threading.RLock()  # another thread of the parent may have held it
        self._closed_because = "this run was entered before a fork; enter a run in the child"
        self._segment = self._reserve = None
        self.append_point, self.append_row = self._point_anew, self._row_anew

    def store_blob(self, sha256: str, content: bytes) -> None:
        """Keep an artifact's bytes beside the records.

        Raises:
            NoRoomError: the disk is full; the call was counted as dropped.
        """
        try:
            self._folder.store_blob(sha256, content)
        except OSError as exc:
            with self._lock:
                self._note_no_room(exc)
                self.dropped_calls += 1
            raise NoRoomError from exc

    def _cut_offset(self, number: int) -> int:
        """Return where the part of a segment begins that no cut has ended."""
        return self._last_cut.offset if self._last_cut.segment == number else SEGMENT_HEAD.size

    def _append(self, record: bytes) -> None:
        while self._segment is None or not self._segment.append(record):
            if not self._make_room(len(record)):
                return

    def _point_anew(self, name: str, step: int, at_us: int, value: float) -> None:
        """Append a point that found its segment full."""
        with self._lock:
            if self._make_room(POINT_BYTES + _NAME_BYTES_MAX):
                self.append_point(name, step, at_us, value)

    def _row_anew(
        self, names: tuple[str, ...], step: int, at_us: int, values: Collection[float]
    ) -> None:
        """Append a row that found its segment full."""
        with self._lock:
            if len(names) > ROW_NAMES_MAX:
                self._append_wide_row(names, step, at_us, tuple(values))
            elif self._make_room(POINT_BYTES + len(names) * (8 + _NAME_BYTES_MAX)):
                self.append_row(names, step, at_us, values)

    def _append_wide_row(
        self, names: tuple[str, ...], step: int, at_us: int, values: tuple[float, ...]
    ) -> None:
        """Append a row in several parts, all or none."""
        size = len(orjson.dumps([check_metric_name(name) for name in names])) + 8 * len(names)
        firsts = range(0, len(names), ROW_NAMES_MAX)
        if self._make_room(size + 2 * POINT_BYTES * len(firsts)):
            for first in firsts:
                part = slice(first, first + ROW_NAMES_MAX)
                self.append_row(names[part], step, at_us, values[part])

    def _make_room(self, size: int) -> bool:
        """See to it that the segment has room for so many bytes; False: the call is dropped."""
        if self._closed_because is not None:
            raise RuntimeError(self._closed_because)
        if self._segment is not None and self._segment.room >= size:
            return True  # another thread has opened it while we waited for the lock
        if self._roll_if_room(size):
            return True
        self.dropped_calls += 1
        return False

    def _roll_if_room(self, size: int) -> bool:
        now_s = self._clock()
        if now_s < self._room_checked_s + ROOM_CHECK_S:
            return False
        try:
            self._roll(size)
        except OSError as exc:
            self._room_checked_s = now_s
            self._note_no_room(exc)
            return False
        return True

    def _note_no_room(self, error: OSError) -> None:
        self.room_fault = error.strerror or type(error).__name__

    def _make_room_for_end(self, size: int) -> None:
        """See to it that the run's end has room, on a full disk in what was kept for it.

        What was dropped is told before it: behind the end there may be no room for that.
        """
        if self._dropped_recorded < self.dropped_calls:
            size += len(_dropped_record(self.dropped_calls))
        segment = self._segment
        has_room = segment is not None and segment.room >= size
        if not (has_room or self._roll_if_room(size) or self._reserve is None):
            memory, self._reserve = self._reserve, None
            number = self._number + 1
            while self._folder.segment_path(number).exists():
                number += 1  # see _allocate_free
            with contextlib.suppress(OSError):
                self._folder.reserve_path.rename(self._folder.segment_path(number))
                self._begin(number, memory)
        self._record_dropped()

    def _drop_reserve(self) -> None:
        if self._reserve is not None:
            self._reserve = None
            self._folder.reserve_path.unlink(missing_ok=True)

    def _roll(self, size: int) -> None:
        """Go over to a new segment, with a cut at the end of the old one."""
        with contextlib.nullcontext() if self._segment is None else self._segment.open_spare():
            self._begin(*self._allocate_next(size))

    def _allocate_next(self, size: int) -> tuple[int, mmap.mmap]:
        usual = SEGMENT_BYTES if self._number else FIRST_SEGMENT_BYTES
        needed = SEGMENT_HEAD.size + size + SPARE_BYTES + CUT_BYTES + HEADER.size
        try:
            return self._allocate_free(whole_pages(max(usual, needed)))
        except OSError:
            return self._allocate_free(whole_pages(max(SCARCE_SEGMENT_BYTES, needed)))

    def _begin(self, number: int, memory: mmap.mmap) -> None:
        memory[: SEGMENT_HEAD.size] = SEGMENT_HEAD.pack(SEGMENT_MAGIC, number)
        segment = _Mapped(memory)
        appenders = (
            _point_appender(segment, self._lock, self._point_anew),
            _row_appender(segment, self._lock, self._row_anew),
        )
        self._go_over(number, segment, appenders)

    def _allocate_free(self, size: int) -> tuple[int, mmap.mmap]:
        number = self._number + 1
        while True:
            try:
                return number, self._allocate(self._folder.segment_path(number), size)
            except FileExistsError:
                # Made by the call that this one interrupts as a signal handler, or the reverse.
                number += 1

    def _go_over(
        self, number: int, segment: _Mapped | None, appenders: tuple[PointAppender, RowAppender]
    ) -> None:
        """Have everything that comes go to another segment, then end the one before with a cut.

        Critical: in this order, and nothing is called while it is switched. A signal handler that
        logs finds either the old segment, not ended yet, or the new one.
        """
        old_number, old = self._number, self._segment
        if number < old_number:
            return  # a handler that logged meanwhile has gone over to a later one; ours stays empty
        self._number, self._segment = number, segment
        self.append_point, self.append_row = appenders
        if old is None:
            return
        cut = pack_cut(now_us()) if old.position[0] > self._cut_offset(old_number) else b""
        self._sealed_at = old.seal(cut)
        self._last_cut = max(self._last_cut, Place(old_number, self._sealed_at))

    def _record_dropped(self) -> None:
        """Note dropped calls that are not told yet in the run itself, so that its readers know."""
        count = self.dropped_calls
        if self._dropped_recorded == count:
            return
        record, segment = _dropped_record(count - self._dropped_recorded), self._segment
        has_room = segment is not None and segment.room >= len(record)
        if (has_room or self._roll_if_room(len(record))) and self._segment is not None:
            self._segment.append(record)
            self._dropped_recorded = count


def _dropped_record(count: int) -> bytes:
    """Return the record that tells of so many more dropped calls."""
    told = TIME.pack(now_us()) + body_json(TagsSet({DROPPED_TAG: str(count)}))
    return pack_tail(EVENT, shape_of("tags_set"), told)
