"""Merges the small chunks of a series into larger ones; must not change the series' content.

A run that logs slowly leaves one small chunk per metric and batch. Once enough of them lie side by
side they become one. A merge at least doubles the chunk each of its points is in, so that a point
is rewritten some ten times in its life and not with every merge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trialog_server.postgres.queries import load_query
from trialog_server.project.series import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trialog_server.postgres.pool import Connection

SMALL_POINTS = 4096
"""From here on (96 KiB) a chunk is large enough to stay as it is."""

CHUNK_POINTS_MAX = 65_536
"""Points of a merged chunk: 1.5 MiB, what a reader of one chart takes at once."""

MERGED_POINTS_MAX = 400_000
"""Points of one merging transaction: bounds its memory to about 20 MB."""

_COLUMNS = (
    "run_id",
    "name",
    "first_index",
    "points",
    "step_min",
    "step_max",
    "offsets",
    "counts",
    "data",
)


class Span(NamedTuple):
    """Where a chunk lies in its series, without its data."""

    first_index: int
    points: int


def plan_merges(spans: Sequence[Span], chunks_min: int) -> list[list[Span]]:
    """Choose which neighbours of one series to merge.

    Args:
        spans: all chunks of the series in order of `first_index`.
        chunks_min: so many small chunks in a row are worth a merge.
    """
    plan: list[list[Span]] = []
    rows = list(_small_rows(spans))
    while rows:
        row = rows.pop()
        if len(row) < chunks_min:
            continue
        sizes = [span.points for span in row]
        if max(sizes) * 2 <= sum(sizes):
            plan.extend(_parts(row))
        else:
            place = sizes.index(max(sizes))
            rows += (row[:place], row[place + 1 :])
    return plan


def _small_rows(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Yield the longest rows of neighbours that are all small."""
    row: list[Span] = []
    for span in spans:
        if span.points < SMALL_POINTS:
            row.append(span)
        else:
            yield row
            row = []
    yield row


def _parts(row: Sequence[Span]) -> Iterator[list[Span]]:
    """Cut a row so that no merged chunk gets too large; a part of one chunk is no merge."""
    part: list[Span] = []
    points = 0
    for span in row:
        if points + span.points > CHUNK_POINTS_MAX:
            if len(part) > 1:
                yield part
            part, points = [], 0
        part.append(span)
        points += span.points
    if len(part) > 1:
        yield part


def join_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Return one chunk with the points of neighbouring chunks, in their order."""
    columns: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
    offsets: list[int] = []
    counts: list[int] = []
    for chunk in chunks:
        width = chunk.points * 8
        for number, column in enumerate(columns):
            column.append(chunk.data[number * width : (number + 1) * width])
        for offset, count in zip(chunk.offsets, chunk.counts, strict=True):
            if offsets and offsets[-1] == offset:
                counts[-1] += count
            else:
                offsets.append(offset)
                counts.append(count)
    return Chunk(
        name=chunks[0].name,
        first_index=chunks[0].first_index,
        points=sum(chunk.points for chunk in chunks),
        step_min=min(chunk.step_min for chunk in chunks),
        step_max=max(chunk.step_max for chunk in chunks),
        offsets=offsets,
        counts=counts,
        data=b"".join(part for column in columns for part in column),
    )


async def merge_series(
    connection: Connection, run_id: str, names: Sequence[str], chunks_min: int
) -> tuple[int, list[str]]:
    """Merge what is worth it of some series of a run, in the caller's guarded transaction.

    Returns how many chunks went into larger ones, and the names that did not fit this time.
    """
    spans: dict[str, list[Span]] = {name: [] for name in names}
    for row in await connection.fetch(load_query("list_chunk_spans"), run_id, list(names)):
        spans[row["name"]].append(Span(row["first_index"], row["points"]))
    chosen: list[tuple[str, list[Span]]] = []
    left: list[str] = []
    points = 0
    for name, found in spans.items():
        if points > MERGED_POINTS_MAX:
            left.append(name)
            continue
        for part in plan_merges(found, chunks_min):
            chosen.append((name, part))
            points += sum(span.points for span in part)
    if chosen:
        await _replace(connection, run_id, chosen)
    return sum(len(part) for _, part in chosen), left


async def _replace(
    connection: Connection, run_id: str, chosen: Sequence[tuple[str, list[Span]]]
) -> None:
    names = [name for name, part in chosen for _ in part]
    first_indexes = [span.first_index for _, part in chosen for span in part]
    rows = await connection.fetch(load_query("take_chunks"), run_id, names, first_indexes)
    taken = {
        (row["name"], row["first_index"]): Chunk(
            row["name"],
            row["first_index"],
            row["points"],
            row["step_min"],
            row["step_max"],
            row["offsets"],
            row["counts"],
            row["data"],
        )
        for row in rows
    }
    merged = [
        join_chunks([taken[name, span.first_index] for span in part]) for name, part in chosen
    ]
    await connection.copy_records_to_table(
        "metric_chunks", columns=_COLUMNS, records=[(run_id, *chunk) for chunk in merged]
    )
