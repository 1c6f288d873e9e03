"""Which chunks are merged, and that merging changes no point."""

from __future__ import annotations

import random
import struct

import pytest

from trialog_server.project.merge import (
    CHUNK_POINTS_MAX,
    SMALL_POINTS,
    Span,
    join_chunks,
    plan_merges,
)
from trialog_server.project.series import Chunk


def spans(*sizes: int) -> list[Span]:
    """Lay chunks of the given sizes side by side."""
    out, first_index = [], 0
    for size in sizes:
        out.append(Span(first_index, size))
        first_index += size
    return out


def chunk(first_index: int, values: list[float], offset: int) -> Chunk:
    """Build a chunk whose steps and times are its indexes."""
    count = len(values)
    places = list(range(first_index, first_index + count))
    data = struct.pack(f"<{count}q{count}q{count}d", *places, *places, *values)
    return Chunk("m", first_index, count, places[0], places[-1], [offset], [count], data)


def test_plan_below_the_least_number_merges_nothing() -> None:
    """31 small chunks stay as they are."""
    assert plan_merges(spans(*[1] * 31), 32) == []


def test_plan_enough_tiny_chunks_merges_all_of_them() -> None:
    """32 small chunks become one."""
    assert plan_merges(spans(*[1] * 32), 32) == [spans(*[1] * 32)]


def test_plan_a_large_chunk_separates_its_neighbours() -> None:
    """Chunks on both sides of a large one are counted apart."""
    assert plan_merges(spans(*[1] * 31, SMALL_POINTS, *[1] * 31), 32) == []


def test_plan_a_grown_chunk_waits_until_its_neighbours_weigh_as_much() -> None:
    """A chunk that grew is not rewritten with every 32 new points."""
    assert plan_merges(spans(600, *[1] * 31), 32) == []
    assert plan_merges(spans(600, *[1] * 32), 32) == [spans(600, *[1] * 32)[1:]]
    assert plan_merges(spans(600, *[20] * 31), 32) == [spans(600, *[20] * 31)]


def test_plan_no_merged_chunk_exceeds_its_bound() -> None:
    """A long row of chunks becomes several chunks."""
    plan = plan_merges(spans(*[4000] * 100), 32)
    assert len(plan) > 1
    assert all(sum(span.points for span in part) <= CHUNK_POINTS_MAX for part in plan)


@pytest.mark.parametrize("seed", range(20))
def test_plan_growing_series_ends_with_few_chunks_and_few_rewrites(seed: int) -> None:
    """However a series grows, its chunks stay few and a point is rewritten some ten times."""
    dice = random.Random(seed)
    layout: list[Span] = []
    end = rewritten = 0
    while end < 60_000:
        size = dice.choice([1, 1, 1, dice.randint(1, 40), dice.randint(1, 900)])
        layout.append(Span(end, size))
        end += size
        for part in plan_merges(layout, 32):
            points = sum(span.points for span in part)
            rewritten += points
            at = layout.index(part[0])
            layout[at : at + len(part)] = [Span(part[0].first_index, points)]
    assert len(layout) < 32 * 4 + end // SMALL_POINTS, f"seed {seed}"
    assert rewritten < 12 * end, f"seed {seed}"


def test_join_keeps_points_offsets_and_counts() -> None:
    """The merged chunk holds the same columns; pieces of one record are counted together."""
    whole = join_chunks(
        [chunk(5, [1.0, 2.0], 17), chunk(7, [float("nan")], 17), chunk(8, [4.0, 5.0], 23)]
    )
    assert (whole.first_index, whole.points, whole.step_min, whole.step_max) == (5, 5, 5, 9)
    assert (whole.offsets, whole.counts) == ([17, 23], [3, 2])
    assert struct.unpack("<5q5q", whole.data[:80]) == (*range(5, 10), *range(5, 10))
    assert repr(struct.unpack("<5d", whole.data[80:])) == "(1.0, 2.0, nan, 4.0, 5.0)"
