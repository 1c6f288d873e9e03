"""Records of every version of every event type: what was written once is read alike for good.

A test that fails here says that this release breaks with what lies in somebody's log. The corpus
only grows: `python -m tests.corpus.record` adds what is missing, and touches no record.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pytest
import zstandard

from tests.corpus.cases import AT_US, CASES, RUN
from tests.corpus.record import packed
from tests.corpus.recorded import entries, path_of, words_of
from trialog_schemas import versions
from trialog_schemas.decode import unpack_record
from trialog_schemas.events import (
    EVENT_TYPES,
    TYPE_NAMES,
    ArtifactLogged,
    Event,
    RunCreated,
    RunEnded,
    TagsSet,
    UnknownEvent,
)
from trialog_schemas.wire import (
    CODEC_ZSTD,
    PREFIX,
    encode_event,
    encode_raw_event,
    head_start,
    pack_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES: dict[str, dict[str, Any]] = {
    f"{file}: {entry['case']}": entry for file, entry in entries()
}


def payload_of(record: bytes) -> tuple[bytes, bytes]:
    """Return what stands before a record's payload, and the payload as it was before zstd.

    What zstd makes of a payload depends on its release.
    """
    _, _, codec, head_bytes = PREFIX.unpack_from(record)
    cut = PREFIX.size + head_bytes
    payload = record[cut:]
    if codec == CODEC_ZSTD:
        payload = zstandard.ZstdDecompressor().decompress(payload)
    return record[:cut], payload


def events_read() -> Iterator[dict[str, Any]]:
    """Yield every event of the corpus as it is pinned."""
    for entry in ENTRIES.values():
        yield from entry["reads"]["events"]


def told(kind: str, field: str) -> set[object]:
    """Return the values that a field has in the events of a type."""
    return {event["body"][field] for event in events_read() if event["type"] == kind}


@pytest.mark.parametrize("name", ENTRIES)
def test_recorded_bytes_are_read_as_they_are_pinned(name: str) -> None:
    """Header, chain, envelope and body; values to the bit, NaN and infinities by their bits."""
    entry: dict[str, Any] = ENTRIES[name]
    assert words_of(bytes.fromhex(entry["record"])) == entry["reads"]


@pytest.mark.parametrize("name", ENTRIES)
def test_this_release_writes_what_is_recorded_of_its_versions(name: str) -> None:
    """Events written again in the newest version give the same bytes, in the same record."""
    entry: dict[str, Any] = ENTRIES[name]
    record = bytes.fromhex(entry["record"])
    header, events = unpack_record(record)
    known = [event for event in events if isinstance(event, Event)]
    if len(known) < len(events) or not is_newest(record):
        return
    again = pack_record(
        header,
        [encode_event(event.seq, event.event_id, event.at_us, event.body) for event in known],
    )
    assert payload_of(again) == payload_of(record)


def is_newest(record: bytes) -> bool:
    """Tell whether each event of a record is of the version that this release writes."""
    _, payload = payload_of(record)
    heads = []
    while payload:
        head_bytes, blob_bytes = struct.unpack_from("<II", payload)
        heads.append(json.loads(payload[8 : 8 + head_bytes]))
        payload = payload[8 + head_bytes + blob_bytes :]
    return all(head["v"] == versions.EVENT_VERSIONS.get(head["type"]) for head in heads)


def test_every_type_is_recorded_in_every_version_so_far() -> None:
    """A version without a record could be read wrongly and nobody would know."""
    for kind, newest in versions.EVENT_VERSIONS.items():
        for version in range(1, newest + 1):
            recorded = [name for name in ENTRIES if name.startswith(f"{kind}.v{version}.json: ")]
            assert recorded, f"run `python -m tests.corpus.record` for {kind} {version}"
    assert set(versions.EVENT_VERSIONS) == set(EVENT_TYPES)


def test_every_case_is_recorded_in_its_newest_version() -> None:
    """What the recorder has to add was added."""
    for case, bodies in CASES.items():
        kind = TYPE_NAMES[type(bodies[0])]
        assert f"{path_of(kind, versions.EVENT_VERSIONS[kind]).name}: {case}" in ENTRIES


def test_corpus_has_each_form_that_a_reader_must_know() -> None:
    """Both codecs, both kinds of blocks, no number and no step, each word of a closed list."""
    readings: list[dict[str, Any]] = [entry["reads"] for entry in ENTRIES.values()]
    assert {reading["codec"] for reading in readings} == {"raw", "zstd"}
    blocks = [
        block for event in events_read() if event["type"] == "metrics_logged"
        for block in event["body"]
    ]  # fmt: skip
    assert {"ids" in block for block in blocks} == {True, False}
    values = {value for block in blocks for value in block["values"]}
    assert {"nan 7ff8000000000000", "nan fff8000000000001"} < values
    assert {"inf 7ff0000000000000", "-inf fff0000000000000"} < values
    assert -1 in {step for block in blocks for step in block["steps"]}
    for kind, body, field in (
        ("run_created", RunCreated, "if_taken"),
        ("artifact_logged", ArtifactLogged, "kind"),
        ("run_ended", RunEnded, "status"),
    ):
        assert told(kind, field) == set(get_args(get_type_hints(body)[field]))
    assert [event["reason"] for event in events_read() if "reason" in event] == [
        "unknown_event run_teleported of version 7"
    ]


def test_every_older_version_has_a_way_to_the_next() -> None:
    """No version between is missing, and none is upgraded beyond the newest."""
    steps = {
        (kind, version)
        for kind, newest in versions.EVENT_VERSIONS.items()
        for version in range(1, newest)
    }
    assert set(versions.UPGRADES) == steps


def _joined(body: dict[str, Any]) -> dict[str, object]:
    return {"tags": body["tags"], "gone": body["removed"]}


def _renamed(body: dict[str, Any]) -> dict[str, object]:
    return {"tags": body["tags"], "removed": [str(one) for one in body["gone"]]}


TOMORROW = versions.Versions(
    {**versions.EVENT_VERSIONS, "tags_set": 3},
    {("tags_set", 1): _joined, ("tags_set", 2): _renamed},
)
"""A release in which `tags_set` is of version 3: once with another name for a field, once back."""


def tagged(version: int, body: bytes) -> UnknownEvent | Event:
    """Return what the release of tomorrow reads of a record with one `tags_set` of a version."""
    start = head_start(1, "ab" * 16, ("tags_set", version), AT_US)
    (event,) = unpack_record(packed(RUN, [encode_raw_event(start, body)]), TOMORROW)[1]
    return event


def test_older_event_is_upgraded_step_by_step_and_keeps_its_bytes() -> None:
    """The rules see the newest body; place, chain and envelope are those of what was written."""
    first = tagged(1, b'{"tags":{"a":"b"},"removed":["c"]}')
    second = tagged(2, b'{"tags":{"a":"b"},"gone":["c"]}')
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.body == second.body == TagsSet({"a": "b"}, ("c",))
    assert first.digest != second.digest
    recorded = bytes.fromhex(ENTRIES["tags_set.v1.json: tags"]["record"])
    (today,), (later,) = unpack_record(recorded)[1], unpack_record(recorded, TOMORROW)[1]
    assert today == later


@pytest.mark.parametrize(
    ("version", "body", "reason"),
    [
        (4, b"{}", "unknown_event tags_set of version 4"),
        (1, b"{}", "invalid_event tags_set of version 1 that cannot be upgraded (KeyError: 'tags'"),
        (2, b'{"tags":{},"gone":7}', "invalid_event tags_set of version 2 that cannot be upgraded"),
        (2, b'{"tags":[],"gone":[]}', "invalid_event tags_set: tags: "),
        (1, b"[]", "invalid_event tags_set whose body is no object"),
    ],
)
def test_older_event_of_a_foreign_producer_that_lacks_something_is_listed(
    version: int, body: bytes, reason: str
) -> None:
    """An upgrade that breaks at it raises nothing; a version beyond the newest stays unknown."""
    event = tagged(version, body)
    assert isinstance(event, UnknownEvent)
    assert event.reason.startswith(reason)
    assert (event.seq, event.version) == (1, version)


def test_what_other_releases_listed_is_known_by_its_reason() -> None:
    """The reasons that are looked for are those that a release without the version gives."""
    reasons = TOMORROW.reasons()
    (event,) = unpack_record(
        packed(RUN, [encode_raw_event(head_start(1, "ab" * 16, ("tags_set", 3), AT_US), b"{}")])
    )[1]
    assert isinstance(event, UnknownEvent)
    assert event.reason in reasons
    assert "unknown_event tags_set of version 4" not in reasons
    assert len(reasons) == len(EVENT_TYPES) + 2
