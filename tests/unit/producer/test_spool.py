"""Behaviour of a spool: what a returned call means, what a full disk costs, and where it ends."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import bits, events_of, new_folder, points_of
from trialog.segment_file import allocate
from trialog.spool import (
    FIRST_SEGMENT_BYTES,
    RESERVE_BYTES,
    ROOM_CHECK_S,
    ROW_NAMES_MAX,
    SEGMENT_BYTES,
    SPARE_BYTES,
    NoRoomError,
    Place,
    Spool,
)
from trialog.spool_ack import Ack
from trialog.spool_folder import SpoolFolder
from trialog.stream import StreamReader
from trialog_schemas.errors import ValidationError
from trialog_schemas.events import DROPPED_TAG, MetricsLogged, ParametersLogged, RunEnded, TagsSet
from trialog_schemas.limits import RECORD_BYTES_MAX

if TYPE_CHECKING:
    import mmap
    from pathlib import Path

    from trialog_schemas.events import Event

DEADLINE_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    """A writer's folder in a spool of its own."""
    return new_folder(tmp_path / "spool")


def events(folder: SpoolFolder) -> list[Event]:
    """Return everything that an adopter would find."""
    reader = StreamReader(folder, is_checked=True)
    found = events_of(list(reader.records()))
    assert reader.lost == []
    return found


class Disk:
    """An allocator whose disk can be full."""

    def __init__(self) -> None:
        self.is_full = False
        self.asked = 0

    def __call__(self, path: Path, size: int) -> mmap.mmap:
        """Allocate, or fail as a full disk does."""
        self.asked += 1
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return allocate(path, size)


def fill(spool: Spool) -> int:
    """Log points until the spool drops one more; return how many were kept."""
    kept, dropped = 0, spool.dropped_calls
    while spool.dropped_calls == dropped:
        spool.append_point("loss", kept, kept, 0.5)
        kept += 1
    return kept - 1


def test_spool_on_a_full_disk_drops_counts_and_never_raises(folder: SpoolFolder) -> None:
    """Every kind of log call returns when there is no room, and each is counted once."""
    disk = Disk()
    spool = Spool(folder, disk)
    disk.is_full = True
    kept = fill(spool)
    for step in range(9):
        spool.append_point("new", step, 1, 0.5)
        spool.append_row(("a", "b"), step, 1, (1.0, 2.0))
        spool.append_event(ParametersLogged({"lr": step}))
        spool.cut()
    assert spool.dropped_calls == 1 + 3 * 9
    assert len(points_of(events(folder))["loss"]) == kept


def test_spool_with_room_again_goes_on_and_records_what_was_dropped(folder: SpoolFolder) -> None:
    """The count stands in the run itself, as a tag, and later calls are kept."""
    disk, seconds = Disk(), itertools.count(step=ROOM_CHECK_S)
    spool = Spool(folder, disk, lambda: next(seconds))
    disk.is_full = True
    kept = fill(spool)
    spool.append_point("loss", -1, 1, 0.5)
    disk.is_full = False
    spool.append_point("after", 1, 1, 0.25)
    spool.cut()
    found = events(folder)
    tags = [event.body for event in found if isinstance(event.body, TagsSet)]
    assert tags == [TagsSet({DROPPED_TAG: "2"})]
    points = points_of(found)
    assert len(points["loss"]) == kept
    assert points["after"] == [(1, 1, bits(0.25))]


def test_spool_on_a_disk_that_is_full_again_tells_what_it_has_not_told(
    folder: SpoolFolder,
) -> None:
    """Whoever reads the run adds up what its writers tell."""
    disk, seconds = Disk(), itertools.count(step=ROOM_CHECK_S)
    spool = Spool(folder, disk, lambda: next(seconds))
    for calls in (2, 3):
        disk.is_full = True
        fill(spool)
        for step in range(1, calls):
            spool.append_point("loss", -step, 1, 0.5)
        disk.is_full = False
        spool.append_point("after", calls, 1, 0.25)
        spool.cut()
    tags = [event.body for event in events(folder) if isinstance(event.body, TagsSet)]
    assert tags == [TagsSet({DROPPED_TAG: "2"}), TagsSet({DROPPED_TAG: "3"})]
    assert spool.dropped_calls == 2 + 3


def test_spool_asks_a_full_disk_once_in_a_while(folder: SpoolFolder) -> None:
    """A training loop on a full disk does not pay for an attempt in every call."""
    disk = Disk()
    spool = Spool(folder, disk)
    disk.is_full = True
    fill(spool)
    asked = disk.asked
    for step in range(1000):
        spool.append_point("loss", step, 1, 0.5)
    assert disk.asked <= asked + 1


def test_spool_made_on_a_full_disk_has_dropped_nothing_yet(folder: SpoolFolder) -> None:
    """What is counted are log calls, and there was none."""
    disk = Disk()
    disk.is_full = True
    spool = Spool(folder, disk)
    assert spool.dropped_calls == 0
    assert spool.cut() == Place(1, 16)


def test_spool_blob_without_room_is_counted_and_leaves_nothing_half_written(
    folder: SpoolFolder,
) -> None:
    """An artifact that does not fit is dropped as a whole."""
    spool = Spool(folder)
    (folder.path / "blobs").write_bytes(b"a file where the folder should be")
    with pytest.raises(NoRoomError):
        spool.store_blob("aa" * 32, b"content")
    assert spool.dropped_calls == 1
    assert spool.room_fault == "File exists"


@pytest.mark.parametrize(("file_bytes_max", "has_room"), [(1_048_576, True), (20_000, False)])
def test_spool_beyond_the_size_a_process_may_write_goes_on_as_well_as_it_can(
    tmp_path: Path, file_bytes_max: int, *, has_room: bool
) -> None:
    """A real limit of the system: smaller segments, or none but what was kept for the end."""
    code = f"""
import resource, sys
from pathlib import Path
from tests.unit.producer.spools import new_folder
from trialog.spool import Spool
from trialog_schemas.events import RunEnded
resource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes_max}, {file_bytes_max}))
spool = Spool(new_folder(Path({str(tmp_path)!r})))
for step in range(20_000):
    spool.append_point("loss", step, step, 0.5)
spool.append_event(RunEnded("Completed"))
spool.close()
print(spool.dropped_calls)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=DEADLINE_S
    )
    dropped = int(done.stdout)
    assert dropped == (0 if has_room else 20_000)
    (path,) = tmp_path.iterdir()
    adopted = SpoolFolder.adopt(path)
    assert adopted is not None
    found = events(adopted)
    assert len(points_of(found).get("loss", [])) == 20_000 - dropped
    tags = [] if has_room else [TagsSet({DROPPED_TAG: "20000"})]
    assert [e.body for e in found if not isinstance(e.body, MetricsLogged)] == [
        *tags,
        RunEnded("Completed"),
    ]


def test_spool_that_is_full_until_its_end_keeps_the_end_and_the_count(folder: SpoolFolder) -> None:
    """Who looks at the run sees that it ended, and how many calls a full disk has cost it."""
    disk = Disk()
    spool = Spool(folder, disk)
    disk.is_full = True
    kept = fill(spool)
    spool.append_event(ParametersLogged({"large": "x" * 1000}))
    spool.append_event(RunEnded("Failed", "\x01" * 1024))
    spool.close()
    found = events(folder)
    assert [event.body for event in found[-2:]] == [
        TagsSet({DROPPED_TAG: "2"}),
        RunEnded("Failed", "\x01" * 1024),
    ]
    assert len(points_of(found)["loss"]) == kept
    assert not folder.reserve_path.exists()


@pytest.mark.parametrize("tail_bytes", range(0, 400, 40))
def test_spool_tells_what_was_dropped_also_where_only_the_end_still_fits(
    folder: SpoolFolder, tail_bytes: int
) -> None:
    """However little a large dropped call has left of the segment, the count comes with the end."""
    disk = Disk()
    spool = Spool(folder, disk)
    disk.is_full = True
    room = FIRST_SEGMENT_BYTES - spool.end.offset - SPARE_BYTES - tail_bytes
    spool.append_event(ParametersLogged({"large": "x" * (room - 200)}))
    spool.append_event(ParametersLogged({"dropped": "x" * 1000}))
    spool.append_event(RunEnded("Completed"))
    spool.close()
    assert [event.body for event in events(folder)][-2:] == [
        TagsSet({DROPPED_TAG: "1"}),
        RunEnded("Completed"),
    ]


def test_spool_that_was_never_full_gives_its_reserve_back(folder: SpoolFolder) -> None:
    """The room that was kept is the disk's again when the run has ended."""
    spool = Spool(folder)
    assert folder.reserve_path.stat().st_size == RESERVE_BYTES
    spool.append_event(RunEnded("Completed"))
    spool.close()
    assert not folder.reserve_path.exists()
    assert [event.body for event in events(folder)] == [RunEnded("Completed")]


def test_ack_is_written_into_room_that_its_folder_had_from_the_start(folder: SpoolFolder) -> None:
    """To send what fills a disk, and so to free it, no room is needed."""
    before = (folder.path / "ack").stat()
    assert folder.read_ack() is None
    for number in (1, 2, 3):
        folder.write_ack(Ack(number, 16, 1, bytes(32)))
        assert folder.read_ack() == Ack(number, 16, 1, bytes(32))
    after = (folder.path / "ack").stat()
    assert (after.st_ino, after.st_blocks) == (before.st_ino, before.st_blocks)


def test_spool_row_of_many_names_is_kept_in_parts_all_of_them(folder: SpoolFolder) -> None:
    """A call with 3,000 metrics comes out whole, in records the log takes."""
    spool = Spool(folder)
    names = tuple(f"{'é' * 200}{number}" for number in range(3000))
    for step in range(3):
        spool.append_row(names, step, step, [float(number) for number in range(3000)])
    spool.cut()
    records = list(StreamReader(folder, is_checked=True).records())
    points = points_of(events_of(records))
    assert len(points) == 3000
    assert points[names[2999]] == [(step, step, bits(2999.0)) for step in range(3)]
    assert max(len(record.value) for record in records) <= RECORD_BYTES_MAX


def test_spool_row_of_many_names_with_a_wrong_one_keeps_none(folder: SpoolFolder) -> None:
    """All or nothing also holds where a call is kept in parts."""
    spool = Spool(folder)
    names = (*(f"m{number}" for number in range(ROW_NAMES_MAX)), "")
    with pytest.raises(ValidationError):
        spool.append_row(names, 1, 1, [0.5] * len(names))
    assert events(folder) == []


def test_spool_of_points_with_a_name_each_makes_records_the_log_takes(folder: SpoolFolder) -> None:
    """Names are part of an event: very many long ones must not make it too large."""
    spool = Spool(folder)
    for step in range(3000):
        spool.append_point(f"{os.urandom(120).hex()}{step}", step, step, 0.5)
    spool.cut()
    records = list(StreamReader(folder, is_checked=True).records())
    assert len(points_of(events_of(records))) == 3000
    assert max(len(record.value) for record in records) <= RECORD_BYTES_MAX


def test_spool_that_is_closed_refuses_calls_and_keeps_all_before(folder: SpoolFolder) -> None:
    """A late call of another thread raises: it did not return, so nothing was promised."""
    spool = Spool(folder)
    spool.append_point("loss", 1, 1, 0.5)
    append_point = spool.append_point
    spool.close()
    for late in (append_point, spool.append_point):
        with pytest.raises(RuntimeError, match="not open"):
            late("loss", 2, 2, 0.5)
    with pytest.raises(RuntimeError, match="not open"):
        spool.append_event(ParametersLogged({"lr": 1}))
    assert spool.cut() == spool.end
    assert points_of(events(folder))["loss"] == [(1, 1, bits(0.5))]
    spool.close()


def test_spool_that_is_closed_takes_little_room(folder: SpoolFolder) -> None:
    """What a run did not use is given back: offline runs by the thousand fit a disk."""
    spool = Spool(folder)
    for step in range(9000):
        spool.append_point("loss", step, 1, 0.5)
    spool.close()
    assert folder.segments() == [1, 2]
    used = 9000 * 40
    assert sum(folder.segment_path(number).stat().st_size for number in (1, 2)) < used + 262_144
    assert used < SEGMENT_BYTES


def test_spool_of_a_parent_is_refused_to_its_child(folder: SpoolFolder) -> None:
    """A child made by fork can write nothing into the mapping that it shares."""
    spool = Spool(folder)
    append_point = spool.append_point
    spool.forget_in_child()
    with pytest.raises(RuntimeError, match="before a fork"):
        spool.append_point("loss", 1, 1, 0.5)
    with pytest.raises(RuntimeError, match="before a fork"):
        spool.append_event(ParametersLogged({"lr": 1}))
    assert append_point is not spool.append_point
    assert events(folder) == []


# B17
def test_spool_of_eight_threads_keeps_every_point_once(folder: SpoolFolder) -> None:
    """Threads that log and one that cuts lose and double nothing, over several segments."""
    spool = Spool(folder)
    stop = threading.Event()

    def log_points(first: int) -> None:
        for step in range(first, first + 5000):
            spool.append_point("loss", step, step, float(step))

    def cut_often() -> None:
        while not stop.is_set():
            spool.cut()

    cutter = threading.Thread(target=cut_often)
    threads = [threading.Thread(target=log_points, args=(n * 5000,)) for n in range(8)]
    for thread in (cutter, *threads):
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    stop.set()
    cutter.join(DEADLINE_S)
    steps = sorted(step for step, _, _ in points_of(events(folder))["loss"])
    assert steps == list(range(40_000))


def test_handler_that_logs_while_the_next_segment_is_made_makes_none_itself(
    folder: SpoolFolder,
) -> None:
    """Whenever one is made such a handler comes: what it logs goes into the one before."""
    handled = 0

    def interrupted(path: Path, size: int) -> mmap.mmap:
        nonlocal handled
        if path.suffix == ".spool" and path.stem != "000001":
            spool.append_point("signal", handled, 1, 0.5)
            spool.append_row(("signals", "count"), handled, 1, (1.0, float(handled)))
            handled += 1
            if handled == 2:  # too large for that room: it needs a segment of its own
                spool.append_event(ParametersLogged({"large": "x" * SPARE_BYTES}))
        return allocate(path, size)

    spool = Spool(folder, interrupted)
    for step in range(150_000):
        spool.append_point("loss", step, step, 0.5)
    assert handled == 4  # also when the place of the outer one has been taken by the inner
    found = events(folder)
    points = points_of(found)
    assert [step for step, _, _ in points["loss"]] == list(range(150_000))
    for name in ("signal", "count"):
        assert [step for step, _, _ in points[name]] == [0, 1, 2, 3]
    assert [event for event in found if isinstance(event.body, ParametersLogged)]


def test_spool_keeps_what_a_signal_handler_logs_amid_a_log_call(folder: SpoolFolder) -> None:
    """A handler that logs comes between two calls or within one, and nothing is lost or torn."""
    spool = Spool(folder)
    handled, is_handling = 0, False

    def handler(_number: int, _frame: object) -> None:
        nonlocal handled, is_handling
        if not is_handling:
            is_handling = True
            spool.append_row(("signal", "count"), handled, 1, (1.0, float(handled)))
            handled += 1
            is_handling = False

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
    try:
        for step in range(60_000):
            spool.append_point("loss", step, step, 0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    points = points_of(events(folder))
    assert handled > 0
    assert len(points["loss"]) == 60_000
    assert sorted(step for step, _, _ in points["count"]) == list(range(handled))


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "behind"])
def test_spool_whose_handler_logs_amid_a_new_segment_keeps_the_order(
    folder: SpoolFolder, *, is_before: bool
) -> None:
    """Two segments are begun at once: the later one is used, the other is empty and no damage."""
    handled: list[int] = []

    def interrupted(path: Path, size: int) -> mmap.mmap:
        is_first = path == folder.segment_path(2)
        memory = None if is_first and is_before else allocate(path, size)
        if is_first and not handled:
            handled.append(1)
            spool.append_event(ParametersLogged({"large": "x" * FIRST_SEGMENT_BYTES}))
        return allocate(path, size) if memory is None else memory

    spool = Spool(folder, interrupted)
    spool.append_point("loss", 1, 1, 0.5)
    spool.append_event(ParametersLogged({"large": "y" * FIRST_SEGMENT_BYTES}))
    spool.append_point("loss", 2, 2, 0.25)
    spool.close()
    found = events(folder)
    texts = [e.body.parameters["large"] for e in found if isinstance(e.body, ParametersLogged)]
    assert [str(text)[0] for text in texts] == ["x", "y"]
    assert points_of(found)["loss"] == [(1, 1, bits(0.5)), (2, 2, bits(0.25))]


# K9
def test_spool_of_a_killed_process_has_every_call_that_returned(tmp_path: Path) -> None:
    """Killed at a random moment, a process has in its spool at least what it had said."""
    code = f"""
import sys
from pathlib import Path
from tests.unit.producer.spools import new_folder
from trialog.spool import Spool
spool = Spool(new_folder(Path({str(tmp_path)!r})))
step = 0
while True:
    spool.append_point("loss", step, step, 0.5)
    step += 1
    if step % 500 == 0:
        print(step, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(40)]
        child.kill()
        said += child.stdout.readlines()
    (path,) = tmp_path.iterdir()
    adopted = SpoolFolder.adopt(path)
    assert adopted is not None
    steps = [
        step
        for step, _, _ in points_of(events_of(StreamReader(adopted, is_checked=True).records()))[
            "loss"
        ]
    ]
    assert steps == list(range(len(steps)))
    complete = [int(line) for line in said if line.endswith("\n")]
    assert len(steps) >= max(complete)
