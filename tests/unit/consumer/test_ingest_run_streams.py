"""The service's own streams: no hole, no fork, nothing twice, whatever the log does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.unit.consumer.doubtful_log import DoubtfulLog
from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import UnavailableError
from trialog_schemas.events import Event, ExperimentDeleted, Rejection, TagsSet
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, first_hash
from trialog_server.ingest.run_streams import RunStreams
from trialog_server.log.base import Partition
from trialog_server.log.memory import MemoryLog

if TYPE_CHECKING:
    from trialog_schemas.events import RunBody
    from trialog_schemas.wire import RecordHeader

RUN, OTHER = "ab" * 16, "cd" * 16
AT_US = 1_700_000_000_000_000
USER = "mlflow@host"


def tags(value: object) -> list[tuple[int, RunBody]]:
    """Return an event to tell."""
    return [(AT_US, TagsSet({"k": str(value)}))]


def stored(log: MemoryLog) -> list[tuple[RecordHeader, list[Event]]]:
    """Return the records of all runs, in order."""
    records = [
        record for number in range(4) for record in log.stored(Partition(EVENTS_TOPIC, number))
    ]
    found = []
    for record in records:
        header, events = unpack_record(record.value)
        found.append((header, [event for event in events if isinstance(event, Event)]))
    return found


def check_whole(log: MemoryLog) -> None:
    """Check that every writer's events are 1, 2, 3 … in one chain; a re-send repeats them."""
    ends: dict[str, tuple[int, bytes]] = {}
    seen: dict[tuple[str, int], bytes] = {}
    for header, events in stored(log):
        start = first_hash(header.account, header.user, header.run_id, header.writer_id)
        last, chain = ends.get(header.writer_id, (0, start))
        if header.first_seq <= last:
            assert all(seen[one.writer_id, one.seq] == one.digest for one in events)
            continue
        assert (header.first_seq, header.prev_hash) == (last + 1, chain)
        seen.update({(one.writer_id, one.seq): one.digest for one in events})
        ends[header.writer_id] = (events[-1].seq, events[-1].digest)


async def test_events_of_a_run_are_one_stream_of_one_writer() -> None:
    """Seqs go on without a hole, from record to record; another run has its own."""
    log = MemoryLog()
    streams = RunStreams(log, USER)
    first = await streams.append("default", RUN, [*tags(1), *tags(2)])
    second = await streams.append("default", RUN, tags(3))
    other = await streams.append("default", OTHER, tags(4))
    assert (first.seqs, second.seqs, other.seqs) == ((1, 2), (3, 3), (1, 1))
    assert first.writer_id == second.writer_id != other.writer_id
    check_whole(log)


async def test_appends_at_once_to_one_run_come_one_after_the_other() -> None:
    """However many requests write to a run, its writer does not fork."""
    log = DoubtfulLog()
    streams = RunStreams(log, USER)
    await asyncio.gather(*(streams.append("default", RUN, tags(one)) for one in range(50)))
    assert [header.first_seq for header, _ in stored(log)] == list(range(1, 51))
    check_whole(log)


@pytest.mark.parametrize("loss", ["lost_records", "lost_answers"])
async def test_writer_in_doubt_is_never_used_again(loss: str) -> None:
    """Whether the log took the last record or not, what comes next makes no hole."""
    log = DoubtfulLog()
    streams = RunStreams(log, USER)
    before = await streams.append("default", RUN, tags(1))
    setattr(log, loss, 1)
    with pytest.raises(UnavailableError):
        await streams.append("default", RUN, tags(2))
    after = await streams.append("default", RUN, tags(3))
    assert (after.writer_id == before.writer_id, after.seqs) == (False, (1, 1))
    check_whole(log)


async def test_request_that_is_called_off_leaves_no_doubt_behind() -> None:
    """A cancelled append may be stored all the same; its writer is given up."""
    log = DoubtfulLog()
    log.gate = asyncio.Event()
    streams = RunStreams(log, USER)
    appending = asyncio.create_task(streams.append("default", RUN, tags(1)))
    await log.is_at_gate.wait()
    appending.cancel()
    await asyncio.wait({appending})
    log.gate.set()
    assert (await streams.append("default", RUN, tags(2))).seqs == (1, 1)
    assert len({header.writer_id for header, _ in stored(log)}) == 1
    check_whole(log)


@pytest.mark.parametrize("loss", ["lost_records", "lost_answers"])
async def test_request_that_comes_again_is_the_same_event(loss: str) -> None:
    """The same bytes under the same writer and seq: the projection has it once."""
    log = DoubtfulLog()
    streams = RunStreams(log, USER)
    setattr(log, loss, 1)
    with pytest.raises(UnavailableError):
        await streams.append("default", RUN, tags(1), b"asked")
    await streams.append("default", RUN, tags(2))
    again = await streams.again(b"asked")
    twin = await streams.append("default", RUN, tags(1), b"asked")
    assert again is not None
    assert (again.writer_id, again.seqs) == (twin.writer_id, twin.seqs)
    told = {(one.writer_id, one.seq, str(one.body)) for _, events in stored(log) for one in events}
    assert len(told) == 2
    check_whole(log)


async def test_request_that_was_never_made_is_none_to_repeat() -> None:
    """Only what was kept is sent again, and what is kept is bounded in bytes."""
    log = MemoryLog()
    streams = RunStreams(log, USER, kept_bytes_max=1000)
    assert await streams.again(b"never") is None
    for number in range(5):
        await streams.append("default", RUN, tags(number), bytes([number]))
    assert await streams.again(bytes([0])) is None
    assert await streams.again(bytes([4])) is not None


async def test_run_that_was_forgotten_gets_a_new_writer() -> None:
    """Memory is bounded; a new writer begins at 1 and nothing is missing."""
    log = MemoryLog()
    streams = RunStreams(log, USER, streams_max=1)
    first = await streams.append("default", RUN, tags(1))
    await streams.append("default", OTHER, tags(1))
    second = await streams.append("default", RUN, tags(2))
    assert (first.seqs, second.seqs) == ((1, 1), (1, 1))
    assert first.writer_id != second.writer_id
    check_whole(log)


async def test_refused_calls_are_bounded() -> None:
    """A client that tries again and again costs an event for each doubling."""
    log = MemoryLog()
    streams = RunStreams(log, USER)
    for _ in range(1000):
        await streams.append_refused("default", RUN, Rejection("param_limit", "no"))
    assert 100 < len(stored(log)) < 110
    check_whole(log)


async def test_command_goes_to_the_catalog_by_a_writer_of_its_own() -> None:
    """A process that dies between two commands leaves no hole."""
    log = MemoryLog()
    streams = RunStreams(log, USER)
    body = ExperimentDeleted("ef" * 16)
    made = [await streams.append_command("default", "ada@lab", AT_US, body) for _ in range(2)]
    headers = [unpack_record(record.value)[0] for record in log.stored(Partition(CATALOG_TOPIC, 0))]
    assert [(one.user, one.account, one.first_seq) for one in headers] == [
        ("ada@lab", "default", 1)
    ] * 2
    assert [one.writer_id for one in headers] == [one.writer_id for one in made]
    assert made[0].writer_id != made[1].writer_id
