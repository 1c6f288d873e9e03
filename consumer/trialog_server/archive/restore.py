"""Makes an embedded service of an archive: the same records at the same offsets and times.

It is made beside the folder's place and takes that place when it is whole, so that a restore that
is killed leaves nothing that could be taken for a service. Nothing is asked of the log that was
archived; artifacts' bytes are in the artifact store, and are no part of an archive.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg

from trialog_schemas.errors import ResourceInUseError, UnavailableError
from trialog_server.disk import sync_names
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.log.table import LogTable, Row
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.postgres.pool import PoolSettings
from trialog_server.project.generations import live_generation
from trialog_server.project.rebuild import pass_positions, projecting
from trialog_server.project.verify import live_chains
from trialog_server.stores import pool_at, postgres_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trialog_server.archive.manifest import Manifest
    from trialog_server.archive.reading import Archive
    from trialog_server.log.base import LogRecord
    from trialog_server.postgres.pool import Pool
    from trialog_server.settings import ServerSettings

    Progress = Callable[[int, int], None]

STORE_TIMEOUT_S = 60.0
"""How long Postgres may take for the records of one segment."""

_HALF_MADE = "restoring"


async def restore(
    settings: ServerSettings, archive: Archive, manifest: Manifest, tell: tuple[Progress, Progress]
) -> None:
    """Fill the data folder of the settings, which has no service's data yet.

    Args:
        settings: whose folder; held by the caller.
        archive: where the records are.
        manifest: which they are.
        tell: told how many records are in the log, and then in the tables, of how many.

    Raises:
        ResourceInUseError: the folder has data.
        SegmentDamaged: a segment is missing or is not what the manifest says.
        UnavailableError: archive or folder cannot be used.
    """
    folder = settings.data_dir
    if (folder / "postgres").exists():
        raise ResourceInUseError(
            f"{folder} holds a service's data already, and nothing of it is replaced; give an "
            "empty folder with --data-dir",
            field="data_dir",
            value=str(folder),
        )
    half_made = folder / _HALF_MADE
    if half_made.exists():
        _remove(half_made)
    async with (
        postgres_of(replace(settings, data_dir=half_made)) as (dsn, _),
        pool_at(dsn, PoolSettings(application_name="trialog restore")) as pool,
    ):
        await fill_log(pool, archive, manifest, tell[0])
        await _project(dsn, pool, manifest, tell[1])
    (half_made / "postgres").rename(folder / "postgres")
    sync_names(folder)
    shutil.rmtree(half_made, ignore_errors=True)


def _remove(half_made: Path) -> None:
    """Forget a restore that was killed; its Postgres may still run."""
    left = EmbeddedPostgres(half_made / "postgres")
    left.start()
    left.stop()
    shutil.rmtree(half_made)


async def fill_log(pool: Pool, archive: Archive, manifest: Manifest, tell: Progress) -> None:
    """Store an archive's records in the empty embedded log of a migrated database."""
    await (await EmbeddedLog.open(pool, events_partitions=manifest.events_partitions)).close()
    table, done = LogTable(pool, STORE_TIMEOUT_S), 0
    async with table.storing() as connection:
        for partition, segments in sorted(manifest.segments.items()):
            for segment in segments:
                records = await archive.records(partition, segment)
                await table.store(connection, [_row(record) for record in records])
                done += len(records)
                tell(done, manifest.records)


def _row(record: LogRecord) -> Row:
    # Postgres has no text with NUL; a key is the producer's, and no rule reads it.
    key = record.key.replace("\0", "\ufffd")
    return Row(*record.partition, record.offset, record.at_us, key, record.value)


async def _project(dsn: str, pool: Pool, manifest: Manifest, tell: Progress) -> None:
    """Apply the whole log, and see that its chains are those that were archived."""
    ends = {partition: records for partition, (records, _) in manifest.chains().items()}
    log = await EmbeddedLog.open(pool)
    connection = await asyncpg.connect(dsn)
    try:
        live = await live_generation(connection)
        async with projecting(dsn, log, live) as worker:
            await pass_positions(connection, worker, live, ends, tell)
    finally:
        await connection.close()
        await log.close()
    applied = await live_chains(dsn)
    for partition, told in manifest.chains().items():
        if applied.get(partition, (0, "")) != told:
            raise UnavailableError(
                f"the records of {partition.topic}:{partition.number} do not have the chain that "
                "the manifest names; nothing was restored: see what `trialog verify --archive` "
                "finds",
                field="archive",
                value=told[1],
            )
