"""Metrics end to end: what a call takes, what it refuses, and what is read back."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np
import pytest
import urllib3

import trialog
from tests.acceptance.programs import run_together
from tests.acceptance.refusals import illegal
from trialog.client import Client
from trialog_schemas.callers_code import shown

if TYPE_CHECKING:
    from trialog.answers import RunAnswer


class Tensor:
    """A 0-d tensor as the training libraries have them, with nothing of numpy."""

    shape: tuple[int, ...] = ()
    dtype = "torch.float32"

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return self._value

    def item(self) -> float:
        """Return the value."""
        return self._value


class OneRow(Tensor):
    """A tensor of one dimension, which some libraries would turn into a number."""

    shape = (1,)


def read(session: trialog.Session, run: trialog.Run) -> RunAnswer:
    """The run as the service has it."""
    return Client(session.resolve()).run(run.experiment_name, run.run_name)


def steps_of(run: trialog.Run, name: str) -> list[float | None]:
    """The steps of a series, None for a point without one."""
    return [None if math.isnan(step) else step for step in run.metric_series(name)["step"]]


# D1 D2
def test_step_is_the_third_argument_and_a_row_shares_step_and_time(
    session: trialog.Session, experiment_name: str
) -> None:
    """One call of four metrics gives four points of one step and one time of the call."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_metric("loss", 0.5, 7)
        run.log_metric(name="loss", value=0.25, step=8, timestamp=datetime(2026, 1, 2, tzinfo=UTC))
        before = datetime.now(UTC).timestamp()
        run.log_metrics({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, 3)
        after = datetime.now(UTC).timestamp()
        run.log_metrics({"a": 10.0}, step=4)
        run.log_metrics({})
    run.wait()
    loss = run.metric_series("loss")
    assert (loss["step"], loss["value"]) == ([7, 8], [0.5, 0.25])
    assert loss["timestamp"][1] == datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    four = [run.metric_series(name) for name in "abcd"]
    assert [(series["step"][0], series["value"][0]) for series in four] == [
        (3, 1.0),
        (3, 2.0),
        (3, 3.0),
        (3, 4.0),
    ]
    times = {series["timestamp"][0] for series in four}
    assert len(times) == 1
    assert before - 1e-3 <= times.pop() <= after + 1e-3
    assert read(session, run)["points"] == 7


# D1
def test_time_in_the_place_of_the_step_raises_a_helpful_type_error(
    session: trialog.Session, experiment_name: str
) -> None:
    """A ported snippet that passes the time third is told how to write it, and nothing is kept."""
    with trialog.Run(experiment_name, "one", session) as run:
        with pytest.raises(TypeError, match=r"third argument is the step.*timestamp="):
            run.log_metric("loss", 1.0, datetime.now(UTC))  # type: ignore[arg-type]
        run.log_metric("kept", 1.0)
    run.wait()
    assert list(read(session, run)["metrics"]) == ["kept"]


# D3 D4 D5
def test_series_is_in_order_of_step_then_arrival_and_nothing_is_replaced(
    session: trialog.Session, experiment_name: str
) -> None:
    """100 shuffled points, one step twice, and points without a step, which come last."""
    shuffled = [(37 * index) % 100 for index in range(100)]
    with trialog.Run(experiment_name, "one", session) as run:
        for arrival, step in enumerate(shuffled):
            run.log_metric("m", float(arrival), step)
            if step % 10 == 0:
                run.log_metric("m", -float(arrival))
        run.log_metric("m", 1000.0, 50)
        run.log_metrics({"m": 2000.0}, 99)
    run.wait()
    stepped = [(step, float(arrival)) for arrival, step in enumerate(shuffled)]
    arrived = [*stepped, (50, 1000.0), (99, 2000.0)]
    loose = [-arrival for step, arrival in stepped if step % 10 == 0]
    # Python's sort keeps the order of arrival within a step.
    expected = [value for _, value in sorted(arrived, key=lambda point: point[0])] + loose
    assert run.metric_series("m")["value"] == expected
    assert steps_of(run, "m") == [*sorted(step for step, _ in arrived), *[None] * 10]


# D4
def test_last_of_a_step_logged_twice_is_the_later_one(
    session: trialog.Session, experiment_name: str
) -> None:
    """Both points are kept; the summary's last is by step first, then by arrival."""
    with trialog.Run(experiment_name, "one", session) as run:
        for value, step in ((1.0, 5), (2.0, 9), (3.0, 9), (4.0, 6)):
            run.log_metric("m", value, step)
    run.wait()
    assert run.metric_series("m")["value"] == [1.0, 4.0, 2.0, 3.0]
    summary = read(session, run)["metrics"]["m"]
    assert (summary["last"], summary["last_step"], summary["count"]) == (3.0, 9, 4)


NOT_NUMBERS: dict[str, object] = {
    "text": "0.5",
    "empty text": "",
    "None": None,
    "list": [0.5],
    "dict": {},
    "bytes": b"1",
    "complex": 1j,
    "numpy complex": np.complex128(1),
    "numpy text": np.str_("1"),
    "array of one": np.array([1.0]),
    "tensor of one": OneRow(1.0),
    "datetime64": np.datetime64("2026-01-01"),
    "object": object(),
    "huge integer": 10**400,
}


# D6 D2 I5
def test_value_that_is_no_number_raises_both_errors_and_records_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """Alone or in a row of four: a TypeError and ValueError that names metric and value."""
    with trialog.Run(experiment_name, "one", session) as run:
        for value in NOT_NUMBERS.values():
            alone = illegal(run.log_metric, "bad", value)
            row = illegal(run.log_metrics, {"a": 1.0, "b": 2.0, "bad": value, "c": 3.0}, 1)
            assert str(alone) == str(row)
            assert isinstance(alone, TypeError)
            assert (alone.field, alone.limit) == ("bad", "number")
            assert "'bad'" in str(alone)
            assert "give a number" in str(alone)
        run.log_metric("kept", 1.0)
    run.wait()
    assert list(read(session, run)["metrics"]) == ["kept"]


# D6
def test_every_kind_of_number_is_a_point(session: trialog.Session, experiment_name: str) -> None:
    """Python's and numpy's numbers, truth values, 0-d arrays and tensors become floats."""
    given = [1, 2.5, True, False, np.float32(0.5), np.float64(0.1), np.int64(-3), np.uint8(255)]
    given += [np.bool_(True), np.array(7), np.array(0.25, np.float16), Tensor(1.5), 2**53]
    expected = [1.0, 2.5, 1.0, 0.0, 0.5, 0.1, -3.0, 255.0, 1.0, 7.0, 0.25, 1.5, 2.0**53]
    with trialog.Run(experiment_name, "one", session) as run:
        for value in given:
            run.log_metric("alone", value)  # type: ignore[arg-type]
            run.log_metrics({"row": value})  # type: ignore[dict-item]
    run.wait()
    assert run.metric_series("alone")["value"] == expected
    assert run.metric_series("row")["value"] == expected


# D7
def test_nan_and_infinity_are_kept_bit_for_bit_and_spoil_no_minimum(
    session: trialog.Session, experiment_name: str
) -> None:
    """A NaN's payload and a negative zero survive; min and max are those of the numbers."""
    payload = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_BEEF))[0]
    given = [1.5, payload, -math.inf, math.nan, math.inf, -0.0, 5e-324]
    with trialog.Run(experiment_name, "one", session) as run:
        for step, value in enumerate(given):
            run.log_metric("odd", value, step)
            run.log_metrics({"row": value, "nan": math.nan}, step)
        run.log_metric("tame", math.nan)
        run.log_metric("tame", 2.0)
        run.log_metric("tame", 1.0)
        run.log_metric("tame", math.nan)
    run.wait()
    address = f"{session.url}/api/v1/runs/{run.run_id}/series"
    for name in ("odd", "row"):
        packed = urllib3.request(
            "GET",
            address,
            fields={"name": name},
            headers={"Accept": "application/x-trialog-series"},
        ).data
        assert packed[16 * len(given) :] == struct.pack(f"<{len(given)}d", *given)
        values = run.metric_series(name)["value"]
        assert [str(value) for value in values] == [str(value) for value in given]
    metrics = read(session, run)["metrics"]
    assert metrics["odd"]["min"] == "-Infinity"
    assert metrics["odd"]["max"] == "Infinity"
    assert metrics["tame"] == {
        "last": "NaN",
        "min": 1.0,
        "max": 2.0,
        "mean": 1.5,
        "count": 4,
        "last_step": None,
    }
    assert (metrics["nan"]["min"], metrics["nan"]["max"]) == (None, None)
    assert metrics["nan"]["count"] == len(given)


BAD_STEPS: dict[str, object] = {
    "fraction": 1.5,
    "whole float": 1.0,
    "negative": -1,
    "truth value": True,
    "numpy truth value": np.bool_(True),
    "numpy float": np.float64(2),
    "text": "1",
    "above int64": 2**63,
    "numpy above int64": np.uint64(2**63),
    "array": np.array([1, 2]),
    "list": [1],
}


# D8
def test_step_that_is_illegal_raises_value_error_and_records_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """The error names the field, the value and the range; both calls check alike."""
    with trialog.Run(experiment_name, "one", session) as run:
        for step in BAD_STEPS.values():
            alone = illegal(run.log_metric, "bad", 1.0, step)
            row = illegal(run.log_metrics, {"bad": 1.0}, step)
            assert str(alone) == str(row)
            assert (alone.field, alone.limit, alone.value) == ("step", "0..2**63-1", shown(step))
            assert shown(step) in str(alone)
        run.log_metric("kept", 1.0)
    run.wait()
    assert list(read(session, run)["metrics"]) == ["kept"]


# D8
def test_step_of_any_integer_kind_is_kept_exactly(
    session: trialog.Session, experiment_name: str
) -> None:
    """0 and 2**63 - 1 are steps, and numpy's integers are steps as Python's are."""
    steps = [0, np.int64(1), np.uint8(2), np.array(3), 2**53 + 1, 2**63 - 1]
    with trialog.Run(experiment_name, "one", session) as run:
        for step in steps:
            run.log_metric("m", 1.0, step)  # type: ignore[arg-type]
    run.wait()
    (page,) = Client(session.resolve()).series(run.run_id, "m", ())
    assert page["steps"] == [0, 1, 2, 3, 2**53 + 1, 2**63 - 1]
    assert read(session, run)["metrics"]["m"]["last_step"] == 2**63 - 1


NAIVE = """
import datetime, os, time

def work(session, index, name):
    yield
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    with trialog.Run(name, "one", session) as run:
        run.log_metric("m", 1.0, timestamp=datetime.datetime(2026, 7, 1, 12, 0, 0, 123456))
    run.wait()
    return run.metric_series("m")["timestamp"]
"""


# D9
def test_time_without_a_zone_is_local_time(session: trialog.Session, experiment_name: str) -> None:
    """Noon in a New York summer is 16:00 UTC, with microseconds."""
    expected = datetime(2026, 7, 1, 16, 0, 0, 123456, tzinfo=UTC).timestamp()
    assert run_together(session, 1, NAIVE, experiment_name) == [[expected]]


# D9
def test_time_is_that_of_the_call_unless_it_is_given(
    session: trialog.Session, experiment_name: str
) -> None:
    """A time of any zone is kept to the microsecond; the default lies within the call."""
    east = timezone(timedelta(hours=5, minutes=45))
    given = [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=east),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]
    with trialog.Run(experiment_name, "one", session) as run:
        for moment in given:
            run.log_metric("given", 1.0, timestamp=moment)
        before = datetime.now(UTC)
        run.log_metric("now", 1.0)
        after = datetime.now(UTC)
    run.wait()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    client = Client(session.resolve())
    (page,) = client.series(run.run_id, "given", ())
    assert [epoch + timedelta(microseconds=at) for at in page["times"]] == given
    (page,) = client.series(run.run_id, "now", ())
    assert before <= epoch + timedelta(microseconds=page["times"][0]) <= after


ILLEGAL_METRIC_NAMES = {
    "empty": ("", "1..255", "0 characters"),
    "256 characters": ("m" * 256, "1..255", "256 characters"),
    "newline": ("a\nb", "printable", r"'a\nb'"),
    "NUL": ("a\0b", "no NUL", r"'a\x00b'"),
    "surrogate": ("\ud800", "Unicode text", r"'\ud800'"),
    "number": (7, "text", "7 of type int"),
    "None": (None, "text", "None of type NoneType"),
}


# D14
def test_metric_of_an_illegal_name_raises_and_records_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """Each mistake is a ValueError with field and limit; the legal rest of the run is kept."""
    with trialog.Run(experiment_name, "one", session) as run:
        for name, limit, shown in ILLEGAL_METRIC_NAMES.values():
            alone = illegal(run.log_metric, name, 1.0)
            row = illegal(run.log_metrics, {"a": 1.0, name: 2.0})
            assert str(alone) == str(row)
            assert (alone.field, alone.limit) == ("metric name", limit)
            assert shown in str(alone)
        run.log_metric("kept", 1.0)
    run.wait()
    assert read(session, run)["metrics"].keys() == {"kept"}
    assert read(session, run)["points"] == 1


# D14
def test_metric_names_are_never_rewritten(session: trialog.Session, experiment_name: str) -> None:
    """Colons, slashes, dots, spaces and 255 characters come back as they were, everywhere."""
    names = ["validation:accuracy", "gpu/0.util", "a b", "ünï→🙂", 'it\'s "so"', "m" * 255]
    with trialog.Run(experiment_name, "one", session) as run:
        for index, name in enumerate(names):
            run.log_metric(name, float(index))
        run.log_metrics(dict.fromkeys(names, 9.0))
    run.wait()
    assert sorted(read(session, run)["metrics"]) == sorted(names)
    for index, name in enumerate(names):
        assert run.metric_series(name)["value"] == [float(index), 9.0]
    frame = trialog.compare(experiment_name, session=session)
    assert set(frame.columns[3:]) == set(names)
    assert frame["validation:accuracy"].tolist() == [9.0]
    found = trialog.compare(
        experiment_name, 'metrics."validation:accuracy".min = 0', session=session
    )
    assert found["run_name"].tolist() == ["one"]


# D2
@pytest.mark.parametrize("metrics", [None, 1.0, "loss", [("loss", 1.0)], {"loss"}])
def test_metrics_that_are_no_mapping_raise_type_error(
    session: trialog.Session, experiment_name: str, metrics: object
) -> None:
    """A list of pairs is no mapping; the message says what to give."""
    with (
        trialog.Run(experiment_name, "one", session) as run,
        pytest.raises(TypeError, match="give a dict of name to number"),
    ):
        run.log_metrics(metrics)  # type: ignore[arg-type]
