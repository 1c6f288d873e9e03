"""The rules beside an independent model, under several writers, deliveries and restarts.

Writers log without being heard; what they logged is delivered in records, in any order between the
writers, again after a lost answer, with holes, and over restarts from what was stored. After each
step the run must be what `run_model` works out from the whole history. The canaries at the end show
that the model notices rules that are broken on purpose.

Hypothesis derives the steps from the source alone, so that every run walks the same ones; what it
prints of a failure is the steps that lead there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.schemas.factories import AT_US
from tests.unit.schemas.receiver import Receiver
from tests.unit.schemas.run_model import (
    ILLEGAL_NAMES,
    Artifact,
    Entered,
    Fact,
    Left,
    Parameters,
    Points,
    Said,
    kind_of,
    outcome_of,
)
from trialog_schemas import names
from trialog_schemas.events import MetricsLogged, ParametersLogged, RunEnded
from trialog_schemas.rules import RunState, Verdict, decide, evolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialog_schemas.events import Event

WRITERS = 3

_NAMES = st.sampled_from([*"abcd", ILLEGAL_NAMES[0]])
_VALUES = st.sampled_from([1, True, 1, True, 1.0, "1", [1], [True], {"k": 1.0}])
_METRICS = st.sampled_from([*"xyzxyz", ILLEGAL_NAMES[1]])
_STEPS = st.sampled_from([-1, 0, 1, 5, 2**63 - 1, -2])
_FLOATS = st.floats(allow_nan=False, width=16)


@st.composite
def _wide_blocks(draw: st.DrawFn) -> tuple[bool, tuple[tuple[str, int, float], ...]]:
    columns = draw(st.lists(_METRICS, min_size=1, max_size=3, unique=True))
    steps = draw(st.lists(_STEPS, min_size=1, max_size=3))
    return True, tuple((name, step, draw(_FLOATS)) for step in steps for name in columns)


_LONG_BLOCKS = st.lists(st.tuples(_METRICS, _STEPS, _FLOATS), min_size=1, max_size=4).map(
    lambda points: (False, tuple(points))
)
_SAID: st.SearchStrategy[Said] = st.one_of(
    st.dictionaries(_NAMES, _VALUES, max_size=3).map(lambda all_: Parameters(tuple(all_.items()))),
    st.lists(_wide_blocks() | _LONG_BLOCKS, max_size=2).map(lambda blocks: Points(tuple(blocks))),
    st.builds(
        Artifact,
        st.sampled_from(["m", "n", "o", ILLEGAL_NAMES[0]]),
        st.sampled_from("ab"),
        st.sampled_from([0, 99, 100, 101]),
    ),
    st.builds(Entered, st.sampled_from(["resumed", "joined"])),
    st.builds(
        Left,
        st.sampled_from(["Completed", "Failed"]),
        st.sampled_from([None, "boom", "bang"]),
        st.booleans(),
    ),
)


class Deliveries(RuleBasedStateMachine):
    """Several writers of one run, and one receiver beside the model."""

    def __init__(self, receiver: Receiver | None = None) -> None:
        super().__init__()
        self.receiver = receiver or Receiver()
        self.logged: list[list[Fact]] = [[] for _ in range(WRITERS)]
        self.heard = [0] * WRITERS
        self.delivered: list[Fact] = []
        self._log(0, Entered("started"), AT_US)

    def _log(self, writer: int, said: Said, at_us: int) -> None:
        self.logged[writer].append(Fact(writer, len(self.logged[writer]) + 1, at_us, said))

    def _deliver(self, record: list[Fact]) -> None:
        self.delivered += record
        self.receiver.deliver(record)

    @rule(
        writer=st.integers(0, WRITERS - 1),
        calls=st.lists(_SAID, min_size=1, max_size=4),
        after_us=st.integers(-50, 50),
    )
    def log(self, writer: int, calls: list[Said], after_us: int) -> None:
        """A writer logs; nobody hears it yet, and its clock may be wrong."""
        for said in calls:
            self._log(writer, said, AT_US + after_us)

    @precondition(lambda self: any(map(len, self.logged)))
    @rule(writer=st.integers(0, WRITERS - 1), events=st.integers(1, 8))
    def deliver(self, writer: int, events: int) -> None:
        """The next events of a writer arrive, whatever the others are waiting with."""
        start = self.heard[writer]
        if start == len(self.logged[writer]):  # then one who has something to say is heard
            writer = max(range(WRITERS), key=lambda one: len(self.logged[one]) - self.heard[one])
            start = self.heard[writer]
        record = self.logged[writer][start : start + events]
        self.heard[writer] += len(record)
        self._deliver(record)

    @precondition(lambda self: any(self.heard))
    @rule(writer=st.integers(0, WRITERS - 1), back=st.integers(1, 4), events=st.integers(0, 2))
    def send_again(self, writer: int, back: int, events: int) -> None:
        """A sender whose answer was lost sends the last events again, and perhaps further ones."""
        start = max(self.heard[writer] - back, 0)
        record = self.logged[writer][start : self.heard[writer] + events]
        self.heard[writer] = start + len(record)
        self._deliver(record)

    @precondition(lambda self: self.delivered)
    @rule()
    def deliver_everything_again(self) -> None:
        """The whole log is delivered once more, from its first event on."""
        for fact in list(self.delivered):
            self.receiver.deliver([fact])

    @rule(writer=st.integers(1, WRITERS - 1))
    def lose(self, writer: int) -> None:
        """A full disk took an event: the writer's count has a hole."""
        if self.heard[writer] < len(self.logged[writer]):
            self.heard[writer] += 1

    @rule()
    def restart(self) -> None:
        """The receiver is killed and starts from what was stored."""
        self.receiver.restart()

    @invariant()
    def receiver_equals_model(self) -> None:
        """The run is what the model works out from the history, in every part and order."""
        got, expected = self.receiver.outcome(), outcome_of(self.delivered)
        assert got == expected
        kinds = [kind_of(value) for value in got.parameters.values()]
        assert kinds == [kind_of(value) for value in expected.parameters.values()]


_STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    stateful_step_count=50,
    suppress_health_check=list(HealthCheck),
)


def test_rules_equal_the_model_under_every_delivery() -> None:
    """Three writers, re-sends, holes and restarts: rules and model come to the same run."""
    run_state_machine_as_test(Deliveries, settings=settings(_STEADY, max_examples=60))


def _accepting_again(state: RunState, event: Event) -> Verdict:
    """Let the last writer of a parameter win."""
    if isinstance(event.body, ParametersLogged):
        legal = {name: value for name, value in event.body.parameters.items() if len(name) == 1}
        return Verdict(ParametersLogged(legal) if legal else None)
    return decide(state, event)


def _with_limit(limit: str, by: int) -> Callable[[RunState, Event], Verdict]:
    """Judge with one limit off by some."""

    def judge(state: RunState, event: Event) -> Verdict:
        off = replace(state.limits, **{limit: getattr(state.limits, limit) + by})
        return decide(replace(state, limits=off), event)

    return judge


def _refusing_whole_batches(state: RunState, event: Event) -> Verdict:
    """Keep nothing of a batch that goes over the limit."""
    verdict = decide(state, event)
    if any(one.code == "point_limit" for one in verdict.rejections):
        return replace(verdict, accepted=None)
    return verdict


def _keeping_the_last_points(state: RunState, event: Event) -> Verdict:
    """Keep the right number of points, but the wrong ones."""
    verdict = decide(state, event)
    body, kept = event.body, verdict.accepted
    if isinstance(body, MetricsLogged) and isinstance(kept, MetricsLogged) and kept != body:
        turned = MetricsLogged(body.blocks[::-1]).take(kept.points)
        return replace(verdict, accepted=turned)
    return verdict


def _confusing_true_with_one(state: RunState, event: Event) -> Verdict:
    """Compare parameters as Python does."""
    verdict = decide(state, event)
    if not isinstance(event.body, ParametersLogged):
        return verdict
    told = event.body.parameters
    refused = tuple(
        one
        for one in verdict.rejections
        if one.code != "param_immutable" or state.parameters[one.name or ""] != told[one.name or ""]
    )
    return replace(verdict, rejections=refused)


def _joined_handles_end_runs(state: RunState, event: Event, verdict: Verdict) -> RunState:
    """Take every ending for the owner's."""
    if isinstance(verdict.accepted, RunEnded):
        verdict = replace(verdict, accepted=replace(verdict.accepted, is_owner=True))
    return evolve(state, event, verdict)


def _starting_anew(state: RunState, event: Event, verdict: Verdict) -> RunState:
    """Take the time of every entering for the start."""
    evolved = evolve(state, event, verdict)
    if evolved.status == "InProgress" and state.status in ("Completed", "Failed"):
        return replace(evolved, started_at_us=event.at_us)
    return evolved


def _forgiving(state: RunState) -> RunState:
    """Forget in the store that a joined handle failed."""
    return replace(state, is_failed_for_good=False)


def _counting_from_nothing(state: RunState) -> RunState:
    """Forget in the store which parameters there are."""
    return replace(state, parameters={})


CANARIES: dict[str, Callable[[], Receiver]] = {
    "last writer wins": lambda: Receiver(judge=_accepting_again),
    "one parameter more": lambda: Receiver(judge=_with_limit("parameters_max", 1)),
    "one parameter less": lambda: Receiver(judge=_with_limit("parameters_max", -1)),
    "one point more": lambda: Receiver(judge=_with_limit("points_max", 1)),
    "one point less": lambda: Receiver(judge=_with_limit("points_max", -1)),
    "one artifact more": lambda: Receiver(judge=_with_limit("artifacts_max", 1)),
    "one artifact less": lambda: Receiver(judge=_with_limit("artifacts_max", -1)),
    "one byte more": lambda: Receiver(judge=_with_limit("artifact_bytes_max", 1)),
    "one byte less": lambda: Receiver(judge=_with_limit("artifact_bytes_max", -1)),
    "a batch is refused as a whole": lambda: Receiver(judge=_refusing_whole_batches),
    "the last points of a batch are kept": lambda: Receiver(judge=_keeping_the_last_points),
    "True is 1": lambda: Receiver(judge=_confusing_true_with_one),
    "what comes again counts again": lambda: Receiver(is_new=lambda _seq, _came: True),
    "what comes next counts as known": lambda: Receiver(
        is_new=lambda seq, came: seq > max(came, default=0) + 1
    ),
    "a hole stops a writer": lambda: Receiver(
        is_new=lambda seq, came: seq == max(came, default=0) + 1
    ),
    "what comes late is lost": lambda: Receiver(
        is_new=lambda seq, came: seq > max(came, default=0)
    ),
    "joined handles end runs": lambda: Receiver(grow=_joined_handles_end_runs),
    "resuming moves the start": lambda: Receiver(grow=_starting_anew),
    "a restart forgives": lambda: Receiver(through_store=_forgiving),
    "a restart forgets": lambda: Receiver(through_store=_counting_from_nothing),
}


def _deliveries_to(receiver: Callable[[], Receiver]) -> type[Deliveries]:
    """Return the machine around another receiver, made anew for each walk."""

    class Elsewhere(Deliveries):
        def __init__(self) -> None:
            super().__init__(receiver())

    return Elsewhere


@pytest.mark.parametrize("canary", CANARIES)
def test_broken_rules_are_noticed(canary: str) -> None:
    """Each rule that is broken on purpose makes the model disagree."""
    found = settings(_STEADY, max_examples=2000, phases=[Phase.generate], print_blob=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(_deliveries_to(CANARIES[canary]), settings=found)


def test_model_tells_kinds_of_values_apart() -> None:
    """The model's own equality is the tracker's: bool, number and text differ, 1 equals 1.0."""
    assert kind_of(1) == kind_of(1.0) != kind_of(True) != kind_of("1")
    assert kind_of([1, {"a": 2}]) == kind_of([1.0, {"a": 2.0}]) != kind_of([True, {"a": 2}])
    assert names.same_parameter([1, {"a": 2}], [1.0, {"a": 2.0}])
