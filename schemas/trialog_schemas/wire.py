"""Events to bytes: the record format, chains, topics and positions. Reading is in `decode.py`.

A *record* is one entry of the log and holds consecutive events of one writer in one run:

    "TLOG"  u8 version  u8 codec (0 raw, 1 zstd)  u16 header length   header JSON   payload

The payload, when decompressed, is the events one after the other, each

    u32 head length   u32 blob length   head JSON {"seq","id","type","v","at","body"}   blob

The blob carries the packed columns of metric blocks. Everything is little-endian. The same bytes
travel over Kafka, over HTTP and into the embedded log. Must not do I/O, ask a clock or make ids.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson
import zstandard

from trialog_schemas.errors import ValidationError, WireError, shown
from trialog_schemas.events import (
    NIL_ID,
    TYPE_NAMES,
    Body,
    CatalogBody,
    LongBlock,
    MetricsLogged,
)
from trialog_schemas.limits import RECORD_BYTES_MAX
from trialog_schemas.versions import EVENT_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trialog_schemas.events import Block

EVENTS_TOPIC = "trialog.events.v1"
"""Events of runs: key = run id, so that the order of a run is total."""

CATALOG_TOPIC = "trialog.catalog.v1"
"""Events whose rule crosses runs; one partition, key = account."""

TOPIC_BY_SHORT_NAME = {"events": EVENTS_TOPIC, "catalog": CATALOG_TOPIC}
SHORT_NAME_BY_TOPIC = {topic: name for name, topic in TOPIC_BY_SHORT_NAME.items()}

_TOKEN = re.compile(r"(events|catalog):([0-9]{1,9}):([0-9]{1,18})")

MAGIC = b"TLOG"
RECORD_VERSION = 1
CODEC_RAW, CODEC_ZSTD = 0, 1
HASH_BYTES = 32
PREFIX = struct.Struct("<4sBBH")
EVENT_LENGTHS = struct.Struct("<II")
FRAME_LENGTH = struct.Struct("<I")
COMPRESS_FROM_BYTES = 256
"""Payloads below this do not shrink enough to pay for a zstd frame."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The place of a record in the log: topic, partition and offset."""

    topic: str
    partition: int
    offset: int

    def token(self) -> str:
        """Return the short text form, `events:3:17`, which clients pass around."""
        return f"{SHORT_NAME_BY_TOPIC[self.topic]}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, token: str) -> Position:
        """Read the short text form.

        Raises:
            ValidationError: the text is not of the form `events:<partition>:<offset>`.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValidationError(
                f"position {shown(token)} is not of the form events:3:17; pass one that was given",
                field="position",
                value=token,
                limit="topic:partition:offset",
            )
        topic, partition, offset = match.groups()
        return cls(TOPIC_BY_SHORT_NAME[topic], int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What is true of all events of a record; readable without decompressing.

    Args:
        account: whose data it is.
        user: who acted, `user@host`.
        run_id: 32 hex digits; `NIL_ID` for records of the catalog.
        writer_id: 32 hex digits, one process's identity in this run.
        first_seq: the seq of the first event; the others follow without a hole.
        count: how many events there are.
        prev_hash: the writer's chain before the first event (32 bytes).
    """

    account: str
    user: str
    run_id: str
    writer_id: str
    first_seq: int
    count: int
    prev_hash: bytes

    @property
    def topic(self) -> str:
        """The topic the record belongs to."""
        return CATALOG_TOPIC if self.run_id == NIL_ID else EVENTS_TOPIC

    @property
    def key(self) -> str:
        """The record's key in its topic."""
        return self.account if self.run_id == NIL_ID else self.run_id


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key: CRC-32 of its UTF-8 bytes modulo the partitions.

    Ours, not a client library's, so that every producer in every language agrees for good.
    """
    return zlib.crc32(key.encode()) % partitions


def topic_for(body: Body) -> str:
    """Return the topic a body travels in."""
    return CATALOG_TOPIC if isinstance(body, CatalogBody) else EVENTS_TOPIC


def first_hash(account: str, user: str, run_id: str, writer_id: str) -> bytes:
    """Return the value a writer's chain starts from, which binds it to its identity."""
    identity = "\n".join((account, user, run_id, writer_id)).encode()
    return blake2b(identity, digest_size=HASH_BYTES).digest()


def next_hash(previous: bytes, event: bytes | memoryview) -> bytes:
    """Return the chain value after an event, given its encoded bytes."""
    digest = blake2b(previous, digest_size=HASH_BYTES)
    digest.update(event)
    return digest.digest()


def uuid7(time_ms: int, entropy: bytes) -> str:
    """Return a UUIDv7 (RFC 9562) as 32 hex digits from a time and at least 10 random bytes."""
    value = (time_ms & (2**48 - 1)) << 80 | int.from_bytes(entropy[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def event_id_for(writer_id: str, seq: int, at_us: int) -> str:
    """Return the id of an event: the same for a re-send after a crash as for the first send."""
    entropy = blake2b(f"{writer_id}:{seq}".encode(), digest_size=10).digest()
    return uuid7(at_us // 1000, entropy)


def body_json(body: Body) -> bytes:
    """Return a body's JSON form; of metrics only the layout, their columns are the blob."""
    if isinstance(body, MetricsLogged):
        return orjson.dumps({"blocks": [_block_layout(block) for block in body.blocks]})
    return orjson.dumps(asdict(body))


def _block_layout(block: Block) -> dict[str, object]:
    kind = "long" if isinstance(block, LongBlock) else "wide"
    return {"kind": kind, "names": block.names, "rows": block.rows}


def body_blob(body: Body) -> bytes:
    """Return the packed columns of a metrics event, or nothing."""
    if not isinstance(body, MetricsLogged):
        return b""
    columns: list[bytes] = []
    for block in body.blocks:
        if isinstance(block, LongBlock):
            columns.append(block.ids)
        columns += (block.steps, block.times, block.values)
    return b"".join(columns)


def encode_event(seq: int, event_id: str, at_us: int, body: Body) -> bytes:
    """Return the bytes of one event, as chains hash them and payloads hold them."""
    kind = TYPE_NAMES[type(body)]
    start = head_start(seq, event_id, (kind, EVENT_VERSIONS[kind]), at_us)
    return encode_raw_event(start, body_json(body), body_blob(body))


def head_start(seq: int, event_id: str, shape: tuple[str, int], at_us: int) -> str:
    """Return the start of an event's head, up to its body; `shape` is type and version."""
    kind, version = shape
    return f'{{"seq":{seq},"id":"{event_id}","type":"{kind}","v":{version},"at":{at_us},"body":'


def encode_raw_event(start: str, body: bytes, blob: bytes = b"") -> bytes:
    """Join the start of a head, a body that is JSON already, and a blob."""
    head = b"%b%b}" % (start.encode(), body)
    return b"".join((EVENT_LENGTHS.pack(len(head), len(blob)), head, blob))


def pack_record(header: RecordHeader, events: Sequence[bytes]) -> bytes:
    """Return a record of events that `encode_event` made.

    Raises:
        WireError: the record is larger than RECORD_BYTES_MAX.
    """
    payload = b"".join(events)
    codec = CODEC_RAW
    if len(payload) >= COMPRESS_FROM_BYTES:
        packed = zstandard.ZstdCompressor(level=1).compress(payload)
        if len(packed) < len(payload):
            codec, payload = CODEC_ZSTD, packed
    head = orjson.dumps(
        {
            "account": header.account,
            "user": header.user,
            "run": header.run_id,
            "writer": header.writer_id,
            "seq": header.first_seq,
            "count": header.count,
            "prev": header.prev_hash.hex(),
        }
    )
    record = b"".join((PREFIX.pack(MAGIC, RECORD_VERSION, codec, len(head)), head, payload))
    if len(record) > RECORD_BYTES_MAX:
        raise WireError(f"record of {len(record)} bytes, allowed are {RECORD_BYTES_MAX}")
    return record


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How far a writer has come: whose stream it is, its next seq and the chain before that."""

    account: str
    user: str
    run_id: str
    writer_id: str
    next_seq: int
    chain: bytes


def stream_start(account: str, user: str, run_id: str, writer_id: str) -> StreamEnd:
    """Return where the stream of a new writer begins."""
    start = first_hash(account, user, run_id, writer_id)
    return StreamEnd(account, user, run_id, writer_id, 1, start)


def next_record(end: StreamEnd, told: Sequence[tuple[int, Body]]) -> tuple[bytes, StreamEnd]:
    """Return a writer's next events, each a time in µs and a body, as one record, and its new end.

    Raises:
        WireError: the record is larger than RECORD_BYTES_MAX.
    """
    header = RecordHeader(
        end.account, end.user, end.run_id, end.writer_id, end.next_seq, len(told), end.chain
    )
    events: list[bytes] = []
    seq, chain = end.next_seq, end.chain
    for at_us, body in told:
        events.append(encode_event(seq, event_id_for(end.writer_id, seq, at_us), at_us, body))
        seq, chain = seq + 1, next_hash(chain, events[-1])
    return pack_record(header, events), replace(end, next_seq=seq, chain=chain)


def frame(records: Iterable[bytes]) -> bytes:
    """Join records for one HTTP request: each with its length as u32 before it."""
    parts: list[bytes] = []
    for record in records:
        parts += (FRAME_LENGTH.pack(len(record)), record)
    return b"".join(parts)


def unframe(data: bytes) -> list[bytes]:
    """Split what `frame` joined.

    Raises:
        WireError: a length points beyond the end, or bytes are left over.
    """
    records: list[bytes] = []
    offset = 0
    while offset < len(data):
        if offset + FRAME_LENGTH.size > len(data):
            raise WireError("frame is cut inside a length")
        (length,) = FRAME_LENGTH.unpack_from(data, offset)
        offset += FRAME_LENGTH.size
        if length == 0 or offset + length > len(data):
            raise WireError(f"frame of {length} bytes is cut or empty")
        records.append(data[offset : offset + length])
        offset += length
    return records
