"""An archive and the log behind it make the tables that the whole log made; on real logs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from tests.integration.log_stores import EmbeddedStore, KafkaStore
from tests.integration.projection_cases import project, projection_pool, wait_applied
from tests.integration.test_projection_rebuild import many_records
from tests.integration.test_projection_rows import mixed_records
from tests.services.postgres import fresh_database
from tests.unit.consumer.archive_cases import bucket, unheard
from tests.unit.consumer.project_writers import RUN
from trialog_schemas.errors import UnavailableError
from trialog_server.archive.archived_log import ArchivedLog
from trialog_server.archive.reading import Archive
from trialog_server.archive.release import release_log
from trialog_server.archive.restore import fill_log
from trialog_server.archive.write import archive_log
from trialog_server.log.base import topic_partitions
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.project.digests import TABLES, TableDigest, table_digest
from trialog_server.project.rebuild import rebuild
from trialog_server.project.verify import live_chains, verify
from trialog_server.read.run_events import run_events

if TYPE_CHECKING:
    from tests.integration.log_stores import LogStore
    from tests.services.kafka import Broker
    from trialog_server.archive.manifest import Manifest
    from trialog_server.archive.place import Place
    from trialog_server.log.base import Log

THE_RUN = ("default", UUID(RUN))

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(90)]


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def store(request: pytest.FixtureRequest, postgres_url: str) -> LogStore:
    """An empty store of each kind that lasts."""
    if request.param == "embedded":
        return EmbeddedStore(postgres_url)
    broker: Broker = request.getfixturevalue("kafka_broker")
    return KafkaStore(broker.bootstrap)


async def digests_of(url: str) -> dict[str, TableDigest]:
    """Return the canonical digest of every live table."""
    connection = await asyncpg.connect(url)
    try:
        schema = await connection.fetchval(
            "SELECT schema_name FROM trialog.generations WHERE status = 'live'"
        )
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {table: await table_digest(connection, schema, table) for table in TABLES}
    finally:
        await connection.close()


async def archived_and_released(log: Log, place: Place, url: str) -> Manifest:
    """Archive everything and remove it from the log; return the manifest."""
    applied = await live_chains(url)
    done = await archive_log(log, place, applied, unheard, records_max=10)
    positions = {one: position for one, (position, _) in applied.items()}
    starts = await release_log(log, Archive(place), positions, unheard)
    assert starts == {one: start for one, (start, _) in (await log.bounds(applied)).items()}
    assert starts == {one: max(done.manifest.end(one) - 1, 0) for one in applied}
    return done.manifest


# K1 K4 K6
async def test_fresh_tables_of_archive_and_tail_equal_the_live_ones(
    store: LogStore, postgres_url: str, postgres_server_url: str
) -> None:
    """The log's beginning is gone: rebuild, verification and an empty database read the archive."""
    place = bucket()
    async with store.open() as log, projection_pool(postgres_url) as pool:
        await log.append([*mixed_records(), *many_records(runs=4)])
        await project(pool, log)
        events = await run_events(pool, log, THE_RUN)
        await archived_and_released(log, place, postgres_url)
        with pytest.raises(UnavailableError, match="give the archive that has it with --archive"):
            await run_events(pool, log, THE_RUN)
        await log.append(many_records(runs=6))
        await project(pool, log)
        before = await digests_of(postgres_url)
        with pytest.raises(UnavailableError, match="give the archive that has it with --archive"):
            await verify(postgres_url, log, unheard)

        whole = ArchivedLog(log, Archive(place))
        assert await run_events(pool, whole, THE_RUN) == events
        assert (await verify(postgres_url, whole, unheard)).is_clean
        await rebuild(postgres_url, whole, unheard)
        assert await digests_of(postgres_url) == before
        with fresh_database(postgres_server_url) as url:
            async with projection_pool(url) as fresh:
                await project(fresh, whole)
                await wait_applied(fresh, whole)
            assert await digests_of(url) == before
            assert await live_chains(url) == await live_chains(postgres_url)


# K4 K6
async def test_restored_log_is_the_archived_one_and_goes_on(
    store: LogStore, postgres_url: str, postgres_server_url: str
) -> None:
    """Offsets, times, keys, bytes and tables are the same; the archive goes on with it."""
    place = bucket()
    async with store.open() as log, projection_pool(postgres_url) as pool:
        await log.append([*mixed_records(), *many_records(runs=4)])
        await project(pool, log)
        records = {
            one: await log.read_at(one, range(end))
            for one, (_, end) in (await log.bounds(topic_partitions(log))).items()
        }
        manifest = await archived_and_released(log, place, postgres_url)
        before, chains = await digests_of(postgres_url), await live_chains(postgres_url)
    with fresh_database(postgres_server_url) as url:
        async with projection_pool(url) as fresh:
            await fill_log(fresh, Archive(place), manifest, unheard)
            restored = await EmbeddedLog.open(fresh)
            for partition, expected in records.items():
                assert await restored.read_at(partition, range(len(expected))) == expected
            await project(fresh, restored)
            assert await digests_of(url) == before
            assert await live_chains(url) == chains
            await restored.append(many_records(runs=2))
            await project(fresh, restored)
            more = await archive_log(restored, place, await live_chains(url), unheard)
            assert more.records == len(many_records(runs=2))
            await restored.close()
