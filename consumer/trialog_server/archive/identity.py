"""Tells whether a log is the one that was archived. Writes nothing.

A log is its records: it has no number that outlives its database. What is compared is the last
archived record of each partition, which a release leaves in the log.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_server.log.base import topic_partitions

if TYPE_CHECKING:
    from trialog_server.archive.manifest import Manifest
    from trialog_server.log.base import Log, Partition

    Bounds = dict[Partition, tuple[int, int]]


async def check_same_log(log: Log, manifest: Manifest, url: str) -> Bounds:
    """Return the log's bounds, if it is the one that was archived.

    Args:
        log: the log itself, not one that reads the archive too.
        manifest: of the archive.
        url: where that is, for the errors.

    Raises:
        ValidationError: it is another log.
    """
    check_partitions(log, manifest, url)
    bounds = await log.bounds(manifest.partitions)
    for partition, (start, end) in bounds.items():
        archived, where = manifest.end(partition), f"{partition.topic}:{partition.number}"
        if archived > end:
            raise _parted(url, f"it reaches to {archived} in {where}, the log to {end}")
        if start < archived:
            (record,) = await log.read_at(partition, [archived - 1])
            last = manifest.segments[partition][-1]
            if (record.at_us, hashlib.sha256(record.value).hexdigest()) != (
                last.last_at_us,
                last.last_sha256,
            ):
                raise _parted(url, f"record {archived - 1} of {where} is another one")
    return bounds


def check_partitions(log: Log, manifest: Manifest, url: str) -> None:
    """See that a log has as many partitions as the archived one.

    Raises:
        ValidationError: it is another log.
    """
    partitions = topic_partitions(log)
    if manifest.partitions != partitions:
        raise other_log(
            url, f"it has {len(manifest.partitions)} partitions, the log {len(partitions)}"
        )


async def check_follows(log: Log, manifest: Manifest, url: str) -> dict[Partition, int]:
    """Return where the log ends, if it is the archived one and goes on where the archive ends.

    Raises:
        ValidationError: it is another log.
        UnavailableError: records between archive and log are in neither.
    """
    bounds = await check_same_log(log, manifest, url)
    for partition, (start, _) in bounds.items():
        archived, where = manifest.end(partition), f"{partition.topic}:{partition.number}"
        if start > archived:
            raise UnavailableError(
                f"the log starts at {start} in {where}, the archive at {url} ends at {archived}: "
                "what was between is in neither; give the archive that has it",
                field="archive",
                value=archived,
                limit=start,
            )
    return {partition: end for partition, (_, end) in bounds.items()}


def _parted(url: str, why: str) -> ValidationError:
    return other_log(
        url,
        f"{why} (where this log has lost its end since it was archived, `trialog archive "
        "--supersede` gives it what only the archive has, and has that end where the two differ)",
    )


def other_log(url: str, why: str) -> ValidationError:
    """Return the error for an archive whose records are not the log's."""
    return ValidationError(
        f"the archive at {url} is of another log: {why}; give the address of this log's archive, "
        "or an empty place",
        field="archive",
        value=url,
    )
