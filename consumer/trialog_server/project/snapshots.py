"""Snapshots: tables that hold a part of the log up to a moment, made when somebody asks about then.

A snapshot is a generation of its own, filled by the ordinary fold: the catalog up to the moment,
and of the events those of the runs that are asked about, which the live tables know the places of.
So it answers as a service would that had stopped there. Where there is an older one that has a part
of it, it begins with a copy of that (`snapshot_start.py`).

Whatever process is asked first makes it and keeps the word every second; others wait for it. Where
that process dies, the word runs out and the next one begins anew. A few are kept, the ones asked
last; none is dropped while a question looks at it. When other tables become the live ones, those
that are there and those that are being made are void (`void_snapshots.sql`): nobody finds them.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import asyncpg
import structlog

from trialog_schemas.errors import SnapshotPendingError, UnavailableError
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.postgres.migrate import apply_read_model
from trialog_server.postgres.pool import OneConnection, postgres_away
from trialog_server.postgres.queries import load_query
from trialog_server.project.generations import Generation, is_reached, read_positions
from trialog_server.project.log_picked import LogPicked
from trialog_server.project.rebuild import projecting
from trialog_server.project.settings import ProjectionSettings
from trialog_server.project.snapshot_start import RunRecords, copy_nearest, tables_version
from trialog_server.project.worker import FAULTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialog_server.log.base import Log
    from trialog_server.log.moments import Moment
    from trialog_server.postgres.pool import Connection, Pool

_log = structlog.get_logger(__name__)

SNAPSHOTS_MAX = 16
"""Snapshots that are kept; one of 1,000 runs takes what their live rows take."""

UNUSED_S = 900.0
"""A snapshot that nobody has asked for so long is dropped."""

TIDY_S = 60.0
"""How often each process of the service looks for snapshots to drop."""

WORD_S = 10.0
"""After so long without a word its maker is taken for dead."""

BUILDS_AT_ONCE = 2
"""Snapshots that one process makes side by side; further ones wait for their turn."""

MAKING_MAX = 16
"""Snapshots that it makes or that wait: each costs a word a second, also when nobody asks any more.
Whoever asks for one more is told to ask again."""

CONNECTIONS_MAX = 4
"""Connections that the making of one may take."""

BATCH_BYTES_MAX = 256 * 1024
"""Bytes folded at once: less than a worker takes, since the process answers questions meanwhile."""

ACQUIRE_TIMEOUT_S = 5.0
"""How long a question waits for a free connection before the service says it is busy."""

_LOOK_S = 0.02
_WORD_EVERY_S = 1.0
_LOOK_AT_OTHERS_S = 0.1
_NEVER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Scope:
    """Which runs' events a snapshot holds beside the whole catalog; all None: none.

    Names are those of any time: also an experiment or run that was deleted is meant.

    Args:
        account: whose names.
        experiment_name: the runs of an experiment.
        run_name: of these only the ones of this name.
        run_id: one run.
        parent_run_id: the runs that were opened inside that run's block.
    """

    account: str = ""
    experiment_name: str | None = None
    run_name: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None

    def key(self, moment: Moment) -> str:
        """Return a digest of what is held, and of the version of the tables that hold it."""
        parts = [tables_version(), *astuple(self), moment.positions]
        return blake2b(repr(parts).encode(), digest_size=20).hexdigest()


CATALOG = Scope()


@dataclass(slots=True)
class _Progress:
    done: int = 0
    total: int = 0


class Snapshots:
    """The snapshots of one database, as one process of the service sees and makes them.

    Args:
        pool: connections to the live tables; it stays the caller's.
        dsn: the same database.
        log: where the records are.
        making_max: snapshots that this process makes or has waiting.
    """

    def __init__(self, pool: Pool, dsn: str, log: Log, making_max: int = MAKING_MAX) -> None:
        self._pool = pool
        self._dsn = dsn
        self._log = log
        self._making_max = making_max
        self._making: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(BUILDS_AT_ONCE)

    @contextlib.asynccontextmanager
    async def tables(
        self, scopes: Sequence[Scope], moment: Moment, wait_s: float
    ) -> AsyncIterator[OneConnection]:
        """Give the tables as they were at a moment, as long as the block lasts.

        Args:
            scopes: the one that is made where there is none, and others that hold as much.
            moment: applied to the live tables already.
            wait_s: how long it may take.

        Raises:
            SnapshotPendingError: it takes longer, and goes on, or too many are being made.
            UnavailableError: Postgres or the log does not answer, or the log has lost records.
        """
        keys = [scope.key(moment) for scope in scopes]
        deadline_s = asyncio.get_running_loop().time() + wait_s
        while (pinned := await self._pin(keys)) is None:
            left_s = max(deadline_s - asyncio.get_running_loop().time(), 0.0)
            await self._wait_made(scopes[0], moment, left_s)
        stack, connection = pinned
        try:
            yield OneConnection(connection)
        finally:
            with postgres_away():
                await stack.aclose()

    async def keep_tidy(self) -> None:
        """Drop old snapshots from time to time, until cancelled; what is being made ends then."""
        try:
            while True:
                with contextlib.suppress(*FAULTS):
                    await self._drop_old()
                await asyncio.sleep(TIDY_S)
        finally:
            making = list(self._making.values())
            for task in making:
                task.cancel()
            await asyncio.gather(*making, return_exceptions=True)

    async def _pin(
        self, keys: Sequence[str]
    ) -> tuple[contextlib.AsyncExitStack, Connection] | None:
        """Return a connection that sees a whole snapshot, which stays until the stack is closed."""
        async with contextlib.AsyncExitStack() as stack:
            with postgres_away():
                acquired = self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
                connection: Connection = await stack.enter_async_context(acquired)
                await connection.execute(load_query("use_snapshot"), keys)
                await stack.enter_async_context(connection.transaction())
                schema = await connection.fetchval(load_query("pin_snapshot"), keys)
                if schema is None:
                    return None
                await connection.execute(load_query("set_search_path"), f"{schema}, trialog")
            return stack.pop_all(), connection

    async def _wait_made(self, scope: Scope, moment: Moment, wait_s: float) -> None:
        key = scope.key(moment)
        making = self._making.get(key)
        if making is None:
            if len(self._making) >= self._making_max:
                raise SnapshotPendingError(
                    f"the tables of {len(self._making)} other moments are being made from the log, "
                    "more are not begun; ask again in a moment",
                    field="as_of",
                    value="0 %",
                    limit=self._making_max,
                )
            making = self._making[key] = asyncio.create_task(self._make(key, scope, moment))
            making.add_done_callback(lambda task: self._note_end(key, task))
        await asyncio.wait({making}, timeout=wait_s)
        if making.done():
            making.result()
            return
        row = await self._found(key)
        percent = 100 * row["done"] // row["total"] if row is not None and row["total"] else 0
        raise SnapshotPendingError(
            f"the tables as they were then are being made from the log, {percent} % is done; ask "
            "again in a moment",
            field="as_of",
            value=f"{percent} %",
        )

    def _note_end(self, key: str, task: asyncio.Task[None]) -> None:
        del self._making[key]
        # Whoever has waited no longer asks again, and hears of a new try what there is to say.
        if not task.cancelled() and task.exception() is not None:
            _log.warning("a snapshot was not made", cause=repr(task.exception()))

    async def _make(self, key: str, scope: Scope, moment: Moment) -> None:
        """Make a snapshot, or wait until another process has made it."""
        while True:
            with postgres_away():
                number = await self._begin(key)
            if number is not None:
                with postgres_away():
                    await self._fill(number, scope, moment)
                return
            row = await self._found(key)
            if row is not None and row["is_whole"]:
                return
            if row is not None and row["is_left"]:
                await self._drop_old()
            await asyncio.sleep(_LOOK_AT_OTHERS_S)

    async def _found(self, key: str) -> asyncpg.Record | None:
        with postgres_away():
            return await self._pool.fetchrow(load_query("find_snapshot"), key)

    async def _drop_old(self) -> None:
        with postgres_away():
            await self._pool.execute(load_query("drop_old_snapshots"), UNUSED_S, SNAPSHOTS_MAX)

    async def _begin(self, key: str) -> int | None:
        """Return the number of a new snapshot, or None where there is one already."""
        try:
            number: int = await self._pool.fetchval(load_query("create_snapshot"), key, WORD_S)
        except asyncpg.UniqueViolationError:
            return None
        return number

    async def _fill(self, number: int, scope: Scope, moment: Moment) -> None:
        made = Generation(number, f"as_of_{-number}", "building", "snapshot")
        progress = _Progress()
        is_made = False
        try:
            async with asyncio.TaskGroup() as group:
                word = group.create_task(self._keep_word(made, progress))
                async with self._turn:
                    await self._replay(made, scope, moment, progress)
                word.cancel()
            # Where it has become void meanwhile, whoever asks has another one made.
            finished = await self._pool.fetchval(load_query("finish_snapshot"), made.number)
            is_made = finished is not None
            await self._drop_old()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        finally:
            if not is_made:
                # Where this fails as well, the word runs out and whoever comes next drops it.
                with contextlib.suppress(*FAULTS):
                    dropping = self._pool.execute(load_query("drop_generation"), made.number)
                    await asyncio.shield(dropping)

    async def _keep_word(self, made: Generation, progress: _Progress) -> None:
        """Say how far it is, every second, so that nobody takes this process for dead."""
        while True:
            row = await self._pool.fetchrow(
                load_query("report_snapshot"), made.number, progress.done, progress.total, WORD_S
            )
            if row is None:
                raise UnavailableError(
                    "the tables as they were then were taken from the process that was making "
                    "them, because it was silent for too long or other tables have become the live "
                    "ones; ask again"
                )
            await asyncio.sleep(_WORD_EVERY_S)

    async def _replay(
        self, made: Generation, scope: Scope, moment: Moment, progress: _Progress
    ) -> None:
        async with self._pool.acquire() as connection:
            await apply_read_model(connection, made.schema_name)
            wanted = await self._wanted(connection, scope, moment)
            left = await copy_nearest(connection, made.number, moment, wanted)
        log = LogPicked(self._log, moment.ends, _picked(moment, left))
        progress.total = log.total
        settings = ProjectionSettings(
            generation=made.number,
            schema_name=made.schema_name,
            batch_bytes_max=BATCH_BYTES_MAX,
            merge_chunks_min=_NEVER,
        )
        async with projecting(self._dsn, log, made, settings, CONNECTIONS_MAX) as worker:
            while True:
                positions = await read_positions(self._pool, made.number)
                progress.done = log.count_before(positions)
                for reason in worker.telemetry.stopped.values():
                    raise UnavailableError(f"the tables as they were then cannot be made: {reason}")
                if is_reached(positions, log.targets):
                    return
                await asyncio.sleep(_LOOK_S)

    async def _wanted(
        self, connection: Connection, scope: Scope, moment: Moment
    ) -> list[RunRecords]:
        """Return where the events of the scope's runs are; the live tables know it."""
        events = {one.number: end for one, end in moment.ends.items() if one.topic == EVENTS_TOPIC}
        rows = await connection.fetch(
            load_query("pick_records"),
            *astuple(scope),
            EVENTS_TOPIC,
            list(events.keys()),
            list(events.values()),
        )
        return [RunRecords(**row) for row in rows]


def _picked(moment: Moment, wanted: Sequence[RunRecords]) -> dict[Partition, Sequence[int]]:
    """Return the offsets of runs' records in each partition of events, in order."""
    picked: dict[Partition, list[int]] = {
        place: [] for place in moment.ends if place.topic == EVENTS_TOPIC
    }
    for run in wanted:
        picked[Partition(EVENTS_TOPIC, run.partition)] += run.offsets
    return {place: sorted(offsets) for place, offsets in picked.items()}
