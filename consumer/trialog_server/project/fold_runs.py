"""Events of runs to rows: deduplicates, asks the rules, collects; no I/O, no rule of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import structlog

from trialog_schemas.events import (
    ArtifactLogged,
    Event,
    MetricsLogged,
    ParametersLogged,
    UnknownEvent,
)
from trialog_schemas.names import parameter_json
from trialog_schemas.rules import decide, evolve
from trialog_schemas.wire import first_hash
from trialog_server.project.merge import SMALL_POINTS
from trialog_server.project.rows import Rows, time_of, time_or_none
from trialog_server.project.runs import Hole, Writer
from trialog_server.project.series import Piece, fold_group, groups_of, pieces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trialog_schemas.decode import AnyEvent
    from trialog_schemas.rules import RunState, Verdict
    from trialog_server.log.base import Partition
    from trialog_server.project.decode import Decoded
    from trialog_server.project.rows import Row
    from trialog_server.project.runs import KnownRun
    from trialog_server.project.telemetry import Telemetry

    Judge: TypeAlias = Callable[[RunState, Event], Verdict]

_log = structlog.get_logger(__name__)

TEXT_INDEXED_CHARS_MAX = 256
"""How much of a text parameter is indexed for searches: a B-tree entry may have 2,704 bytes."""


@dataclass(slots=True)
class Folded:
    """What some records of one stream give: rows, counts, and metrics that are ripe to merge."""

    rows: Rows = field(default_factory=Rows)
    pieces: list[Piece] = field(default_factory=list)
    touched_writers: set[str] = field(default_factory=set)
    ripe: list[str] = field(default_factory=list)
    events: int = 0
    duplicates: int = 0
    points: int = 0
    rejections: int = 0
    dead: int = 0
    parked: int = 0
    gaps: int = 0

    def count_in(self, telemetry: Telemetry) -> None:
        """Add the counts to the worker's own."""
        telemetry.events += self.events
        telemetry.duplicates += self.duplicates
        telemetry.points += self.points
        telemetry.rejections += self.rejections
        telemetry.dead += self.dead
        telemetry.parked += self.parked
        telemetry.gaps += self.gaps


class FoldError(Exception):
    """Our own fold broke at a record; `log_offset` says at which, the cause says why."""

    def __init__(self, run_id: str, log_offset: int) -> None:
        super().__init__(f"run {run_id} at offset {log_offset}")
        self.run_id = run_id
        self.log_offset = log_offset


@contextmanager
def quarantining(run_id: str, log_offset: int) -> Iterator[None]:
    """Turn whatever breaks in a fold into `FoldError`, which says where.

    Raises:
        FoldError: a defect of ours; what was folded of the run is half done and must be forgotten.
    """
    try:
        yield
    except Exception as exc:
        # The one blanket except of the projection: a defect in our code that one run meets must
        # never stop the others in its partition. It is logged here and counted by the worker.
        _log.exception("fold broke", run_id=run_id, log_offset=log_offset)
        raise FoldError(run_id, log_offset) from exc


def fold_run(
    run: KnownRun,
    records: Sequence[Decoded],
    partition: Partition,
    *,
    merge_chunks_min: int,
    judge: Judge = decide,
) -> Folded:
    """Fold the records of one run, in order, into rows; changes `run` in place.

    Metrics that have `merge_chunks_min` small chunks are named in `ripe` and counted anew. `judge`
    is the law; only tests that plant a broken one give another.

    Raises:
        FoldError: a defect of ours; `run` is then half changed and must be forgotten.
    """
    folded = Folded()
    for record in records:
        with quarantining(run.run_id, record.log_offset):
            _fold_record(run, record, partition, folded, judge)
    # This looks at all records at once: a fault here counts as one of the first of them.
    with quarantining(run.run_id, records[0].log_offset):
        _finish(run, partition, folded)
    for name, count in run.small_chunks.items():
        if count >= merge_chunks_min:
            folded.ripe.append(name)
            run.small_chunks[name] = 0
    return folded


def _fold_record(
    run: KnownRun, record: Decoded, partition: Partition, folded: Folded, judge: Judge
) -> None:
    header = record.header
    run.account = run.account or header.account
    writer = run.writers.get(header.writer_id)
    if writer is None:
        writer = run.writers[header.writer_id] = Writer()
    fresh = [event for event in record.events if writer.is_missing(event.seq)]
    folded.duplicates += len(record.events) - len(fresh)
    if not fresh:
        return
    _count_in(writer, record, fresh, partition, folded)
    for event in fresh:
        if isinstance(event, UnknownEvent):
            folded.rows.add("insert_dead", dead_row(partition, record, event.reason))
            folded.dead += 1
        else:
            _fold_event(run, record, event, partition, folded, judge)
    folded.touched_writers.add(header.writer_id)
    folded.events += len(fresh)
    folded.rows.add("record_index", index_row(partition, record, run.run_id))
    run.last_event_at_us = max(record.at_us, run.last_event_at_us or record.at_us)
    run.log_offset = record.log_offset


def _count_in(
    writer: Writer,
    record: Decoded,
    fresh: Sequence[AnyEvent],
    partition: Partition,
    folded: Folded,
) -> None:
    """Move the writer's count on, and take late events out of the holes they were missing in.

    A log that has lost its end is fed again by its writers, which cannot always know of it before
    they go on: what then comes behind its successors is late, and counts all the same.
    """
    who = (record.header.run_id, record.header.writer_id)
    newer = [event for event in fresh if event.seq > writer.last_seq]
    for event in fresh[: len(fresh) - len(newer)]:
        filled = writer.fill(event.seq)
        if filled is not None and filled.is_stored:
            folded.rows.add("delete_gaps", (*who, filled.first_seq))
    if not newer:
        return
    hole = hole_before(writer, record, newer[0])
    if hole is not None:
        folded.gaps += 1
        if hole.first_seq <= hole.last_seq:
            writer.holes.append(hole)
        else:
            folded.rows.add("gaps", gap_row(who, hole, partition))
    writer.move_to(record.log_offset, newer[-1])


def hole_before(writer: Writer, record: Decoded, first: AnyEvent) -> Hole | None:
    """Return the hole in the writer's count before an event; None if the event follows.

    A chain that does not go on where it ended is told as a hole of no length: nothing is missing,
    but the event before it is not the one its writer had sent.
    """
    header = record.header
    missing_from = writer.last_seq + 1
    if first.seq == missing_from:
        if writer.last_seq == 0:
            expected = first_hash(header.account, header.user, header.run_id, header.writer_id)
        else:
            expected = writer.chain or b""
        # The events of a record are chained by its own hashes: only its start can be wrong, and
        # that only when no event before `first` was a duplicate.
        if first.seq > header.first_seq or header.prev_hash == expected:
            return None
    return Hole(missing_from, first.seq - 1, record.log_offset)


def gap_row(who: tuple[str, str], hole: Hole, partition: Partition) -> Row:
    """Return a hole in the count of a run's writer as a row."""
    return (*who, hole.first_seq, hole.last_seq, *partition, hole.log_offset)


def _fold_event(
    run: KnownRun,
    record: Decoded,
    event: Event,
    partition: Partition,
    folded: Folded,
    judge: Judge,
) -> None:
    verdict = judge(run.state, event)
    if verdict.rejections:
        run.rejected += len(verdict.rejections)
        folded.rejections += len(verdict.rejections)
        folded.rows.extend(
            "rejections", rejection_rows(event, verdict, run.run_id, (partition, record.log_offset))
        )
    body = verdict.accepted
    if isinstance(body, MetricsLogged):
        folded.pieces.extend(pieces_of(record.log_offset, body.blocks))
        folded.points += body.points
    elif isinstance(body, ParametersLogged):
        folded.rows.extend("parameters", _parameter_rows(run, event, body, record.log_offset))
    run.state = evolve(run.state, event, verdict)
    if isinstance(body, ArtifactLogged):
        folded.rows.add("artifacts", _artifact_row(run, event, body, record.log_offset))


def _finish(run: KnownRun, partition: Partition, folded: Folded) -> None:
    """Add the rows that are written once per run and batch."""
    changed: dict[str, None] = {}
    for group in groups_of(folded.pieces):
        changed.update(dict.fromkeys(group.names))
        for chunk in fold_group(group, run.metrics):
            folded.rows.add("metric_chunks", (run.run_id, *chunk))
            if chunk.points < SMALL_POINTS:
                run.small_chunks[chunk.name] = run.small_chunks.get(chunk.name, 0) + 1
    folded.rows.extend("upsert_metric_summaries", (_summary_row(run, name) for name in changed))
    for writer_id in folded.touched_writers:
        writer = run.writers[writer_id]
        folded.rows.add("upsert_writers", writer_row(run.run_id, writer_id, writer))
        for hole in writer.holes:
            if not hole.is_stored:
                folded.rows.add("gaps", gap_row((run.run_id, writer_id), hole, partition))
                hole.is_stored = True
    if folded.touched_writers:
        folded.rows.add("upsert_run_states", _run_state_row(run, partition))


def rejection_rows(
    event: Event, verdict: Verdict, run_id: str, place: tuple[Partition, int]
) -> list[Row]:
    """Return the refusals of an event as rows, shown on the run `run_id`.

    A process may write to a run and to the catalog under one writer id, and a refusal of the
    catalog may be shown on that run: the catalog counts its items −1, −2 … so that the keys of the
    two partitions never meet.
    """
    partition, log_offset = place
    sign = 1 if event.run_id == run_id else -1
    first = 0 if sign == 1 else 1
    return [
        (
            run_id,
            event.writer_id,
            event.seq,
            sign * item,
            rejection.code,
            rejection.message,
            rejection.name,
            rejection.value,
            rejection.facts,
            time_of(event.at_us),
            *partition,
            log_offset,
        )
        for item, rejection in enumerate(verdict.rejections, start=first)
    ]


def writer_row(run_id: str, writer_id: str, writer: Writer) -> Row:
    """Return the row that says how far a writer is; the catalog's writers have no run."""
    return (run_id, writer_id, writer.last_seq, writer.chain, writer.log_offset)


def dead_row(partition: Partition, record: Decoded, reason: str) -> Row:
    """Return the row that lists an event this release cannot read."""
    return (*partition, record.log_offset, reason, time_of(record.at_us))


def index_row(partition: Partition, record: Decoded, run_id: str) -> Row:
    """Return the row that says where these events of a run are."""
    types = list(dict.fromkeys(event.type for event in record.events))
    return (
        *partition,
        record.log_offset,
        run_id,
        record.header.writer_id,
        record.header.first_seq,
        len(record.events),
        types,
        time_of(record.at_us),
    )


def parked_rows(partition: Partition, records: Sequence[Decoded], reason: str) -> list[Row]:
    """Return the rows that set records aside by reference."""
    return [
        (
            record.header.run_id,
            *partition,
            record.log_offset,
            reason,
            time_of(record.at_us),
        )
        for record in records
    ]


def _parameter_rows(
    run: KnownRun, event: Event, body: ParametersLogged, log_offset: int
) -> list[Row]:
    at = time_of(event.at_us)
    rows: list[Row] = []
    for name, value in body.parameters.items():
        number = text = None
        if isinstance(value, str):
            text = value[:TEXT_INDEXED_CHARS_MAX]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
        rows.append((run.run_id, name, parameter_json(value), number, text, at, log_offset))
    return rows


def _artifact_row(run: KnownRun, event: Event, body: ArtifactLogged, log_offset: int) -> Row:
    return (
        run.run_id,
        body.name,
        run.state.artifacts[body.name].version,
        body.kind,
        None if body.sha256 is None else bytes.fromhex(body.sha256),
        body.size,
        body.media_type,
        body.is_output,
        body.uri,
        None if body.model is None else asdict(body.model),
        time_of(event.at_us),
        log_offset,
    )


def _summary_row(run: KnownRun, name: str) -> Row:
    summary = run.metrics[name]
    return (
        run.run_id,
        name,
        summary.points,
        summary.last,
        summary.last_step,
        summary.last_index,
        summary.smallest,
        summary.largest,
        summary.total,
        summary.counted,
        time_of(summary.first_at_us),
        time_of(summary.last_at_us),
        summary.log_offset,
    )


def _run_state_row(run: KnownRun, partition: Partition) -> Row:
    state = run.state
    return (
        run.run_id,
        run.account,
        state.status,
        time_or_none(state.started_at_us),
        time_or_none(state.ended_at_us),
        state.failure_message,
        state.is_failed_for_good,
        time_or_none(run.last_event_at_us),
        state.limits.to_json(),
        state.rules_version,
        dict(state.tags),
        state.points,
        run.rejected,
        partition.number,
        run.log_offset,
    )
