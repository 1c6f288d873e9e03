"""The JSON of the API: what JSON cannot hold has a name, absent is null, times are in UTC."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC
from trialog_server.read.metric_series import Buckets, SeriesPage
from trialog_server.serve.shapes import (
    buckets_json,
    json_response,
    micros_json,
    number_json,
    optional_number_json,
    optional_time_json,
    position_json,
    series_json,
    time_json,
)

KARACHI = timezone(timedelta(hours=5))


# D7
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1, 0.1),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (1.7976931348623157e308, 1.7976931348623157e308),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_number_survives_json_or_is_named(value: float, shown: float | str) -> None:
    """Every float comes back from JSON bit for bit, or as the name JSON has no number for."""
    read = json.loads(bytes(json_response({"x": number_json(value)}).body))["x"]

    assert read == shown
    assert not isinstance(read, float) or math.copysign(1, read) == math.copysign(1, value)


def test_absent_number_and_time_are_null() -> None:
    """Null means absent; a NaN is there and has its name."""
    assert optional_number_json(None) is None
    assert optional_number_json(math.nan) == "NaN"
    assert optional_time_json(None) is None


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 0, UTC), "2026-01-02T03:04:05.000000Z"),
        (datetime(2026, 1, 2, 3, tzinfo=KARACHI), "2026-01-01T22:00:00.000000Z"),
    ],
)
def test_time_is_utc_with_microseconds(time: datetime, text: str) -> None:
    """Times compare as texts: always UTC, always six digits, always Z."""
    assert time_json(time) == text


def test_time_in_microseconds_is_the_same_text() -> None:
    """What the log stamps in microseconds is shown like every other time."""
    assert micros_json(1_767_323_045_678_901) == "2026-01-02T03:04:05.678901Z"


@pytest.mark.parametrize(
    ("topic", "text"),
    [(EVENTS_TOPIC, "events:3:7"), (CATALOG_TOPIC, "catalog:3:7"), ("other", "other:3:7")],
)
def test_position_is_a_short_text(topic: str, text: str) -> None:
    """Our topics have short names; a foreign one keeps its own."""
    assert position_json(topic, 3, 7) == text


# D7 D15
@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, 2.5], [1.0, 2.5]),
        ([1.0, math.nan, math.inf, -math.inf], [1.0, "NaN", "Infinity", "-Infinity"]),
        ([], []),
    ],
)
def test_series_is_lists_of_equal_length(values: list[float], shown: list[float | str]) -> None:
    """Columns are lists, whether or not all their values are plain numbers."""
    count = len(values)
    steps, times = np.arange(count, dtype=np.int64), np.full(count, 5, dtype=np.int64)
    page = SeriesPage(
        name="loss",
        steps=steps,
        times=times,
        values=np.asarray(values, dtype=np.float64),
        points=9,
        next_token=None,
    )

    content = json.loads(bytes(json_response(series_json(page)).body))

    assert content == {
        "name": "loss", "points": 9, "next_token": None,
        "steps": list(range(count)), "times": [5] * count, "values": shown,
    }  # fmt: skip


def test_buckets_of_nothing_but_nan_have_no_bounds() -> None:
    """A column of NaN has a last value, and neither minimum nor maximum; an infinity is a bound."""
    steps = np.arange(3, dtype=np.uint64)
    buckets = Buckets(
        name="loss",
        step_from=steps,
        step_to=steps,
        low=np.asarray([0.5, math.nan, -math.inf]),
        high=np.asarray([1.5, math.nan, math.inf]),
        last=np.asarray([1.0, math.nan, math.inf]),
        count=np.ones(3, dtype=np.int64),
        points=3,
    )

    content = json.loads(bytes(json_response(buckets_json(buckets)).body))["buckets"]

    assert content["min"] == [0.5, None, "-Infinity"]
    assert content["max"] == [1.5, None, "Infinity"]
    assert content["last"] == [1.0, "NaN", "Infinity"]
