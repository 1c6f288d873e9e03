"""The time between entering a run and leaving it: what is recorded, refused early, and survives."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.memory_runs import MemoryRuns, memory_runs
from trialog.deadline import Deadline
from trialog.run_block import RunBlock
from trialog_schemas.errors import (
    LimitExceededError,
    ParameterImmutableError,
    UnavailableError,
)
from trialog_schemas.events import (
    ArtifactLogged,
    CallRefused,
    ModelInfo,
    ParametersLogged,
    RunEnded,
    RunJoined,
    TagsSet,
)
from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_schemas.rules import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AWAY = UnavailableError("the log is away")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[MemoryRuns]:
    """A session whose log is in memory."""
    with memory_runs(tmp_path / "spool") as made:
        yield made


def entered(runs: MemoryRuns, limits: Limits = DEFAULT_LIMITS) -> RunBlock:
    """Return a block that an owner has entered."""
    block = RunBlock(runs.endpoint)
    block.enter(runs.run_answer(), runs.opening(limits))
    return block


def text_artifact(name: str, text: str) -> tuple[ArtifactLogged, bytes]:
    """Return an artifact and its bytes."""
    content = text.encode()
    digest = hashlib.sha256(content).hexdigest()
    return ArtifactLogged(name, "artifact", "text/plain", sha256=digest, size=len(content)), content


# B9
def test_block_begins_with_the_start_and_ends_with_the_end(runs: MemoryRuns) -> None:
    """Everything between is in order, and in the log when the block is left."""
    block = entered(runs)
    block.writer().record(ParametersLogged({"lr": 1}))
    block.writer().spool.append_point("loss", 1, 1, 0.5)
    assert block.leave(None)
    assert runs.types() == ["run_started", "parameters_logged", "metrics_logged", "run_ended"]
    assert runs.events()[-1].body == RunEnded("Completed", is_owner=True)
    assert [event.seq for event in runs.events()] == [1, 2, 3, 4]
    assert (block.status, block.is_open) == ("Completed", False)


# B10
def test_block_left_by_an_exception_says_why(runs: MemoryRuns) -> None:
    """The run is known to have failed, also to this handle, before anybody is asked."""
    block = entered(runs)
    block.leave(ValueError("lr is too high"))
    assert runs.events()[-1].body == RunEnded("Failed", "lr is too high", is_owner=True)
    assert block.status == "Failed"


# B13
def test_block_that_is_not_open_refuses_to_write(runs: MemoryRuns) -> None:
    """Before it is entered, and behind its end; leaving again does nothing."""
    block = RunBlock(runs.endpoint)
    with pytest.raises(RuntimeError, match="the run is not entered; log inside"):
        block.writer()
    assert not block.leave(None)
    block = entered(runs)
    assert block.leave(None)
    with pytest.raises(RuntimeError, match="the run 'r' was left; log inside"):
        block.writer()
    assert not block.leave(ValueError("again"))
    assert runs.types() == ["run_started", "run_ended"]


# C3 C4
def test_parameters_that_are_refused_early_leave_nothing_of_their_call(runs: MemoryRuns) -> None:
    """All or nothing: the other names of that call may be logged later with any value."""
    block = entered(runs)
    writer = block.writer()
    writer.record(ParametersLogged({"lr": 1}))
    with pytest.raises(ParameterImmutableError, match="already 1"):
        writer.record(ParametersLogged({"new": 1, "lr": 2}))
    writer.record(ParametersLogged({"new": 3}))
    block.leave(None)
    logged = [e.body for e in runs.events() if isinstance(e.body, ParametersLogged)]
    assert logged == [ParametersLogged({"lr": 1}), ParametersLogged({"new": 3})]


# C5
def test_parameter_of_the_same_value_again_records_nothing(runs: MemoryRuns) -> None:
    """1 equals 1.0; a program may log its inputs at every restart."""
    block = entered(runs)
    for value in (1, 1.0, 1):
        block.writer().record(ParametersLogged({"lr": value}))
    block.leave(None)
    assert runs.types().count("parameters_logged") == 1


# C8
def test_policy_of_the_run_is_what_counts(runs: MemoryRuns) -> None:
    """The limits that the service told when the run was created, not this release's."""
    block = entered(runs, Limits(parameters_max=2, artifacts_max=1))
    writer = block.writer()
    writer.record(ParametersLogged({"a": 1, "b": 2}))
    with pytest.raises(LimitExceededError):
        writer.record(ParametersLogged({"c": 3}))
    writer.record(ParametersLogged({"a": 1}))
    writer.record_artifact(*text_artifact("one", "text"))
    with pytest.raises(LimitExceededError):
        writer.record_artifact(*text_artifact("two", "text"))
    block.leave(None)
    assert len(runs.store.blobs) == 1


# E2
def test_artifact_of_the_same_content_again_records_nothing(runs: MemoryRuns) -> None:
    """Other content of one name is a new event with its own bytes."""
    block = entered(runs)
    for text in ("one", "one", "two"):
        block.writer().record_artifact(*text_artifact("notes", text))
    block.leave(None)
    assert runs.types().count("artifact_logged") == 2
    assert sorted(runs.store.blobs.values()) == [b"one", b"two"]


# E7
def test_model_is_recorded_without_bytes(runs: MemoryRuns) -> None:
    """Nothing is stored for it."""
    block = entered(runs)
    model = ArtifactLogged(
        "m", "model", "application/octet-stream", uri="s3://m", model=ModelInfo("cnn", None, None)
    )
    block.writer().record_artifact(model, None)
    block.leave(None)
    assert runs.types().count("artifact_logged") == 1
    assert runs.store.blobs == {}


def test_artifact_on_a_full_disk_is_dropped_and_counted_and_raises_nothing(
    runs: MemoryRuns, tmp_path: Path
) -> None:
    """Training goes on; the run itself tells how many calls it has cost."""
    block = entered(runs)
    (folder,) = (tmp_path / "spool").iterdir()
    (folder / "blobs").write_bytes(b"a file where the folder should be")
    block.writer().record_artifact(*text_artifact("notes", "text"))
    (folder / "blobs").unlink()
    block.leave(None)
    tags = [event.body for event in runs.events() if isinstance(event.body, TagsSet)]
    assert tags == [TagsSet({"trialog.dropped_calls": "1"})]
    assert "artifact_logged" not in runs.types()


# B11
def test_block_left_while_the_log_is_away_keeps_everything(runs: MemoryRuns) -> None:
    """It tells that the log has not everything; afterwards it has, without anybody's doing."""
    runs.log.fault = AWAY
    block = entered(runs)
    block.writer().record(ParametersLogged({"lr": 1}))
    assert not block.leave(ValueError("my own"))
    with pytest.raises(UnavailableError, match="run 'r' is not in the log yet; what was logged"):
        block.positions()
    with pytest.raises(TimeoutError, match="run 'r' is not in the log after 0 s"):
        block.wait_applied(Deadline(0), "r")
    runs.log.fault = None
    assert block.flush(Deadline(30))
    assert runs.types() == ["run_started", "parameters_logged", "run_ended"]
    assert block.positions() == [f"events:0:{len(runs.log.records) - 1}"]


def test_block_that_was_not_entered_has_nothing_to_wait_for(runs: MemoryRuns) -> None:
    """A handle that only reads waits for no log."""
    block = RunBlock(runs.endpoint)
    assert block.flush(Deadline(0))
    assert block.positions() == []
    assert block.wait_applied(Deadline(0), "r") == []
    assert block.refusals_now(0) == []


def test_refusals_of_a_service_that_is_away_are_none_for_now(runs: MemoryRuns) -> None:
    """Leaving a block asks for a warning's sake only: it never raises for the service."""
    block = entered(runs)
    block.leave(None)
    assert block.refusals_now(0) == []


# B22
def test_child_made_by_fork_joins_with_a_writer_of_its_own(runs: MemoryRuns) -> None:
    """It knows what its parent knew, writes into a spool of its own, and never ends the run."""
    block = entered(runs)
    block.writer().record(ParametersLogged({"lr": 1}))
    block.flush(Deadline(30))
    block.forget_in_child()
    assert block.spool is None
    with pytest.raises(ParameterImmutableError):
        block.writer().record(ParametersLogged({"lr": 2}))
    block.writer().record(ParametersLogged({"child": 1}))
    block.leave(None)
    parent, *child = [event.writer_id for event in runs.events()[1:]]
    assert set(child) != {parent}
    bodies = [event.body for event in runs.events()[2:]]
    assert isinstance(bodies[0], RunJoined)
    assert isinstance(bodies[1], CallRefused)
    assert bodies[2:] == [ParametersLogged({"child": 1}), RunEnded("Completed", is_owner=False)]


# B22
def test_child_that_never_logged_says_nothing_unless_it_failed(runs: MemoryRuns) -> None:
    """A clean exit of a worker is no event of the run; a failure is."""
    block = entered(runs)
    block.flush(Deadline(30))
    block.forget_in_child()
    assert not block.leave(None)
    assert runs.types() == ["run_started"]
    other = entered(runs)
    other.flush(Deadline(30))
    other.forget_in_child()
    other.leave(ValueError("in the child"))
    assert runs.events()[-1].body == RunEnded("Failed", "in the child", is_owner=False)


# A5
def test_tags_on_entering_are_the_first_that_is_said(runs: MemoryRuns) -> None:
    """They are said in the run's own stream, where all tags of a run are counted."""
    block = RunBlock(runs.endpoint)
    block.enter(runs.run_answer(), runs.opening(), {"k": "v"})
    block.leave(None)
    assert runs.types()[1:] == ["tags_set", "run_ended"]


# A5
def test_tags_that_a_resumed_run_has_no_room_for_are_refused_before_it_is_entered(
    runs: MemoryRuns,
) -> None:
    """Nothing is written, so that a run that has ended stays as it is."""
    opening = runs.opening()
    full = RunState(tags={f"k{at}": "v" for at in range(50)})
    block = RunBlock(runs.endpoint)
    with pytest.raises(LimitExceededError, match="tag 'one more'"):
        block.enter(runs.run_answer(), dataclasses.replace(opening, state=full), {"one more": "v"})
    assert not block.is_entered


# C4
def test_call_that_is_refused_here_is_recorded_as_an_attempt(runs: MemoryRuns) -> None:
    """What it raised is in the stream, also the same again, and nothing else of the call."""
    block = entered(runs, Limits(parameters_max=1))
    block.writer().record(ParametersLogged({"lr": 1}))
    for value in (2, 2):
        with pytest.raises(ParameterImmutableError) as caught:
            block.writer().record(ParametersLogged({"lr": value}))
    with pytest.raises(LimitExceededError):
        block.writer().record(ParametersLogged({"lr": 1, "more": 2}))
    block.leave(None)
    told = [event.body for event in runs.events() if isinstance(event.body, CallRefused)]
    assert [(one.code, one.name, one.value) for one in told] == [
        ("param_immutable", "lr", "2"),
        ("param_immutable", "lr", "2"),
        ("param_limit", "more", "2"),
    ]
    assert told[0].message == caught.value.message
    assert told[0].facts == {"is": "1"}
    assert runs.types().count("parameters_logged") == 1


# C4
def test_calls_that_are_refused_again_and_again_are_counted(runs: MemoryRuns) -> None:
    """A hundred are told one by one, then each doubling and the rest: none is left out."""
    block = entered(runs)
    writer = block.writer()
    writer.record(ParametersLogged({"lr": 0}))
    for value in range(1, 1001):
        with pytest.raises(ParameterImmutableError):
            writer.record(ParametersLogged({"lr": value}))
    block.leave(None)
    told = [event.body for event in runs.events() if isinstance(event.body, CallRefused)]
    assert [one.value for one in told[:100]] == [str(value) for value in range(1, 101)]
    assert all(one.facts == {"is": "0"} for one in told[:100])
    assert [(one.value, one.facts["calls"]) for one in told[100:]] == [
        ("200", 100),
        ("400", 200),
        ("800", 400),
        ("1000", 200),
    ]
    assert told[100].message.endswith("(the last of 100 refused calls)")
    assert runs.types()[-1] == "run_ended"


def test_call_that_no_record_of_the_log_holds_is_refused(runs: MemoryRuns) -> None:
    """Under a raised policy one call may bring more than a megabyte: in parts it is taken."""
    block = entered(runs, Limits(parameters_max=1000, parameter_value_chars_max=65_536))
    most = {f"p{number:02}": "\x01" * 10_000 for number in range(20)}  # six bytes each in JSON
    with pytest.raises(LimitExceededError, match="log it in several calls") as caught:
        block.writer().record(ParametersLogged(dict(most)))
    assert caught.value.field == "parameters"
    for name, value in most.items():
        block.writer().record(ParametersLogged({name: value}))
    block.leave(None)
    assert runs.types().count("parameters_logged") == 20


def test_largest_call_of_the_default_policy_fits_a_record(runs: MemoryRuns) -> None:
    """300 names and values of the longest, each character of the most bytes."""
    block = entered(runs)
    names = [f"{number:03}".ljust(256, "\U00020000") for number in range(300)]
    block.writer().record(ParametersLogged(dict.fromkeys(names, "\x01" * 256)))
    block.leave(None)
    assert runs.types().count("parameters_logged") == 1
