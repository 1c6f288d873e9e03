"""Applies batches of one claimed partition: fold, then rows and position in one transaction.

What may happen to a batch
--------------------------
* It commits: the claim moves on, what is known of its runs is kept.
* Another worker has the partition (`FencedError`), or Postgres is away: nothing was written, or it
  is unknown whether it was. Everything remembered is forgotten; the worker starts again from what
  Postgres says.
* Our own fold breaks at a run (`FoldError`): the run is loaded again, folded up to that record, and
  quarantined from there on. The other runs go on.
* The log has lost its end, and another record stands where the last applied one stood (`TailLost`):
  nothing is applied; what comes behind would be, and what came before never.
* Postgres refuses a value that no rule had refused: the batch is halved until the record is found,
  and its run is quarantined in the same way.

Records of a quarantined run are listed in `parked`; their bytes are in the log. Which records are
parked depends on the log alone, so that a replay parks the same ones.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg
import structlog

from trialog_schemas.wire import CATALOG_TOPIC
from trialog_server.project.applied_tails import Pauses, check_applied
from trialog_server.project.decode import Decoded, decode_record, extend_chain
from trialog_server.project.fold_catalog import fold_catalog, load_catalog
from trialog_server.project.fold_runs import Folded, FoldError, fold_run, parked_rows
from trialog_server.project.merge import merge_series
from trialog_server.project.rows import Rows, time_of
from trialog_server.project.runs import KnownRun, RunCache, load_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog_server.log.base import LogRecord
    from trialog_server.postgres.pool import Connection, Pool
    from trialog_server.project.decode import Unreadable
    from trialog_server.project.lease import Claim, Leases
    from trialog_server.project.settings import ProjectionSettings
    from trialog_server.project.telemetry import Telemetry

_log = structlog.get_logger(__name__)

UNSTORABLE = (
    asyncpg.DataError,  # a text with NUL, a number out of range, no uuid
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,  # too long for an index
    ArithmeticError,  # the driver, of a number that does not fit
    TypeError,
    ValueError,
)
"""Errors that a value causes and that would come again with every try."""

CATALOG_RECORDS_MAX = 256
"""Records of one catalog batch: the rules look through a batch's slice for each event."""

REASON_CHARS_MAX = 300

_DECODED_AT_ONCE = 32
"""Records decoded before other tasks of the loop get a turn (about 10 ms)."""


class PartitionProjection:
    """Projects one partition for as long as its claim lasts.

    `fold` turns a run's records into rows; tests that plant a fault have a subclass with another.
    """

    fold = staticmethod(fold_run)

    def __init__(
        self,
        claim: Claim,
        leases: Leases,
        pool: Pool,
        settings: ProjectionSettings,
        telemetry: Telemetry,
    ) -> None:
        self.claim = claim
        self._leases = leases
        self._pool = pool
        self._settings = settings
        self._telemetry = telemetry
        self._cache = RunCache(settings.cached_items_max)
        self._condemned: dict[int, str] = {}
        self._ripe: dict[str, set[str]] = {}
        self.pauses = Pauses()

    @property
    def has_merges(self) -> bool:
        """Whether series wait to have their chunks merged."""
        return bool(self._ripe)

    def forget(self) -> None:
        """Drop what is remembered of runs; the next batch loads it again."""
        self._cache.clear()

    async def apply(self, records: Sequence[LogRecord], partitions: int) -> None:
        """Apply records in order; those that were applied before are left out.

        Raises:
            FencedError: another worker has the partition.
            TailLost: the last record that was applied is another one by now.
            asyncpg.PostgresError, OSError: Postgres cannot take them now.
        """
        for record in records:
            if record.offset == self.claim.next_offset - 1:
                check_applied(self.claim, record)
        fresh = [record for record in records if record.offset >= self.claim.next_offset]
        size = CATALOG_RECORDS_MAX if self._is_catalog else max(len(fresh), 1)
        for start in range(0, len(fresh), size):
            await self._apply_parts(fresh[start : start + size], partitions)
        if fresh:
            self.pauses.note(fresh, time.monotonic())

    @property
    def _is_catalog(self) -> bool:
        return self.claim.partition.topic == CATALOG_TOPIC

    async def _apply_parts(self, records: Sequence[LogRecord], partitions: int) -> None:
        """Apply records at once or, where one of them cannot be stored, in halves."""
        try:
            await self._apply_once(records, partitions)
        except UNSTORABLE as exc:
            self.forget()
            if len(records) == 1:
                self._condemn(records[0], exc)
                await self._apply_once(records, partitions)
                return
            middle = len(records) // 2
            await self._apply_parts(records[:middle], partitions)
            await self._apply_parts(records[middle:], partitions)

    def _condemn(self, record: LogRecord, exc: Exception) -> None:
        self._telemetry.faults += 1
        _log.error(
            "record cannot be stored, its run is quarantined",
            topic=record.partition.topic,
            partition=record.partition.number,
            log_offset=record.offset,
            exc_info=exc,
        )
        self._condemned[record.offset] = _reason("store", exc)

    async def _apply_once(self, records: Sequence[LogRecord], partitions: int) -> None:
        started_s = time.perf_counter()
        claim = self.claim
        decoded: list[Decoded] = []
        unreadable: list[Unreadable] = []
        for count, record in enumerate(records, start=1):
            read = decode_record(record, partitions)
            if isinstance(read, Decoded):
                decoded.append(read)
            else:
                unreadable.append(read)
            if count % _DECODED_AT_ONCE == 0:
                await asyncio.sleep(0)
        chain_before = extend_chain(claim.chain, records[:-1])
        chain = extend_chain(chain_before, records[-1:])
        next_offset = records[-1].offset + 1
        rows = Rows()
        for dead in unreadable:
            rows.add(
                "insert_dead",
                (*claim.partition, dead.log_offset, dead.reason, time_of(dead.at_us)),
            )
        async with self._pool.acquire() as connection:
            fold = self._fold_catalog if self._is_catalog else self._fold_runs
            results, known = await fold(connection, decoded, rows)
            async with connection.transaction():
                await self._leases.advance(connection, claim, next_offset, chain, chain_before)
                await rows.write(connection)
        claim.next_offset, claim.chain, claim.chain_before = next_offset, chain, chain_before
        self._cache.put(known)
        self._condemned.clear()
        self._count(results, len(unreadable), records[-1].at_us, started_s)

    def _count(
        self, results: Sequence[Folded], unreadable: int, at_us: int, started_s: float
    ) -> None:
        telemetry = self._telemetry
        for folded in results:
            folded.count_in(telemetry)
        telemetry.dead += unreadable
        telemetry.batches += 1
        telemetry.batch_seconds += time.perf_counter() - started_s
        place = f"{self.claim.partition.topic}:{self.claim.partition.number}"
        telemetry.next_offsets[place] = self.claim.next_offset
        telemetry.lag_s[place] = max(time.time() - at_us / 1e6, 0.0)

    async def _fold_runs(
        self, connection: Connection, records: Sequence[Decoded], rows: Rows
    ) -> tuple[list[Folded], list[KnownRun]]:
        by_run: dict[str, list[Decoded]] = {}
        for record in records:
            by_run.setdefault(record.header.run_id, []).append(record)
        known = {run_id: self._cache.take(run_id) for run_id in by_run}
        missing = [run_id for run_id, run in known.items() if run is None]
        if missing:
            known.update((run.run_id, run) for run in await load_runs(connection, missing))
        results: list[Folded] = []
        kept: list[KnownRun] = []
        for run_id, of_run in by_run.items():
            run, folded = await self._fold_run(connection, known[run_id], of_run)
            if run.parked_from is not None:
                parked = [one for one in of_run if one.log_offset >= run.parked_from]
                rows.extend(
                    "insert_parked", parked_rows(self.claim.partition, parked, run.parked_reason)
                )
                folded.parked = len(parked)
            rows.absorb(folded.rows)
            if folded.ripe:
                self._ripe.setdefault(run_id, set()).update(folded.ripe)
            results.append(folded)
            kept.append(run)
        return results, kept

    async def _fold_run(
        self, connection: Connection, run: KnownRun | None, records: Sequence[Decoded]
    ) -> tuple[KnownRun, Folded]:
        """Fold a run's records up to the one it is quarantined from."""
        if run is None:
            raise LookupError(f"run {records[0].header.run_id} was neither known nor loaded")
        for record in records:
            if record.log_offset in self._condemned and run.parked_from is None:
                run.parked_from = record.log_offset
                run.parked_reason = self._condemned[record.log_offset]
        good = [
            record
            for record in records
            if run.parked_from is None or record.log_offset < run.parked_from
        ]
        if not good:
            return run, Folded()
        try:
            folded = self.fold(
                run,
                good,
                self.claim.partition,
                merge_chunks_min=self._settings.merge_chunks_min,
            )
        except FoldError as exc:
            self._telemetry.faults += 1
            self._condemned[exc.log_offset] = _reason("fold", exc.__cause__)
            # The second try ends before the record that broke, so this does not go on for ever.
            (again,) = await load_runs(connection, [run.run_id])
            return await self._fold_run(connection, again, records)
        return run, folded

    async def _fold_catalog(
        self, connection: Connection, records: Sequence[Decoded], rows: Rows
    ) -> tuple[list[Folded], list[KnownRun]]:
        """Fold a catalog batch; only the records that break are set aside, not their stream."""
        good = [record for record in records if record.log_offset not in self._condemned]
        catalog = await load_catalog(connection, good)
        try:
            folded = fold_catalog(catalog, good, self.claim.partition)
        except FoldError as exc:
            self._telemetry.faults += 1
            self._condemned[exc.log_offset] = _reason("fold", exc.__cause__)
            return await self._fold_catalog(connection, records, rows)
        rows.absorb(folded.rows)
        for record in records:
            reason = self._condemned.get(record.log_offset)
            if reason is not None:
                rows.extend("insert_parked", parked_rows(self.claim.partition, [record], reason))
                folded.parked += 1
        return [folded], []

    async def merge_one(self) -> None:
        """Merge the small chunks of one run, if any wait for it.

        Raises:
            FencedError: another worker has the partition.
            asyncpg.PostgresError, OSError: Postgres cannot take them now.
        """
        if not self._ripe:
            return
        run_id, names = self._ripe.popitem()
        async with self._pool.acquire() as connection, connection.transaction():
            await self._leases.guard(connection, self.claim)
            merged, left = await merge_series(
                connection, run_id, sorted(names), self._settings.merge_chunks_min
            )
        self._telemetry.merged_chunks += merged
        if left:
            self._ripe[run_id] = set(left)


def _reason(where: str, exc: BaseException | None) -> str:
    """Say in one line why a run is quarantined."""
    text = " ".join(f"{where}: {type(exc).__name__}: {exc}".split())
    return text[:REASON_CHARS_MAX]
