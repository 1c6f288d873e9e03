"""Behaviour of the rules of a run, by examples; `test_rules_machine.py` walks them at random."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.schemas.factories import AT_US, SHA, SHB, artifact, event, long, wide
from trialog_schemas.events import (
    DROPPED_TAG,
    ArtifactLogged,
    Body,
    CallRefused,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    Rejection,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
)
from trialog_schemas.limits import Limits
from trialog_schemas.rules import RunState, Verdict, decide, evolve

if TYPE_CHECKING:
    from trialog_schemas.names import ParameterValue

FEW = Limits(parameters_max=3, points_max=10, artifacts_max=2, artifact_bytes_max=100)


def judged(state: RunState, *bodies: Body, at_us: int = AT_US) -> tuple[RunState, list[Verdict]]:
    """Return the state after the bodies, and their verdicts."""
    verdicts = []
    for body in bodies:
        fact = event(body, at_us=at_us)
        verdicts.append(decide(state, fact))
        state = evolve(state, fact, verdicts[-1])
    return state, verdicts


def codes(verdict: Verdict) -> list[str]:
    """Return the codes of what was refused."""
    return [rejection.code for rejection in verdict.rejections]


# C4
def test_parameter_with_another_value_is_refused_and_the_first_stays() -> None:
    """The first value in log order wins and the refusal tells both values."""
    state, (_, second) = judged(
        RunState(), ParametersLogged({"lr": 0.1}), ParametersLogged({"lr": 0.2, "new": 1})
    )
    assert state.parameters == {"lr": 0.1, "new": 1}
    assert codes(second) == ["param_immutable"]
    assert "already 0.1 and cannot become 0.2" in second.rejections[0].message


# C5
@pytest.mark.parametrize(("first", "again"), [(1, 1.0), ("a", "a"), (None, None), ([1], [1.0])])
def test_parameter_with_the_same_value_is_a_no_op(
    first: ParameterValue, again: ParameterValue
) -> None:
    """The same value again is neither stored nor refused."""
    state, (_, second) = judged(
        RunState(), ParametersLogged({"p": first}), ParametersLogged({"p": again})
    )
    assert second == Verdict(None)
    assert state.parameters == {"p": first}


def test_parameter_limit_keeps_what_is_there_and_allows_old_names() -> None:
    """At the limit a new name is refused and an old one with its value passes."""
    full, _ = judged(RunState(limits=FEW), ParametersLogged({"a": 1, "b": 2, "c": 3}))
    state, (new, old) = judged(full, ParametersLogged({"d": 4}), ParametersLogged({"a": 1}))
    assert codes(new) == ["param_limit"]
    assert codes(old) == []
    assert state.parameters == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    "parameters", [{"": 1}, {"a\n": 1}, {"a": "x" * 257}, {"a": [["x" * 300]]}]
)
def test_parameter_of_a_foreign_producer_that_is_illegal_is_refused(
    parameters: dict[str, ParameterValue],
) -> None:
    """Names and lengths are judged again by the projection."""
    _, (verdict,) = judged(RunState(), ParametersLogged(parameters))
    assert codes(verdict) == ["invalid"]


# D10
@pytest.mark.parametrize(("points", "accepted"), [(9, 9), (10, 10), (11, 10), (25, 10)])
def test_points_up_to_the_limit_are_accepted(points: int, accepted: int) -> None:
    """The first points up to the limit stay, the rest is refused with its count."""
    state, (verdict,) = judged(RunState(limits=FEW), MetricsLogged((long(points),)))
    assert state.points == accepted
    assert codes(verdict) == (["point_limit"] if points > accepted else [])
    if points > accepted:
        assert verdict.rejections[0].facts["points"] == points - accepted


def test_points_after_the_limit_are_all_refused() -> None:
    """A full run accepts no further point and says so each time."""
    state, verdicts = judged(
        RunState(limits=FEW), MetricsLogged((long(10),)), MetricsLogged((wide(1, ("a", "b")),))
    )
    assert state.points == 10
    assert verdicts[1].accepted is None
    assert codes(verdicts[1]) == ["point_limit"]


def test_points_of_an_illegal_block_cost_only_that_block() -> None:
    """A bad name, a negative step or an impossible time refuses its own block."""
    bad = (wide(2, ("bad\nname",)), wide(2, step=-2), long(2, at_us=2**62))
    state, (verdict,) = judged(RunState(), MetricsLogged((wide(3), *bad)))
    assert state.points == 3
    assert codes(verdict) == ["invalid"] * 3


def test_artifact_same_content_is_a_no_op_and_other_content_a_version() -> None:
    """A name counts once; its versions are counted beside it."""
    state, verdicts = judged(
        RunState(limits=FEW), artifact("a"), artifact("a"), artifact("a", SHB), artifact("b")
    )
    assert [verdict.accepted is not None for verdict in verdicts] == [True, False, True, True]
    assert state.artifacts["a"].version == 2


def test_artifact_limit_refuses_a_new_name_only() -> None:
    """With all names used an old name still takes a new version."""
    state, _ = judged(RunState(limits=FEW), artifact("a"), artifact("b"))
    _, (new, old) = judged(state, artifact("c"), artifact("a", SHB))
    assert (codes(new), codes(old)) == (["artifact_limit"], [])


@pytest.mark.parametrize(
    "body",
    [
        artifact("../x"),
        artifact("a", "A" * 64),
        artifact("a", size=-1),
        ArtifactLogged("m", "model", "x/y", uri="no scheme", model=ModelInfo()),
        ArtifactLogged("m", "file", "nonsense", sha256=SHA, size=1),
    ],
)
def test_artifact_that_is_illegal_is_refused(body: ArtifactLogged) -> None:
    """Digest, size, media type, address and name are judged again by the projection."""
    state, (verdict,) = judged(RunState(limits=FEW), body)
    assert codes(verdict) == ["invalid"]
    assert not state.artifacts


# E9
@pytest.mark.parametrize(("size", "expected"), [(99, []), (100, []), (101, ["artifact_size"])])
def test_artifact_larger_than_the_limit_is_refused(size: int, expected: list[str]) -> None:
    """The limit itself is still legal; a refusal carries the limit as a fact."""
    _, (verdict,) = judged(RunState(limits=FEW), artifact("a", size=size))
    assert codes(verdict) == expected
    assert all(refusal.facts == {"limit": 100} for refusal in verdict.rejections)


def test_limits_come_from_the_event_that_started_the_run() -> None:
    """The policy in force is the one written into the log."""
    state, _ = judged(RunState(), RunStarted("e", "r", FEW))
    assert state.limits == FEW


# B22
def test_start_that_is_heard_after_a_join_still_brings_policy_and_time() -> None:
    """A child made by fork may reach the log before its parent's first event does."""
    joined, _ = judged(RunState(), RunJoined(), at_us=200)
    assert (joined.status, joined.started_at_us) == ("InProgress", 200)
    state, _ = judged(joined, RunStarted("e", "r", FEW), at_us=100)
    assert (state.status, state.started_at_us, state.limits) == ("InProgress", 100, FEW)


# B9
def test_status_goes_in_progress_then_completed() -> None:
    """Entering and leaving set status and times; the end is never before the start."""
    entered, _ = judged(RunState(), RunStarted("e", "r"), at_us=100)
    assert (RunState().status, entered.status) == (None, "InProgress")
    ended, _ = judged(entered, RunEnded("Completed"), at_us=90)
    assert (ended.status, ended.started_at_us, ended.ended_at_us) == ("Completed", 100, 100)


# B10
def test_status_failed_carries_a_message_cut_to_1024() -> None:
    """A long failure text is cut, not refused."""
    state, _ = judged(RunState(), RunStarted("e", "r"), RunEnded("Failed", "x" * 3000))
    assert state.status == "Failed"
    assert state.failure_message == "x" * 1024


def test_resuming_keeps_the_start_and_ends_again() -> None:
    """A resumed run is in progress again, with its first start time."""
    first, _ = judged(RunState(), RunStarted("e", "r"), RunEnded("Completed"), at_us=100)
    resumed, _ = judged(first, RunResumed(), at_us=200)
    assert (resumed.status, resumed.started_at_us, resumed.ended_at_us) == ("InProgress", 100, None)
    again, _ = judged(resumed, RunEnded("Completed"), at_us=300)
    assert (again.status, again.started_at_us, again.ended_at_us) == ("Completed", 100, 300)


# B6
def test_resuming_forgets_what_an_earlier_owner_failed_of() -> None:
    """A run in progress has no failure; what a joined handle fails of later is told as such."""
    failed, _ = judged(RunState(), RunStarted("e", "r"), RunEnded("Failed", "the disk was full"))
    resumed, _ = judged(failed, RunResumed())
    assert (resumed.status, resumed.failure_message) == ("InProgress", None)
    ended, _ = judged(resumed, RunEnded("Failed", "rank 3", is_owner=False), RunEnded("Completed"))
    assert (ended.status, ended.failure_message) == ("Failed", "rank 3")


def test_joined_handle_never_ends_the_run() -> None:
    """Leaving a joined handle changes nothing; joining an ended run does not reopen it."""
    open_run, _ = judged(
        RunState(), RunStarted("e", "r"), RunJoined(), RunEnded("Completed", is_owner=False)
    )
    assert open_run.status == "InProgress"
    ended, _ = judged(open_run, RunEnded("Completed"), RunJoined())
    assert ended.status == "Completed"


@pytest.mark.parametrize("is_after", [False, True])
def test_joined_handle_that_fails_makes_the_run_failed_for_good(is_after: bool) -> None:
    """Whether it fails before or after the owner's end, the run is Failed with its message."""
    joined, owner = RunEnded("Failed", "rank 3", is_owner=False), RunEnded("Completed")
    bodies = (owner, joined) if is_after else (joined, owner)
    state, _ = judged(RunState(), RunStarted("e", "r"), *bodies)
    assert (state.status, state.failure_message) == ("Failed", "rank 3")


def test_events_after_the_end_are_still_applied() -> None:
    """What a joined handle logs after the owner left is kept."""
    state, _ = judged(
        RunState(), RunStarted("e", "r"), RunEnded("Completed"), ParametersLogged({"late": 1})
    )
    assert state.parameters == {"late": 1}


def test_tags_of_a_foreign_producer_that_are_illegal_are_refused() -> None:
    """Tags are judged again by the projection, and so are the keys of those to remove."""
    _, (verdict,) = judged(RunState(), TagsSet({"k": "v" * 257}))
    assert codes(verdict) == ["invalid"]
    many = tuple(f"k{at}" for at in range(51))
    for body in (TagsSet({"k": "v"}, ("",)), TagsSet({"k": "v"}, many)):
        state, (verdict,) = judged(RunState(), body)
        assert codes(verdict) == ["invalid"]
        assert state.tags == {}


# A5
@pytest.mark.parametrize("there", [48, 49, 50])
def test_tags_of_a_run_are_counted_over_all_that_were_set(there: int) -> None:
    """At 49 one of two fits, the first; a key that is there is set again at any number."""
    full = {f"k{at:02}": "v" for at in range(there)}
    more = TagsSet({"k00": "new", "a": "1", "b": "2"})
    state, verdicts = judged(RunState(), TagsSet(full), more)
    expected = dict(list({"a": "1", "b": "2"}.items())[: 50 - there])
    assert state.tags == full | {"k00": "new"} | expected
    assert [one.name for one in verdicts[1].rejections] == ["a", "b"][50 - there :]
    assert set(codes(verdicts[1])) <= {"tag_limit"}


# A5
def test_tag_that_is_removed_makes_room_also_in_the_same_call() -> None:
    """A key that is set and removed at once is removed, and needs no room."""
    full = {f"k{at:02}": "v" for at in range(50)}
    state, verdicts = judged(
        RunState(),
        TagsSet(full),
        TagsSet({"new": "1", "gone": "1"}, ("k00", "gone")),
        TagsSet({"k00": "again"}),
        TagsSet({}, ("k01", "never there")),
        TagsSet({"k00": "again", "k01": "too much"}),
    )
    assert [codes(one) for one in verdicts] == [[], [], ["tag_limit"], [], ["tag_limit"]]
    live = {key for key, value in state.tags.items() if value is not None}
    assert live == (set(full) - {"k01"}) | {"new"}
    assert (state.tags["gone"], state.tags["never there"]) == (None, None)


def test_tag_of_what_was_dropped_needs_no_room() -> None:
    """A run that has lost calls says so, whatever other tags it has."""
    full = {f"k{at:02}": "v" for at in range(50)}
    state, verdicts = judged(RunState(), TagsSet(full), TagsSet({DROPPED_TAG: "3"}), TagsSet(full))
    assert [codes(one) for one in verdicts] == [[], [], []]
    assert state.tags == full | {DROPPED_TAG: "3"}
    state, verdicts = judged(RunState(), TagsSet({DROPPED_TAG: "3"}), TagsSet(full))
    assert [codes(one) for one in verdicts] == [[], []]


def test_what_several_writers_have_dropped_is_added_up() -> None:
    """Each tells what it has not told yet; what is no number is refused and changes nothing."""
    told = [TagsSet({DROPPED_TAG: text}) for text in ("3", "40", "-1", "many", "1" * 19, "2")]
    state, verdicts = judged(RunState(), *told)
    assert [codes(one) for one in verdicts] == [[], [], ["invalid"], ["invalid"], ["invalid"], []]
    assert state.tags == {DROPPED_TAG: "45"}


# C4
def test_refused_call_is_refused_as_what_it_has_raised() -> None:
    """Code, words, name, value and the numbers are the call's own; that it raised is a fact."""
    told = Rejection("param_limit", "too many", "p", "1", {"limit": 300})
    body = CallRefused(told.code, told.message, told.name, told.value, told.facts)
    state, (verdict,) = judged(RunState(), body)
    assert (state, verdict.accepted) == (RunState(), None)
    assert verdict.rejections == (replace(told, facts={"limit": 300, "raised": "in the call"}),)


def test_refused_call_of_a_foreign_producer_is_cut_to_what_a_refusal_has() -> None:
    """Megabytes, facts of its own and codes that no call has do not reach the tables."""
    long = "x" * 10**6
    facts: dict[str, str | int] = {"is": long, "limit": 5, "calls": 7, "mine": long}
    body = CallRefused("invalid", long, long, long, facts)
    _, (verdict,) = judged(RunState(), body)
    (one,) = verdict.rejections
    assert [len(part or "") for part in (one.message, one.name, one.value)] == [512, 256, 80]
    assert one.facts == {"is": "x" * 80, "limit": 5, "calls": 7, "raised": "in the call"}
    _, (verdict,) = judged(RunState(), CallRefused(long, "no"))
    assert (codes(verdict), verdict.accepted) == (["invalid"], None)


def test_illegal_part_is_refused_with_the_parts_of_its_error() -> None:
    """Field, value and limit are those that the call itself would have raised."""
    _, (verdict,) = judged(RunState(), ParametersLogged({"p": "x" * 257, "a\n": 1}))
    parts = [(one.value, one.facts) for one in verdict.rejections]
    assert parts[0][1] == {"field": "p", "limit": "256"}
    assert parts[1] == (
        r"'a\n'",
        {"field": "parameter name", "limit": "letters digits _ - . / : space"},
    )
