"""What a verification shows and says of an archive; the work is in `archive/check.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from trialog.output import echo
from trialog_schemas.errors import ValidationError
from trialog_server.archive.check import check_archive, left_over
from trialog_server.archive.place import open_place
from trialog_server.archive.reading import Archive
from trialog_server.key_files import public_key_of
from trialog_server.rebuild_command import progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trialog_server.archive.check import Finding
    from trialog_server.archive.manifest import Manifest
    from trialog_server.log.base import Partition
    from trialog_server.settings import ServerSettings


async def run_verify_alone(
    settings: ServerSettings, public_key: Path | None, *, as_json: bool
) -> int:
    """Check an archive by itself and say what was found; return the exit status.

    Args:
        settings: where it is.
        public_key: PEM file of the key that must have signed it.
        as_json: print one JSON object instead of lines.
    """
    archive, manifest = await signed_archive(settings, public_key)
    if not await is_whole(archive, manifest, as_json=as_json):
        return 1
    left = sorted(await left_over(archive, manifest))
    if as_json:
        told = {"is_clean": True, "archive": archive_json(manifest, ()), "left_over": left}
        echo(orjson.dumps(told))
        return 0
    for line in archive_lines(manifest, ()):
        echo(line)
    for name in left:
        echo(f"archive: {name} is in no manifest: an archiver is at work, or has left it over")
    return 0


async def is_whole(archive: Archive, manifest: Manifest, *, as_json: bool) -> bool:
    """Tell whether an archive by itself is whole, and say what is wrong if it is not."""
    with progress("records of the archive") as tell:
        findings = await check_archive(archive, manifest, tell)
    if findings and as_json:
        told = {"is_clean": False, "archive": archive_json(manifest, findings)}
        echo(orjson.dumps(told), status=1)
    elif findings:
        for line in archive_lines(manifest, findings):
            echo(line, status=1)
        echo("not verified: the archive is damaged, and nothing was compared with it", status=1)
    return not findings


async def signed_archive(
    settings: ServerSettings, public_key: Path | None
) -> tuple[Archive, Manifest]:
    """Return an archive with its manifest, signed by that key if one is given.

    Raises:
        ResourceNotFoundError: there is none.
        ValidationError: it is of another version, was changed, or another key has signed it.
        UnavailableError: it cannot be read.
    """
    archive = Archive(open_place(settings.archive or ""))
    manifest = await archive.manifest()
    wanted = manifest.signed_by if public_key is None else public_key_of(public_key)
    if manifest.signed_by != wanted:
        signer = f"key {manifest.signed_by}" if manifest.signed_by else "nobody"
        raise ValidationError(
            f"the archive at {archive.place.url} is signed by {signer}, not by {wanted}; take one "
            "that this key has signed",
            field="archive",
            value=manifest.signed_by,
            limit=wanted,
        )
    return archive, manifest


def archive_lines(
    manifest: Manifest, findings: Sequence[Finding], strange: Sequence[Partition] = ()
) -> Iterator[str]:
    """Say what was found in an archive; `strange` are partitions whose log is another one."""
    for one in findings:
        yield (
            f"archive: {one.partition.topic} partition {one.partition.number}, records {one.start} "
            f"to {one.end - 1}: {one.name} {one.reason}"
        )
    for partition in strange:
        yield (
            f"archive: {partition.topic} partition {partition.number}: its "
            f"{manifest.end(partition)} records are not those of the log"
        )
    if strange:
        yield (
            "archive: where the log has lost its end since it was archived, `trialog archive "
            "--supersede` gives it what only the archive has"
        )
    if manifest.superseded:
        newest = max(one.at for one in manifest.superseded)
        records = sum(one.segment.end - one.segment.start for one in manifest.superseded)
        yield (
            f"archive: {len(manifest.superseded)} segments of {records} records are superseded, "
            f"last at {newest.isoformat(timespec='seconds')}: the log had lost them, in whole or "
            "in part"
        )
    if not findings and not strange:
        segments = sum(len(of_one) for of_one in manifest.segments.values())
        signer = f"key {manifest.signed_by}" if manifest.signed_by else "nobody"
        yield (
            f"archive: {manifest.records} records in {segments} segments are whole and follow each "
            f"other; signed by {signer}"
        )


def archive_json(
    manifest: Manifest, findings: Sequence[Finding], strange: Sequence[Partition] = ()
) -> dict[str, object]:
    """Return the same as JSON."""
    return {
        "records": manifest.records,
        "segments": sum(len(of_one) for of_one in manifest.segments.values()),
        "signed_by": manifest.signed_by,
        "made_at": manifest.made_at,
        "superseded": [
            {
                "topic": one.partition.topic,
                "partition": one.partition.number,
                "start": one.segment.start,
                "end": one.segment.end,
                "name": one.segment.name_in(one.partition),
                "superseded_at": one.at,
            }
            for one in manifest.superseded
        ],
        "findings": [
            {
                "topic": one.partition.topic,
                "partition": one.partition.number,
                "start": one.start,
                "end": one.end,
                "name": one.name,
                "reason": one.reason,
            }
            for one in findings
        ],
        "other_than_log": [{"topic": one.topic, "partition": one.number} for one in strange],
    }
