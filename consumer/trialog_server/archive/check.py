"""Checks an archive by itself: every segment there, whole, unchanged and following the one before.

Needs neither service nor log. What an archive cannot prove of itself, that nobody has made it anew
as a whole, proves its signature, or the log and the tables (`trialog verify`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from trialog_server.archive.manifest import SEGMENTS_PREFIX
from trialog_server.project.decode import extend_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialog_server.archive.manifest import Manifest, Segment
    from trialog_server.archive.place import Place
    from trialog_server.archive.reading import Archive
    from trialog_server.log.base import LogRecord, Partition


class Finding(NamedTuple):
    """A segment that is not what the manifest says, and why."""

    partition: Partition
    start: int
    end: int
    name: str
    reason: str


async def check_archive(
    archive: Archive, manifest: Manifest, on_progress: Callable[[int, int], None]
) -> list[Finding]:
    """Return what is wrong with an archive's segments.

    A segment behind a wrong one is held against what the manifest says of that one, so that each
    is found by itself.

    Raises:
        UnavailableError: the place cannot be used.
    """
    found: list[Finding] = []
    done = 0
    for partition, segments in sorted(manifest.segments.items()):
        chain = b""
        for segment in segments:
            try:
                _check(await archive.read_segment(partition, segment), segment, chain)
            except ValueError as exc:
                name = segment.name_in(partition)
                found.append(Finding(partition, segment.start, segment.end, name, str(exc)))
            chain = bytes.fromhex(segment.chain)
            done += segment.end - segment.start
            on_progress(done, manifest.records)
    for one in manifest.superseded:
        try:
            await archive.read_segment(one.partition, one.segment)
        except ValueError as exc:
            name, segment = one.segment.name_in(one.partition), one.segment
            why = f"{exc} (superseded, no log has it any more)"
            found.append(Finding(one.partition, segment.start, segment.end, name, why))
    return found


async def look_over(place: Place, manifest: Manifest) -> list[Finding]:
    """Return the segments that are not there, or have other sizes; reads none of them.

    Raises:
        UnavailableError: the place cannot be used.
    """
    sizes = await place.sizes(SEGMENTS_PREFIX)
    found: list[Finding] = []
    for partition, segment in manifest.files():
        name = segment.name_in(partition)
        size = sizes.get(name)
        if size != segment.size:
            why = "is missing" if size is None else f"has {size} bytes and had {segment.size}"
            found.append(Finding(partition, segment.start, segment.end, name, why))
    return found


async def left_over(archive: Archive, manifest: Manifest) -> set[str]:
    """Return the names of files that an archiver left which ended early; they do no harm."""
    named = {segment.name_in(partition) for partition, segment in manifest.files()}
    return (await archive.place.sizes(SEGMENTS_PREFIX)).keys() - named


def _check(records: list[LogRecord], segment: Segment, chain: bytes) -> None:
    found = extend_chain(chain, records).hex()
    if found != segment.chain:
        raise ValueError(f"does not follow the one before: its chain is {found}")
    last = records[-1]
    told = (segment.first_at_us, segment.last_at_us, segment.last_sha256)
    if told != (records[0].at_us, last.at_us, hashlib.sha256(last.value).hexdigest()):
        raise ValueError("has other records at its ends than the manifest says")
