"""Adds to the corpus what is missing in it; what is recorded stays.

    python -m tests.corpus.record

Of each case that no file has, the record is written in the versions of today. Where a type has got
a newer version, what its older records are read as is another thing than before: that is pinned
anew, beside bytes that stay, and named, because somebody must look at it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.corpus.cases import AT_US, CASES, RUN
from tests.corpus.recorded import entries, path_of, words_of, write
from trialog_schemas.events import NIL_ID, TYPE_NAMES
from trialog_schemas.versions import EVENT_VERSIONS
from trialog_schemas.wire import (
    CATALOG_TOPIC,
    RecordHeader,
    encode_event,
    encode_raw_event,
    event_id_for,
    first_hash,
    head_start,
    pack_record,
    topic_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog_schemas.events import Body

UNKNOWN = "run_teleported", 7
"""A type and version that no release will ever write."""

ACCOUNT, USER, WRITER = "default", "ada@forge", "0190" + "cc" * 14


def main() -> None:
    """Add the missing cases, and pin anew how older versions are read."""
    known = {(file, entry["case"]) for file, entry in entries()}
    for case, bodies in CASES.items():
        kind = TYPE_NAMES[type(bodies[0])]
        if (path_of(kind, EVENT_VERSIONS[kind]).name, case) not in known:
            _add(kind, EVENT_VERSIONS[kind], case, record_of(bodies))
    if not path_of(*UNKNOWN).exists():
        start = head_start(1, event_id_for(WRITER, 1, AT_US), UNKNOWN, AT_US)
        record = packed(RUN, [encode_raw_event(start, b'{"to":"mars"}')])
        _add(*UNKNOWN, "what no release knows", record)
    for kind, newest in EVENT_VERSIONS.items():
        for version in range(1, newest):
            _pin_anew(kind, version)


def record_of(bodies: Sequence[Body]) -> bytes:
    """Return the record that this release writes of some events."""
    run_id = NIL_ID if topic_for(bodies[0]) == CATALOG_TOPIC else RUN
    events = [
        encode_event(seq, event_id_for(WRITER, seq, AT_US + seq), AT_US + seq, body)
        for seq, body in enumerate(bodies, start=1)
    ]
    return packed(run_id, events)


def packed(run_id: str, events: list[bytes]) -> bytes:
    """Return a record of events that are bytes already, by the writer of the corpus."""
    start = first_hash(ACCOUNT, USER, run_id, WRITER)
    return pack_record(RecordHeader(ACCOUNT, USER, run_id, WRITER, 1, len(events), start), events)


def _add(kind: str, version: int, case: str, record: bytes) -> None:
    path = path_of(kind, version)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    write(path, [*found, {"case": case, "record": record.hex(), "reads": words_of(record)}])
    print(f"{path.name}: {case} is new")


def _pin_anew(kind: str, version: int) -> None:
    path = path_of(kind, version)
    found = json.loads(path.read_text(encoding="utf-8"))
    for entry in found:
        reads = words_of(bytes.fromhex(entry["record"]))
        if reads != entry["reads"]:
            entry["reads"] = reads
            print(f"{path.name}: {entry['case']} is read otherwise; look at the difference")
    write(path, found)


if __name__ == "__main__":
    main()
