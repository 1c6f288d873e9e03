"""Reducing a series to pixel columns, against an independent model in plain Python."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trialog_server.read.metric_series import Buckets, reduce_series

STEPS = st.one_of(st.just(-1), st.integers(0, 20), st.integers(0, 2**63 - 1))
VALUES = st.floats(width=64)


def reduce(points: list[tuple[int, float]], columns: int) -> Buckets:
    """Reduce points given as (step, value) in order of arrival."""
    steps = np.array([step for step, _ in points], np.int64)
    values = np.array([value for _, value in points], np.float64)
    return reduce_series("m", steps, values, columns)


def same(one: float, other: float) -> bool:
    """Equal, with NaN equal to itself."""
    return one == other or (math.isnan(one) and math.isnan(other))


# D15
def test_reduce_series_with_room_gives_each_step_its_own_column() -> None:
    """Fewer steps than columns lose nothing but points of one step."""
    buckets = reduce([(0, 3.0), (1, 1.0), (1, 2.0), (2, 5.0)], 100)

    assert buckets.step_from.tolist() == [0, 1, 2]
    assert buckets.low.tolist() == [3.0, 1.0, 5.0]
    assert buckets.high.tolist() == [3.0, 2.0, 5.0]
    assert buckets.last.tolist() == [3.0, 2.0, 5.0]
    assert buckets.count.tolist() == [1, 2, 1]


# D7
def test_reduce_series_ignores_nan_in_low_and_high_but_not_in_last() -> None:
    """NaN is no bound; where it is the last point, the column ends with it."""
    buckets = reduce([(0, 1.0), (0, math.nan), (1, math.nan), (2, -math.inf), (3, math.inf)], 2)

    assert buckets.low.tolist()[1] == -math.inf
    assert buckets.high.tolist() == [1.0, math.inf]
    assert math.isnan(buckets.last.tolist()[0])


# D5
def test_reduce_series_without_steps_counts_arrivals() -> None:
    """Points without a step stand after the last step, one apart."""
    buckets = reduce([(-1, 9.0), (5, 1.0), (-1, 8.0)], 100)

    assert buckets.step_from.tolist() == [5, 6, 7]
    assert buckets.last.tolist() == [1.0, 9.0, 8.0]


@given(st.lists(st.tuples(STEPS, VALUES), min_size=1, max_size=60), st.integers(1, 40))
def test_reduce_series_columns_cover_all_points_once(
    points: list[tuple[int, float]], columns: int
) -> None:
    """Columns follow the series without gap, and say of their points what Python says."""
    buckets = reduce(points, columns)

    order = sorted(range(len(points)), key=lambda i: (points[i][0] < 0, points[i][0], i))
    values = [points[i][1] for i in order]
    assert 1 <= len(buckets.count) <= columns
    assert int(buckets.count.sum()) == len(points)
    assert (buckets.count > 0).all()
    at = 0
    for column, count in enumerate(buckets.count.tolist()):
        part = values[at : at + count]
        numbers = [value for value in part if not math.isnan(value)]
        assert same(float(buckets.last[column]), part[-1])
        assert same(float(buckets.low[column]), min(numbers, default=math.nan))
        assert same(float(buckets.high[column]), max(numbers, default=math.nan))
        at += count
    assert (np.diff(buckets.step_from.astype(object)) > 0).all()
    assert (buckets.step_to >= buckets.step_from).all()
