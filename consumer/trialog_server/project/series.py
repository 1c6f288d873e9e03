"""Metric blocks to chunks and summaries: arithmetic on numpy columns only; must not do I/O.

The points of one batch are gathered per run and folded once: names that always came together
share their steps and times, so that 20 metrics of a call cost 20 slices and not 20 × n additions in
Python. Every figure depends on the points and their order alone, never on where a batch was cut
(sums run strictly from left to right), so that a replay with other batches gives the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trialog_schemas.events import LongBlock, WideBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

POINT_BYTES = 24
"""Step, time and value of a point, eight bytes each."""

NO_STEP = -1
"""How packed columns write that a point has no step."""


class Piece(NamedTuple):
    """Points of one event that share their steps and times: `names` × `rows` values."""

    log_offset: int
    names: tuple[str, ...]
    rows: int
    steps: bytes
    times: bytes
    values: bytes


class Chunk(NamedTuple):
    """One stored piece of a series, in order of arrival; the columns of `metric_chunks`."""

    name: str
    first_index: int
    points: int
    step_min: int
    step_max: int
    offsets: list[int]
    counts: list[int]
    data: bytes


@dataclass(slots=True)
class Summary:
    """What is known of one metric of a run so far; the columns of `metric_summaries`.

    `last` is the last value in the order of the series: by step, points without a step after all
    stepped ones, then by arrival. NaN never enters `smallest`, `largest`, `total`, `counted`.
    """

    points: int = 0
    last: float = float("nan")
    last_step: int = 0
    last_index: int = 0
    smallest: float | None = None
    largest: float | None = None
    total: float = 0.0
    counted: int = 0
    first_at_us: int = 0
    last_at_us: int = 0
    log_offset: int = 0


def pieces_of(log_offset: int, blocks: Iterable[WideBlock | LongBlock]) -> Iterator[Piece]:
    """Cut accepted blocks into pieces; a long block gives one piece per name in it."""
    for block in blocks:
        if isinstance(block, WideBlock):
            if block.rows:
                yield Piece(
                    log_offset, block.names, block.rows, block.steps, block.times, block.values
                )
        else:
            yield from _long_pieces(log_offset, block)


def _long_pieces(log_offset: int, block: LongBlock) -> Iterator[Piece]:
    """Sort a long block by name without changing the order inside a name."""
    ids = np.frombuffer(block.ids, "<u4")
    if len(ids) == 1:
        name = block.names[int(ids[0])]
        yield Piece(log_offset, (name,), 1, block.steps, block.times, block.values)
        return
    order = np.argsort(ids, kind="stable")
    steps, times, values = (
        np.frombuffer(column, "<i8")[order] for column in (block.steps, block.times, block.values)
    )
    ends = np.cumsum(np.bincount(ids, minlength=len(block.names)))
    start = 0
    for name, end in zip(block.names, ends.tolist(), strict=True):
        if end > start:
            cut = slice(start, end)
            yield Piece(
                log_offset,
                (name,),
                end - start,
                steps[cut].tobytes(),
                times[cut].tobytes(),
                values[cut].tobytes(),
            )
            start = end


class Group(NamedTuple):
    """Names that have the same steps and times in this batch; `values` is names × points."""

    names: Sequence[str]
    offsets: list[int]
    counts: list[int]
    steps: bytes
    times: bytes
    values: Floats


def groups_of(pieces: Sequence[Piece]) -> list[Group]:
    """Bring together what shares steps and times, keeping the order of arrival per name."""
    together: dict[tuple[str, ...], list[Piece]] = defaultdict(list)
    for piece in pieces:
        together[piece.names].append(piece)
    everything = [name for names in together for name in names]
    if len(set(everything)) == len(everything):
        # Each name occurs in one combination of names only, and once in it: the usual batch.
        return [_whole_group(names, found) for names, found in together.items()]
    return _mixed_groups(pieces)


def _whole_group(names: Sequence[str], pieces: Sequence[Piece]) -> Group:
    matrices = [_matrix(piece) for piece in pieces]
    return _group(names, pieces, matrices)


def _mixed_groups(pieces: Sequence[Piece]) -> list[Group]:
    """Group names by the list of pieces they occur in, for names that come in several companies."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, piece in enumerate(pieces):
        for row, name in enumerate(piece.names):
            places[name].append((number, row))
    alike: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, found in places.items():
        alike[tuple(number for number, _ in found)].append(name)
    groups = []
    for numbers, names in alike.items():
        used = [pieces[number] for number in numbers]
        matrices = [
            _matrix(piece)[[places[name][turn][1] for name in names]]
            for turn, piece in enumerate(used)
        ]
        groups.append(_group(names, used, matrices))
    return groups


def _matrix(piece: Piece) -> Floats:
    return np.frombuffer(piece.values, "<f8").reshape(len(piece.names), piece.rows)


def _group(names: Sequence[str], pieces: Sequence[Piece], matrices: Sequence[Floats]) -> Group:
    offsets: list[int] = []
    counts: list[int] = []
    for piece in pieces:
        if offsets and offsets[-1] == piece.log_offset:
            counts[-1] += piece.rows
        else:
            offsets.append(piece.log_offset)
            counts.append(piece.rows)
    return Group(
        names=names,
        offsets=offsets,
        counts=counts,
        steps=b"".join(piece.steps for piece in pieces),
        times=b"".join(piece.times for piece in pieces),
        values=np.concatenate(matrices, axis=1) if len(matrices) > 1 else matrices[0],
    )


class _Figures(NamedTuple):
    """The figures of a group, one element per name; an empty minimum is +Inf with counted 0."""

    smallest: list[float]
    largest: list[float]
    total: list[float]
    counted: list[int]
    last: list[float]


def fold_group(group: Group, summaries: dict[str, Summary]) -> Iterator[Chunk]:
    """Add a group's points to the summaries in place; yield one chunk per name."""
    steps = np.frombuffer(group.steps, "<i8")
    points = len(steps)
    place = last_place(steps)
    step_min, step_max = int(steps.min()), int(steps.max())
    times = np.frombuffer(group.times, "<i8")
    first_at_us, last_at_us = int(times.min()), int(times.max())
    known = [summaries.setdefault(name, Summary()) for name in group.names]
    figures = _figures(group.values, place, [summary.total for summary in known])
    step = int(steps[place])
    head = group.steps + group.times
    for row, (name, summary) in enumerate(zip(group.names, known, strict=True)):
        first_index = summary.points
        if first_index == 0:
            summary.first_at_us, summary.last_at_us = first_at_us, last_at_us
        else:
            summary.first_at_us = min(summary.first_at_us, first_at_us)
            summary.last_at_us = max(summary.last_at_us, last_at_us)
        if first_index == 0 or comes_after(step, summary.last_step):
            summary.last = figures.last[row]
            summary.last_step = step
            summary.last_index = first_index + place
        _merge_figures(summary, figures, row)
        summary.points = first_index + points
        summary.log_offset = group.offsets[-1]
        yield Chunk(
            name=name,
            first_index=first_index,
            points=points,
            step_min=step_min,
            step_max=step_max,
            offsets=group.offsets,
            counts=group.counts,
            data=head + group.values[row].tobytes(),
        )


def last_place(steps: Integers) -> int:
    """Return the index of the last element in the order of a series: unstepped after stepped."""
    unstepped = np.flatnonzero(steps == NO_STEP)
    if len(unstepped):
        return int(unstepped[-1])
    return len(steps) - 1 - int(np.argmax(steps[::-1]))


def comes_after(step: int, earlier: int) -> bool:
    """Say whether a later arrival with `step` stands after one with `earlier` in the series."""
    return step == NO_STEP or (earlier != NO_STEP and step >= earlier)


def _figures(values: Floats, place: int, totals: Sequence[float]) -> _Figures:
    points = values.shape[1]
    missing = np.isnan(values)
    # Comparing and adding infinities is what IEEE 754 says it is: no warning is wanted.
    with np.errstate(invalid="ignore", over="ignore"):
        if missing.any():
            smallest = np.where(missing, np.inf, values).min(axis=1)
            largest = np.where(missing, -np.inf, values).max(axis=1)
            counted = (points - missing.sum(axis=1)).tolist()
            addends = np.where(missing, 0.0, values)
        else:
            smallest, largest = values.min(axis=1), values.max(axis=1)
            counted = [points] * len(totals)
            addends = values
        sums = np.concatenate([np.asarray(totals)[:, np.newaxis], addends], axis=1)
        # accumulate adds from left to right; sum() would add pairwise and then depend on the cut.
        np.add.accumulate(sums, axis=1, out=sums)
    # Adding 0.0 turns -0.0 into 0.0: which of the two a minimum gives depends on the cut as well.
    return _Figures(
        smallest=(smallest + 0.0).tolist(),
        largest=(largest + 0.0).tolist(),
        total=sums[:, -1].tolist(),
        counted=counted,
        last=values[:, place].tolist(),
    )


def _merge_figures(summary: Summary, figures: _Figures, row: int) -> None:
    if not figures.counted[row]:
        return
    smallest, largest = figures.smallest[row], figures.largest[row]
    known_smallest, known_largest = summary.smallest, summary.largest
    summary.smallest = smallest if known_smallest is None else min(known_smallest, smallest)
    summary.largest = largest if known_largest is None else max(known_largest, largest)
    summary.total = figures.total[row]
    summary.counted += figures.counted[row]
