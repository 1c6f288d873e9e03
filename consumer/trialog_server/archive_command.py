"""What `trialog archive` and `trialog restore` show and say; the work is in `archive`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from trialog.output import echo
from trialog_server.archive.place import open_place
from trialog_server.archive.reading import Archive
from trialog_server.archive.release import release_log
from trialog_server.archive.restore import restore
from trialog_server.archive.supersede import supersede
from trialog_server.archive.write import archive_log
from trialog_server.key_files import private_key_of
from trialog_server.project.generations import rebuilding
from trialog_server.project.verify import live_chains
from trialog_server.rebuild_command import progress
from trialog_server.stores import beside_service
from trialog_server.verify_archive import signed_archive

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trialog_server.log.base import Log, Partition
    from trialog_server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class ArchiveOrder:
    """What `trialog archive` is told beside the addresses.

    Args:
        key: PEM file of the private key that signs the manifest.
        records_max: records of a segment.
        is_released: remove from the log afterwards what is archived.
    """

    key: Path | None
    records_max: int
    is_released: bool


async def run_archive(settings: ServerSettings, order: ArchiveOrder, *, as_json: bool) -> None:
    """Archive the log of a service and say what came of it.

    Args:
        settings: where its data is, and the archive.
        order: what else was told.
        as_json: print one JSON object instead of sentences.
    """
    place = open_place(settings.archive or "")
    key = None if order.key is None else private_key_of(order.key)
    starts: dict[Partition, int] | None = None
    # The log itself: what it has is held against the archive, and not read from that.
    async with beside_service(replace(settings, archive=None)) as (dsn, log):
        with progress("records") as tell:
            done = await archive_log(
                log, place, await live_chains(dsn), tell, key=key, records_max=order.records_max
            )
        if order.is_released:
            starts = await _release(dsn, log, Archive(place))
    if as_json:
        told = {
            "archive": place.url,
            "records": done.manifest.records,
            "new_records": done.records,
            "new_segments": done.segments,
            "new_bytes": done.size,
            "signed_by": done.manifest.signed_by,
            "log_starts": None if starts is None else _places_json(starts, "start"),
        }
        echo(orjson.dumps(told))
        return
    echo(
        f"{place.url}: {done.manifest.records} records, {done.records} of them new in "
        f"{done.segments} segments of {done.size} bytes"
    )
    if starts is not None:
        echo(f"the log keeps what is behind its first {sum(starts.values())} records")


async def _release(dsn: str, log: Log, archive: Archive) -> dict[Partition, int]:
    """Remove from the log what the archive has; no rebuild may want to read it meanwhile."""
    async with rebuilding(dsn):
        applied = {one: position for one, (position, _) in (await live_chains(dsn)).items()}
        with progress("records held against the log") as tell:
            return await release_log(log, archive, applied, tell)


async def run_supersede(settings: ServerSettings, key: Path | None, *, as_json: bool) -> None:
    """Bring a log that has lost its end and its archive together and say what came of it.

    Args:
        settings: where the service's data is, and the archive.
        key: PEM file of the private key that signs the manifest.
        as_json: print one JSON object instead of sentences.
    """
    archive = Archive(open_place(settings.archive or ""))
    signing = None if key is None else private_key_of(key)
    async with beside_service(replace(settings, archive=None)) as (_dsn, log):
        with progress("records held against the log") as tell:
            joined = await supersede(log, archive, tell, key=signing)
    if as_json:
        partitions = [
            {
                "topic": one.partition.topic,
                "partition": one.partition.number,
                "first_offset": one.first_offset,
                "superseded": one.superseded,
                "appended": one.appended,
            }
            for one in joined
        ]
        echo(orjson.dumps({"archive": archive.place.url, "partitions": partitions}))
        return
    for one in joined:
        echo(
            f"{one.partition.topic} partition {one.partition.number}: log and archive differ from "
            f"offset {one.first_offset} on; {one.superseded} archived records are superseded, "
            f"{one.appended} of them were nowhere in the log and are appended to it"
        )
    if joined:
        echo(
            "now have the tables made of this log (`trialog rebuild`), then go on archiving as "
            "before (`trialog archive`)"
        )
    else:
        echo(f"{archive.place.url}: the log has every record of it; nothing is superseded")


async def run_restore(settings: ServerSettings, public_key: Path | None, *, as_json: bool) -> None:
    """Make an embedded service of an archive and say what came of it.

    Args:
        settings: the folder, and the archive.
        public_key: PEM file of the key that must have signed the archive.
        as_json: print one JSON object instead of a sentence.
    """
    archive, manifest = await signed_archive(settings, public_key)
    with progress("records") as tell, progress("records applied") as tell_applied:
        await restore(settings, archive, manifest, (tell, tell_applied))
    if as_json:
        told = {
            "data_dir": str(settings.data_dir),
            "records": manifest.records,
            "partitions": len(manifest.partitions),
            "signed_by": manifest.signed_by,
        }
        echo(orjson.dumps(told))
        return
    echo(
        f"{settings.data_dir}: {manifest.records} records are restored and applied; start it with "
        f"`trialog up --data-dir {settings.data_dir}`, and give it the artifact store of the "
        "service that was archived"
    )


def _places_json(places: Mapping[Partition, int], what: str) -> list[dict[str, object]]:
    return [
        {"topic": one.topic, "partition": one.number, what: offset}
        for one, offset in sorted(places.items())
    ]
