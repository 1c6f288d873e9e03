"""What a worker remembers of runs between batches: loading and keeping it; judges nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from trialog_schemas.events import ArtifactLogged, ModelInfo
from trialog_schemas.limits import Limits
from trialog_schemas.rules import ArtifactState, RunState
from trialog_server.postgres.queries import load_query
from trialog_server.project.merge import SMALL_POINTS
from trialog_server.project.rows import us_of, us_or_none
from trialog_server.project.series import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg

    from trialog_schemas.decode import AnyEvent
    from trialog_server.postgres.pool import Connection


@dataclass(slots=True)
class Hole:
    """Seqs of a writer that have not come, and the offset of the record that showed it."""

    first_seq: int
    last_seq: int
    log_offset: int
    is_stored: bool = False


@dataclass(slots=True)
class Writer:
    """How far a writer's count and chain are, and where its newest event is once one was folded.

    `holes` are in order of seq, and none is empty.
    """

    last_seq: int = 0
    chain: bytes | None = None
    log_offset: int = -1
    holes: list[Hole] = field(default_factory=list)

    def move_to(self, log_offset: int, event: AnyEvent) -> None:
        """Remember an event as the writer's newest."""
        self.last_seq, self.chain, self.log_offset = event.seq, event.digest, log_offset

    def is_missing(self, seq: int) -> bool:
        """Tell whether an event has not come yet: it is newer than all, or of a hole."""
        return seq > self.last_seq or self._hole_of(seq) is not None

    def fill(self, seq: int) -> Hole | None:
        """Take an event out of the hole it is missing in; return the hole as it was."""
        at = self._hole_of(seq)
        if at is None:
            return None
        hole = self.holes[at]
        rest = (hole.first_seq, seq - 1), (seq + 1, hole.last_seq)
        self.holes[at : at + 1] = [
            Hole(first, last, hole.log_offset) for first, last in rest if first <= last
        ]
        return hole

    def _hole_of(self, seq: int) -> int | None:
        if not self.holes:  # nearly always
            return None
        at = bisect_right(self.holes, seq, key=lambda hole: hole.first_seq) - 1
        return at if at >= 0 and seq <= self.holes[at].last_seq else None


@dataclass(slots=True)
class KnownRun:
    """A run as the projection knows it: the rules' state and what only the tables need.

    Changed in place while a batch is folded; a batch that fails drops it, and it is loaded again.

    Args:
        run_id: 32 hex digits.
        account: whose run it is; empty before its first event.
        state: what the rules know.
        rejected: how many refusals were recorded.
        last_event_at_us: the log's time of the newest event.
        log_offset: where the newest event is.
        writers: by writer id.
        metrics: by name.
        small_chunks: per metric, small chunks since the last look for merges.
        parked_from: the offset from which the run is quarantined, or None.
        parked_reason: why it is.
    """

    run_id: str
    account: str = ""
    state: RunState = field(default_factory=RunState)
    rejected: int = 0
    last_event_at_us: int | None = None
    log_offset: int = -1
    writers: dict[str, Writer] = field(default_factory=dict)
    metrics: dict[str, Summary] = field(default_factory=dict)
    small_chunks: dict[str, int] = field(default_factory=dict)
    parked_from: int | None = None
    parked_reason: str = ""

    @property
    def items(self) -> int:
        """How much memory it takes, in things of some hundred bytes."""
        holes = sum(len(writer.holes) for writer in self.writers.values())
        return 4 + len(self.writers) + holes + 2 * len(self.metrics) + len(self.state.parameters)


class RunCache:
    """The runs of one partition that were used last, within a bound on their items."""

    def __init__(self, items_max: int) -> None:
        self._items_max = items_max
        self._items = 0
        self._runs: OrderedDict[str, tuple[KnownRun, int]] = OrderedDict()

    def take(self, run_id: str) -> KnownRun | None:
        """Take a run out; it comes back by `put` when its batch has been committed."""
        kept = self._runs.pop(run_id, None)
        if kept is None:
            return None
        self._items -= kept[1]
        return kept[0]

    def put(self, runs: Iterable[KnownRun]) -> None:
        """Keep runs as the most recently used, forgetting the oldest ones beyond the bound."""
        for run in runs:
            items = run.items
            self._runs[run.run_id] = (run, items)
            self._items += items
        while self._items > self._items_max and len(self._runs) > 1:
            _, (_, items) = self._runs.popitem(last=False)
            self._items -= items

    def clear(self) -> None:
        """Forget everything: what was remembered may not be what Postgres has."""
        self._runs.clear()
        self._items = 0


async def load_runs(connection: Connection, run_ids: Sequence[str]) -> list[KnownRun]:
    """Read what is stored of runs by one query; a run that nothing is stored of comes empty."""
    rows = await connection.fetch(load_query("load_runs"), run_ids, SMALL_POINTS)
    return [_run(row) for row in rows]


def _run(row: asyncpg.Record) -> KnownRun:
    run = KnownRun(row["run_id"].hex)
    if row["parked"] is not None:
        run.parked_from, run.parked_reason = row["parked"]
    for writer_id, last_seq, chain in row["writers"]:
        run.writers[writer_id.hex] = Writer(last_seq, chain)
    for writer_id, first_seq, last_seq, log_offset in row["holes"]:
        hole = Hole(first_seq, last_seq, log_offset, is_stored=True)
        run.writers[writer_id.hex].holes.append(hole)
    if row["account"] is None:
        return run
    run.account = row["account"]
    run.rejected = row["rejected"]
    run.last_event_at_us = us_or_none(row["last_event_at"])
    run.log_offset = row["log_offset"]
    run.state = _state(row)
    for stored in row["metrics"]:
        name, *_, first_at, last_at, log_offset, small_chunks = stored
        summary = Summary(*stored[1:10])
        summary.first_at_us, summary.last_at_us = us_of(first_at), us_of(last_at)
        summary.log_offset = log_offset
        run.metrics[name] = summary
        run.small_chunks[name] = small_chunks
    return run


def _state(row: asyncpg.Record) -> RunState:
    return RunState(
        limits=Limits.from_json(row["limits"]),
        rules_version=row["rules_version"],
        status=row["status"],
        is_failed_for_good=row["failed_for_good"],
        started_at_us=us_or_none(row["started_at"]),
        ended_at_us=us_or_none(row["ended_at"]),
        failure_message=row["failure_message"],
        parameters={name: orjson.loads(value) for name, value in row["parameters"]},
        points=row["points"],
        artifacts=dict(_artifact(*stored) for stored in row["artifacts"]),
        tags=row["tags"],
    )


def _artifact(
    name: str,
    version: int,
    sha256: str | None,
    uri: str | None,
    model: dict[str, str | None] | None,
) -> tuple[str, ArtifactState]:
    """Rebuild what the rules compare of an artifact from its newest row."""
    stored = ArtifactLogged(
        name=name,
        kind="artifact",
        media_type="",
        sha256=sha256,
        uri=uri,
        model=None if model is None else ModelInfo(**model),
    )
    return name, ArtifactState(stored.content, version)
