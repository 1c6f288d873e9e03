"""Behaviour of the wire format: what goes in comes out, and damage is noticed."""

from __future__ import annotations

import contextlib
import itertools
import random
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialog_schemas import decode, wire
from trialog_schemas.errors import ValidationError, WireError
from trialog_schemas.events import (
    CATALOG_TYPES,
    EVENT_TYPES,
    NIL_ID,
    ArtifactLogged,
    Body,
    CallRefused,
    Event,
    ExperimentCreated,
    ExperimentDeleted,
    LongBlock,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    RunCreated,
    RunDeleted,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
    UnknownEvent,
    WideBlock,
)
from trialog_schemas.limits import PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUN, WRITER, OTHER = "ab" * 16, "cd" * 16, "ef" * 16
AT_US = 1_700_000_000_123_456
NANS = struct.pack("<3Q", 0x7FF8000000000001, 0xFFF0000000000000, 0x7FF0000000000000)


def wide(rows: int, names: tuple[str, ...] = ("loss", "acc"), seed: int = 0) -> WideBlock:
    """Return a block whose every value tells its row and column."""
    values = [seed + 1000.0 * column + row for column in range(len(names)) for row in range(rows)]
    return WideBlock(
        names,
        rows,
        struct.pack(f"<{rows}q", *range(rows)),
        struct.pack(f"<{rows}q", *(AT_US + row for row in range(rows))),
        struct.pack(f"<{len(values)}d", *values),
    )


def long(rows: int) -> LongBlock:
    """Return a block of two names in turn."""
    return LongBlock(
        ("a", "b"),
        rows,
        struct.pack(f"<{rows}I", *(row % 2 for row in range(rows))),
        struct.pack(f"<{rows}q", *([-1] * rows)),
        struct.pack(f"<{rows}q", *([AT_US] * rows)),
        struct.pack(f"<{rows}d", *(float(row) for row in range(rows))),
    )


BODIES: list[Body] = [
    ExperimentCreated(OTHER, "exp", "text", {"k": "v"}, 9),
    ExperimentDeleted(OTHER),
    RunCreated(RUN, "exp", "run", OTHER, "keep", {"k": "v"}, OTHER, 9),
    RunDeleted(RUN),
    RunStarted("exp", "run", Limits(points_max=7), 1, "host", 42),
    RunResumed("host", 1),
    RunJoined("host", 2),
    RunEnded("Failed", "boom", is_owner=False),
    ParametersLogged({"a": True, "b": 1, "c": 1.0, "d": None, "e": [1, {"x": "y"}], "f": "é\n"}),
    MetricsLogged((wide(3), long(5))),
    ArtifactLogged("m", "model", "x/y", uri="s3://b/k", model=ModelInfo("t", "f", "1")),
    TagsSet({"a": "b"}, ("c",)),
    CallRefused("param_limit", "too many", "p", "1", {"limit": 300, "is": "x"}),
]


def header(
    count: int, *, is_catalog: bool = False, first_seq: int = 1, prev: bytes = bytes(32)
) -> wire.RecordHeader:
    """Return a record header of our writer."""
    run_id = NIL_ID if is_catalog else RUN
    return wire.RecordHeader("default", "me@host", run_id, WRITER, first_seq, count, prev)


def record_of(bodies: Sequence[Body], first_seq: int = 1) -> bytes:
    """Return a record of these bodies."""
    events = [
        wire.encode_event(seq, wire.event_id_for(WRITER, seq, AT_US), AT_US, body)
        for seq, body in enumerate(bodies, first_seq)
    ]
    is_catalog = wire.topic_for(bodies[0]) == wire.CATALOG_TOPIC
    return wire.pack_record(header(len(bodies), is_catalog=is_catalog, first_seq=first_seq), events)


def flipped(data: bytes) -> Iterator[bytes]:
    """Yield the bytes with each of their bits flipped, one at a time."""
    for at in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[at // 8] ^= 1 << at % 8
        yield bytes(damaged)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_record_of_each_event_comes_back_equal(body: Body) -> None:
    """Every event type survives the way to bytes and back, with its envelope."""
    back, events = decode.unpack_record(record_of([body], first_seq=5))
    (event,) = events
    assert isinstance(event, Event)
    assert event.body == body
    assert (event.seq, event.at_us, event.writer_id) == (5, AT_US, WRITER)
    assert event.event_id == wire.event_id_for(WRITER, 5, AT_US)
    assert back.topic == wire.topic_for(body)


def test_bodies_of_this_test_are_all_event_types() -> None:
    """A new event type must be added to the round trip above."""
    assert {type(body) for body in BODIES} == set(EVENT_TYPES.values())
    assert set(CATALOG_TYPES) < set(EVENT_TYPES)


# D7
def test_metric_values_survive_bit_for_bit() -> None:
    """NaN with a payload and ±Inf come back with the same bits."""
    block = WideBlock(("m",), 3, bytes(24), bytes(24), NANS)
    _, events = decode.unpack_record(record_of([MetricsLogged((block,))]))
    event = events[0]
    assert isinstance(event, Event)
    assert isinstance(event.body, MetricsLogged)
    assert event.body.blocks[0].values == NANS


def test_chain_links_each_event_to_the_one_before() -> None:
    """The digest of an event is the hash of the previous digest and the event's own bytes."""
    _, events = decode.unpack_record(record_of(BODIES[4:9]))
    for one, other in itertools.pairwise(events):
        assert isinstance(other, Event)
        assert one.digest == other.prev_hash
    assert len({event.digest for event in events}) == len(events)


def test_next_records_of_a_writer_go_on_in_seq_and_chain() -> None:
    """A record begins where the one before has ended, and one that is made again is the same."""
    start = wire.stream_start("default", "ada@lab", RUN, WRITER)
    told: list[tuple[int, Body]] = [
        (AT_US, TagsSet({"k": "v"})),
        (AT_US + 1, ParametersLogged({"p": 1})),
    ]
    first, end = wire.next_record(start, told)
    assert wire.next_record(start, told) == (first, end)
    second, _ = wire.next_record(end, [(AT_US, RunEnded("Completed"))])
    headers = [decode.unpack_header(record) for record in (first, second)]
    assert [(one.first_seq, one.count) for one in headers] == [(1, 2), (3, 1)]
    assert headers[0].prev_hash == wire.first_hash("default", "ada@lab", RUN, WRITER)
    events = [event for record in (first, second) for event in decode.unpack_record(record)[1]]
    assert [event.seq for event in events] == [1, 2, 3]
    assert headers[1].prev_hash == end.chain == events[1].digest


def test_record_cut_at_any_byte_is_refused() -> None:
    """No prefix of a record is taken for a record."""
    whole = record_of(BODIES[4:])
    for length in range(len(whole)):
        with pytest.raises(WireError):
            decode.unpack_record(whole[:length])


@given(st.binary(max_size=200))
def test_record_of_random_bytes_raises_nothing_but_wire_error(data: bytes) -> None:
    """Whatever a foreign producer sends, the answer is one error type."""
    for prefix in (b"", b"TLOG\x01\x00\x05\x00{}"):
        with pytest.raises(WireError):
            decode.unpack_record(prefix + data)


def test_raw_record_with_a_flipped_bit_never_comes_back_as_it_was() -> None:
    """A flipped bit is an error, an unknown event, or at least visible in what is read."""
    whole = record_of([BODIES[8]])
    assert whole[len(wire.MAGIC) + 1] == wire.CODEC_RAW
    told = decode.unpack_record(whole)
    for damaged in flipped(whole):
        with contextlib.suppress(WireError):
            assert decode.unpack_record(damaged) != told


def test_compressed_record_with_a_flipped_bit_raises_nothing_but_wire_error() -> None:
    """Some bits of a zstd frame say nothing; a flip of any other one is an error or a change."""
    whole = record_of([BODIES[9], BODIES[8]])
    assert whole[len(wire.MAGIC) + 1] == wire.CODEC_ZSTD
    told = decode.unpack_record(whole)
    harmless = 0
    for damaged in flipped(whole):
        with contextlib.suppress(WireError):
            harmless += decode.unpack_record(damaged) == told
    assert harmless < len(whole) * 8 / 100


def test_unknown_type_and_version_keep_their_place() -> None:
    """An event of a later release is listed under its seq and the others are read."""
    start = '{"seq":%d,"id":"' + OTHER + '","type":"%s","v":%d,"at":1,"body":'
    events = [
        wire.encode_raw_event(start % (1, "run_teleported", 1), b"{}"),
        wire.encode_raw_event(start % (2, "run_resumed", 2), b"{}"),
        wire.encode_event(3, OTHER, 1, TagsSet({"a": "b"})),
    ]
    _, got = decode.unpack_record(wire.pack_record(header(3), events))
    assert [type(event) for event in got] == [UnknownEvent, UnknownEvent, Event]
    assert isinstance(got[0], UnknownEvent)
    assert got[0].reason == "unknown_event run_teleported of version 1"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("run_ended", b'{"status":"Exploded"}'),
        ("run_ended", b'{"status":"Failed","failure_message":7}'),
        ("run_started", b"{}"),
        ("parameters_logged", b'{"parameters":[]}'),
        ("metrics_logged", b'{"blocks":[{"kind":"wide","names":["a"],"rows":1}]}'),
        ("metrics_logged", b'{"blocks":[{"kind":"wide","names":["a","a"],"rows":1}]}'),
        ("tags_set", b"[]"),
        ("run_created", b"{}"),
    ],
)
def test_event_with_a_body_of_the_wrong_shape_is_unknown_not_fatal(kind: str, body: bytes) -> None:
    """A malformed body costs its own event, nothing else of the record."""
    start = f'{{"seq":1,"id":"{OTHER}","type":"{kind}","v":1,"at":1,"body":'
    _, got = decode.unpack_record(wire.pack_record(header(1), [wire.encode_raw_event(start, body)]))
    assert isinstance(got[0], UnknownEvent)
    assert got[0].reason.startswith("invalid_event")


def test_event_with_nul_in_a_text_costs_itself_only() -> None:
    """A NUL, which Postgres cannot hold, never reaches the tables; the events beside it do."""
    bodies = [ParametersLogged({"a": "x\0y"}), ParametersLogged({"b": "\\u0000"})]
    _, (bad, good) = decode.unpack_record(record_of(bodies))
    assert isinstance(bad, UnknownEvent)
    assert bad.reason.startswith("invalid_event parameters_logged with a NUL")
    assert isinstance(good, Event)
    assert good.body == bodies[1]


@pytest.mark.parametrize("where", ["account", "user", "type"])
def test_record_with_nul_in_what_all_its_events_share_is_refused(where: str) -> None:
    """An account, a user or a type's name with NUL is no name at all."""
    account, user, kind = (
        "a\\u0000b" if where == field else "ab" for field in ("account", "user", "type")
    )
    head = (
        f'{{"account":"{account}","user":"{user}","run":"{RUN}","writer":"{WRITER}","seq":1,'
        f'"count":1,"prev":"{"0" * 64}"}}'
    ).encode()
    start = f'{{"seq":1,"id":"{OTHER}","type":"{kind}","v":1,"at":1,"body":'
    event = wire.encode_raw_event(start, b"{}")
    prefix = wire.PREFIX.pack(wire.MAGIC, wire.RECORD_VERSION, wire.CODEC_RAW, len(head))
    with pytest.raises(WireError, match=where):
        decode.unpack_record(prefix + head + event)


def test_payload_that_unpacks_to_too_much_is_refused() -> None:
    """A small record cannot make the reader allocate without bound."""
    with pytest.raises(WireError, match="allowed are"):
        decode.unpack_record(
            wire.pack_record(header(1), [bytes(PAYLOAD_BYTES_MAX + 1)]),
        )


def test_record_above_the_limit_is_refused_when_packed() -> None:
    """A record the log would refuse is never made."""
    noise = random.Random(7).randbytes(RECORD_BYTES_MAX)
    with pytest.raises(WireError, match="allowed are"):
        wire.pack_record(header(1), [noise])


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_frames_come_back(records: list[bytes]) -> None:
    """What is framed for HTTP is unframed to the same records."""
    assert wire.unframe(wire.frame(records)) == records


@pytest.mark.parametrize("data", [b"\1", b"\0\0\0\0", b"\5\0\0\0ab", b"\1\0\0\0ab"])
def test_frames_cut_or_empty_are_refused(data: bytes) -> None:
    """A body that ends inside a record is an error, not a shorter list."""
    with pytest.raises(WireError):
        wire.unframe(data)


@given(st.integers(0, 2**31), st.integers(0, 2**40))
def test_position_token_comes_back(partition: int, offset: int) -> None:
    """The short form of a position is read to the same position."""
    position = wire.Position(wire.EVENTS_TOPIC, partition % 10**9, offset)
    assert wire.Position.parse(position.token()) == position


@pytest.mark.parametrize("token", ["", "events:1", "other:1:1", "events:-1:1", "events:1:²"])
def test_position_token_malformed_raises_value_error(token: str) -> None:
    """Anything else is the caller's mistake."""
    with pytest.raises(ValidationError):
        wire.Position.parse(token)


def test_partition_of_is_fixed_for_good() -> None:
    """These pairs are written down: changing the hash would tear runs apart."""
    got = [wire.partition_of(key, 32) for key in (RUN, OTHER, NIL_ID, "default")]
    assert got == [22, 19, 16, 31]


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_uuid7_has_time_version_and_variant(time_ms: int, entropy: bytes) -> None:
    """Ids sort by time and are of version 7."""
    made = wire.uuid7(time_ms, entropy)
    assert (len(made), made[12], made[16] in "89ab") == (32, "7", True)
    assert int(made[:12], 16) == time_ms


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 30))
def test_wide_block_take_keeps_the_first_points_row_by_row(rows: int, width: int, n: int) -> None:
    """The prefix of a block is its first points in the order of the calls."""
    block = wide(rows, tuple("abcd"[:width]))
    kept = MetricsLogged((block,)).take(n)
    assert kept.points == min(n, block.points)
    got = [
        (name, value)
        for part in kept.blocks
        for index, name in enumerate(part.names)
        for value in struct.unpack(f"<{len(part.names) * part.rows}d", part.values)[
            index * part.rows : (index + 1) * part.rows
        ]
    ]
    calls = [(name, 1000.0 * i + row) for row in range(rows) for i, name in enumerate(block.names)]
    assert sorted(got) == sorted(calls[:n])


@given(st.integers(0, 12))
def test_long_block_take_keeps_the_first_points(n: int) -> None:
    """The prefix of single points is the first ones, over block borders."""
    kept = MetricsLogged((long(4), long(4))).take(n)
    assert kept.points == min(n, 8)
