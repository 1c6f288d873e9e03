"""Bytes to events: records of any version we know, foreign and damaged ones included; no I/O.

What cannot be read as a record raises `WireError`, and nothing else whatever the bytes are. An
event inside a sound record that this release cannot read, or whose body has a shape that no table
can take, becomes an `UnknownEvent`: it keeps its place and is listed, its neighbours are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, cast

import orjson
import pydantic
import zstandard

from trialog_schemas.errors import WireError
from trialog_schemas.events import (
    CATALOG_TYPES,
    EVENT_TYPES,
    NIL_ID,
    Block,
    Body,
    Event,
    ExperimentCreated,
    ExperimentDeleted,
    LongBlock,
    MetricsLogged,
    ParametersLogged,
    RunCreated,
    RunDeleted,
    RunStarted,
    UnknownEvent,
    WideBlock,
)
from trialog_schemas.limits import (
    ACCOUNT_CHARS_MAX,
    BODY_DEPTH_MAX,
    EVENT_TYPE_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    RECORD_BYTES_MAX,
    SEQ_MAX,
    TIME_US_MAX,
    TIME_US_MIN,
    USER_CHARS_MAX,
)
from trialog_schemas.names import ParameterValue
from trialog_schemas.versions import THIS_RELEASE, Versions, unknown_reason
from trialog_schemas.wire import (
    CODEC_RAW,
    CODEC_ZSTD,
    EVENT_LENGTHS,
    MAGIC,
    PREFIX,
    RECORD_VERSION,
    RecordHeader,
    next_hash,
)

AnyEvent: TypeAlias = Event | UnknownEvent

_ID = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")
_RULES_VERSION_MAX = 2**31 - 1
"""What the read model's column holds."""


@dataclass(frozen=True, slots=True)
class _Head:
    """An event's head as it was read; `fault` says what no table could take of its body."""

    seq: int
    event_id: str
    type: str
    version: int
    at_us: int
    body: object
    fault: str | None


def unpack_header(record: bytes) -> RecordHeader:
    """Read a record's header without touching its payload.

    Raises:
        WireError: the bytes are no record, or of a version or with fields we do not know.
    """
    return _split(record)[0]


def _split(record: bytes) -> tuple[RecordHeader, int, bytes]:
    """Return header, codec and the payload as it is stored."""
    if len(record) > RECORD_BYTES_MAX:
        raise WireError(f"record of {len(record)} bytes, allowed are {RECORD_BYTES_MAX}")
    if len(record) < PREFIX.size:
        raise WireError(f"record of {len(record)} bytes is too short")
    magic, version, codec, head_bytes = PREFIX.unpack_from(record)
    if magic != MAGIC:
        raise WireError("bytes that do not start with TLOG")
    if version != RECORD_VERSION:
        raise WireError(f"record of version {version}, known is {RECORD_VERSION}")
    if codec not in (CODEC_RAW, CODEC_ZSTD):
        raise WireError(f"record of codec {codec}")
    payload_at = PREFIX.size + head_bytes
    if payload_at > len(record):
        raise WireError("record is cut inside its header")
    return _header(record[PREFIX.size : payload_at]), codec, record[payload_at:]


def _header(raw: bytes) -> RecordHeader:
    fields = _json_object(raw, "record header")
    account, user = fields.get("account"), fields.get("user")
    run_id, writer_id, prev = fields.get("run"), fields.get("writer"), fields.get("prev")
    seq, count = fields.get("seq"), fields.get("count")
    if not (_is_text(account, ACCOUNT_CHARS_MAX) and _is_text(user, USER_CHARS_MAX)):
        raise WireError("record header without account or user")
    if not (_matches(_ID, run_id) and _matches(_ID, writer_id) and _matches(_HASH, prev)):
        raise WireError("record header with an id or hash that is no lower-case hex")
    if not (_is_count(seq) and _is_count(count)):
        raise WireError("record header with a seq or count that is no positive integer")
    return RecordHeader(
        cast("str", account),
        cast("str", user),
        cast("str", run_id),
        cast("str", writer_id),
        cast("int", seq),
        cast("int", count),
        bytes.fromhex(cast("str", prev)),
    )


def unpack_record(
    record: bytes, versions: Versions = THIS_RELEASE
) -> tuple[RecordHeader, list[AnyEvent]]:
    """Read a record: its header and its events in order, older ones as the newest version has them.

    Raises:
        WireError: anything outside the events' own heads and bodies is damaged or unknown.
    """
    header, codec, stored = _split(record)
    payload = _decompress(stored) if codec == CODEC_ZSTD else stored
    events: list[AnyEvent] = []
    chain, offset = header.prev_hash, 0
    while offset < len(payload):
        if offset + EVENT_LENGTHS.size > len(payload):
            raise WireError("payload is cut inside an event's lengths")
        head_bytes, blob_bytes = EVENT_LENGTHS.unpack_from(payload, offset)
        head_at = offset + EVENT_LENGTHS.size
        end = head_at + head_bytes + blob_bytes
        if end > len(payload):
            raise WireError("payload is cut inside an event")
        previous, chain = chain, next_hash(chain, memoryview(payload)[offset:end])
        head = _head(payload[head_at : head_at + head_bytes])
        if head.seq != header.first_seq + len(events):
            raise WireError(f"event with seq {head.seq} out of its order")
        blob = payload[head_at + head_bytes : end]
        events.append(_event(header, head, blob, (previous, chain), versions))
        offset = end
    if len(events) != header.count:
        raise WireError(f"record of {len(events)} events, its header says {header.count}")
    return header, events


def _decompress(stored: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(stored)
        if not 0 <= size <= PAYLOAD_BYTES_MAX:
            raise WireError(f"payload of {size} bytes, allowed are {PAYLOAD_BYTES_MAX}")
        return zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise WireError("payload that zstd cannot read") from exc


def _head(raw: bytes) -> _Head:
    fields = _json_object(raw, "event head")
    seq, event_id = fields.get("seq"), fields.get("id")
    kind, version, at_us = fields.get("type"), fields.get("v"), fields.get("at")
    if not (_is_count(seq) and _is_count(version) and _matches(_ID, event_id)):
        raise WireError("event head without a seq, version or id")
    if type(at_us) is not int or not TIME_US_MIN <= at_us <= TIME_US_MAX:
        raise WireError("event head without a time of the years 1 to 9999")
    if not _is_text(kind, EVENT_TYPE_CHARS_MAX):
        raise WireError("event head without a type")
    return _Head(
        cast("int", seq),
        cast("str", event_id),
        cast("str", kind),
        cast("int", version),
        at_us,
        fields.get("body"),
        _fault(raw, fields.get("body")),
    )


def _fault(raw: bytes, body: object) -> str | None:
    """Say why a body cannot be stored whatever its type; most are cleared by their bytes alone."""
    if raw.count(b"[") + raw.count(b"{") > BODY_DEPTH_MAX and _is_deeper(body, BODY_DEPTH_MAX):
        return f"nested deeper than {BODY_DEPTH_MAX} levels"
    if b"\\u0000" in raw and _has_nul(body):
        return "with a NUL character, which the store cannot hold"
    return None


def _is_deeper(value: object, levels: int) -> bool:
    """Tell whether lists and objects nest deeper; without recursion, the stack is finite."""
    nested = [value]
    for _ in range(levels):
        nested = [
            item
            for one in nested
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, dict | list)
        ]
        if not nested:
            return False
    return True


def _event(
    header: RecordHeader,
    head: _Head,
    blob: bytes,
    chain: tuple[bytes, bytes],
    versions: Versions,
) -> AnyEvent:
    try:
        body = _body(header, head, blob, versions)
    except WireError as exc:
        return UnknownEvent(
            head.event_id,
            header.run_id,
            header.writer_id,
            head.seq,
            chain[1],
            head.type,
            head.version,
            exc.reason,
        )
    return Event(
        event_id=head.event_id,
        account=header.account,
        user=header.user,
        run_id=header.run_id,
        writer_id=header.writer_id,
        seq=head.seq,
        prev_hash=chain[0],
        digest=chain[1],
        at_us=head.at_us,
        body=body,
    )


def _body(header: RecordHeader, head: _Head, blob: bytes, versions: Versions) -> Body:
    kind, body = head.type, head.body
    if not versions.is_read(kind, head.version):
        raise WireError(unknown_reason(kind, head.version))
    if head.fault is not None:
        raise WireError(f"invalid_event {kind} {head.fault}")
    if (kind in CATALOG_TYPES) != (header.run_id == NIL_ID):
        raise WireError(f"invalid_event {kind} in the wrong topic")
    if not isinstance(body, dict):
        raise WireError(f"invalid_event {kind} whose body is no object")
    if head.version < versions.newest[kind]:
        body = _newest(kind, head.version, body, versions)
    if kind == "metrics_logged":
        return _metrics(body, blob)
    if blob:
        raise WireError(f"invalid_event {kind} with a blob")
    return _parameters(body) if kind == "parameters_logged" else _checked(kind, body)


def _newest(
    kind: str, version: int, body: dict[str, object], versions: Versions
) -> dict[str, object]:
    """Bring an older body to the newest version; a foreign one may lack what its version has."""
    try:
        return versions.upgraded(kind, version, body)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as exc:
        raise WireError(
            f"invalid_event {kind} of version {version} that cannot be upgraded "
            f"({type(exc).__name__}: {exc})"[:200]
        ) from exc


def _parameters(body: Mapping[str, object]) -> ParametersLogged:
    parameters = body.get("parameters")
    if not isinstance(parameters, dict):
        raise WireError("invalid_event parameters_logged whose parameters are no object")
    return ParametersLogged(cast("dict[str, ParameterValue]", parameters))


def _checked(kind: str, body: Mapping[str, object]) -> Body:
    """Read a body by its dataclass; its ids and numbers must fit the tables."""
    try:
        told = _adapter(kind).validate_json(orjson.dumps(body), strict=True)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise WireError(f"invalid_event {kind}: {where}: {first['msg']}"[:200]) from exc
    if not all(_matches(_ID, one) for one in _ids_of(told)):
        raise WireError(f"invalid_event {kind} with an id that is no lower-case hex")
    if isinstance(told, RunStarted) and not 1 <= told.rules_version <= _RULES_VERSION_MAX:
        raise WireError(f"invalid_event {kind} of rules {told.rules_version}")
    return told


def _ids_of(body: Body) -> Collection[str | None]:
    """Return the ids that a body of the catalog names."""
    match body:
        case ExperimentCreated() | ExperimentDeleted():
            return (body.experiment_id,)
        case RunCreated():
            return (body.run_id, body.experiment_id, body.parent_run_id or NIL_ID)
        case RunDeleted():
            return (body.run_id,)
    return ()


@cache
def _adapter(kind: str) -> pydantic.TypeAdapter[Body]:
    return pydantic.TypeAdapter(EVENT_TYPES[kind])


def _metrics(body: Mapping[str, object], blob: bytes) -> MetricsLogged:
    layouts = body.get("blocks")
    if not isinstance(layouts, list):
        raise WireError("invalid_event metrics_logged whose blocks are no list")
    blocks: list[Block] = []
    offset = 0
    for layout in layouts:
        block, offset = _block(layout, blob, offset)
        blocks.append(block)
    if offset != len(blob):
        raise WireError("invalid_event metrics_logged whose columns have another length")
    return MetricsLogged(tuple(blocks))


def _block(layout: object, blob: bytes, offset: int) -> tuple[Block, int]:
    if not isinstance(layout, dict):
        raise WireError("invalid_event metrics_logged with a block that is no object")
    kind, names, rows = layout.get("kind"), layout.get("names"), layout.get("rows")
    if (
        kind not in ("wide", "long")
        or not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) for name in names)
        or not _is_count(rows)
    ):
        raise WireError("invalid_event metrics_logged with a block without names or rows")
    count = cast("int", rows)
    is_wide = kind == "wide"
    sizes = (
        (count * 8, count * 8, count * 8 * len(names))
        if is_wide
        else (count * 4, count * 8, count * 8, count * 8)
    )
    if offset + sum(sizes) > len(blob):
        raise WireError("invalid_event metrics_logged whose columns are cut")
    columns: list[bytes] = []
    for size in sizes:
        columns.append(blob[offset : offset + size])
        offset += size
    if is_wide:
        if len(set(names)) != len(names):
            raise WireError("invalid_event metrics_logged with a name twice in one block")
        return WideBlock(tuple(names), count, *columns), offset
    if max(memoryview(columns[0]).cast("I")) >= len(names):
        raise WireError("invalid_event metrics_logged with an id beyond its names")
    return LongBlock(tuple(names), count, *columns), offset


def _json_object(raw: bytes, what: str) -> dict[str, object]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise WireError(f"{what} that is no JSON") from exc
    if not isinstance(value, dict):
        raise WireError(f"{what} that is no JSON object")
    return value


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))


def _is_text(value: object, chars_max: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= chars_max and "\0" not in value


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= SEQ_MAX
