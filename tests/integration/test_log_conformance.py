"""What every log promises: in memory, embedded, on Apache Kafka, and with its records archived."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.log_stores import (
    BYTES_MAX,
    PARTITIONS,
    WAIT_S,
    ArchivedStore,
    EmbeddedStore,
    KafkaStore,
    LogStore,
    MemoryStore,
    append_all,
    at,
    event_record,
    partition_of_run,
    read_records,
    read_values,
    reading,
    run_key,
)
from trialog_schemas.errors import LimitExceededError
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, Position
from trialog_server.log.base import NewRecord, OffsetMissing, Partition, topic_partitions
from trialog_server.postgres.pool import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.services.kafka import Broker
    from trialog_server.log.base import Log

PARTITION = partition_of_run()


@pytest.fixture(
    params=[
        "memory",
        "archived",
        pytest.param("embedded", marks=pytest.mark.postgres),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
async def store(request: pytest.FixtureRequest) -> LogStore:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "archived":
        return ArchivedStore()
    if request.param == "embedded":
        url: str = request.getfixturevalue("postgres_url")
        return EmbeddedStore(url)
    broker: Broker = request.getfixturevalue("kafka_broker")
    return KafkaStore(broker.bootstrap)


@pytest.fixture
async def log(store: LogStore) -> AsyncIterator[Log]:
    """A log object over the store."""
    async with store.open() as opened:
        yield opened


async def test_append_to_empty_log_gives_offsets_from_zero_without_holes(log: Log) -> None:
    """Offsets of a partition are dense and begin with 0."""
    positions = [*await append_all(log, [b"a", b"b"]), *await append_all(log, [b"c"])]
    assert positions == [at(PARTITION, 0), at(PARTITION, 1), at(PARTITION, 2)]


async def test_append_of_several_partitions_gives_positions_in_the_order_given(log: Log) -> None:
    """Each position belongs to the record at its place in the call."""
    records = [event_record(f"{run}:{turn}".encode(), run) for turn in range(3) for run in range(9)]
    records.append(NewRecord(CATALOG_TOPIC, "default", b"catalog"))
    positions = await log.append(records)
    for record, position in zip(records, positions, strict=True):
        partition = Partition(position.topic, position.partition)
        (stored,) = await log.read_at(partition, [position.offset])
        assert (stored.key, stored.value) == (record.key, record.value)


async def test_append_of_nothing_gives_no_positions(log: Log) -> None:
    """An empty append is no error and stores nothing."""
    assert await log.append([]) == []
    assert (await log.bounds([PARTITION]))[PARTITION] == (0, 0)


async def test_append_by_many_tasks_keeps_each_tasks_order(log: Log) -> None:
    """What one caller appends one after the other is read in that order; nothing is lost."""

    async def append_in_order(task: int) -> None:
        for number in range(10):
            await append_all(log, [f"{task}:{number}".encode()])

    await asyncio.gather(*(append_in_order(task) for task in range(8)))
    async with reading(log, {PARTITION: 0}) as reader:
        records = await read_records(reader, 80)
    assert [record.offset for record in records] == list(range(80))
    for task in range(8):
        own = [record.value for record in records if record.value.startswith(f"{task}:".encode())]
        assert own == [f"{task}:{number}".encode() for number in range(10)]


# K5
async def test_ends_at_a_time_are_behind_the_records_taken_up_to_then(log: Log) -> None:
    """The record of that time is within, the one a millisecond later is not; empty stays empty."""
    empty = Partition(CATALOG_TOPIC, 0)
    for number in range(5):
        await append_all(log, [f"{number}".encode()])
        await asyncio.sleep(0.003)
    records = await log.read_at(PARTITION, range(5))
    for record in records:
        ends = await log.ends_at([PARTITION, empty], record.at_us)
        assert ends == {PARTITION: record.offset + 1, empty: 0}
        assert (await log.ends_at([PARTITION], record.at_us - 1))[PARTITION] == record.offset
    assert await log.ends_at([PARTITION], records[0].at_us - 3_600_000_000) == {PARTITION: 0}
    assert await log.ends_at([PARTITION], records[-1].at_us + 3_600_000_000) == {PARTITION: 5}


@pytest.mark.postgres
async def test_embedded_log_keeps_its_time_when_the_clock_was_set_back(postgres_url: str) -> None:
    """A log that is opened again goes on at the time of its newest record, not before it."""
    store, ahead_us = EmbeddedStore(postgres_url), time.time_ns() // 1000 + 3_600_000_000
    async with store.open() as log:
        await append_all(log, [b"before"])
    async with await open_pool(postgres_url) as pool:
        await pool.execute("UPDATE trialog.log_records SET at_us = $1", ahead_us)
    async with store.open() as log:
        await append_all(log, [b"after"])
        (record,) = await log.read_at(PARTITION, [1])
    assert record.at_us == ahead_us


@pytest.mark.postgres
async def test_embedded_log_follows_its_end_into_an_older_copy(postgres_url: str) -> None:
    """Postgres is put back to a backup under a service that goes on; its log gets no hole."""
    async with EmbeddedStore(postgres_url).open() as log, await open_pool(postgres_url) as pool:
        await append_all(log, [b"kept", b"lost", b"lost"])
        await pool.execute("DELETE FROM trialog.log_records WHERE log_offset > 0")
        await pool.fetch(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert [one.offset for one in await append_all(log, [b"after"])] == [1]


async def test_append_by_two_log_objects_gives_no_offset_twice(store: LogStore, log: Log) -> None:
    """A second appending process by mistake cannot break the order of offsets."""
    async with store.open() as other:
        answers = await asyncio.gather(
            *(append_all(writer, [b"x"]) for _ in range(10) for writer in (log, other))
        )
    offsets = sorted(position.offset for positions in answers for position in positions)
    assert offsets == list(range(20))


async def test_append_of_largest_record_is_read_back_whole(log: Log) -> None:
    """Records of RECORD_BYTES_MAX incompressible bytes pass, several in a row."""
    values = [os.urandom(RECORD_BYTES_MAX) for _ in range(3)]
    await append_all(log, values)
    async with reading(log, {PARTITION: 0}) as reader:
        assert await read_values(reader, 3) == values


async def test_append_of_too_large_record_is_refused_and_stores_nothing(log: Log) -> None:
    """One byte more than a record may have refuses the whole append, the good record too."""
    with pytest.raises(LimitExceededError, match="1048577 bytes"):
        await append_all(log, [b"good", bytes(RECORD_BYTES_MAX + 1)])
    assert (await log.bounds([PARTITION]))[PARTITION] == (0, 0)


async def test_append_cancelled_by_its_caller_does_not_disturb_others(log: Log) -> None:
    """A caller that goes away leaves dense offsets and the others' records behind."""
    calls = [asyncio.create_task(append_all(log, [str(number).encode()])) for number in range(9)]
    await asyncio.sleep(0)
    calls[4].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, BaseException) for answer in answers) <= 1
    _, end = (await log.bounds([PARTITION]))[PARTITION]
    async with reading(log, {PARTITION: 0}) as reader:
        records = await read_records(reader, end)
    assert {str(number).encode() for number in range(9) if number != 4} <= {
        record.value for record in records
    }


async def test_record_read_back_has_key_value_and_time_of_append(log: Log) -> None:
    """A record carries what was appended and when the log took it, by the log's clock."""
    before_us = time.time_ns() // 1000
    await log.append([event_record(b"\x00\xff", run=7)])
    after_us = time.time_ns() // 1000
    (record,) = await log.read_at(partition_of_run(7), [0])
    assert (record.partition, record.offset) == (partition_of_run(7), 0)
    assert (record.key, record.value) == (run_key(7), b"\x00\xff")
    assert before_us - 1000 <= record.at_us <= after_us  # Kafka counts in milliseconds


async def test_reader_assigned_to_an_offset_starts_there(log: Log) -> None:
    """Reading begins with the offset given, be it the first, one within or the end."""
    await append_all(log, [b"0", b"1", b"2", b"3"])
    for start in range(4):
        async with reading(log, {PARTITION: start}) as reader:
            values = await read_values(reader, 4 - start)
        assert values == [b"0", b"1", b"2", b"3"][start:]


async def test_reader_of_many_partitions_gives_each_in_its_order(log: Log) -> None:
    """One fetch may hold several partitions; inside each the offsets ascend by one."""
    await log.append([event_record(str(number).encode(), number % 16) for number in range(200)])
    async with reading(log, dict.fromkeys(topic_partitions(log), 0)) as reader:
        records = await read_records(reader, 200)
    for number in range(PARTITIONS):
        own = [record.offset for record in records if record.partition.number == number]
        assert own == list(range(len(own)))


async def test_two_readers_read_independently(log: Log) -> None:
    """Each reader has its own place; reading takes nothing away from the other."""
    await append_all(log, [b"0", b"1", b"2"])
    async with reading(log, {PARTITION: 0}) as one, reading(log, {PARTITION: 2}) as other:
        assert await read_values(other, 1) == [b"2"]
        assert await read_values(one, 3) == [b"0", b"1", b"2"]


async def test_reader_assigned_anew_forgets_where_it_was(log: Log) -> None:
    """A new assignment replaces the old one, also back to what was read before."""
    await append_all(log, [b"0", b"1", b"2"])
    async with reading(log, {PARTITION: 0}) as reader:
        await read_values(reader, 3)
        reader.assign({PARTITION: 1})
        assert await read_values(reader, 2) == [b"1", b"2"]


async def test_fetch_without_assignment_waits_and_gives_nothing(log: Log) -> None:
    """A worker without a lease may fetch; it gets nothing and does not spin."""
    async with reading(log, {}) as reader:
        started_s = time.monotonic()
        assert await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.1) == {}
    assert time.monotonic() - started_s >= 0.09


async def test_fetch_at_the_end_waits_and_gives_nothing(log: Log) -> None:
    """Without new records a fetch returns an empty mapping when its time is over, not before."""
    await append_all(log, [b"0"])
    async with reading(log, {PARTITION: 1}) as reader:
        await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.1)  # connects
        started_s = time.monotonic()
        assert await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.3) == {}
        assert 0.29 <= time.monotonic() - started_s < 2.0


async def test_fetch_wakes_early_when_another_log_object_appends(store: LogStore, log: Log) -> None:
    """A waiting reader is woken by an append of another process, long before its time is over."""
    async with store.open() as other, reading(log, {PARTITION: 0}) as reader:
        await reader.fetch(bytes_max=BYTES_MAX, wait_s=0.3)  # connects
        waiting = asyncio.create_task(reader.fetch(bytes_max=BYTES_MAX, wait_s=WAIT_S))
        await asyncio.sleep(0.05)
        started_s = time.monotonic()
        await append_all(other, [b"new"])
        found = await waiting
        waited_s = time.monotonic() - started_s
    assert [record.value for record in found[PARTITION]] == [b"new"]
    assert waited_s < 0.9  # less than the embedded log's polling interval: it was woken


async def test_fetch_gives_about_the_bytes_asked_for_and_loses_none(log: Log) -> None:
    """A small bound gives several fetches, each near it and none empty; together all records."""
    values = [bytes([number]) * 10_000 for number in range(30)]
    await append_all(log, values)
    read: list[bytes] = []
    async with reading(log, {PARTITION: 0}) as reader:
        while len(read) < len(values):
            found = await reader.fetch(bytes_max=50_000, wait_s=WAIT_S)
            batch = [record.value for record in found[PARTITION]]
            assert 1 <= len(batch) <= 5
            read += batch
    assert read == values


async def test_fetch_with_a_bound_below_one_record_gives_one_record(log: Log) -> None:
    """A record larger than the bound is given alone: a reader never stands still before it."""
    await append_all(log, [bytes(1000), bytes(1000)])
    async with reading(log, {PARTITION: 0}) as reader:
        found = await reader.fetch(bytes_max=10, wait_s=WAIT_S)
    assert len(found[PARTITION]) == 1


async def test_fetch_cancelled_loses_no_record(log: Log) -> None:
    """A worker that is stopped in a fetch finds everything when it goes on."""
    async with reading(log, {PARTITION: 0}) as reader:
        for number in range(10):
            waiting = asyncio.create_task(reader.fetch(bytes_max=BYTES_MAX, wait_s=WAIT_S))
            await asyncio.sleep(0.01 * (number % 3))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await append_all(log, [b"0", b"1"])
        assert await read_values(reader, 2) == [b"0", b"1"]


async def test_fetch_beyond_the_end_raises_offset_missing(log: Log) -> None:
    """A position beyond the end means that the log lost records: it is said, never jumped."""
    await append_all(log, [b"0", b"1"])
    async with reading(log, {PARTITION: 5}) as reader:
        with pytest.raises(OffsetMissing) as caught:
            await reader.fetch(bytes_max=BYTES_MAX, wait_s=WAIT_S)
    error = caught.value
    assert (error.partition, error.offset, error.start, error.end) == (PARTITION, 5, 0, 2)


NOT_ARCHIVED = pytest.mark.parametrize(
    "store",
    [
        "memory",
        pytest.param("embedded", marks=pytest.mark.postgres),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ],
    indirect=True,
)
"""For records that are gone: an archive has them."""


@NOT_ARCHIVED
async def test_fetch_of_a_dropped_record_raises_offset_missing(log: Log) -> None:
    """Records that are gone stop the reader with the bounds of what is left."""
    await append_all(log, [b"0", b"1", b"2", b"3"])
    await log.drop_before({PARTITION: 3})
    assert (await log.bounds([PARTITION]))[PARTITION] == (3, 4)
    async with reading(log, {PARTITION: 1}) as reader:
        with pytest.raises(OffsetMissing) as caught:
            await reader.fetch(bytes_max=BYTES_MAX, wait_s=WAIT_S)
    assert (caught.value.offset, caught.value.start, caught.value.end) == (1, 3, 4)


async def test_log_that_was_dropped_whole_goes_on_at_its_end(store: LogStore, log: Log) -> None:
    """Offsets are never given twice, also by whoever opens the log later; others keep theirs."""
    await append_all(log, [b"0", b"1", b"2"])
    await log.append([NewRecord(CATALOG_TOPIC, "default", b"catalog")])
    await log.drop_before({PARTITION: 3})
    await log.drop_before({PARTITION: 1})
    async with store.open() as other:
        assert await append_all(other, [b"3"]) == [at(PARTITION, 3)]
        assert (await other.bounds([PARTITION]))[PARTITION][1] == 4
        async with reading(other, {PARTITION: 3}) as reader:
            assert await read_values(reader, 1) == [b"3"]
        (kept,) = await other.read_at(Partition(CATALOG_TOPIC, 0), [0])
    assert kept.value == b"catalog"


async def test_fetch_after_offset_missing_reads_from_a_new_assignment(log: Log) -> None:
    """Only the partition that lost data stands still: the reader itself goes on."""
    await append_all(log, [b"0", b"1"])
    async with reading(log, {PARTITION: 5}) as reader:
        with pytest.raises(OffsetMissing):
            await reader.fetch(bytes_max=BYTES_MAX, wait_s=WAIT_S)
        reader.assign({PARTITION: 1})
        assert await read_values(reader, 1) == [b"1"]


async def test_bounds_of_empty_partition_are_zero(log: Log) -> None:
    """An empty partition starts and ends at 0."""
    for partition in topic_partitions(log):
        assert (await log.bounds([partition]))[partition] == (0, 0)


async def test_bounds_end_where_the_next_record_goes(log: Log) -> None:
    """The end is the offset that the next append gets."""
    await append_all(log, [b"0", b"1", b"2"])
    _, end = (await log.bounds([PARTITION]))[PARTITION]
    assert await append_all(log, [b"3"]) == [at(PARTITION, end)]


async def test_read_at_gives_the_records_asked_for_in_order(log: Log) -> None:
    """Offsets may be given in any order and more than once."""
    await append_all(log, [str(number).encode() for number in range(60)])
    records = await log.read_at(PARTITION, [55, 2, 3, 55, 0])
    assert [record.offset for record in records] == [0, 2, 3, 55]
    assert [record.value for record in records] == [b"0", b"2", b"3", b"55"]


@pytest.mark.parametrize("offset", [2, 1000, -1])
async def test_read_at_missing_offset_raises_offset_missing(log: Log, offset: int) -> None:
    """An offset that is not there is named, with what is."""
    await append_all(log, [b"0", b"1"])
    with pytest.raises(OffsetMissing) as caught:
        await log.read_at(PARTITION, [0, offset])
    assert (caught.value.offset, caught.value.end) == (offset, 2)


async def test_partition_count_is_kept_from_the_first_opening(store: LogStore, log: Log) -> None:
    """The catalog has one partition; the events have those of the first opening, seen by all."""
    async with store.open() as other:
        for opened in (log, other):
            assert opened.partition_count(CATALOG_TOPIC) == 1
            assert opened.partition_count(EVENTS_TOPIC) == PARTITIONS


async def test_records_are_there_for_a_log_opened_later(store: LogStore) -> None:
    """What was appended outlives the log object that appended it."""
    async with store.open() as log:
        positions = await append_all(log, [b"0", b"1"])
    async with store.open() as log, reading(log, {PARTITION: 0}) as reader:
        assert await read_values(reader, 2) == [b"0", b"1"]
        assert await append_all(log, [b"2"]) == [Position(*PARTITION, positions[-1].offset + 1)]
