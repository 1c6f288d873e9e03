"""A producer that outlives its connections: order, new ones after faults, and what it gives up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    RecordListTooLargeError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from trialog.transports.kafka_producer import (
    BATCH_BYTES_MAX,
    ProducerSettings,
    ReliableProducer,
)
from trialog_schemas.errors import AccessRefusedError, LimitExceededError, UnavailableError
from trialog_schemas.limits import RECORD_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK = ProducerSettings(answer_timeout_s=5.0, give_up_s=10.0, retry_pause_s=0.001)
GIVES_UP = ProducerSettings(answer_timeout_s=0.05, give_up_s=0.1, retry_pause_s=0.01)


@dataclass
class Brokers:
    """Brokers in memory: what each partition has, and the faults of the next sends.

    Args:
        faults: what the next sends raise, without taking anything; None lets one pass.
        lost_answers: so many next sends are taken and fail nevertheless.
        bytes_max: of one batch.
        gate: sends wait for it.
        starts: what the next starts raise.
    """

    faults: list[BaseException | None] = field(default_factory=list)
    lost_answers: int = 0
    bytes_max: int = 10_000_000
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    starts: list[BaseException] = field(default_factory=list)
    partitions: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def connect(self) -> Connection:
        """Make a connection that is not started."""
        self.connections.append(Connection(self))
        return self.connections[-1]

    def values(self, partition: int = 0) -> list[bytes]:
        """Return what a partition of the topic `t` has."""
        return self.partitions.get(("t", partition), [])

    def states(self) -> list[str]:
        """Return what became of each connection."""
        return [one.state for one in self.connections]


class Connection:
    """One connection to the brokers; it is poisoned by its first fault, as aiokafka's is."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self.state = "new"

    async def start(self) -> None:
        """Connect."""
        if self._brokers.starts:
            raise self._brokers.starts.pop(0)
        self.state = "open"

    async def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        await self._brokers.gate.wait()
        if topic != "t":
            raise UnknownTopicOrPartitionError(topic)
        return 4

    async def send(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Append a batch."""
        assert self.state == "open", "a failed connection is used again"
        brokers = self._brokers
        await brokers.gate.wait()
        fault = brokers.faults.pop(0) if brokers.faults else None
        if fault is not None:
            self.state = "poisoned"
            raise fault
        if sum(len(value) for _, value in records) > brokers.bytes_max:
            raise MessageSizeTooLargeError("too large")
        log = brokers.partitions.setdefault((topic, partition), [])
        log += [value for _, value in records]
        brokers.batches.append(len(records))
        if brokers.lost_answers:
            brokers.lost_answers -= 1
            self.state = "poisoned"
            raise RequestTimedOutError
        return len(log) - len(records)

    async def abandon(self) -> None:
        """Close."""
        self.state = "closed"


@pytest.fixture
def brokers() -> Brokers:
    """Brokers that take everything."""
    return Brokers()


def producer_of(brokers: Brokers, settings: ProducerSettings = QUICK) -> ReliableProducer:
    """Return a producer on brokers in memory."""
    return ReliableProducer("brokers:9092", settings, brokers.connect)


def values(count: int, size: int = 1) -> list[bytes]:
    """Return values that differ."""
    return [str(number).zfill(size).encode() for number in range(count)]


async def test_values_get_neighbouring_offsets_in_order(brokers: Brokers) -> None:
    """One batch, one connection."""
    producer = producer_of(brokers)
    assert await producer.send_all("t", 0, "k", values(5)) == [0, 1, 2, 3, 4]
    assert await producer.send_all("t", 0, "k", values(2)) == [5, 6]
    assert brokers.values() == [*values(5), *values(2)]
    assert brokers.batches == [5, 2]
    assert brokers.states() == ["open"]


async def test_no_values_need_no_brokers(brokers: Brokers) -> None:
    """Nothing is sent, and nothing connected."""
    assert await producer_of(brokers).send_all("t", 0, "k", []) == []
    assert brokers.connections == []


async def test_callers_that_wait_for_one_partition_share_a_batch(brokers: Brokers) -> None:
    """While one batch is under way the next one fills; each caller gets its own offsets."""
    producer = producer_of(brokers)
    brokers.gate.clear()
    sends = [
        asyncio.create_task(producer.send_all("t", 0, f"k{number}", [str(number).encode()]))
        for number in range(10)
    ]
    await asyncio.sleep(0)
    brokers.gate.set()
    offsets = await asyncio.gather(*sends)
    assert offsets == [[number] for number in range(10)]
    assert sum(brokers.batches) == 10
    assert len(brokers.batches) <= 2


async def test_batches_have_the_size_that_travels_well(brokers: Brokers) -> None:
    """A larger single value goes alone."""
    producer = producer_of(brokers)
    sizes = [BATCH_BYTES_MAX // 2 - 100] * 4 + [BATCH_BYTES_MAX + 1, 10]
    await producer.send_all("t", 0, "k", [bytes(size) for size in sizes])
    assert brokers.batches == [2, 2, 1, 1]
    assert [len(value) for value in brokers.values()] == sizes


async def test_partitions_do_not_wait_for_each_other(brokers: Brokers) -> None:
    """Each has a lane of its own over one connection."""
    producer = producer_of(brokers)
    sends = [producer.send_all("t", partition, "k", values(3)) for partition in range(4)]
    assert await asyncio.gather(*sends) == [[0, 1, 2]] * 4
    assert brokers.states() == ["open"]


@pytest.mark.parametrize(
    "fault",
    [
        OutOfOrderSequenceNumber(),
        ProducerFenced(),
        RequestTimedOutError(),
        KafkaError("a dead sender task"),
        ConnectionResetError("the broker is gone"),
        AssertionError("the partition is not in the metadata"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_fault_makes_a_new_producer_that_sends_the_batch_again(
    brokers: Brokers, fault: Exception
) -> None:
    """A poisoned producer is never used again, and the caller does not learn of it."""
    brokers.faults = [fault, fault]
    producer = producer_of(brokers)
    assert await producer.send_all("t", 0, "k", values(3)) == [0, 1, 2]
    assert brokers.values() == values(3)
    assert brokers.states() == ["closed", "closed", "open"]


# D12
async def test_lost_answer_has_the_batch_sent_twice_and_in_order(brokers: Brokers) -> None:
    """Twice is harmless, for the projection knows the seqs; out of order would not be."""
    brokers.lost_answers = 1
    producer = producer_of(brokers)
    assert await producer.send_all("t", 0, "k", [b"a", b"b"]) == [2, 3]
    assert await producer.send_all("t", 0, "k", [b"c"]) == [4]
    assert brokers.values() == [b"a", b"b", b"a", b"b", b"c"]


async def test_start_that_fails_is_tried_again(brokers: Brokers) -> None:
    """A broker that is being started is waited for."""
    brokers.starts = [KafkaError("no broker"), OSError("refused")]
    assert await producer_of(brokers).send_all("t", 0, "k", values(1)) == [0]
    assert brokers.states() == ["new", "new", "open"]


# B11
async def test_brokers_that_stay_away_are_given_up_with_address_and_reason(
    brokers: Brokers,
) -> None:
    """The caller keeps what it has; everything behind the batch fails with it, none overtakes."""
    brokers.starts = [OSError("refused")] * 1000
    producer = producer_of(brokers, GIVES_UP)
    sends = [producer.send_all("t", 0, "k", [b"x"]) for _ in range(3)]
    errors = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(error, UnavailableError) for error in errors)
    assert "kafka at brokers:9092 cannot be reached now (OSError: refused" in str(errors[0])
    brokers.starts = []
    assert await producer.send_all("t", 0, "k", [b"later"]) == [0]
    assert brokers.values() == [b"later"]


async def test_brokers_that_do_not_answer_are_given_up_in_time(brokers: Brokers) -> None:
    """Also a connection that stalls without an error."""
    brokers.gate.clear()
    with pytest.raises(UnavailableError, match="TimeoutError"):
        await producer_of(brokers, GIVES_UP).send_all("t", 0, "k", [b"x"])
    assert brokers.values() == []


async def test_value_above_every_limit_is_refused_before_it_is_sent(brokers: Brokers) -> None:
    """The message has size, topic, limit and remedy; nothing connects for it."""
    with pytest.raises(LimitExceededError) as caught:
        await producer_of(brokers).send_all("t", 0, "k", [b"ok", bytes(RECORD_BYTES_MAX + 1)])
    assert caught.value.message == (
        f"a record of {RECORD_BYTES_MAX + 1} bytes cannot be sent to 't', allowed are "
        f"{RECORD_BYTES_MAX}; log less at once"
    )
    assert brokers.connections == []


@pytest.mark.parametrize("kind", [MessageSizeTooLargeError, RecordListTooLargeError])
async def test_value_that_the_topic_does_not_take_names_the_setting(
    brokers: Brokers, kind: type[KafkaError]
) -> None:
    """Sending it again is of no use; what its operator can do is said."""
    brokers.faults = [kind("too large")]
    with pytest.raises(LimitExceededError, match=r"no record of 300 bytes; set its max\.message"):
        await producer_of(brokers).send_all("t", 0, "k", [bytes(300)])


async def test_batch_that_is_too_much_for_the_topic_goes_value_by_value(brokers: Brokers) -> None:
    """Values that fit by themselves are not refused for the company they were sent in."""
    brokers.bytes_max = 100
    producer = producer_of(brokers)
    brokers.gate.clear()
    sends = [
        asyncio.create_task(producer.send_all("t", 0, f"run {size}", [bytes(size)]))
        for size in (60, 70, 300, 80)
    ]
    await asyncio.sleep(0)
    brokers.gate.set()
    answers = await asyncio.gather(*sends, return_exceptions=True)
    assert [answers[0], answers[1], answers[3]] == [[0], [1], [2]]
    assert isinstance(answers[2], LimitExceededError)
    assert [len(value) for value in brokers.values()] == [60, 70, 80]


async def test_topic_that_we_may_not_write_to_is_said_as_such(brokers: Brokers) -> None:
    """A right that is missing is no absence of the log."""
    brokers.faults = [TopicAuthorizationFailedError()]
    producer = producer_of(brokers)
    with pytest.raises(AccessRefusedError, match="does not let us write to 't'; allow it"):
        await producer.send_all("t", 0, "k", [b"x"])
    assert await producer.send_all("t", 0, "k", [b"x"]) == [0]


async def test_partition_count_is_asked_of_the_brokers(brokers: Brokers) -> None:
    """A topic that does not exist is an error to try again: it may be made any moment."""
    producer = producer_of(brokers)
    assert await producer.partition_count("t") == 4
    with pytest.raises(UnavailableError, match="UnknownTopicOrPartitionError"):
        await producer.partition_count("other")


async def test_partition_count_of_silent_brokers_ends_in_time(brokers: Brokers) -> None:
    """It is bounded like every answer."""
    brokers.gate.clear()
    with pytest.raises(UnavailableError, match="cannot be reached now"):
        await producer_of(brokers, GIVES_UP).partition_count("t")


async def test_caller_that_gives_up_takes_its_values_with_it(brokers: Brokers) -> None:
    """What nobody waits for any more and has not left yet is not sent."""
    producer = producer_of(brokers)
    brokers.gate.clear()
    first = asyncio.create_task(producer.send_all("t", 0, "k", [b"first"]))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(producer.send_all("t", 0, "k", [b"second"]))
    await asyncio.sleep(0)
    second.cancel()
    brokers.gate.set()
    assert await first == [0]
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await producer.send_all("t", 0, "k", [b"third"]) == [1]
    assert brokers.values() == [b"first", b"third"]


async def test_close_finishes_what_is_under_way_and_takes_no_more(brokers: Brokers) -> None:
    """A caller that comes late is told so; closing twice is no error."""
    producer = producer_of(brokers)
    brokers.gate.clear()
    sending = asyncio.create_task(producer.send_all("t", 0, "k", values(3)))
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(producer.close())
    await asyncio.sleep(0)
    brokers.gate.set()
    assert await sending == [0, 1, 2]
    await closing
    await producer.close()
    assert brokers.states() == ["closed"]
    with pytest.raises(UnavailableError, match="is closed"):
        await producer.send_all("t", 0, "k", [b"late"])
