"""What a round plays on: a whole service on real processes, with proxies that can fail.

The embedded log's stage is what one machine has: `trialog up` with its own Postgres. Kafka's is a
cluster in small: a broker and a Postgres of their own, each behind a proxy. Both have a second
worker, and a proxy before the API.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

import trialog
from tests.acceptance.faulty import Faulty
from tests.chaos.plain_log import CATALOG, EVENTS, Entry
from tests.integration.projection_bench import EVERYTHING
from tests.services.blocking import run_blocking
from tests.services.disks import mount_small, unmount
from tests.services.errors import ServiceUnavailableError
from tests.services.kafka import KafkaBroker
from tests.services.postgres import PostgresServer
from tests.services.proxy import Proxy
from tests.services.trialog import ServiceProcess, TrialogService, is_alive, wait_until
from trialog_server.postgres.pool import PoolSettings, open_pool
from trialog_server.project.digests import TABLES

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

POINTS_MAX = 150_000
"""The policy of the runs: a program that fills its run goes beyond it. Training does not, with two
programs that join it."""

PARTITIONS = 4
"""Of the events topic."""

SHARED_TIMEOUT_S = 60.0

DISK_BYTES = 800_000_000
"""Of the disk that Postgres has for itself; what is not written takes no memory."""


_INSERT = """
INSERT INTO trialog.log_records (topic, partition, log_offset, at_us, key, value)
SELECT $1, $2, coalesce(max(log_offset) + 1, 0),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $3, $4
FROM trialog.log_records WHERE topic = $1 AND partition = $2
"""


class ClusterService(TrialogService):
    """`trialog up` on a Postgres that is given, and reached through a proxy."""

    def __init__(self, folder: Path, kafka: str, postgres: PostgresServer, proxy: Proxy) -> None:
        self.postgres = postgres
        parts = urlsplit(postgres.url)
        place = f"{parts.username}:{parts.password}@{proxy.address}"
        self.proxied_url = urlunsplit(parts._replace(netloc=place))
        limit = ("--limit", f"points_max={POINTS_MAX}")
        partitions = ("--events-partitions", str(PARTITIONS))
        super().__init__(folder, *limit, *partitions, "--postgres", self.proxied_url, kafka=kafka)

    @property
    def postgres_pid(self) -> int:
        """The first process of Postgres."""
        return self.postgres.pid

    @property
    def postgres_url(self) -> str:
        """The address of Postgres itself, for looking at its tables."""
        return self.postgres.url

    def end_remains(self) -> None:
        """Leave Postgres to whoever has started it."""


class Stage:
    """A running service with two workers; what is broken is mended by `heal`.

    Args:
        folder: takes what the service keeps.
        log: "embedded" or "kafka".
        has_small_disk: Postgres has one of its own that can be filled, where that can be mounted.
            It is memory: no sync takes time there.
    """

    def __init__(self, folder: Path, log: str, *, has_small_disk: bool = False) -> None:
        self.folder = folder
        self._has_small_disk = has_small_disk
        self.log = log
        self.broker: KafkaBroker | None = None
        self.postgres: PostgresServer | None = None
        self.disk: Path | None = None
        self.proxies: dict[str, Proxy] = {}
        self.extra_workers: list[ServiceProcess] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _open(self, stack: contextlib.ExitStack) -> None:
        kafka = None
        if self.log == "kafka":
            self.broker = stack.enter_context(KafkaBroker())
            proxy = Proxy(self.broker.proxied_address, port=self.broker.proxy_port)
            self.proxies["kafka"] = stack.enter_context(proxy)
            server = PostgresServer()
            self._mount(stack, server.data_dir)
            self.postgres = stack.enter_context(server)
            self.proxies["postgres"] = stack.enter_context(Proxy(self.postgres.address))
            kafka = self.proxies["kafka"].address
            self.service: TrialogService = ClusterService(
                self.folder, kafka, self.postgres, self.proxies["postgres"]
            )
        else:
            limit = ("--limit", f"points_max={POINTS_MAX}")
            self.service = TrialogService(self.folder, *limit)
            self._mount(stack, self.service.data_dir)
        stack.enter_context(self.service)
        host, port = self.service.url.removeprefix("http://").split(":")
        self.proxies["http"] = stack.enter_context(Proxy((host, int(port))))
        self.second = stack.enter_context(self.new_worker())
        stack.callback(self._end_extra_workers)
        self.faulty = Faulty(self.service, self.broker)
        if self.disk is not None:
            # Half of what Postgres may keep of its own log would fill it.
            self.faulty.query("ALTER SYSTEM SET max_wal_size = '96MB'")
            self.faulty.query("SELECT pg_reload_conf()")
        wait_until(self.is_shared, "two workers share the work", SHARED_TIMEOUT_S)

    def _mount(self, stack: contextlib.ExitStack, folder: Path) -> None:
        """Give Postgres a disk of its own, if it shall have one and that can be done."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._has_small_disk and mount_small(folder, DISK_BYTES):
            self.disk = folder
            stack.callback(unmount, folder)

    def _end_extra_workers(self) -> None:
        for worker in self.extra_workers:
            worker.stop()
        self.extra_workers = []

    @property
    def session(self) -> trialog.Session:
        """Where training programs log: through the proxies."""
        proxy = self.proxies["http"]
        url = f"http://{proxy.address}"
        return trialog.Session(url=url, kafka=self.service.kafka, spool_dir=self.folder / "spool")

    def new_worker(self) -> ServiceProcess:
        """Return a worker beside the service's own, not yet started."""
        url = self.service.postgres_url
        if isinstance(self.service, ClusterService):
            url = self.service.proxied_url
        arguments = ["worker", "--until-parent-ends", "--postgres", url]
        if self.service.kafka is not None:
            arguments += ["--kafka", self.service.kafka]
        return ServiceProcess(*arguments)

    def worker_pids(self) -> list[int]:
        """Return the processes of the two workers that are alive."""
        pids = [self.second.pid] if is_running(self.second) else []
        with contextlib.suppress(ServiceUnavailableError, psutil.NoSuchProcess):
            pids.append(self.service.worker_pid)
        return pids

    def is_shared(self) -> bool:
        """Tell whether both workers have partitions."""
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return self.faulty.owners() >= set(self.worker_pids()) and len(self.worker_pids()) > 1
        return False

    def restart_second(self) -> None:
        """Start the second worker again, if it is gone."""
        if not is_running(self.second):
            self.second.kill()
            self.second.launch()

    def is_away(self) -> bool:
        """Tell whether Postgres does not answer."""
        return self._fails("SELECT 1")

    def has_no_room_for_rows(self) -> bool:
        """Tell whether a table cannot grow."""
        return self._fails(
            "CREATE TEMP TABLE more AS SELECT repeat(md5(i::text), 9) FROM "
            "generate_series(1, 9999) AS i"
        )

    def has_no_room_for_changes(self) -> bool:
        """Use up a file of Postgres' own log; tell whether there is no other, which ends it."""
        return self._fails("SELECT pg_switch_wal()")

    def _fails(self, statement: str) -> bool:
        try:
            self.faulty.query(statement)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return True
        return False

    def heal(self) -> None:
        """Mend everything that is broken; what the service mends by itself is waited for."""
        for proxy in self.proxies.values():
            proxy.delay(0.0)
            proxy.resume()
            proxy.accept()
        self._end_extra_workers()
        if self.broker is not None and not self.broker.is_running:
            self.broker.start()
        if self.postgres is not None and not self.postgres.is_running:
            self.postgres.start()
        if not is_running(self.service):
            self.service.kill()
            self.service.start()
        wait_until(lambda: not self.is_away(), "postgres answers", SHARED_TIMEOUT_S)
        self.restart_second()

    def entries(self) -> list[Entry]:
        """Return the whole log, read without the product's reader."""
        if self.broker is not None:
            return run_blocking(_kafka_entries(self.broker.bootstrap))
        rows = self.faulty.query(
            "SELECT topic, partition, log_offset, key, value FROM trialog.log_records"
        )
        return [Entry(*row) for row in rows]

    def positions(self) -> dict[str, int]:
        """Return of each partition how far it is applied."""
        return {
            f"{lease.topic}:{lease.partition}": lease.next_offset
            for lease in self.faulty.leases()
            if lease.next_offset
        }

    def tables(self) -> asyncpg.Record:
        """Return all that the tables hold of the events topic."""

        async def ask() -> asyncpg.Record:
            settings = PoolSettings(search_path="live", connections_max=1)
            async with await open_pool(self.service.postgres_url, settings) as pool:
                row = await pool.fetchrow(EVERYTHING)
            assert row is not None
            return row

        return run_blocking(ask())

    def rows(self) -> dict[str, set[str]]:
        """Return every row of every table with the transaction that wrote it.

        Not the chunks of series: they are merged in quiet times, and hold the same then.
        """
        return {
            table: {
                row["row"]
                for row in self.faulty.query(
                    f"SELECT md5(t.xmin::text || ' ' || t::text) AS row FROM gen_1.{table} AS t"
                )
            }
            for table in TABLES
            if table != "metric_chunks"
        }

    def append(self, number: int, key: str, values: list[bytes]) -> None:
        """Put records into a partition of the events topic as somebody else would: unasked."""
        if self.broker is not None:
            run_blocking(_produce(self.broker.bootstrap, number, key, values))
            return
        for value in values:
            while not self._insert(number, key, value):
                pass

    def _insert(self, number: int, key: str, value: bytes) -> bool:
        """Try to be quicker than the service with the next offset; tell whether that went well."""
        try:
            self.faulty.query(_INSERT, EVENTS, number, key, value)
        except asyncpg.UniqueViolationError:
            return False
        return True

    def applied_ticks(self) -> dict[tuple[str, str], int]:
        """Return by run and mark how many ticks are applied; nothing while Postgres is away."""
        try:
            rows = self.faulty.query(
                "SELECT run_id, name, points FROM live.metric_summaries WHERE name LIKE 'tick%'"
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return {}
        return {
            (row["run_id"].hex, row["name"].removeprefix("tick")): row["points"] for row in rows
        }


def is_running(process: ServiceProcess) -> bool:
    """Tell whether a command still runs."""
    with contextlib.suppress(ServiceUnavailableError):  # it was not started
        return is_alive(process.pid)
    return False


async def _produce(bootstrap: str, number: int, key: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(EVENTS, value, key.encode(), partition=number)


async def _kafka_entries(bootstrap: str) -> list[Entry]:
    places = [TopicPartition(EVENTS, number) for number in range(PARTITIONS)]
    places.append(TopicPartition(CATALOG, 0))
    entries: list[Entry] = []
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="none"
    )
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
        missing = sum(ends.values())
        while len(entries) < missing:
            for place, records in (await consumer.getmany(timeout_ms=2000)).items():
                entries += [
                    Entry(
                        place.topic,
                        place.partition,
                        one.offset,
                        (one.key or b"").decode("utf-8", "replace"),
                        one.value or b"",
                    )
                    for one in records
                    if one.offset < ends[place]
                ]
    finally:
        await consumer.stop()
    return entries
