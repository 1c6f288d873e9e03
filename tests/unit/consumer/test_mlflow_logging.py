"""What MLflow's clients send when they log, read by itself: numbers, batches, long values."""

from __future__ import annotations

import json
import math
import struct

import pytest
from pydantic import ValidationError as ShapeError

from trialog_schemas.errors import ClientError, LimitExceededError, ValidationError
from trialog_schemas.events import LongBlock
from trialog_server.serve.mlflow.dataset_inputs import (
    LogInputsArguments,
    datasets_of,
    inputs_document,
)
from trialog_server.serve.mlflow.log_arguments import (
    LogBatchArguments,
    PointArguments,
    points_of,
    time_us,
)
from trialog_server.serve.mlflow.long_values import (
    LONG_VALUES_ARTIFACT,
    long_values_document,
    shortened,
)

POINT = {"key": "acc", "value": 0.5, "timestamp": 1000, "step": 2}


def point(**changed: object) -> PointArguments:
    """Return a point, but for what is changed."""
    return PointArguments.model_validate({**POINT, **changed})


@pytest.mark.parametrize(
    ("told", "value"),
    [
        (1, 1.0),
        ("0.25", 0.25),
        ("-1e-3", -0.001),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        (10**30, 1e30),
    ],
    ids=str,
)
def test_double_of_protobuf_is_a_number(told: object, value: float) -> None:
    """A number, or a number in a text."""
    assert point(value=told).value == value


def test_nan_is_a_value() -> None:
    """It comes as a text, since JSON has none."""
    assert math.isnan(point(value="NaN").value or 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"value": True},
        {"value": "nan"},
        {"value": "1_0"},
        {"value": "0x1"},
        {"value": "٣"},
        {"value": " 1"},
        {"value": []},
        {"step": "1.5"},
        {"step": 2**63},
        {"timestamp": True},
        {"key": 5},
    ],
    ids=str,
)
def test_what_is_no_point_is_refused(changed: dict[str, object]) -> None:
    """Texts that Python would read as numbers are none."""
    with pytest.raises(ShapeError):
        point(**changed)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"step": -1}, "step"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": 253_402_300_800_000}, "timestamp"),
        ({"timestamp": None}, "timestamp"),
        ({"value": None}, "value"),
        ({"key": None}, "key"),
        ({"key": ""}, "key"),
    ],
    ids=str,
)
def test_point_that_cannot_be_kept_is_refused(changed: dict[str, object], field: str) -> None:
    """A negative step would be none at all here, and a missing part another one."""
    with pytest.raises(ValidationError) as raised:
        points_of([point(**changed)])
    assert raised.value.field == field


def test_points_are_packed_in_their_order() -> None:
    """Milliseconds become microseconds, and a missing step is 0."""
    (block,) = points_of([point(), point(key="loss", step=None), point(value=1)]).blocks
    assert isinstance(block, LongBlock)
    assert (block.names, block.rows) == (("acc", "loss"), 3)
    assert struct.unpack("<3I", block.ids) == (0, 1, 0)
    assert struct.unpack("<3q", block.steps) == (2, 0, 2)
    assert struct.unpack("<3q", block.times) == (1_000_000,) * 3
    assert struct.unpack("<3d", block.values) == (0.5, 0.5, 1.0)


def test_last_time_that_can_be_kept_is_taken() -> None:
    """The end of the year 9999."""
    assert time_us("start_time", 253_402_300_799_999) == 253_402_300_799_999_000


@pytest.mark.parametrize(
    ("metrics", "params", "tags", "is_fine"),
    [
        (1000, 0, 0, True),
        (1001, 0, 0, False),
        (0, 100, 100, True),
        (0, 101, 0, False),
        (0, 0, 101, False),
        (901, 100, 0, False),
    ],
)
def test_batch_is_bounded_as_mlflow_bounds_it(
    metrics: int, params: int, tags: int, is_fine: bool
) -> None:
    """One more than its numbers is refused, with the number."""
    batch = LogBatchArguments.model_validate(
        {
            "metrics": [POINT] * metrics,
            "params": [{"key": str(one), "value": "v"} for one in range(params)],
            "tags": [{"key": str(one), "value": "v"} for one in range(tags)],
        }
    )
    if is_fine:
        logged = batch.logged()
        assert (len(logged.parameters), len(logged.tags)) == (params, tags)
        return
    with pytest.raises(LimitExceededError, match="send several"):
        batch.logged()


@pytest.mark.parametrize(
    "pairs",
    [
        [{"key": "a", "value": "1"}, {"key": "a", "value": "1"}],
        [{"value": "1"}],
        [{"key": "a\0", "value": "1"}],
        [{"key": "a", "value": "\ud800"}],
    ],
    ids=range(4),
)
def test_parameters_that_are_none_are_refused(pairs: list[dict[str, str]]) -> None:
    """A name twice, no name, what no table can hold."""
    with pytest.raises(ClientError):
        LogBatchArguments.model_validate({"params": pairs}).logged()


# J5
@pytest.mark.parametrize("chars_max", [0, 1, 20, 100, 256, 5999, 6000])
def test_long_value_is_shortened_with_a_mark(chars_max: int) -> None:
    """Never longer than allowed, the same each time, another one for another value."""
    value = "x" * 6000
    short = shortened(value, chars_max)
    assert len(short) <= chars_max
    assert short == shortened(value, chars_max)
    if chars_max == 6000:
        assert short == value
    elif chars_max >= 20:
        assert short != shortened(value[:-1] + "y", chars_max)
    if 100 <= chars_max < 6000:
        assert f"6000 characters, whole in {LONG_VALUES_ARTIFACT}]" in short
        assert value.startswith(short.partition("…")[0])


# J5
def test_whole_values_are_one_document_that_grows() -> None:
    """Each version has what those before had; a tag has its last value."""
    first = long_values_document(None, {"p": "x"}, {"t": "1"})
    second = long_values_document(first, {"q": "y"}, {"t": "2"})
    assert json.loads(second) == {"params": {"p": "x", "q": "y"}, "tags": {"t": "2"}}
    assert long_values_document(second, {"p": "x"}, {}) == second


FOREIGN = [
    b"",
    b"{",
    b"[]",
    b"5",
    b'"x"',
    b'{"params": 5}',
    b'{"datasets": 5}',
    b'{"datasets":[5]}',
]


@pytest.mark.parametrize("content", FOREIGN, ids=range(len(FOREIGN)))
def test_artifact_that_somebody_else_has_made_under_the_name_is_no_defect(content: bytes) -> None:
    """Whoever logs may take these names; what is none of ours is begun anew."""
    assert json.loads(long_values_document(content, {"p": "x"}, {}))["params"] == {"p": "x"}
    assert datasets_of(content) == []


def dataset(name: object = "d", digest: object = "1", **more: object) -> dict[str, object]:
    """Return a dataset as a client sends it."""
    return {"tags": [], "dataset": {"name": name, "digest": digest, **more}}


def test_datasets_are_one_document_that_grows() -> None:
    """A dataset is told once, with what was said of it last."""
    told = [LogInputsArguments.model_validate({"datasets": [one]}).told() for one in (
        dataset(), dataset("e", schema="s"), dataset(profile="p"),
    )]  # fmt: skip
    document = None
    for one in told:
        document = inputs_document(document, one)
    assert datasets_of(document) == [*told[2], *told[1]]


@pytest.mark.parametrize(
    "body",
    [
        {"datasets": [dataset(None)]},
        {"datasets": [dataset("")]},
        {"datasets": [dataset("d", None)]},
        {"datasets": [{}]},
        {"datasets": [dataset("a\0")]},
        {"datasets": [dataset()] * 1001},
        {"models": [{"model_id": "m"}]},
    ],
    ids=range(7),
)
def test_inputs_that_are_none_are_refused(body: dict[str, object]) -> None:
    """No name, no digest, too many, or models, which trialog does not keep."""
    with pytest.raises(ClientError):
        LogInputsArguments.model_validate(body).told()
