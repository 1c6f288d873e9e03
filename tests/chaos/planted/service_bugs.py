"""Bugs of the processes of the service.

Each replaces one function of the product by one that is wrong as a tired programmer would make it.
Some wait a little where the bug's window is: that a fault hits it is then a matter of seconds, not
of days. Which rounds must find which bug is told in `tests/chaos/plants.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from trialog_schemas.rules import decide
from trialog_server.log.table import LogTable
from trialog_server.project import fold_runs, series
from trialog_server.project.decode import Unreadable, decode_record
from trialog_server.project.fold_runs import fold_run
from trialog_server.project.lease import Leases
from trialog_server.project.partition import PartitionProjection
from trialog_server.project.rows import Rows
from trialog_server.project.worker import Worker
from trialog_server.read import durability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WINDOW_S = 0.1
"""How long the windows of bugs are open."""


def answer_before_commit() -> None:
    """The embedded log answers while its rows are still on their way to Postgres."""
    store = LogTable.store
    on_their_way = set()

    async def late(self: Any, rows: Any) -> None:
        await asyncio.sleep(5 * WINDOW_S)
        with contextlib.suppress(Exception):
            async with self.storing() as another:
                await store(self, another, rows)

    async def hasty(self: Any, _connection: Any, rows: Any) -> None:
        on_their_way.add(asyncio.create_task(late(self, rows)))

    LogTable.store = hasty  # type: ignore[method-assign,assignment]


def position_before_rows() -> None:
    """The position is committed by itself, before the rows."""
    advance = Leases.advance

    async def alone(self: Any, _connection: Any, *arguments: Any) -> None:
        async with self._pool.acquire() as other:
            await advance(self, other, *arguments)
        await asyncio.sleep(WINDOW_S)

    Leases.advance = alone  # type: ignore[method-assign,assignment]


def no_fence() -> None:
    """Whoever has read a batch may write it, whatever has become of its claim.

    What is in the tables already would be left out all the same: that is planted as well, or
    nothing of this bug could be seen.
    """
    count_again()

    async def unguarded(
        self: Any, connection: Any, claim: Any, next_offset: int, *chains: bytes
    ) -> None:
        await asyncio.sleep(WINDOW_S)
        await connection.execute(
            "UPDATE trialog.leases SET next_offset = $1, chain = $2, chain_before = $3 "
            "WHERE generation = $4 AND topic = $5 AND partition = $6",
            next_offset,
            *chains,
            self._settings.generation,
            *claim.partition,
        )

    Leases.advance = unguarded  # type: ignore[method-assign,assignment]


def begin_at_the_end() -> None:
    """Who takes a partition over goes on at the end of the log."""
    tend = Leases.tend
    logs: list[Any] = []
    make = Worker.__init__

    def noting(self: Any, pool: Any, log: Any, *rest: Any) -> None:
        make(self, pool, log, *rest)
        logs.append(log)

    async def jumping(self: Any) -> None:
        before = set(self.claims)
        await tend(self)
        for partition in self.claims.keys() - before:
            _, end = (await logs[0].bounds([partition]))[partition]
            await self._pool.execute(
                "UPDATE trialog.leases SET next_offset = $1, chain_before = NULL "
                "WHERE generation = $2 AND topic = $3 AND partition = $4",
                end,
                self._settings.generation,
                *partition,
            )
            # Who forgets where it stood has nothing to hold the log against either.
            self.claims[partition].next_offset = end
            self.claims[partition].chain_before = None

    Worker.__init__ = noting  # type: ignore[method-assign,assignment]
    Leases.tend = jumping  # type: ignore[method-assign]


def skip_after_a_fault() -> None:
    """A batch that Postgres did not take is not read again."""
    find = Worker._find_position
    known: set[int] = set()

    async def careless(self: Any) -> None:
        if id(self) not in known:
            known.add(id(self))
            await find(self)
        self._is_lost = False

    write = Rows.write

    async def slow(self: Any, connection: Any) -> None:
        await asyncio.sleep(WINDOW_S)
        await write(self, connection)

    Worker._find_position = careless  # type: ignore[method-assign]
    Rows.write = slow  # type: ignore[method-assign]


def count_again() -> None:
    """What comes a second time counts a second time."""
    fold_record = fold_runs._fold_record

    def again(run: Any, record: Any, *rest: Any) -> None:
        writer = run.writers.get(record.header.writer_id)
        if writer is not None:
            writer.last_seq = min(writer.last_seq, record.header.first_seq - 1)
        fold_record(run, record, *rest)

    fold_runs._fold_record = again  # type: ignore[assignment]


def nan_to_zero() -> None:
    """What is no number becomes one."""
    pieces_of = series.pieces_of

    def cleaned(*arguments: Any) -> Any:
        for piece in pieces_of(*arguments):
            values = np.frombuffer(piece.values, "<f8")
            yield piece._replace(values=np.where(np.isnan(values), 0.0, values).tobytes())

    fold_runs.pieces_of = cleaned  # type: ignore[attr-defined,assignment]


def time_of_the_replay() -> None:
    """A parameter's time is that of its projection."""
    parameter_rows = fold_runs._parameter_rows

    def now(*arguments: Any) -> list[Any]:
        at = datetime.now(UTC)
        return [(*row[:5], at, *row[6:]) for row in parameter_rows(*arguments)]

    fold_runs._parameter_rows = now  # type: ignore[assignment]


def no_holes() -> None:
    """A hole in a writer's count is not noted."""
    fold_runs.hole_before = lambda *_: None


def _judge(judge: Callable[[Any, Any], Any]) -> None:

    PartitionProjection.fold = staticmethod(partial(fold_run, judge=judge))


def one_point_more() -> None:
    """The limit of points is off by one."""

    def lenient(state: Any, event: Any) -> Any:
        limits = replace(state.limits, points_max=state.limits.points_max + 1)
        return decide(replace(state, limits=limits), event)

    _judge(lenient)


def no_refusals_shown() -> None:
    """What is refused is not written down."""
    _judge(lambda state, event: replace(decide(state, event), rejections=()))


def lose_the_neighbour_of_rubbish() -> None:
    """What stands behind rubbish is passed over."""
    apply = PartitionProjection.apply
    last: dict[Any, int] = {}

    async def skipping(self: Any, records: Sequence[Any], partitions: int) -> None:
        kept = []
        for record in records:
            bad = last.get(record.partition)
            if isinstance(decode_record(record, partitions), Unreadable):
                last[record.partition] = record.offset
            elif bad is not None and bad == record.offset - 1:
                continue
            kept.append(record)
        if kept:
            await apply(self, kept, partitions)

    PartitionProjection.apply = skipping  # type: ignore[method-assign]


def sealed_when_applied() -> None:
    """What is in the tables counts as sealed."""
    progress = durability.LogProgress

    def hasty(partition: Any, applied: int, _sealed: int, sealed_at: Any) -> Any:
        return progress(partition, applied, applied, sealed_at)

    durability.LogProgress = hasty  # type: ignore[assignment,misc]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        answer_before_commit,
        position_before_rows,
        no_fence,
        begin_at_the_end,
        skip_after_a_fault,
        count_again,
        nan_to_zero,
        time_of_the_replay,
        no_holes,
        one_point_more,
        no_refusals_shown,
        lose_the_neighbour_of_rubbish,
        sealed_when_applied,
    )
}
