"""Log calls with whatever comes: documented errors and no others, and a spool that stays readable.

The log is in memory; what is in it at the end is exactly what the calls that returned have said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import trialog
from tests.unit.producer.memory_runs import memory_runs
from tests.unit.schemas.hostile_objects import Lying, Mapped, Raising, RaisingText, Tensor, Text
from trialog_schemas.events import MetricsLogged, ParametersLogged, WideBlock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ODD: list[Callable[[], object]] = [
    Raising,
    object,
    lambda: RaisingText("raising"),
    lambda: Text("text"),
    lambda: Lying(str),
    lambda: Lying(dict),
    lambda: Tensor(0.5),
    lambda: Tensor(math.nan),
    lambda: Mapped(lambda: [("a", 1)]),
    lambda: Decimal("1e400"),
    lambda: Fraction(1, 3),
    lambda: np.ma.array(1.0, mask=True),
    lambda: np.array([1, 2]),
    lambda: np.array("1.5"),
    lambda: 10**400,
    lambda: 2**64,
    lambda: "\ud800",
    lambda: "a\0",
    lambda: {"a": 1, Text("a"): 2},
]


@dataclass(frozen=True)
class Odd:
    """An object that Hypothesis could not handle; it is made when the call is."""

    make: Callable[[], object]


def made(value: Any) -> Any:
    """Put the odd objects in their places."""
    if isinstance(value, Odd):
        return value.make()
    if isinstance(value, dict):
        return {key: made(one) for key, one in value.items()}
    return type(value)(map(made, value)) if isinstance(value, list | tuple) else value


_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=3)
    | st.complex_numbers()
    | st.dates()
    | st.datetimes()
    | st.decimals()
    | st.fractions()
    | st.builds(np.float32, st.floats(width=32))
    | st.builds(np.int64, st.integers(-(2**63), 2**63 - 1))
    | st.sampled_from(_ODD).map(Odd)
)
_values = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
    ),
    max_leaves=5,
)
_names = st.text("abcd.", min_size=1, max_size=4)
_any_names = (
    _names | st.text(min_size=1, max_size=8) | st.just("x" * 257) | st.integers() | st.none()
)
_steps = st.none() | st.integers(0, 9)
_good = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9) | st.booleans()

_STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

REFUSALS = (
    trialog.ValidationError,
    trialog.ParameterImmutableError,
    trialog.LimitExceededError,
)


_calls = st.lists(
    st.tuples(st.booleans(), st.dictionaries(_names, _good, max_size=3), _steps)
    | st.tuples(st.booleans(), st.dictionaries(_any_names, _values, max_size=3), _steps | _leaves),
    max_size=8,
)


@dataclass
class Told:
    """What the calls that returned have said, and the errors of the others."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    parameters: dict[str, None] = field(default_factory=dict)
    errors: list[trialog.ClientError] = field(default_factory=list)

    def call(self, run: trialog.Run, is_metrics: bool, values: dict[Any, Any], step: Any) -> None:
        """Call, and note what comes of it."""
        try:
            if is_metrics:
                run.log_metrics(values, step)
                self.rows += [tuple(values)] if values else []
            else:
                run.log_parameters(values)
                self.parameters |= dict.fromkeys(values)
        except REFUSALS as error:
            self.errors.append(error)


# C3 D2
@pytest.mark.filterwarnings("ignore")
def test_any_values_are_taken_whole_or_refused_whole(tmp_path: Path) -> None:
    """The log has the rows and parameters of the calls that returned, in order, and no more."""
    told = Told()

    @_STEADY
    @given(_calls)
    def call_all(calls: list[tuple[bool, dict[Any, Any], Any]]) -> None:
        for is_metrics, values, step in calls:
            told.call(run, is_metrics, made(values), made(step))

    with memory_runs(tmp_path / "spool") as runs:
        with trialog.Run("e", "r", runs.session) as run:
            call_all()
        bodies = [event.body for event in runs.events()]
    assert told.rows
    assert told.parameters
    assert told.errors
    assert all(str(error).isprintable() and len(str(error)) < 500 for error in told.errors)
    logged = [body.parameters for body in bodies if isinstance(body, ParametersLogged)]
    assert dict.fromkeys(name for one in logged for name in one) == told.parameters
    blocks = [block for body in bodies if isinstance(body, MetricsLogged) for block in body.blocks]
    assert all(isinstance(block, WideBlock) for block in blocks)
    assert [block.names for block in blocks for _ in range(block.rows)] == told.rows
