"""What holds of `decide` and `evolve` whatever the state and the event are."""

from __future__ import annotations

import copy
import inspect
from dataclasses import FrozenInstanceError, fields, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.schemas.factories import AT_US, SHA, SHB, event, long_of, points_of, wide_of
from trialog_schemas import rules
from trialog_schemas.events import (
    RUN_TYPES,
    ArtifactLogged,
    Block,
    Body,
    CallRefused,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    RunBody,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
)
from trialog_schemas.limits import Limits
from trialog_schemas.names import same_parameter
from trialog_schemas.rules import (
    ArtifactState,
    RunState,
    Verdict,
    decide,
    decide_body,
    evolve,
    evolve_body,
)

if TYPE_CHECKING:
    from trialog_schemas.names import ParameterValue

_STEADY = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)

NAMES = st.sampled_from(["a", "b", "c", "d/e", "", "x\n", "y" * 257])
VALUES: st.SearchStrategy[ParameterValue] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, 1.0]) | st.text("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("k"), inner, max_size=2),
    max_leaves=4,
)
LIMITS = st.builds(
    Limits,
    parameters_max=st.integers(0, 4),
    parameter_value_chars_max=st.sampled_from([1, 8, 256]),
    points_max=st.integers(0, 8),
    artifacts_max=st.integers(0, 3),
    artifact_bytes_max=st.sampled_from([0, 5, 100]),
)
POINTS = st.tuples(
    st.sampled_from(["x", "y", "z", "bad\n"]),
    st.sampled_from([-2, -1, 0, 7]),
    st.floats(allow_nan=False, width=16),
)
BLOCKS: st.SearchStrategy[Block] = st.lists(POINTS, min_size=1, max_size=4).map(long_of) | (
    st.integers(1, 3).map(lambda rows: wide_of([("x", 1, 0.0), ("y", 1, 1.0)] * rows))
)
ARTIFACTS = st.builds(
    ArtifactLogged,
    st.sampled_from(["m", "n", "o", "../p"]),
    st.sampled_from(["artifact", "file", "model"]),
    st.sampled_from(["text/plain", "nonsense"]),
    st.booleans(),
    st.sampled_from([None, SHA, SHB, "short"]),
    st.sampled_from([None, -1, 0, 5, 6, 101]),
    st.sampled_from([None, "s3://b/k", "no scheme"]),
    st.none() | st.builds(ModelInfo, st.sampled_from([None, "t", "u" * 257])),
)
BODIES: st.SearchStrategy[Body] = st.one_of(
    st.dictionaries(NAMES, VALUES, max_size=4).map(ParametersLogged),
    st.lists(BLOCKS, max_size=3).map(lambda blocks: MetricsLogged(tuple(blocks))),
    ARTIFACTS,
    st.dictionaries(st.sampled_from(["k", ""]), st.text("v", max_size=2)).map(TagsSet),
    st.builds(CallRefused, st.sampled_from(["param_limit", "?"]), st.sampled_from(["", "no"])),
    st.builds(RunStarted, st.just("e"), st.just("r"), LIMITS),
    st.just(RunResumed()),
    st.just(RunJoined()),
    st.builds(
        RunEnded,
        st.sampled_from(["Completed", "Failed"]),
        st.sampled_from([None, "", "boom", "x" * 2000]),
        st.booleans(),
    ),
)
HISTORIES = st.lists(st.tuples(BODIES, st.integers(-9, 9)), max_size=8)


def state_after(history: list[tuple[Body, int]], state: RunState | None = None) -> RunState:
    """Return the run after a history of bodies and times."""
    state = state or RunState()
    for body, after_us in history:
        told = event(body, at_us=AT_US + after_us)
        state = evolve(state, told, decide(state, told))
    return state


STATES = st.builds(
    lambda limits, history: state_after([(RunStarted("e", "r", limits), 0), *history]),
    LIMITS,
    HISTORIES,
)


def size_of(body: Body | None) -> int:
    """Return how many things a body holds that rules count."""
    if isinstance(body, MetricsLogged):
        return body.points
    if isinstance(body, ParametersLogged):
        return len(body.parameters)
    return int(body is not None)


# K4
@_STEADY
@given(STATES, BODIES)
def test_the_same_question_has_the_same_answer(state: RunState, body: Body) -> None:
    """A verdict depends on state and event alone, and leaves both as they were."""
    told = event(body)
    before = copy.deepcopy((dict(state.parameters), dict(state.artifacts), told.body))
    first = decide(state, told)
    assert first == decide(state, told) == decide_body(state, body)
    assert evolve(state, told, first) == evolve(state, told, first)
    assert (dict(state.parameters), dict(state.artifacts), told.body) == before


@_STEADY
@given(STATES, BODIES)
def test_nothing_is_lost_between_accepted_and_refused(state: RunState, body: Body) -> None:
    """Every point is either accepted or counted in a refusal; every parameter has one fate."""
    verdict = decide_body(state, body)
    if isinstance(body, MetricsLogged):
        counts = [one.facts["points"] for one in verdict.rejections]
        refused = sum(count for count in counts if isinstance(count, int))
        assert size_of(verdict.accepted) + refused == body.points
    if isinstance(body, ParametersLogged):
        refused_names = [one.name for one in verdict.rejections]
        accepted = verdict.accepted
        assert accepted is None or isinstance(accepted, ParametersLogged)
        for name, value in body.parameters.items():
            is_accepted = accepted is not None and name in accepted.parameters
            is_known = name in state.parameters and same_parameter(state.parameters[name], value)
            assert is_accepted + is_known + (name[:256] in refused_names) == 1


@_STEADY
@given(STATES, BODIES)
def test_accepted_is_a_part_of_what_was_said(state: RunState, body: Body) -> None:
    """Rules take away; they never add, change or reorder."""
    accepted = decide_body(state, body).accepted
    if isinstance(body, ParametersLogged) and isinstance(accepted, ParametersLogged):
        assert accepted.parameters.items() <= body.parameters.items()
    elif isinstance(body, MetricsLogged) and isinstance(accepted, MetricsLogged):
        told = [point for block in body.blocks for point in points_of(block)]
        kept = [point for block in accepted.blocks for point in points_of(block)]
        rest = iter(told)
        assert all(point in rest for point in kept)
    elif isinstance(body, RunEnded) and isinstance(accepted, RunEnded):
        message = None if body.failure_message is None else body.failure_message[:1024]
        assert accepted == replace(body, failure_message=message)
    elif accepted is not None:
        assert accepted == body


@_STEADY
@given(STATES, BODIES)
def test_no_limit_is_ever_passed(state: RunState, body: Body) -> None:
    """After an event the run has at most what its policy allows, or what it had before."""
    told = event(body)
    after = evolve(state, told, decide(state, told))
    policy = after.limits
    assert len(after.parameters) <= max(policy.parameters_max, len(state.parameters))
    assert after.points <= max(policy.points_max, state.points)
    assert len(after.artifacts) <= max(policy.artifacts_max, len(state.artifacts))


# C4 C7
@_STEADY
@given(STATES, HISTORIES)
def test_first_values_and_versions_stay_whatever_follows(
    state: RunState, history: list[tuple[Body, int]]
) -> None:
    """Parameters never change, points never become fewer, versions only count up."""
    after = state_after(history, state)
    for name, value in state.parameters.items():
        assert after.parameters[name] is value
    for name, one in state.artifacts.items():
        assert after.artifacts[name].version >= one.version
    assert after.points >= state.points


@_STEADY
@given(HISTORIES)
def test_status_and_times_go_together(history: list[tuple[Body, int]]) -> None:
    """A run in progress has no end; one that ended has an end that is not before its start."""
    state = state_after(history)
    if state.status in (None, "InProgress"):
        assert state.ended_at_us is None
    if state.status == "Completed":
        assert state.ended_at_us is not None
    if state.started_at_us is not None and state.ended_at_us is not None:
        assert state.started_at_us <= state.ended_at_us
    if state.is_failed_for_good:
        assert state.status != "Completed"
    assert len(state.failure_message or "") <= 1024


# C5 E2
@_STEADY
@given(STATES, BODIES)
def test_parameters_and_artifacts_said_again_change_nothing(state: RunState, body: Body) -> None:
    """What was accepted is accepted again as a no-op: no refusal, no new version."""
    if not isinstance(body, ParametersLogged | ArtifactLogged):
        return
    accepted = decide_body(state, body).accepted
    if accepted is None:
        return
    after = evolve_body(state, Verdict(accepted))
    assert decide_body(after, accepted) == Verdict(None)
    assert evolve_body(after, Verdict(None)) == after


@_STEADY
@given(st.lists(BLOCKS, min_size=1, max_size=4), st.integers(0, 20), st.integers(1, 4))
def test_points_are_judged_alike_however_they_are_batched(
    blocks: list[Block], points_max: int, cut: int
) -> None:
    """One event of many blocks and many events of few come to the same points."""
    state = RunState(limits=Limits(points_max=points_max))
    whole = decide_body(state, MetricsLogged(tuple(blocks))).accepted
    kept: list[Block] = []
    for start in range(0, len(blocks), cut):
        verdict = decide_body(state, MetricsLogged(tuple(blocks[start : start + cut])))
        state = evolve_body(state, verdict)
        if isinstance(verdict.accepted, MetricsLogged):
            kept.extend(verdict.accepted.blocks)
    together = whole.blocks if isinstance(whole, MetricsLogged) else ()
    assert [point for block in kept for point in points_of(block)] == [
        point for block in together for point in points_of(block)
    ]


@_STEADY
@given(STATES, BODIES, st.integers(-10, 10))
def test_the_envelope_takes_no_part_in_a_verdict(
    state: RunState, body: Body, after_us: int
) -> None:
    """Who said it, when by his clock and under which number changes no verdict."""
    told = event(body)
    other = replace(
        told,
        event_id="9" * 32,
        user="you@there",
        writer_id="8" * 32,
        seq=77,
        digest=bytes(31) + b"\1",
        at_us=told.at_us + after_us,
    )
    assert decide(state, told) == decide(state, other)


# K3
@_STEADY
@given(HISTORIES)
def test_replay_of_a_history_comes_to_the_same_state(history: list[tuple[Body, int]]) -> None:
    """The same events through the same rules give the same run, part by part."""
    assert state_after(history) == state_after(copy.deepcopy(history))


LEGAL: dict[type[RunBody], RunBody] = {
    RunStarted: RunStarted("e", "r"),
    RunResumed: RunResumed(),
    RunJoined: RunJoined(),
    RunEnded: RunEnded("Completed"),
    ParametersLogged: ParametersLogged({"a": 1}),
    MetricsLogged: MetricsLogged((long_of([("x", 0, 1.0)]),)),
    ArtifactLogged: ArtifactLogged("a", "file", "a/b", sha256=SHA, size=1),
    TagsSet: TagsSet({"k": "v"}),
    CallRefused: CallRefused("param_limit", "too many"),
}


@pytest.mark.parametrize("name", RUN_TYPES)
def test_every_event_of_a_run_has_a_verdict(name: str) -> None:
    """The law's table names every type of event, and a legal one of each is accepted whole.

    But for a refused call, which is refused as what it says.
    """
    assert name in (inspect.getdoc(rules) or "")
    body = LEGAL[RUN_TYPES[name]]
    verdict = decide_body(RunState(), body)
    if isinstance(body, CallRefused):
        assert (verdict.accepted, len(verdict.rejections)) == (None, 1)
    else:
        assert verdict == Verdict(body)


def test_empty_events_are_neither_accepted_nor_refused() -> None:
    """An event that says nothing changes nothing."""
    for body in (ParametersLogged({}), MetricsLogged(())):
        assert decide_body(RunState(), body) == Verdict(None)


def test_state_has_what_a_store_must_keep() -> None:
    """A field that is added here has to be stored and loaded as well; this list reminds of it."""
    assert [one.name for one in fields(RunState)] == [
        "limits",
        "rules_version",
        "status",
        "is_failed_for_good",
        "started_at_us",
        "ended_at_us",
        "failure_message",
        "parameters",
        "points",
        "artifacts",
        "tags",
    ]
    assert [one.name for one in fields(ArtifactState)] == ["content", "version"]


def test_state_and_verdict_cannot_be_changed() -> None:
    """Nobody who was given a state can make it another one."""
    with pytest.raises(TypeError):
        RunState().parameters["a"] = 1  # type: ignore[index]  # it is a read-only view
    for value, name in ((RunState(), "points"), (Verdict(None), "accepted")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 2)


def test_limit_lowered_below_what_is_there_refuses_and_keeps() -> None:
    """A start heard after a joined process logged brings a policy that is passed already."""
    early = state_after(
        [
            (RunJoined(), 0),
            (ParametersLogged({"a": 1, "b": 2}), 1),
            (MetricsLogged((long_of([("x", 0, 1.0)] * 5),)), 2),
        ]
    )
    state = state_after([(RunStarted("e", "r", Limits(parameters_max=1, points_max=2)), 3)], early)
    verdict = decide_body(state, MetricsLogged((long_of([("x", 0, 1.0)]),)))
    assert verdict.accepted is None
    assert verdict.rejections[0].facts == {"limit": 2, "points": 1}
    assert decide_body(state, ParametersLogged({"a": 1})) == Verdict(None)
    assert (len(state.parameters), state.points) == (2, 5)


def test_model_has_another_version_by_another_address_or_fact() -> None:
    """Address, type, framework and version tell models apart; no facts are the same as empty."""
    info = ModelInfo("classifier", "torch", "2.4")
    one = ArtifactLogged("m", "model", "a/b", uri="s3://b/k", model=info)
    state = evolve_body(RunState(), decide_body(RunState(), one))
    assert decide_body(state, one) == Verdict(None)
    for other in (
        replace(one, uri="s3://b/l"),
        replace(one, model=None),
        *(
            replace(one, model=replace(info, **{name: "other"}))
            for name in ("model_type", "framework", "framework_version")
        ),
    ):
        assert decide_body(state, other) == Verdict(other)
    assert replace(one, model=None).content == replace(one, model=ModelInfo()).content
    assert replace(one, sha256=SHA).content == SHA


@pytest.mark.parametrize(
    "body",
    [
        ArtifactLogged("m", "model", "a/b", uri="s3://b/k", size=-1),
        ArtifactLogged("m", "model", "a/b", uri="s3://b/k", sha256="short"),
        ArtifactLogged("m", "model", "a/b", uri="s3://b/k", model=ModelInfo("x" * 257)),
        ArtifactLogged("m", "file", "a/b", sha256=SHA, size=1, uri="no scheme"),
    ],
)
def test_model_of_a_foreign_producer_that_is_illegal_is_refused(body: ArtifactLogged) -> None:
    """Size, digest and facts of a model, and an address of a file, are judged like others."""
    assert [one.code for one in decide_body(RunState(), body).rejections] == ["invalid"]


def test_names_of_a_megabyte_are_judged_without_being_remembered() -> None:
    """What a foreign producer sends must not fill the memory of a worker."""
    before = rules._refuse_known_names.cache_info().currsize
    blocks = tuple(wide_of([(f"{number}" + "x" * 10_000, 0, 1.0)]) for number in range(5))
    verdict = decide_body(RunState(), MetricsLogged(blocks))
    assert [one.code for one in verdict.rejections] == ["invalid"] * 5
    assert rules._refuse_known_names.cache_info().currsize == before
