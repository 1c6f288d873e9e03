"""The manifest of an archive: what it says comes back, and what it must not say is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trialog_schemas.errors import ValidationError
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.archive.manifest import Manifest, Segment, pack_manifest, unpack_manifest
from trialog_server.log.base import Partition

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "/backups/archive"
EVENTS = Partition(EVENTS_TOPIC, 1)


def segment(start: int, end: int) -> Segment:
    """Return a segment with hashes of its own."""
    return Segment(start, end, 1000, f"{end:064x}", "ab" * 32, f"{end + 1:064x}", 5, 7)


MANIFEST = Manifest(
    2,
    {
        Partition(CATALOG_TOPIC, 0): (segment(0, 3),),
        EVENTS: (segment(0, 10), segment(10, 11), segment(11, 40)),
    },
)


@pytest.mark.parametrize("key", [None, Ed25519PrivateKey.generate()], ids=["unsigned", "signed"])
def test_manifest_comes_back_as_it_was(key: Ed25519PrivateKey | None) -> None:
    """Everything is read back, with the key that has signed it."""
    read = unpack_manifest(pack_manifest(MANIFEST, key), URL)
    signer = None if key is None else key.public_key().public_bytes_raw().hex()
    assert read == replace(MANIFEST, signed_by=signer)
    assert read.records == 43
    assert read.chains() == {
        Partition(CATALOG_TOPIC, 0): (3, f"{4:064x}"),
        Partition(EVENTS_TOPIC, 0): (0, ""),
        EVENTS: (40, f"{41:064x}"),
    }


@pytest.mark.parametrize(
    ("offset", "start"), [(-1, None), (0, 0), (9, 0), (10, 10), (11, 11), (39, 11), (40, None)]
)
def test_segment_is_found_by_an_offset(offset: int, start: int | None) -> None:
    """The one segment that has an offset is found, and none outside."""
    found = MANIFEST.segment_at(EVENTS, offset)
    assert (None if found is None else found.start) == start
    assert MANIFEST.segment_at(Partition(EVENTS_TOPIC, 0), offset) is None


def test_name_of_a_segment_sorts_by_offset_and_tells_its_bytes() -> None:
    """A listing is in order; other bytes have another name."""
    names = [one.name_in(EVENTS) for one in MANIFEST.segments[EVENTS]]
    assert names == sorted(names)
    assert names[1] == (f"segments/{EVENTS_TOPIC}/1/00000000000000000010-{'0' * 32}.parquet")
    other = replace(segment(10, 11), sha256="f" * 64)
    assert other.name_in(EVENTS) != names[1]


def edited(edit: Callable[[dict[str, object]], object]) -> bytes:
    """Return an unsigned manifest after an edit of its statement."""
    stored = orjson.loads(pack_manifest(MANIFEST, None))
    edit(stored["statement"])
    return orjson.dumps(stored)


def part(statement: dict[str, object], number: int = 1) -> dict[str, object]:
    """Return the first segment of a partition in a statement."""
    found: dict[str, object] = statement["partitions"][number]["segments"][0]  # type: ignore[index]
    return found


BAD = {
    "no JSON": b"{",
    "no object": b"[]",
    "another document": b"{}",
    "no version": edited(lambda one: one.pop("version")),
    "an older version": edited(lambda one: one.update(version=0)),
    "a version that is no number": edited(lambda one: one.update(version="1")),
    "no partitions": edited(lambda one: one.update(events_partitions=0)),
    "a partition too many": edited(lambda one: one.update(events_partitions=1)),
    "a topic that leads elsewhere": edited(
        lambda one: one["partitions"][1].update(topic="../../etc")  # type: ignore[index]
    ),
    "a partition that is no number": edited(
        lambda one: one["partitions"][1].update(partition="../1")  # type: ignore[index]
    ),
    "a hash that leads elsewhere": edited(lambda one: part(one).update(sha256="../" * 21 + "a")),
    "a hole": edited(lambda one: part(one).update(end=9)),
    "records twice": edited(lambda one: part(one).update(end=11)),
    "a beginning that is missing": edited(lambda one: part(one).update(start=1)),
    "an empty segment": edited(lambda one: part(one, 0).update(end=0)),
    "a size that is none": edited(lambda one: part(one).update(size=None)),
    "a signature that is none": pack_manifest(MANIFEST, None).replace(b"null", b'{"a":1}'),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_manifest_is_refused_with_one_sentence(what: str) -> None:
    """Whatever is wrong is a typed error that names the archive, never a trace."""
    with pytest.raises(ValidationError, match="is no manifest of version 1") as caught:
        unpack_manifest(BAD[what], URL)
    assert URL in caught.value.message
    assert "\n" not in caught.value.message


def test_manifest_of_a_later_version_asks_for_a_newer_trialog() -> None:
    """A format that is not known yet is not taken for a damaged one."""
    with pytest.raises(ValidationError, match="is of version 3, this trialog knows version 2"):
        unpack_manifest(edited(lambda one: one.update(version=3)), URL)


# K6
def test_signed_manifest_that_was_edited_is_refused() -> None:
    """Every number and hash is under the signature, the time too."""
    content = pack_manifest(MANIFEST, Ed25519PrivateKey.generate())
    for old, new in ((b'"size":1000', b'"size":1001'), (b'"first_at_us":5', b'"first_at_us":6')):
        assert old in content
        with pytest.raises(ValidationError, match="does not carry the signature of its key"):
            unpack_manifest(content.replace(old, new), URL)
