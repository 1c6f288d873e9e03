"""A metric's series: whole, by pages, or reduced to one min/max/last per pixel column.

The order of a series is by step (points without a step after all others), then by arrival. The
store keeps arrival order; sorting happens here, on packed columns, and only when it is needed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from trialog_schemas.errors import ResourceNotFoundError, ValidationError, did_you_mean, shown
from trialog_schemas.events import POINT_BYTES
from trialog_server.read.ask import ask
from trialog_server.read.experiments import NEAR_NAMES_MAX
from trialog_server.read.list_runs import run_not_found
from trialog_server.read.pages import bad_token, decode_token, encode_token

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import asyncpg
    import numpy.typing as npt

    Integers: TypeAlias = npt.NDArray[np.int64]
    Unsigned: TypeAlias = npt.NDArray[np.uint64]
    Floats: TypeAlias = npt.NDArray[np.float64]

    from trialog_server.postgres.pool import Tables

SERIES_PAGE_MAX = 100_000
"""Points of one page: 2.4 MB packed, about 4 MB as JSON."""

BUCKETS_MAX = 10_000
"""Pixel columns of one answer: above the width of any screen."""

INDEX_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """Part of a series in its order: equally long columns, and where the next page begins.

    Args:
        steps: int64, −1 for a point without a step.
        times: int64, microseconds since the epoch.
        values: float64, NaN and ±Inf as they were logged.
        points: points of the whole series when its first page was read.
    """

    name: str
    steps: Integers
    times: Integers
    values: Floats
    points: int
    next_token: str | None

    def packed(self) -> bytes:
        """Return the columns one after the other, little-endian: steps ‖ times ‖ values."""
        return self.steps.tobytes() + self.times.tobytes() + self.values.tobytes()


@dataclass(frozen=True, slots=True)
class Buckets:
    """A series reduced for a chart; empty columns are left out.

    `low` and `high` are NaN where a column holds only NaN; `last` is the last point's value, NaN
    included. Points without a step stand after the last step, one step apart.
    """

    name: str
    step_from: Unsigned
    step_to: Unsigned
    low: Floats
    high: Floats
    last: Floats
    count: Integers
    points: int


async def metric_series(
    tables: Tables,
    run: tuple[str, UUID],
    name: str,
    *,
    points_max: int = SERIES_PAGE_MAX,
    next_token: str | None = None,
) -> SeriesPage:
    """Return a page of the series; `run` is its account and id.

    The token holds how many points there were at the first page: later ones do not shift pages.

    Raises:
        ResourceNotFoundError: there is no such run or metric.
    """
    start, end = _span_of(next_token)
    rows = await ask(tables, "metric_series", *run, name, end)
    await _check_found(tables, rows, "data", (run[1], name))
    return await asyncio.to_thread(_series_page, name, rows, start, points_max)


async def metric_buckets(tables: Tables, run: tuple[str, UUID], name: str, columns: int) -> Buckets:
    """Return the series reduced to at most so many columns.

    Raises:
        ResourceNotFoundError: there is no such run or metric.
    """
    if not 1 <= columns <= BUCKETS_MAX:
        raise ValidationError(
            f"buckets is {columns}, allowed are 1 to {BUCKETS_MAX}; ask for the chart's width",
            field="buckets",
            value=columns,
            limit=f"1..{BUCKETS_MAX}",
        )
    rows = await ask(tables, "metric_buckets", *run, name)
    await _check_found(tables, rows, "steps", (run[1], name))
    return await asyncio.to_thread(_buckets_of_rows, name, rows, columns)


def reduce_series(name: str, steps: Integers, values: Floats, columns: int) -> Buckets:
    """Reduce a series in order of arrival to min, max and last per column of equal step width."""
    order = _series_order(steps)
    if order is not None:
        steps, values = steps[order], values[order]
    places = _places(steps)
    starts = _column_starts(places, columns)
    ends = np.append(starts[1:], len(places)) - 1
    return Buckets(
        name=name,
        step_from=places[starts],
        step_to=places[ends],
        # fmin and fmax take the number when the other one is NaN.
        low=np.fmin.reduceat(values, starts),
        high=np.fmax.reduceat(values, starts),
        last=values[ends],
        count=(ends - starts + 1).astype(np.int64),
        points=len(values),
    )


def _series_page(
    name: str, rows: Sequence[asyncpg.Record], start: int, points_max: int
) -> SeriesPage:
    points = sum(row["points"] for row in rows)
    steps = np.empty(points, np.int64)
    times = np.empty(points, np.int64)
    values = np.empty(points, np.float64)
    at = 0
    for row in rows:
        size = row["points"]
        data = row["data"]
        if len(data) != size * POINT_BYTES:
            raise ValueError(f"a chunk of {size} points of {name!r} has {len(data)} bytes")
        steps[at : at + size] = np.frombuffer(data, "<i8", size)
        times[at : at + size] = np.frombuffer(data, "<i8", size, size * 8)
        values[at : at + size] = np.frombuffer(data, "<f8", size, size * 16)
        at += size
    order = _series_order(steps)
    if order is not None:
        steps, times, values = steps[order], times[order], values[order]
    page = slice(start, start + points_max)
    next_start = start + points_max
    token = encode_token("series", next_start, points) if next_start < points else None
    return SeriesPage(name, steps[page], times[page], values[page], points, token)


def _buckets_of_rows(name: str, rows: Sequence[asyncpg.Record], columns: int) -> Buckets:
    steps = np.frombuffer(b"".join(row["steps"] for row in rows), "<i8")
    values = np.frombuffer(b"".join(row["metric_values"] for row in rows), "<f8")
    return reduce_series(name, steps, values, columns)


def _series_order(steps: Integers) -> npt.NDArray[np.intp] | None:
    """Return the sorting of arrival order into series order, or None if it is sorted."""
    # Seen as unsigned, −1 is the largest number: points without a step come last by themselves.
    keys = steps.view(np.uint64)
    if bool(np.all(keys[1:] >= keys[:-1])):
        return None
    return np.argsort(keys, kind="stable")


def _places(steps: Integers) -> Unsigned:
    """Return where on the chart's axis each point of a sorted series stands."""
    places = steps.view(np.uint64)
    stepped = int(np.searchsorted(places, np.uint64(2**63)))
    if stepped == len(places):
        return places
    first = int(places[stepped - 1]) + 1 if stepped else 0
    tail = np.arange(first, first + len(places) - stepped, dtype=np.uint64)
    return np.concatenate((places[:stepped], tail))


def _column_starts(places: Unsigned, columns: int) -> npt.NDArray[np.intp]:
    """Return the index at which each non-empty column of equal width begins."""
    span = int(places[-1] - places[0]) + 1
    if span <= columns:
        # Fewer steps than columns: every step has its own.
        edges = places[0] + np.arange(span, dtype=np.uint64)
    else:
        offsets = (np.arange(columns, dtype=np.float64) * (span / columns)).astype(np.uint64)
        edges = places[0] + offsets
    starts = np.unique(np.searchsorted(places, edges))
    # Rounding at steps near 2**63 may put the last edge behind the last point.
    return starts[starts < len(places)]


def _span_of(token: str | None) -> tuple[int, int]:
    if token is None:
        return 0, INDEX_MAX
    match decode_token("series", token):
        case [int(start), int(end)] if 0 <= start <= end:
            return start, end
    raise bad_token(token)


async def _check_found(
    tables: Tables, rows: Sequence[asyncpg.Record], column: str, wanted: tuple[UUID, str]
) -> None:
    run_id, name = wanted
    if not rows:
        raise run_not_found(run_id)
    if rows[0][column] is None:
        near = await ask(tables, "near_metric_names", run_id, name, NEAR_NAMES_MAX // 2)
        hint = did_you_mean(name, [row["name"] for row in near])
        raise ResourceNotFoundError(
            f"run {run_id.hex!r} has no metric {shown(name)}"
            f"{hint or '; the metrics it has are listed with it'}",
            field="name",
            value=name,
        )
