"""Records that nobody should have sent, in partitions of each log: listed, never in the way."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import orjson
import pytest
import urllib3
from aiokafka import AIOKafkaProducer

import trialog
from tests.acceptance.faulty import Faulty
from tests.services.blocking import run_blocking
from tests.services.trialog import wait_until
from trialog.client import Client
from trialog_schemas.events import NIL_ID, ParametersLogged
from trialog_schemas.limits import PAYLOAD_BYTES_MAX, SEQ_MAX, TIME_US_MAX, TIME_US_MIN
from trialog_schemas.wire import (
    CATALOG_TOPIC,
    CODEC_ZSTD,
    EVENTS_TOPIC,
    MAGIC,
    Position,
    RecordHeader,
    encode_event,
    encode_raw_event,
    event_id_for,
    first_hash,
    frame,
    next_hash,
    pack_record,
    partition_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.services.trialog import TrialogService

pytestmark = pytest.mark.timeout(120)

USER = "stranger@host"
PARTITIONS = 4
"""Of the events topic, as `trialog up` makes it."""


@pytest.fixture
def tables(service: TrialogService) -> Faulty:
    """The shared service with its tables; nothing of it is harmed."""
    return Faulty(service, None)


def record_of(run_id: str, events: Sequence[bytes], *, count: int | None = None) -> bytes:
    """Return a record of a new writer around events, legal or not."""
    writer_id = uuid.uuid4().hex
    start = first_hash("default", USER, run_id, writer_id)
    told = len(events) if count is None else count
    return pack_record(
        RecordHeader("default", USER, run_id, writer_id, 1, told, start), list(events)
    )


def raw_event(
    seq: int, kind: str, body: bytes, version: int = 1, *, at_us: int | None = None
) -> bytes:
    """Return an event whose body is JSON already."""
    at_us = time.time_ns() // 1000 if at_us is None else at_us
    event_id = event_id_for(uuid.uuid4().hex, seq, at_us)
    start = f'{{"seq":{seq},"id":"{event_id}","type":"{kind}","v":{version},"at":{at_us},"body":'
    return encode_raw_event(start, body)


def rubbish(run_id: str) -> dict[str, bytes]:
    """Return records of which nothing can be read behind their headers, by the reason listed."""
    squeezed = bytearray(record_of(run_id, [], count=1) + b"rubbish")
    squeezed[len(MAGIC) + 1] = CODEC_ZSTD
    good = raw_event(1, "tags_set", b'{"tags":{"k":"v"}}')
    bomb = PAYLOAD_BYTES_MAX + 1
    return {
        f"payload of {bomb} bytes, allowed are {PAYLOAD_BYTES_MAX}": record_of(
            run_id, [bytes(bomb)]
        ),
        "event head without a time of the years 1 to 9999": record_of(
            run_id, [raw_event(1, "tags_set", b"{}", at_us=TIME_US_MAX + 1)]
        ),
        "payload is cut inside an event's lengths": record_of(run_id, [b"rubbish"]),
        "payload that zstd cannot read": bytes(squeezed),
        "record of 1 events, its header says 2": record_of(run_id, [good], count=2),
        "event with seq 2 out of its order": record_of(run_id, [raw_event(2, "tags_set", b"{}")]),
        "event head that is no JSON": record_of(run_id, [raw_event(1, "tags_set", b"{{")]),
    }


UNREADABLE = {
    "unknown_event run_teleported of version 1": ("run_teleported", b"{}", 1),
    "unknown_event run_resumed of version 9": ("run_resumed", b"{}", 9),
    "invalid_event tags_set nested deeper than 80 levels": (
        "tags_set",
        b'{"tags":{"k":%b}}' % (b"[" * 900 + b"]" * 900),
        1,
    ),
    "invalid_event parameters_logged with a NUL character, which the store cannot hold": (
        "parameters_logged",
        b'{"parameters":{"p":"\\u0000"}}',
        1,
    ),
    "invalid_event run_ended: status: ": ("run_ended", b'{"status":"Exploded"}', 1),
    "invalid_event run_started of rules 4294967296": (
        "run_started",
        b'{"experiment_name":"e","run_name":"r","rules_version":4294967296}',
        1,
    ),
    "invalid_event metrics_logged whose columns are cut": (
        "metrics_logged",
        b'{"blocks":[{"kind":"wide","names":["m"],"rows":9}]}',
        1,
    ),
    "invalid_event run_deleted in the wrong topic": ("run_deleted", b'{"run_id":"x"}', 1),
}
"""Events that this release cannot read, by how the reason begins: type, body and version."""


def beside_unreadable(run_id: str) -> list[bytes]:
    """Return of each unreadable event a record in which a good one stands beside it."""
    records = []
    for number, (kind, body, version) in enumerate(UNREADABLE.values()):
        good = ParametersLogged({f"beside-{number}": number})
        second = encode_event(2, uuid.uuid4().hex, time.time_ns() // 1000, good)
        records.append(record_of(run_id, [raw_event(1, kind, body, version), second]))
    return records


def unreadable_commands() -> dict[str, bytes]:
    """Return records of the catalog that cannot be read, by how the reason begins."""
    ids = b'{"run_id":"xx","experiment_name":"e","run_name":"r","experiment_id":"yy"}'
    return {
        "payload is cut": record_of(NIL_ID, [b"rubbish"]),
        "unknown_event experiment_moved": record_of(
            NIL_ID, [raw_event(1, "experiment_moved", b"{}")]
        ),
        "invalid_event run_created with an id": record_of(
            NIL_ID, [raw_event(1, "run_created", ids)]
        ),
        "invalid_event tags_set in the wrong": record_of(NIL_ID, [raw_event(1, "tags_set", b"{}")]),
    }


def post(session: trialog.Session, records: Sequence[bytes]) -> list[Position]:
    """Send records through the gateway, which looks at headers alone; return where they are."""
    answer = urllib3.request(
        "POST",
        f"{session.url}/api/v1/records",
        body=frame(records),
        headers={"Content-Type": "application/x-trialog-records"},
    )
    assert answer.status == 200, answer.data
    return [Position.parse(one["position"]) for one in orjson.loads(answer.data)["receipts"]]


def counted_from(seq: int, run_id: str) -> bytes:
    """Return a record whose writer begins to count at a number that is none."""
    start = first_hash("default", USER, run_id, run_id)
    event = raw_event(seq, "tags_set", b'{"tags":{"k":"v"}}')
    return pack_record(RecordHeader("default", USER, run_id, run_id, seq, 1, start), [event])


def foreign(run_id: str) -> list[tuple[str, int, bytes | None, str]]:
    """Return what only Kafka can be sent: topic, partition, value, and the reason listed."""
    home = partition_of(run_id, PARTITIONS)
    away = (home + 1) % PARTITIONS
    good = raw_event(1, "tags_set", b'{"tags":{"k":"v"}}')
    command = raw_event(1, "run_deleted", b'{"run_id":"%b"}' % run_id.encode())
    return [
        (EVENTS_TOPIC, home, None, "record of 0 bytes is too short"),
        (EVENTS_TOPIC, home, b"x" * 99, "bytes that do not start with TLOG"),
        (EVENTS_TOPIC, home, b"TLOG\x63" + bytes(9), "record of version 99, known is 1"),
        (EVENTS_TOPIC, home, counted_from(0, run_id), "record header with a seq or count that is"),
        (EVENTS_TOPIC, home, counted_from(-5, run_id), "record header with a seq or count that is"),
        (EVENTS_TOPIC, home, b"TLOG" + bytes(1_000_000), "record of version 0, known is 1"),
        (EVENTS_TOPIC, away, record_of(run_id, [good]), f"record of partition {home}"),
        (EVENTS_TOPIC, home, record_of(NIL_ID, [command]), f"record of topic {CATALOG_TOPIC}"),
        (CATALOG_TOPIC, 0, record_of(run_id, [good]), f"record of topic {EVENTS_TOPIC}"),
        (CATALOG_TOPIC, 0, b"", "record of 0 bytes is too short"),
    ]


def produce(bootstrap: str, run_id: str) -> list[tuple[Position, str]]:
    """Write foreign records straight to the partitions; return where they are, and the reasons."""

    async def send() -> list[tuple[Position, str]]:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        try:
            return [
                (
                    Position(
                        topic,
                        partition,
                        (await producer.send_and_wait(topic, value, b"\xff", partition)).offset,
                    ),
                    reason,
                )
                for topic, partition, value, reason in foreign(run_id)
            ]
        finally:
            await producer.stop()

    return run_blocking(send())


def neighbour_of(run_id: str) -> str:
    """Return the id of another run in the same partition."""
    while True:
        other = uuid.uuid4().hex
        if partition_of(other, PARTITIONS) == partition_of(run_id, PARTITIONS):
            return other


def send_poison(
    service: TrialogService, session: trialog.Session, run_id: str
) -> list[tuple[Position, str]]:
    """Send everything, into the partition of a run and into the catalog; return what is listed."""
    by_reason = rubbish(neighbour_of(run_id)) | unreadable_commands()
    sent = list(zip(post(session, list(by_reason.values())), by_reason, strict=True))
    beside = post(session, beside_unreadable(run_id))
    sent += zip(beside, UNREADABLE, strict=True)
    if service.kafka is not None:
        sent += produce(service.kafka, run_id)
    return sent


def passed(tables: Faulty, positions: Sequence[Position]) -> bool:
    """Tell whether every partition is beyond these positions."""
    ends = {(lease.topic, lease.partition): lease.next_offset for lease in tables.leases()}
    return all(ends[one.topic, one.partition] > one.offset for one in positions)


# K8
def test_records_that_nobody_can_read_are_listed_and_block_nothing(
    tables: Faulty, session: trialog.Session, experiment_name: str
) -> None:
    """The run in their partition goes on, good events beside them count, the catalog takes more."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("before", 1)
        run.wait(30)
        sent = send_poison(tables.service, session, run.run_id)
        run.log_parameter("after", 2)
        run.log_metric("loss", 0.5)
    run.wait(30)
    wait_until(lambda: passed(tables, [place for place, _ in sent]), "every partition goes on")
    trialog.Experiment.create(f"{experiment_name}-after", session=session)

    assert run.status == "Completed"
    beside = {f"beside-{number}": number for number in range(len(UNREADABLE))}
    assert run.parameters == {"before": 1, "after": 2, **beside}
    assert run.metric_series("loss")["value"] == [0.5]
    assert (run.rejections, run.tags) == ([], {})

    rows = tables.query("SELECT topic, partition, log_offset, reason FROM live.dead")
    dead = {Position(topic, number, offset): reason for topic, number, offset, reason in rows}
    for place, reason in sent:
        assert dead[place].startswith(reason), place
    assert tables.query("SELECT * FROM live.parked") == []
    assert tables.query("SELECT * FROM live.gaps WHERE run_id = $1", run.run_id) == []


# K8
def test_event_of_a_later_release_is_shown_in_the_runs_events_with_the_reason(
    tables: Faulty, session: trialog.Session, experiment_name: str
) -> None:
    """Who looks at the run sees that something is there, of which type, and why it is not read."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.wait(30)
        (place,) = post(session, [record_of(run.run_id, [raw_event(1, "run_teleported", b"{}")])])
    run.wait(30)
    wait_until(lambda: passed(tables, [place]), "the partition goes on")
    (shown,) = (
        event
        for event in Client(session.resolve()).events(run.run_id)
        if event["type"] == "run_teleported"
    )
    assert shown["body"] == {"reason": "unknown_event run_teleported of version 1"}
    assert (shown["user"], shown["seq"]) == (USER, 1)


class Stranger:
    """A foreign producer that writes into a run, and may count, chain and date as it likes."""

    def __init__(self, run_id: str, writer_id: str | None = None) -> None:
        self.run_id = run_id
        self.writer_id = writer_id or uuid.uuid4().hex
        self.chain = first_hash("default", USER, run_id, self.writer_id)

    def says(self, seq: int, name: str, at_us: int | None = None) -> bytes:
        """Return a record of one event: a parameter with that name."""
        at = time.time_ns() // 1000 if at_us is None else at_us
        event_id = event_id_for(self.writer_id, seq, max(at, 0))
        event = encode_event(seq, event_id, at, ParametersLogged({name: seq}))
        header = RecordHeader("default", USER, self.run_id, self.writer_id, seq, 1, self.chain)
        self.chain = next_hash(self.chain, event)
        return pack_record(header, [event])


# K8
def test_writers_that_count_chain_or_date_wrongly_are_taken_and_listed(
    tables: Faulty, session: trialog.Session, experiment_name: str
) -> None:
    """Jumps and broken chains are gaps, far times are times, unknown and deleted runs go on."""
    with trialog.Run(experiment_name, "gone", session) as gone:
        pass
    gone.wait(30)
    gone.delete()
    with trialog.Run(experiment_name, "one", session) as run:
        run.wait(30)
        jumper, liar, dreamer = (Stranger(run.run_id) for _ in range(3))
        double = Stranger(run.run_id, jumper.writer_id)
        lost = neighbour_of(run.run_id)
        sent = [
            jumper.says(1, "first"),
            double.says(1, "of-another-process"),
            double.says(2, "second-of-another-process"),
            jumper.says(SEQ_MAX, "jumped"),
            jumper.says(2, "late"),
            liar.says(1, "honest"),
        ]
        liar.chain = bytes(32)
        sent += [
            liar.says(2, "lied"),
            dreamer.says(1, "long-ago", TIME_US_MIN),
            dreamer.says(2, "far-away", TIME_US_MAX),
            Stranger(lost).says(1, "nobody-knows"),
            Stranger(gone.run_id).says(1, "after-the-end"),
        ]
        places = post(session, sent)
    run.wait(30)
    wait_until(lambda: passed(tables, places), "every partition goes on")

    assert run.parameters == {
        "first": 1, "second-of-another-process": 2, "jumped": SEQ_MAX, "honest": 1, "lied": 2,
        "long-ago": 1, "far-away": 2,
    }  # fmt: skip
    assert (run.status, run.rejections) == ("Completed", [])
    rows = tables.query(
        "SELECT writer_id, first_seq, last_seq, log_offset FROM live.gaps WHERE run_id = $1"
        " ORDER BY log_offset",
        run.run_id,
    )
    assert [(row["writer_id"].hex, row["first_seq"], row["last_seq"]) for row in rows] == [
        (jumper.writer_id, 2, 1),  # the chain is another process's: a hole of no length
        (jumper.writer_id, 3, SEQ_MAX - 1),
        (liar.writer_id, 2, 1),
    ]
    assert [row["log_offset"] for row in rows] == [places[at].offset for at in (2, 3, 6)]
    assert tables.query("SELECT * FROM live.parked") == []
    assert [one.run_name for one in trialog.Run.list(experiment_name, session=session)] == ["one"]
    for run_id, name in ((lost, "nobody-knows"), (gone.run_id, "after-the-end")):
        (row,) = tables.query("SELECT name FROM live.parameters WHERE run_id = $1", run_id)
        assert row["name"] == name
