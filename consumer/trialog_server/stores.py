"""Opens what a process of the service stands on: a migrated Postgres and the log.

Both are closed again in the reverse order. It must not know what the process does with them.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from trialog.file_lock import FileLock
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError
from trialog_server.log.base import topic_partitions
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.postgres.address import WRONG_ADDRESS, first_use, shown_address
from trialog_server.postgres.embedded import EmbeddedPostgres
from trialog_server.postgres.migrate import has_tables, has_this_version, is_first, migrate
from trialog_server.postgres.pool import PoolSettings, open_pool
from trialog_server.project.generations import live_generation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from trialog_server.archive.reading import Archive
    from trialog_server.log.base import Log
    from trialog_server.log.kafka import KafkaLog
    from trialog_server.postgres.pool import Pool
    from trialog_server.settings import ServerSettings

log = structlog.get_logger("trialog")

POOL_CLOSE_S = 5
"""How long connections in use are waited for when a pool is closed."""


@contextlib.asynccontextmanager
async def open_log(
    settings: ServerSettings, pool: Pool, *, creates: bool = True
) -> AsyncIterator[Log]:
    """Give the log of the settings: Kafka, or the embedded one in this database.

    Where there is an archive, what the log has dropped is read from that. Topics are made where
    they are missing, unless `creates` says that a log must be there.
    """
    opened: Log
    if settings.kafka is None:
        opened = await EmbeddedLog.open(pool, events_partitions=settings.events_partitions)
    else:
        opened = await _open_kafka(settings.kafka, settings.events_partitions, creates=creates)
    if settings.archive is not None:
        from trialog_server.archive.archived_log import ArchivedLog  # noqa: PLC0415

        opened = ArchivedLog(opened, _archive_at(settings.archive))
    try:
        yield opened
    finally:
        await opened.close()


def _archive_at(address: str) -> Archive:
    # A process without an archive starts without what it takes to read one.
    from trialog_server.archive.place import open_place  # noqa: PLC0415
    from trialog_server.archive.reading import Archive  # noqa: PLC0415

    return Archive(open_place(address))


async def _open_kafka(bootstrap: str, events_partitions: int, *, creates: bool) -> KafkaLog:
    # A process on the embedded log starts without what it takes to speak to a broker.
    from trialog_server.log.kafka import KafkaLog  # noqa: PLC0415

    try:
        return await KafkaLog.open(bootstrap, events_partitions=events_partitions, creates=creates)
    except UnavailableError as exc:
        raise UnavailableError(
            f"kafka at {bootstrap} cannot be reached ({exc.__cause__ or exc}); start it, or check "
            "the address in --kafka or TRIALOG_KAFKA",
            field="kafka",
            value=bootstrap,
        ) from exc


async def migrate_address(dsn: str, remedy: str = WRONG_ADDRESS) -> None:
    """Bring the database to this version's tables; the first use of its address."""
    with first_use(dsn, remedy):
        applied = await migrate(dsn)
    # That a new database gets its tables is no news; that data is given others is.
    if applied and not is_first(applied):
        log.info("the database was migrated", migrations=applied)


@contextlib.asynccontextmanager
async def pool_at(dsn: str, settings: PoolSettings) -> AsyncIterator[Pool]:
    """Give a pool of connections to the database."""
    pool = await open_pool(dsn, settings)
    try:
        yield pool
    finally:
        # close() waits for connections in use; a statement that hangs must not keep us.
        try:
            await asyncio.wait_for(pool.close(), POOL_CLOSE_S)
        except TimeoutError:
            pool.terminate()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API stands on."""

    pool: Pool
    dsn: str
    log: Log


@contextlib.asynccontextmanager
async def open_parts(settings: ServerSettings, dsn: str) -> AsyncIterator[Parts]:
    """Give what the API stands on, on a migrated database."""
    pool_settings = PoolSettings(application_name="trialog-api", connections_max=16)
    async with pool_at(dsn, pool_settings) as pool, open_log(settings, pool) as opened:
        yield Parts(pool, dsn, opened)


@contextlib.asynccontextmanager
async def beside_service(settings: ServerSettings) -> AsyncIterator[tuple[str, Log]]:
    """Give database and log of a service to a command, whether the service runs or not.

    An embedded Postgres that is not running is started, and stopped at the end; until then no
    service can start on that data folder.

    Raises:
        UnavailableError: Postgres or the log cannot be reached, the data folder cannot be used, or
            the tables of the service that runs are not those of this version.
        ResourceNotFoundError: that Postgres has no tables of trialog, or that Kafka no log.
    """
    with _folder_in_use(settings.data_dir):
        has_data = (settings.data_dir / "postgres").is_dir()
    if settings.postgres is None and not has_data:
        raise UnavailableError(
            f"no service has kept data in {settings.data_dir}; give its folder with --data-dir, or "
            "the addresses of its Postgres and Kafka",
            field="data_dir",
            value=str(settings.data_dir),
        )
    if settings.archive is not None:
        # A wrong address is said before anything is begun; that there is none yet is no error.
        with contextlib.suppress(ResourceNotFoundError):
            await _archive_at(settings.archive).manifest()
    async with contextlib.AsyncExitStack() as stack:
        lock = FileLock(settings.data_dir / "service.lock")
        with _folder_in_use(settings.data_dir):
            is_served = settings.postgres is None and not lock.take_nowait()
        if is_served:
            dsn = EmbeddedPostgres(settings.data_dir / "postgres").attach()
        else:
            stack.callback(lock.release)
            if settings.postgres is not None:
                await _check_has_tables(settings.postgres)
            dsn, _ = await stack.enter_async_context(postgres_of(settings))
        pool_settings = PoolSettings(application_name="trialog command", connections_max=4)
        pool = await stack.enter_async_context(pool_at(dsn, pool_settings))
        if is_served:
            await _check_tables(pool)
        opened = await stack.enter_async_context(open_log(settings, pool, creates=False))
        await opened.bounds(topic_partitions(opened))  # an archive of another log is said here
        yield dsn, opened


@contextlib.contextmanager
def _folder_in_use(folder: Path) -> Iterator[None]:
    """Turn what a data folder refuses into one sentence."""
    try:
        yield
    except OSError as exc:
        raise UnavailableError(
            f"data folder {folder} cannot be used: {exc.strerror}; give the command as the user of "
            "the service, or another folder with --data-dir",
            field="data_dir",
            value=str(folder),
        ) from exc


async def _check_has_tables(dsn: str) -> None:
    """Refuse a database that is no service's: a command beside one makes no tables there."""
    with first_use(dsn):
        is_known = await has_tables(dsn)
    if not is_known:
        raise ResourceNotFoundError(
            f"there are no trialog tables in postgres at {shown_address(dsn)}; give the address of "
            "the service's Postgres in --postgres or TRIALOG_POSTGRES",
            field="postgres",
            value=shown_address(dsn),
        )


async def _check_tables(pool: Pool) -> None:
    """Refuse tables of another version: a service that runs must not be migrated under its feet."""
    is_ours = await has_this_version(pool, "control", "control") and await has_this_version(
        pool, "read_model", (await live_generation(pool)).schema_name
    )
    if not is_ours:
        raise UnavailableError(
            "the service that runs has not made the tables of this version: it is just starting, "
            "or is of another version; wait until it is ready, or start it again with this one"
        )


@contextlib.asynccontextmanager
async def postgres_of(
    settings: ServerSettings,
) -> AsyncIterator[tuple[str, EmbeddedPostgres | None]]:
    """Give the address of a migrated database, and the embedded Postgres if it is that."""
    if settings.postgres is not None:
        await migrate_address(settings.postgres)
        yield settings.postgres, None
        return
    embedded = EmbeddedPostgres(settings.data_dir / "postgres")
    try:
        dsn = await asyncio.to_thread(embedded.start)
        await migrate_address(dsn, "make room on that folder's disk, or look at its file log")
        yield dsn, embedded
    finally:
        await asyncio.to_thread(embedded.stop)
