"""Blocks to chunks and summaries, compared with a slow model that shares no code with them."""

from __future__ import annotations

import math
import random
import struct
from itertools import pairwise

import pytest

from trialog_schemas.events import LongBlock, WideBlock
from trialog_server.project.series import (
    Chunk,
    Piece,
    Summary,
    comes_after,
    fold_group,
    groups_of,
    pieces_of,
)

Point = tuple[str, int, int, float]
NAN, INF = math.nan, math.inf


def wide(names: tuple[str, ...], rows: list[tuple[int, int, list[float]]]) -> WideBlock:
    """Build a wide block from rows of (step, time, values)."""
    return WideBlock(
        names=names,
        rows=len(rows),
        steps=struct.pack(f"<{len(rows)}q", *(row[0] for row in rows)),
        times=struct.pack(f"<{len(rows)}q", *(row[1] for row in rows)),
        values=b"".join(
            struct.pack(f"<{len(rows)}d", *(row[2][index] for row in rows))
            for index in range(len(names))
        ),
    )


def long(points: list[Point]) -> LongBlock:
    """Build a long block from single points."""
    names = tuple(dict.fromkeys(point[0] for point in points))
    count = len(points)
    return LongBlock(
        names=names,
        rows=count,
        ids=struct.pack(f"<{count}I", *(names.index(point[0]) for point in points)),
        steps=struct.pack(f"<{count}q", *(point[1] for point in points)),
        times=struct.pack(f"<{count}q", *(point[2] for point in points)),
        values=struct.pack(f"<{count}d", *(point[3] for point in points)),
    )


def fold(pieces: list[Piece], summaries: dict[str, Summary]) -> list[Chunk]:
    """Fold one batch."""
    return [chunk for group in groups_of(pieces) for chunk in fold_group(group, summaries)]


def unpacked(chunk: Chunk) -> list[tuple[int, int, bytes]]:
    """Return a chunk's points; values as bytes, so that NaN equals itself."""
    count = chunk.points
    columns = struct.unpack(f"<{count}q{count}q", chunk.data[: 16 * count])
    values = [chunk.data[16 * count + 8 * at : 16 * count + 8 * at + 8] for at in range(count)]
    return list(zip(columns[:count], columns[count:], values, strict=True))


def modelled(points: list[Point]) -> tuple[object, ...]:
    """Compute the summary of one series the slow way."""
    real = [value for _, _, _, value in points if not math.isnan(value)]
    order = sorted(range(len(points)), key=lambda at: (points[at][1] == -1, points[at][1], at))
    total = 0.0
    for value in real:
        total += value
    return (
        len(points),
        struct.pack("<d", points[order[-1]][3]),
        points[order[-1]][1],
        order[-1],
        min(real, default=None),
        max(real, default=None),
        repr(total),
        len(real),
        min(point[2] for point in points),
        max(point[2] for point in points),
    )


def summed(summary: Summary) -> tuple[object, ...]:
    """Return a summary in the model's shape."""
    return (
        summary.points,
        struct.pack("<d", summary.last),
        summary.last_step,
        summary.last_index,
        summary.smallest,
        summary.largest,
        repr(summary.total),
        summary.counted,
        summary.first_at_us,
        summary.last_at_us,
    )


def random_blocks(dice: random.Random) -> list[WideBlock | LongBlock]:
    """Make blocks whose names come in changing company, with all kinds of values and steps."""
    values = [0.1, -2.5, 1e300, NAN, 0.0, -0.0, 3.25, INF] + [dice.gauss(0, 1) for _ in range(9)]
    blocks: list[WideBlock | LongBlock] = []
    for _ in range(dice.randint(1, 6)):
        names = tuple(dice.sample(["a", "b", "c", "d:x/y"], dice.randint(1, 4)))
        rows = [
            (dice.randint(-1, 5), dice.randint(-9, 99), [dice.choice(values) for _ in names])
            for _ in range(dice.randint(1, 5))
        ]
        if dice.random() < 0.5:
            blocks.append(wide(names, rows))
        else:
            blocks.append(long([(names[0], row[0], row[1], row[2][0]) for row in rows]))
    return blocks


def points_of(block: WideBlock | LongBlock) -> list[Point]:
    """Read a block back point by point."""
    steps = struct.unpack(f"<{block.rows}q", block.steps)
    times = struct.unpack(f"<{block.rows}q", block.times)
    values = struct.unpack(f"<{len(block.values) // 8}d", block.values)
    if isinstance(block, LongBlock):
        ids = struct.unpack(f"<{block.rows}I", block.ids)
        named = [block.names[index] for index in ids]
        return list(zip(named, steps, times, values, strict=True))
    return [
        (name, steps[row], times[row], values[column * block.rows + row])
        for column, name in enumerate(block.names)
        for row in range(block.rows)
    ]


@pytest.mark.parametrize("seed", range(60))
def test_series_random_blocks_equal_a_slow_model(seed: int) -> None:
    """Chunks hold every point bit for bit in order; summaries equal a model.  # D3 D7 D13."""
    dice = random.Random(seed)
    blocks = random_blocks(dice)
    summaries: dict[str, Summary] = {}
    chunks = fold(list(pieces_of(7, blocks)), summaries)
    expected: dict[str, list[Point]] = {}
    for block in blocks:
        for point in points_of(block):
            expected.setdefault(point[0], []).append(point)
    assert {name: summed(summary) for name, summary in summaries.items()} == {
        name: modelled(points) for name, points in expected.items()
    }, f"seed {seed}"
    for chunk in chunks:
        assert unpacked(chunk) == [
            (step, at, struct.pack("<d", value)) for _, step, at, value in expected[chunk.name]
        ]
        assert sum(chunk.counts) == chunk.points


@pytest.mark.parametrize("seed", range(30))
def test_series_any_cut_into_batches_gives_the_same_bytes(seed: int) -> None:
    """Summaries and series depend on the points, never on where a batch ended.  # K4."""
    dice = random.Random(seed)
    pieces = [piece for offset in range(8) for piece in pieces_of(offset, random_blocks(dice))]
    whole: dict[str, Summary] = {}
    fold(pieces, whole)
    cuts = sorted({0, len(pieces), *(dice.randint(0, len(pieces)) for _ in range(5))})
    parts: dict[str, Summary] = {}
    chunks: list[Chunk] = []
    for start, stop in pairwise(cuts):
        chunks += fold(pieces[start:stop], parts)
    assert {name: (summed(one), one.log_offset) for name, one in parts.items()} == {
        name: (summed(one), one.log_offset) for name, one in whole.items()
    }
    indexes: dict[str, int] = {}
    for chunk in chunks:
        assert chunk.first_index == indexes.get(chunk.name, 0)
        indexes[chunk.name] = chunk.first_index + chunk.points


def test_series_only_nan_has_no_minimum_and_shows_nan_as_last() -> None:
    """NaN is kept as the last value and enters neither minimum, maximum nor mean.  # D7."""
    summaries: dict[str, Summary] = {}
    fold(list(pieces_of(0, [wide(("loss",), [(0, 1, [NAN]), (1, 2, [NAN])])])), summaries)
    loss = summaries["loss"]
    assert math.isnan(loss.last)
    assert (loss.smallest, loss.largest, loss.counted, loss.total) == (None, None, 0, 0.0)


def test_series_a_signalling_nan_keeps_its_bits() -> None:
    """A NaN with a payload stays that very NaN in the chunk.  # D7."""
    bits = struct.pack("<Q", 0x7FF0_0000_0000_BEEF)
    block = WideBlock(("x",), 1, struct.pack("<q", 0), struct.pack("<q", 5), bits)
    (chunk,) = fold(list(pieces_of(0, [block])), {})
    assert chunk.data[-8:] == bits


def test_series_points_without_step_stand_after_all_stepped_ones() -> None:
    """The last value is the newest one without step, even when a stepped one came later.  # D5."""
    summaries: dict[str, Summary] = {}
    points: list[Point] = [("m", 9, 1, 1.0), ("m", -1, 2, 2.0), ("m", 10, 3, 3.0)]
    fold(list(pieces_of(0, [long(points)])), summaries)
    assert (summaries["m"].last, summaries["m"].last_step, summaries["m"].last_index) == (2, -1, 1)


def test_series_same_step_twice_the_later_one_is_last() -> None:
    """Of two points with one step both stay and the later one is the last.  # D4."""
    summaries: dict[str, Summary] = {}
    fold(list(pieces_of(0, [long([("m", 3, 1, 1.0), ("m", 3, 2, 8.0)])])), summaries)
    fold(list(pieces_of(1, [long([("m", 2, 3, 5.0)])])), summaries)
    assert (summaries["m"].last, summaries["m"].points) == (8.0, 3)


def test_series_one_name_twice_in_a_block_keeps_all_points() -> None:
    """A block that names a metric twice, which no SDK makes, loses no point."""
    summaries: dict[str, Summary] = {}
    fold(
        list(pieces_of(0, [wide(("m", "m"), [(0, 1, [1.0, 2.0]), (1, 2, [3.0, 4.0])])])), summaries
    )
    assert (summaries["m"].points, summaries["m"].total) == (4, 10.0)


@pytest.mark.parametrize(
    ("step", "earlier", "expected"),
    [(-1, -1, True), (-1, 5, True), (5, -1, False), (5, 5, True), (4, 5, False), (6, 5, True)],
)
def test_comes_after_follows_the_order_of_a_series(step: int, earlier: int, expected: bool) -> None:
    """By step, unstepped last, then by arrival.  # D3 D5."""
    assert comes_after(step, earlier) is expected
