"""The projection worker: claims partitions, fetches their records, has them applied.

One loop does everything, one step after the other: it looks after its leases when that is due,
tells the reader what to read, fetches, applies each partition's records in a transaction of its
own (partitions side by side), and merges small chunks in what time is left.

When Postgres or the log is away the loop waits, a little longer each time, and then starts again
from the positions that Postgres has. Nothing is ever skipped. When the log has lost an offset, that
partition stands still, loudly, and the others go on.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import structlog

from trialog_schemas.errors import UnavailableError
from trialog_server.log.base import OffsetMissing, topic_partitions
from trialog_server.postgres.pool import POSTGRES_AWAY
from trialog_server.project.applied_tails import TailLost, check_seen
from trialog_server.project.lease import FencedError, Leases
from trialog_server.project.partition import PartitionProjection
from trialog_server.project.settings import ProjectionSettings
from trialog_server.project.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from trialog_server.log.base import Log, LogReader, LogRecord, Partition
    from trialog_server.postgres.pool import Pool

_log = structlog.get_logger(__name__)

FAULTS: tuple[type[Exception], ...] = (
    *POSTGRES_AWAY,
    asyncpg.PostgresError,
    UnavailableError,
)
"""What passes: the loop waits and tries again."""

_FIRST_BACKOFF_S = 0.05


class Worker:
    """Projects its share of the partitions until it is told to stop.

    Args:
        pool: connections whose search_path is the generation's schema; at least two.
        log: where the records are.
        settings: durations and sizes.
    """

    def __init__(self, pool: Pool, log: Log, settings: ProjectionSettings | None = None) -> None:
        self.telemetry = Telemetry()
        self._pool = pool
        self._log = log
        self._settings = settings or ProjectionSettings()
        self._leases = Leases(pool, self._settings, topic_partitions(log))
        self._projections: dict[Partition, PartitionProjection] = {}
        self._stopped: set[Partition] = set()
        self._is_lost = True
        self._is_assigned = False
        self._looking: asyncio.Task[None] | None = None
        self._looked_at: Partition | None = None
        self._look_at_s = time.monotonic() + self._settings.look_back_s
        self._tend_at_s = 0.0
        self._backoff_s = 0.0

    @property
    def owner(self) -> str:
        """The name under which this worker holds its leases."""
        return self._leases.owner

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then free the partitions at once."""
        reader = self._log.reader()
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._try_round(reader, stopping)
        finally:
            stopping.cancel()
            if self._looking is not None:
                self._looking.cancel()
                await asyncio.gather(self._looking, return_exceptions=True)
            await reader.close()
            # Where Postgres is away the leases end by themselves in the same time.
            with suppress(*FAULTS):
                async with asyncio.timeout(self._settings.lease_s):
                    await self._leases.leave()

    async def _try_round(self, reader: LogReader, stopping: asyncio.Task[bool]) -> None:
        try:
            await self._round(reader, stopping)
        except TailLost as exc:
            self._stop_partition(exc)
        except OffsetMissing as exc:
            # A position that is beyond the end was read up to: no archive has what is missing.
            is_behind = exc.offset <= exc.end
            self._stop_partition(exc if is_behind else TailLost(exc.partition, exc.offset, exc.end))
        except FAULTS as exc:
            if self._backoff_s == 0:
                _log.warning("projection waits and tries again", cause=repr(exc))
            self.telemetry.retries += 1
            # It is unknown how far Postgres is: ask, once it answers.
            self._is_lost = True
            self._backoff_s = min(
                max(self._backoff_s * 2, _FIRST_BACKOFF_S), self._settings.backoff_s_max
            )
            await asyncio.wait({stopping}, timeout=self._backoff_s)
        else:
            if self._backoff_s:
                _log.info("projection goes on")
            self._backoff_s = 0.0

    async def _round(self, reader: LogReader, stopping: asyncio.Task[bool]) -> None:
        if self._is_lost:
            await self._find_position()
        if time.monotonic() >= self._tend_at_s:
            await self._tend()
        self._look_back()
        found = await self._fetch(reader, stopping)
        await _side_by_side(
            self._apply(self._projections[partition], records)
            for partition, records in found.items()
            if partition in self._projections
        )
        # Merging is for quiet times; under load each partition gets one merge a round.
        await _side_by_side(
            self._guarded(projection, projection.merge_one())
            for projection in list(self._projections.values())
            if projection.has_merges
        )

    async def _find_position(self) -> None:
        """Take the positions from Postgres, after a fault or at the start."""
        await self._leases.declare()
        for partition, projection in list(self._projections.items()):
            projection.forget()
            before = projection.claim.next_offset
            if not await self._leases.reread(projection.claim):
                self._drop(partition)
            elif projection.claim.next_offset != before:
                self._resume(partition)
        self._is_lost = self._is_assigned = False

    async def _tend(self) -> None:
        await self._leases.tend()
        self._follow_claims()
        settings = self._settings
        wait_s = settings.claim_retry_s if self._leases.is_short else settings.renew_s
        self._tend_at_s = time.monotonic() + wait_s

    def _look_back(self) -> None:
        """Have records of one partition looked at once more, each time of the next one.

        Raises:
            TailLost: of one that was looked at: what was applied is another record now, or none.
        """
        if self._looking is not None and self._looking.done():
            looking, self._looking = self._looking, None
            looking.result()
        going = [one for one in sorted(self._projections) if one not in self._stopped]
        if not going or self._looking is not None or time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + self._settings.look_back_s
        later = [one for one in going if self._looked_at is None or one > self._looked_at]
        self._looked_at = (later or going)[0]
        pauses = self._projections[self._looked_at].pauses
        self._looking = asyncio.create_task(check_seen(self._log, self._looked_at, pauses))

    def _follow_claims(self) -> None:
        """Have a projection for each claim and no other.

        Looked at as a whole, because the connection may be lost in the middle of a `tend`: what was
        claimed before that must not stay without a projection for as long as this worker lives.
        """
        claims = self._leases.claims
        for partition in self._projections.keys() - claims.keys():
            self._drop(partition)
        for partition, claim in claims.items():
            known = self._projections.get(partition)
            if known is None or known.claim is not claim:
                self._projections[partition] = PartitionProjection(
                    claim, self._leases, self._pool, self._settings, self.telemetry
                )
                self._resume(partition)

    async def _assign(self, reader: LogReader) -> None:
        """Have the reader begin at the last record that was applied: that is looked at once more.

        Raises:
            TailLost: the log ends before it.
        """
        positions = {
            partition: projection.claim.next_offset
            for partition, projection in self._projections.items()
            if partition not in self._stopped
        }
        bounds = await self._log.bounds(list(positions)) if positions else {}
        for partition, (start, end) in bounds.items():
            if positions[partition] > end:
                raise TailLost(partition, positions[partition], end)
            if start < positions[partition]:
                positions[partition] -= 1
        reader.assign(positions)
        self._is_assigned = True

    async def _fetch(
        self, reader: LogReader, stopping: asyncio.Task[bool]
    ) -> dict[Partition, list[LogRecord]]:
        """Wait for records, until the leases are due again or the worker shall stop."""
        wait_s = max(self._tend_at_s - time.monotonic(), 0.0)
        if any(projection.has_merges for projection in self._projections.values()):
            wait_s = 0.0
        if not self._projections:
            await asyncio.wait({stopping}, timeout=wait_s)
            return {}
        fetching = asyncio.create_task(self._read(reader, wait_s))
        try:
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return fetching.result() if fetching.done() else {}
        finally:
            if not fetching.done():
                fetching.cancel()
                await asyncio.wait({fetching})

    async def _read(self, reader: LogReader, wait_s: float) -> dict[Partition, list[LogRecord]]:
        if not self._is_assigned:
            await self._assign(reader)
        return await reader.fetch(bytes_max=self._settings.batch_bytes_max, wait_s=wait_s)

    async def _apply(self, projection: PartitionProjection, records: list[LogRecord]) -> None:
        partitions = self._log.partition_count(projection.claim.partition.topic)
        await self._guarded(projection, projection.apply(records, partitions))

    async def _guarded(
        self, projection: PartitionProjection, work: Coroutine[object, object, None]
    ) -> None:
        """Do some work of a partition; when that is fenced, ask whose it is and where it stands."""
        try:
            await work
        except FencedError:
            partition = projection.claim.partition
            self.telemetry.fenced += 1
            _log.warning(
                "partition has another owner, or stands elsewhere since a crash of postgres",
                topic=partition.topic,
                partition=partition.number,
            )
            self._is_lost = True

    def _drop(self, partition: Partition) -> None:
        self._projections.pop(partition, None)
        self._resume(partition)

    def _resume(self, partition: Partition) -> None:
        """Have it read from its claim's position: another one than that where it stood still."""
        self._stopped.discard(partition)
        self.telemetry.stopped.pop(f"{partition.topic}:{partition.number}", None)
        self._is_assigned = False

    def _stop_partition(self, exc: OffsetMissing) -> None:
        """Stand still where data was lost. The lease stays, so that no other worker takes over."""
        _log.error("partition stands still, the log has lost data", cause=str(exc))
        self._stopped.add(exc.partition)
        self.telemetry.stopped[f"{exc.partition.topic}:{exc.partition.number}"] = str(exc)
        self._is_assigned = False


async def _side_by_side(works: Iterable[Coroutine[object, object, None]]) -> None:
    """Do several works at once; when all have ended, raise the first error of any."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if result is not None:
            raise result
