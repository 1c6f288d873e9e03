"""The corpus as files: one for each type and version, of records beside what they say in words."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trialog_schemas.decode import unpack_header, unpack_record
from trialog_schemas.events import LongBlock, MetricsLogged, UnknownEvent
from trialog_schemas.wire import CODEC_ZSTD, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog_schemas.decode import AnyEvent
    from trialog_schemas.events import Block, Body

FOLDER = Path(__file__).with_name("records")


def path_of(kind: str, version: int) -> Path:
    """Return the file of a type and version."""
    return FOLDER / f"{kind}.v{version}.json"


def entries() -> Iterator[tuple[str, dict[str, object]]]:
    """Yield every entry of the corpus with the name of its file."""
    for path in sorted(FOLDER.glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8")):
            yield path.name, entry


def write(path: Path, found: list[dict[str, object]]) -> None:
    """Write a file of the corpus, a field a line, so that a review sees what is new."""
    text = json.dumps(found, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def words_of(record: bytes) -> dict[str, object]:
    """Return what this release reads in a record, as JSON that people can read."""
    header, events = unpack_record(record)
    _, _, codec, _ = PREFIX.unpack_from(record)
    head = asdict(unpack_header(record))
    assert head == asdict(header)
    return {
        "codec": "zstd" if codec == CODEC_ZSTD else "raw",
        "header": {**head, "prev_hash": header.prev_hash.hex()},
        "events": [_event(event) for event in events],
    }


def _event(event: AnyEvent) -> dict[str, object]:
    told: dict[str, object] = {
        "seq": event.seq,
        "event_id": event.event_id,
        "type": event.type,
        "digest": event.digest.hex(),
    }
    if isinstance(event, UnknownEvent):
        return {**told, "reason": event.reason}
    return {**told, "at_us": event.at_us, "body": _body(event.body)}


def _body(body: Body) -> object:
    if isinstance(body, MetricsLogged):
        return [_block(block) for block in body.blocks]
    told: object = json.loads(json.dumps(asdict(body)))  # tuples are lists in JSON
    return told


def _block(block: Block) -> dict[str, object]:
    told: dict[str, object] = {"names": list(block.names), "rows": block.rows}
    if isinstance(block, LongBlock):
        told["ids"] = _column("I", block.ids)
    values = _column("d", block.values)
    told |= {"steps": _column("q", block.steps), "times": _column("q", block.times)}
    return {**told, "values": [_value(value) for value in values]}


def _column(kind: str, column: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(column) // struct.calcsize(kind)}{kind}", column))


def _value(value: float) -> float | str:
    """Return a value; what JSON has no word for as its name and its bits."""
    if math.isfinite(value):
        return value
    return f"{value} {struct.pack('>d', value).hex()}"
