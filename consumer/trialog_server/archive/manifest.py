"""What an archive says of itself: its segments and what proves them. Must not do I/O.

The manifest is one JSON object, `manifest.json`. A segment is named by where it begins and by its
bytes, so that no name in a manifest leads anywhere else, and two archivers never write one name
with different bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, HASH_BYTES
from trialog_server.log.base import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VERSION: Final = 2
"""The newest version; one that names nothing as superseded is written as version 1, which says all
that it says."""

MANIFEST_NAME: Final = "manifest.json"
SEGMENTS_PREFIX: Final = "segments/"

_HASH = re.compile(rf"[0-9a-f]{{{2 * HASH_BYTES}}}")
_NUMBERS = ("start", "end", "size", "first_at_us", "last_at_us")
_HASHES = ("sha256", "last_sha256", "chain")


@dataclass(frozen=True, slots=True)
class Segment:
    """Some records of one partition in one file.

    Args:
        start: offset of the first record.
        end: offset behind the last one.
        size: bytes of the file.
        sha256: of the file.
        last_sha256: of the last record's value; tells whether a log is the archived one.
        chain: the partition's chain over all records before `end`.
        first_at_us: when the log took the first record.
        last_at_us: when it took the last one.
    """

    start: int
    end: int
    size: int
    sha256: str
    last_sha256: str
    chain: str
    first_at_us: int
    last_at_us: int

    def name_in(self, partition: Partition) -> str:
        """Return the name of its file."""
        return (
            f"{SEGMENTS_PREFIX}{partition.topic}/{partition.number}/"
            f"{self.start:020}-{self.sha256[:32]}.parquet"
        )


@dataclass(frozen=True, slots=True)
class Superseded:
    """A segment that was archived before the log lost its end, and that belongs to no log any more.

    Args:
        partition: whose records are in it.
        segment: it, as it was named before.
        at: when another one was named in its place, by the archiver's clock.
    """

    partition: Partition
    segment: Segment
    at: datetime


@dataclass(frozen=True, slots=True)
class Manifest:
    """An archive's segments; those of a partition follow each other from offset 0 without a hole.

    Args:
        events_partitions: partitions of the events topic.
        segments: of each partition that has any.
        signed_by: the public key whose signature was found right (hex), or None.
        made_at: when it was written, by the archiver's clock; nothing is concluded from it.
        superseded: segments that were named before the log lost its end, in the order in which
            they were given up; their files stay.
    """

    events_partitions: int
    segments: Mapping[Partition, tuple[Segment, ...]] = field(default_factory=dict)
    signed_by: str | None = None
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    superseded: tuple[Superseded, ...] = ()

    @property
    def records(self) -> int:
        """How many records are in the archive."""
        return sum(self.end(partition) for partition in self.segments)

    @property
    def partitions(self) -> list[Partition]:
        """Every partition of the archived log, the catalog first."""
        return [
            Partition(CATALOG_TOPIC, 0),
            *(Partition(EVENTS_TOPIC, number) for number in range(self.events_partitions)),
        ]

    def end(self, partition: Partition) -> int:
        """Return the offset behind the last archived record of a partition."""
        found = self.segments.get(partition)
        return found[-1].end if found else 0

    def chain(self, partition: Partition) -> bytes:
        """Return the chain over a partition's archived records."""
        found = self.segments.get(partition)
        return bytes.fromhex(found[-1].chain) if found else b""

    def chains(self) -> dict[Partition, tuple[int, str]]:
        """Return of each partition how many records are archived, and their chain."""
        return {one: (self.end(one), self.chain(one).hex()) for one in self.partitions}

    def segment_at(self, partition: Partition, offset: int) -> Segment | None:
        """Return the segment that has an offset."""
        for segment in reversed(self.segments.get(partition, ())):
            if segment.start <= offset:
                return segment if offset < segment.end else None
        return None

    def files(self) -> Iterator[tuple[Partition, Segment]]:
        """Yield every segment whose file must be there, superseded ones last."""
        for partition, segments in sorted(self.segments.items()):
            for segment in segments:
                yield partition, segment
        for one in self.superseded:
            yield one.partition, one.segment

    def statement(self) -> bytes:
        """Return the bytes that are signed: JSON with sorted keys and no spaces."""
        superseded = [
            {
                "topic": one.partition.topic,
                "partition": one.partition.number,
                "superseded_at": one.at,
                **asdict(one.segment),
            }
            for one in self.superseded
        ]
        return orjson.dumps(
            {
                "version": VERSION if superseded else 1,
                **({"superseded": superseded} if superseded else {}),
                "made_at": self.made_at,
                "events_partitions": self.events_partitions,
                "partitions": [
                    {
                        "topic": partition.topic,
                        "partition": partition.number,
                        "segments": [asdict(segment) for segment in segments],
                    }
                    for partition, segments in sorted(self.segments.items())
                ],
            },
            option=orjson.OPT_SORT_KEYS,
        )


def pack_manifest(manifest: Manifest, key: Ed25519PrivateKey | None) -> bytes:
    """Return the file of a manifest, signed if there is a key."""
    statement = manifest.statement()
    signature = None
    if key is not None:
        signature = {
            "public_key": key.public_key().public_bytes_raw().hex(),
            "signature": base64.b64encode(key.sign(statement)).decode(),
        }
    return orjson.dumps({"statement": orjson.Fragment(statement), "signed": signature})


def unpack_manifest(content: bytes, url: str) -> Manifest:
    """Return the manifest of a file whose signature, if it has one, is right.

    Raises:
        ValidationError: it is none of this version, or was changed after it was signed.
    """
    try:
        stored = orjson.loads(content)
        _check_version(stored["statement"]["version"], url)
        manifest = _manifest(stored["statement"], stored["signed"])
    except InvalidSignature as exc:
        raise ValidationError(
            f"the manifest of the archive at {url} does not carry the signature of its key: it was "
            "changed after it was signed; take an untouched copy",
            field="archive",
            value=url,
        ) from exc
    except ValidationError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as exc:
        raise ValidationError(
            f"{MANIFEST_NAME} of the archive at {url} is no manifest of version 1 or {VERSION} "
            f"({type(exc).__name__}: {shown(str(exc))}); take an untouched copy of it",
            field="archive",
            value=url,
            limit=VERSION,
        ) from exc
    return manifest


def _check_version(version: object, url: str) -> None:
    if type(version) is int and version > VERSION:
        raise ValidationError(
            f"the archive at {url} is of version {version}, this trialog knows version {VERSION}; "
            "use a newer one",
            field="archive",
            value=version,
            limit=VERSION,
        )


def _manifest(statement: dict[str, object], signed: dict[str, str] | None) -> Manifest:
    partitions = statement["events_partitions"]
    version = statement["version"]
    if type(version) is not int or version < 1 or type(partitions) is not int or partitions < 1:
        raise ValueError(f"version {version!r}, {partitions!r} partitions")
    segments: dict[Partition, tuple[Segment, ...]] = {}
    for one in cast("list[dict[str, object]]", statement["partitions"]):
        partition = Partition(str(one["topic"]), cast("int", one["partition"]))
        found = tuple(map(_segment, cast("list[dict[str, object]]", one["segments"])))
        ends = (0, *(segment.end for segment in found))
        if [segment.start for segment in found] != list(ends[:-1]):
            raise ValueError(f"the segments of {partition} do not follow each other")
        segments[partition] = found
    manifest = Manifest(
        partitions,
        segments,
        None if signed is None else signed["public_key"],
        datetime.fromisoformat(str(statement["made_at"])),
        tuple(map(_superseded, cast("list[dict[str, object]]", statement.get("superseded", [])))),
    )
    named = {*segments, *(one.partition for one in manifest.superseded)}
    if not named <= set(manifest.partitions):
        raise ValueError("a partition that the log does not have")
    if signed is not None:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed["public_key"])).verify(
            base64.b64decode(signed["signature"], validate=True), manifest.statement()
        )
    return manifest


def _superseded(stored: dict[str, object]) -> Superseded:
    partition = Partition(str(stored["topic"]), cast("int", stored["partition"]))
    return Superseded(
        partition, _segment(stored), datetime.fromisoformat(str(stored["superseded_at"]))
    )


def _segment(stored: dict[str, object]) -> Segment:
    numbers = {name: stored[name] for name in _NUMBERS}
    if any(type(number) is not int for number in numbers.values()):
        raise ValueError(f"segment with {numbers!r}")
    hashes = {name: stored[name] for name in _HASHES}
    if not all(isinstance(text, str) and _HASH.fullmatch(text) for text in hashes.values()):
        raise ValueError(f"segment with {hashes!r}")
    segment = Segment(**numbers, **hashes)  # type: ignore[arg-type]  # checked above
    if not 0 <= segment.start < segment.end:
        raise ValueError(f"segment from {segment.start} to {segment.end}")
    return segment
