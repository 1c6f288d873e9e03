"""Bytes of producers that are not ours: whatever they hold, reading ends in one of three ways.

The record is no record (`WireError`), an event of it has no legal shape (`UnknownEvent`), or it is
an event that the rules can judge and the tables can hold. Nothing else may ever be raised: one such
record would stop its partition for good.
"""

from __future__ import annotations

import itertools
import json
import struct
from typing import TYPE_CHECKING

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.schemas.factories import AT_US
from trialog_schemas import decode, wire
from trialog_schemas.catalog_rules import CatalogState, decide_catalog
from trialog_schemas.errors import WireError
from trialog_schemas.events import (
    CATALOG_TYPES,
    EVENT_TYPES,
    NIL_ID,
    Event,
    LongBlock,
    MetricsLogged,
    ParametersLogged,
    TagsSet,
    UnknownEvent,
    WideBlock,
)
from trialog_schemas.limits import BODY_DEPTH_MAX
from trialog_schemas.rules import RunState, decide, evolve

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN, WRITER, OTHER = "ab" * 16, "cd" * 16, "ef" * 16

_STEADY = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def record_of(events: Sequence[bytes], *, run_id: str = RUN, count: int | None = None) -> bytes:
    """Return a record of events' bytes."""
    told = count or len(events)
    header = wire.RecordHeader("default", "me@host", run_id, WRITER, 1, told, bytes(32))
    return wire.pack_record(header, events)


def raw_event(kind: str, body: bytes, blob: bytes = b"", seq: int = 1) -> bytes:
    """Return an event's bytes around a body that is JSON already."""
    start = f'{{"seq":{seq},"id":"{OTHER}","type":"{kind}","v":1,"at":{AT_US},"body":'
    return wire.encode_raw_event(start, body, blob)


def read_one(kind: str, body: bytes, blob: bytes = b"") -> decode.AnyEvent:
    """Read an event of some kind, in the topic it belongs to."""
    run_id = NIL_ID if kind in CATALOG_TYPES else RUN
    (event,) = decode.unpack_record(record_of([raw_event(kind, body, blob)], run_id=run_id))[1]
    return event


def judge(event: decode.AnyEvent) -> None:
    """Let the rules judge an event, if it is one."""
    if not isinstance(event, Event):
        return
    if event.run_id == NIL_ID:
        decide_catalog(CatalogState(), event)
        return
    state = RunState()
    evolve(state, event, decide(state, event))


def lists(levels: int, inside: bytes = b"1") -> bytes:
    """Return lists in lists, as many levels of them."""
    return b"[" * levels + inside + b"]" * levels


_TEXTS = st.text(max_size=8) | st.sampled_from(
    ["", "exp", RUN, OTHER, "s3://b/k", "a/b", "Failed", "keep", "model", "a" * 64]
)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a type and a body that has some of its fields, with any values."""
    kind = draw(st.sampled_from(sorted(EVENT_TYPES)))
    known = list(EVENT_TYPES[kind].__dataclass_fields__)
    fields = draw(st.dictionaries(st.sampled_from([*known, "other"]), _JSON))
    return kind, orjson.dumps(draw(st.sampled_from([fields, [fields], None, 7])))


@settings(_STEADY, max_examples=200)
@given(_bodies(), st.binary(max_size=40))
def test_any_body_of_any_type_is_read_or_listed(
    kind_and_body: tuple[str, bytes], blob: bytes
) -> None:
    """No JSON and no blob raises anything, neither when read nor when judged."""
    kind, body = kind_and_body
    for columns in (b"", blob):
        judge(read_one(kind, body, columns))


_LAYOUTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["wide", "long", "tall", 1]),
        "names": st.lists(_TEXTS, max_size=3) | _JSON,
        "rows": st.integers(-1, 3) | st.sampled_from([2**63, True, 1.0, None]),
    }
)


@settings(_STEADY, max_examples=200)
@given(st.lists(_LAYOUTS, max_size=2), st.binary(max_size=150))
def test_any_layout_of_metric_blocks_is_read_or_listed(
    layouts: list[dict[str, object]], blob: bytes
) -> None:
    """Columns are never read beyond their end, and what is read has the rows it says."""
    event = read_one("metrics_logged", orjson.dumps({"blocks": layouts}), blob)
    judge(event)
    if isinstance(event, Event):
        assert isinstance(event.body, MetricsLogged)
        for block in event.body.blocks:
            assert len(block.steps) == len(block.times) == 8 * block.rows
            assert len(block.values) == 8 * block.points


@settings(_STEADY, max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from(["account", "user", "run", "writer", "seq", "count", "prev"]), _JSON
    ),
    st.binary(max_size=60),
)
def test_any_header_is_read_or_refused(fields: dict[str, object], payload: bytes) -> None:
    """A header of any JSON raises nothing but the one error."""
    whole = {
        "account": "a",
        "user": "u",
        "run": RUN,
        "writer": WRITER,
        "seq": 1,
        "count": 1,
        "prev": "0" * 64,
    }
    head = orjson.dumps({**whole, **fields})
    prefix = wire.PREFIX.pack(wire.MAGIC, wire.RECORD_VERSION, wire.CODEC_RAW, len(head))
    with pytest.raises(WireError):
        decode.unpack_record(prefix + head + payload)


@pytest.mark.parametrize("levels", [90, 260, 1015])
@pytest.mark.parametrize(
    ("kind", "around"),
    [
        ("parameters_logged", b'{"parameters":{"p":%b}}'),
        ("tags_set", b'{"tags":{"k":%b}}'),
        ("tags_set", b'{"other":%b}'),
        ("metrics_logged", b'{"blocks":%b}'),
        ("run_created", b'{"run_id":%b}'),
        ("run_started", b"%b"),
    ],
)
@pytest.mark.parametrize("inside", [b"1", b'"\\u0000"', b'{"k":[]}'])
def test_body_nested_too_deeply_costs_itself_only(
    levels: int, kind: str, around: bytes, inside: bytes
) -> None:
    """A thousand lists in lists break neither the reader's stack nor the record's other events."""
    run_id = NIL_ID if kind in CATALOG_TYPES else RUN
    deep = raw_event(kind, around % lists(levels, inside))
    good = raw_event("tags_set", b'{"tags":{"k":"v"}}', seq=2)
    _, events = decode.unpack_record(record_of([deep, good], run_id=run_id))
    assert isinstance(events[0], UnknownEvent)
    assert events[0].reason == f"invalid_event {kind} nested deeper than {BODY_DEPTH_MAX} levels"
    assert isinstance(events[1], Event) is (run_id == RUN)


def test_body_nested_beyond_what_json_readers_take_is_no_event() -> None:
    """The JSON library's own bound ends in the one error, too."""
    with pytest.raises(WireError, match="no JSON"):
        read_one("parameters_logged", b'{"parameters":{"p":%b}}' % lists(5000))


def test_body_with_many_brackets_side_by_side_is_not_deep() -> None:
    """Only nesting counts: a wide body of hundreds of lists is read."""
    body = orjson.dumps({"parameters": {f"p{at}": [[at]] for at in range(200)}})
    event = read_one("parameters_logged", body)
    assert isinstance(event, Event)
    assert event.body == ParametersLogged({f"p{at}": [[at]] for at in range(200)})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("parameters_logged", {"parameters": {"p": "\0"}}),
        ("parameters_logged", {"parameters": {"\0": 1}}),
        ("parameters_logged", {"parameters": {"p": [{"k": ["\0"]}]}}),
        ("tags_set", {"tags": {}, "removed": ["\0"]}),
        ("run_ended", {"status": "Failed", "failure_message": "\0"}),
        ("metrics_logged", {"blocks": [{"kind": "long", "names": ["\0"], "rows": 1}]}),
        ("run_created", {"run_id": RUN, "run_name": "\0"}),
    ],
)
def test_text_with_nul_is_listed_wherever_it_stands(kind: str, body: dict[str, object]) -> None:
    """A NUL, which Postgres cannot hold, is found in values, keys and lists."""
    event = read_one(kind, json.dumps(body).encode())
    assert isinstance(event, UnknownEvent)
    assert "NUL" in event.reason


def test_backslashes_before_u0000_are_no_nul() -> None:
    """An escaped backslash before the digits is a text of six characters."""
    text = "\\u0000"
    event = read_one("tags_set", json.dumps({"tags": {"k": text}}).encode())
    assert isinstance(event, Event)
    assert event.body == TagsSet({"k": text})


_IDS = {"run_id": RUN, "experiment_id": OTHER, "experiment_name": "e", "run_name": "r"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("run_created", {**_IDS, "run_id": "x" * 32}),
        ("run_created", {**_IDS, "run_id": RUN.upper()}),
        ("run_created", {**_IDS, "experiment_id": OTHER[:31]}),
        ("run_created", {**_IDS, "parent_run_id": f"{RUN}\n"}),
        ("run_deleted", {"run_id": ""}),
        ("experiment_created", {"experiment_id": "1", "name": "e"}),
        ("experiment_deleted", {"experiment_id": f"{OTHER[:8]}-{OTHER[8:]}"}),
    ],
)
def test_id_that_is_no_hex_is_listed(kind: str, body: dict[str, object]) -> None:
    """An id that no table takes never reaches one."""
    event = read_one(kind, orjson.dumps(body))
    assert isinstance(event, UnknownEvent)
    assert event.reason == f"invalid_event {kind} with an id that is no lower-case hex"


def test_run_without_a_parent_is_read() -> None:
    """A missing parent, or null, is no id at all."""
    for body in (_IDS, {**_IDS, "parent_run_id": None}):
        assert isinstance(read_one("run_created", orjson.dumps(body)), Event)


@pytest.mark.parametrize(
    "body",
    [
        {"rules_version": 0},
        {"rules_version": 2**31},
        {"limits": {"points_max": -1}},
        {"limits": {"points_max": 2**63}},
        {"limits": {"points_max": True}},
        {"limits": {"points_max": "7"}},
        {"limits": None},
        {"pid": 1.5},
    ],
)
def test_start_with_numbers_that_no_table_takes_is_listed(body: dict[str, object]) -> None:
    """A policy or version out of range is no policy; the run keeps the one it has."""
    whole = {"experiment_name": "e", "run_name": "r", **body}
    event = read_one("run_started", orjson.dumps(whole))
    assert isinstance(event, UnknownEvent)
    assert event.reason.startswith("invalid_event run_started")


def test_reason_of_an_unreadable_body_is_short() -> None:
    """What is listed never grows with what was sent."""
    event = read_one("tags_set", orjson.dumps({"tags": {"k" * 5000: 1}}))
    assert isinstance(event, UnknownEvent)
    assert len(event.reason) <= 200


def test_unreadable_event_keeps_its_place_in_count_and_chain() -> None:
    """What comes after it is chained to it, so that nothing looks missing."""
    raw = [
        raw_event("tags_set", b'{"tags":{"a":"b"}}', seq=1),
        raw_event("tags_set", b"[]", seq=2),
        raw_event("tags_set", b'{"tags":{"c":"d"}}', seq=3),
    ]
    _, (first, bad, last) = decode.unpack_record(record_of(raw))
    assert [first.seq, bad.seq, last.seq] == [1, 2, 3]
    assert (bad.type, bad.run_id, bad.writer_id) == ("tags_set", RUN, WRITER)
    assert isinstance(last, Event)
    assert bad.digest == last.prev_hash == wire.next_hash(first.digest, raw[1])


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_event_in_the_wrong_topic_is_listed(kind: str) -> None:
    """The catalog's events are not read from a run's stream, nor a run's from the catalog."""
    run_id = RUN if kind in CATALOG_TYPES else NIL_ID
    (event,) = decode.unpack_record(record_of([raw_event(kind, b"{}")], run_id=run_id))[1]
    assert isinstance(event, UnknownEvent)
    assert event.reason == f"invalid_event {kind} in the wrong topic"


@pytest.mark.parametrize("seqs", [(2,), (1, 3), (1, 1), (1, 2, 2)])
def test_record_whose_events_are_out_of_order_is_refused(seqs: tuple[int, ...]) -> None:
    """The header's first seq and the order of the events are one count."""
    events = [raw_event("tags_set", b"{}", seq=seq) for seq in seqs]
    with pytest.raises(WireError, match="out of its order"):
        decode.unpack_record(record_of(events))


@pytest.mark.parametrize("count", [2, 3, 2**62])
def test_record_with_fewer_events_than_it_says_is_refused(count: int) -> None:
    """A record that was cut between two events is no shorter record."""
    with pytest.raises(WireError, match=f"its header says {count}"):
        decode.unpack_record(record_of([raw_event("tags_set", b"{}")], count=count))


def test_record_of_two_frames_is_refused() -> None:
    """Bytes after the compressed payload are not read over silently."""
    payload = b"".join(raw_event("tags_set", b'{"tags":{}}', seq=seq) for seq in range(1, 9))
    packed = zstandard.ZstdCompressor(level=1).compress(payload)
    head_and_prefix = bytearray(record_of([], count=8))
    head_and_prefix[len(wire.MAGIC) + 1] = wire.CODEC_ZSTD
    assert len(decode.unpack_record(bytes(head_and_prefix) + packed)[1]) == 8
    for more in (packed, b"\0"):
        with pytest.raises(WireError, match="zstd"):
            decode.unpack_record(bytes(head_and_prefix) + packed + more)


def test_frame_without_its_size_is_refused() -> None:
    """A payload that does not say how large it becomes is not unpacked to find out."""
    head_and_prefix = bytearray(record_of([], count=1))
    head_and_prefix[len(wire.MAGIC) + 1] = wire.CODEC_ZSTD
    packer = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(WireError, match="payload"):
        decode.unpack_record(bytes(head_and_prefix) + packer.compress(raw_event("x", b"{}")))


@pytest.mark.parametrize("field", ["seq", "id", "type", "v", "at"])
@pytest.mark.parametrize("value", [None, -(2**63), 2**64, 1.5, "", "x\0", [], {}, True])
def test_head_with_a_part_that_is_none_is_refused(field: str, value: object) -> None:
    """An event without its number, id, type, version or time is no event."""
    head = {"seq": 1, "id": OTHER, "type": "tags_set", "v": 1, "at": AT_US, "body": {}}
    raw = json.dumps({**head, field: value}).encode()
    with pytest.raises(WireError):
        decode.unpack_record(record_of([wire.EVENT_LENGTHS.pack(len(raw), 0) + raw]))


def test_long_block_with_a_number_beyond_its_names_is_listed() -> None:
    """A row of no name is no point."""
    blob = struct.pack("<IIqqqqdd", 0, 1, 0, 0, 0, 0, 1.0, 2.0)
    layout = orjson.dumps({"blocks": [{"kind": "long", "names": ["a"], "rows": 2}]})
    event = read_one("metrics_logged", layout, blob)
    assert isinstance(event, UnknownEvent)
    assert "id beyond its names" in event.reason


def test_blocks_of_both_kinds_share_one_blob() -> None:
    """Columns follow each other in the order of the layouts, and all of them are used."""
    wide = struct.pack("<qqdd", 5, AT_US, 1.0, 2.0)
    long = struct.pack("<Iqqd", 1, -1, AT_US, 3.0)
    layouts = [
        {"kind": "wide", "names": ["a", "b"], "rows": 1},
        {"kind": "long", "names": ["a", "b"], "rows": 1},
    ]
    body = orjson.dumps({"blocks": layouts})
    event = read_one("metrics_logged", body, wide + long)
    assert isinstance(event, Event)
    assert event.body == MetricsLogged(
        (
            WideBlock(("a", "b"), 1, wide[:8], wide[8:16], wide[16:]),
            LongBlock(("a", "b"), 1, long[:4], long[4:12], long[12:20], long[20:]),
        )
    )
    for blob in (wide + long + b"\0", (wide + long)[:-1]):
        assert isinstance(read_one("metrics_logged", body, blob), UnknownEvent)


def test_bodies_may_have_fields_of_a_later_release() -> None:
    """A field that is not known does not make an event unreadable."""
    event = read_one("tags_set", b'{"tags":{"a":"b"},"colour":"red"}')
    assert isinstance(event, Event)
    assert event.body == TagsSet({"a": "b"})


def test_hashes_of_a_record_are_one_chain_from_its_header_on() -> None:
    """Each event's chain value follows from the one before, the first from the header's."""
    raw = [raw_event("tags_set", b'{"tags":{}}', seq=seq) for seq in range(1, 4)]
    header, events = decode.unpack_record(record_of(raw))
    chain = header.prev_hash
    for event, data in zip(events, raw, strict=True):
        chain = wire.next_hash(chain, data)
        assert event.digest == chain
    pairs = itertools.pairwise(events)
    assert all(isinstance(two, Event) and one.digest == two.prev_hash for one, two in pairs)
