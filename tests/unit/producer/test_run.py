"""Behaviour of a run's handle before it is entered: nothing is asked, nothing is written."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import trialog
from trialog.run import new_run_name
from trialog_schemas import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def session(tmp_path: Path) -> trialog.Session:
    """A session on which nothing listens, with a spool that does not exist."""
    return trialog.Session(url=NOBODY, spool_dir=tmp_path / "spool")


# B1
def test_run_has_the_signature_that_ported_programs_use() -> None:
    """Three arguments by position, the others by keyword only."""
    parameters = inspect.signature(trialog.Run).parameters.values()
    by_position = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    by_keyword = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    assert by_position == ["experiment_name", "run_name", "session"]
    assert by_keyword == ["resume", "tags", "sagemaker_session"]


# B1
def test_run_takes_names_by_position_and_by_keyword(session: trialog.Session) -> None:
    """Both ways name the same run; an unknown keyword is the caller's mistake."""
    one = trialog.Run("e", "r", session)
    other = trialog.Run(experiment_name="e", run_name="r", sagemaker_session=session)
    assert (one.experiment_name, one.run_name) == (other.experiment_name, other.run_name)
    with pytest.raises(TypeError, match="run_display_name"):
        trialog.Run("e", "r", run_display_name="R")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="both given"):
        trialog.Run("e", "r", session, sagemaker_session=session)


# A2 B1
@pytest.mark.parametrize("name", ["", "x" * 121, "a b", "a/b", "é", "r\n"])
def test_run_of_an_illegal_name_raises_value_error(name: str, session: trialog.Session) -> None:
    """Names of runs and experiments have one rule."""
    with pytest.raises(ValueError, match="run"):
        trialog.Run("e", name, session)
    with pytest.raises(ValueError, match="experiment"):
        trialog.Run(name, "r", session)


# B1
def test_run_with_too_many_tags_raises_value_error(session: trialog.Session) -> None:
    """Tags are checked when they are given."""
    with pytest.raises(trialog.ValidationError, match="51 tags"):
        trialog.Run("e", "r", session, tags={str(number): "" for number in range(51)})


# B1 A5
def test_tags_of_trialogs_own_are_refused_from_callers(session: trialog.Session) -> None:
    """How many calls a full disk has cost is what trialog says, whichever way tags are given."""
    for tags in ({"trialog.dropped_calls": "0"}, [{"Key": "trialog.x", "Value": ""}]):
        with pytest.raises(trialog.ValidationError, match="reserved for what trialog itself"):
            trialog.Run("e", "r", session, tags=tags)
        with pytest.raises(trialog.ValidationError, match="reserved"):
            trialog.Experiment.create("e", tags=tags, session=session)
    run = trialog.Run("e", "r", session, tags={"trialog": "", "my.trialog.x": ""})
    with pytest.raises(trialog.ValidationError, match="reserved"):
        run.set_tags({"trialog.x": ""})
    with pytest.raises(trialog.ValidationError, match="reserved"):
        run.set_tags({}, removed=["trialog.dropped_calls"])


# B2
def test_generated_names_are_legal_different_and_of_the_time() -> None:
    """10,000 names within one second are all different and begin with the UTC time."""
    before = datetime.now(UTC).replace(microsecond=0)
    made = {names.check_run_name(new_run_name()) for _ in range(10_000)}
    after = datetime.now(UTC)
    assert len(made) == 10_000
    for name in made:
        found = re.match(r"run-(\d{8}-\d{6})-", name)
        assert found is not None
        at = datetime.strptime(found[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        assert before <= at <= after


# B4 B13
def test_run_that_is_not_entered_is_inert(session: trialog.Session, tmp_path: Path) -> None:
    """Names, resource name and tags can be read; there is no status, no time and no spool."""
    run = trialog.Run("e", "r", session, tags={"stage": "try"})
    assert run.run_arn == f"arn:trialog:run/default/{run.run_id}"
    assert (run.run_name, run.experiment_name, run.status) == ("r", "e", None)
    assert (run.creation_time, run.start_time, run.end_time) == (None, None, None)
    assert (run.parameters, run.metrics, run.artifacts) == ({}, {}, [])
    assert (run.tags, run.failure_message, run.parent_run_name) == ({"stage": "try"}, None, None)
    assert list(tmp_path.iterdir()) == []


CALLS: list[Callable[[trialog.Run], object]] = [
    lambda run: run.log_parameter("p", 1),
    lambda run: run.log_parameters({"p": 1}),
    lambda run: run.log_metric("m", 1.0),
    lambda run: run.log_metrics({"m": 1.0}),
    lambda run: run.log_metrics({}),
    lambda run: run.log_artifact("a", "text"),
    lambda run: run.log_file(__file__),
    lambda run: run.log_model("s3://models/m"),
    lambda run: run.set_tags({"a": "b"}),
    lambda run: run.flush(),
    lambda run: run.wait(),
]


# B13
@pytest.mark.parametrize("call", CALLS)
def test_log_call_before_the_block_raises_runtime_error(
    call: Callable[[trialog.Run], object], session: trialog.Session
) -> None:
    """A run can be logged to inside its block only, and there is nothing to wait for."""
    with pytest.raises(RuntimeError, match="not entered"):
        call(trialog.Run("e", "r", session))


# B20
@pytest.mark.parametrize("timeout_s", [-1, -0.5, float("nan"), "5", True])
def test_timeout_that_is_no_number_from_0_on_raises_value_error(
    timeout_s: object, session: trialog.Session
) -> None:
    """A wrong timeout is refused before anything is waited for."""
    run = trialog.Run("e", "r", session)
    for wait in (run.flush, run.wait):
        with pytest.raises(trialog.ValidationError, match="timeout_s"):
            wait(timeout_s)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Holder:
    """What a program keeps a run in."""

    run: trialog.Run


# B18
def test_run_refuses_to_be_pickled(session: trialog.Session) -> None:
    """The error says what to send instead; the names can be sent."""
    run = trialog.Run("e", "r", session)
    ways: list[Callable[[], object]] = [
        lambda: pickle.dumps(run),
        lambda: pickle.dumps({"runs": [(run,)]}, protocol=2),
        lambda: pickle.dumps(run.log_metric),
        lambda: copy.copy(run),
        lambda: copy.deepcopy(run),
        lambda: copy.deepcopy([{"run": run}]),
        lambda: asdict(Holder(run)),
    ]
    for way in ways:
        with pytest.raises(TypeError, match=r"run 'r' cannot be pickled or copied.*use load_run"):
            way()
    assert pickle.loads(pickle.dumps((run.experiment_name, run.run_name))) == ("e", "r")
    assert pickle.loads(pickle.dumps(session)) == session


# B8
def test_load_run_without_any_name_raises_runtime_error(session: trialog.Session) -> None:
    """No argument, no block, no environment: the error says what to give."""
    with pytest.raises(RuntimeError, match="TRIALOG_EXPERIMENT and TRIALOG_RUN name none"):
        trialog.load_run(session=session)
    with pytest.raises(RuntimeError, match="no run of experiment 'e' is open"):
        trialog.load_run("e", session=session)


# B8
def test_load_run_of_a_run_name_alone_raises_value_error(session: trialog.Session) -> None:
    """A run's name is unique in its experiment only."""
    with pytest.raises(ValueError, match="without experiment_name"):
        trialog.load_run(run_name="r", session=session)


# B8
def test_load_run_without_a_service_says_so(session: trialog.Session) -> None:
    """Whether a run exists cannot be answered without the service."""
    with pytest.raises(trialog.UnavailableError, match="no trialog service"):
        trialog.load_run("e", "r", session)


# F2 A8 A9
@pytest.mark.parametrize(
    "asked", [{"sort_by": "Age"}, {"sort_order": "up"}, {"max_results": 0}, {"max_results": 101}]
)
def test_list_that_cannot_be_raises_value_error(
    asked: dict[str, object], session: trialog.Session
) -> None:
    """Nothing is asked of the service for a page that cannot be."""
    with pytest.raises(trialog.ValidationError, match=next(iter(asked))):
        trialog.Run.list("e", session=session, **asked)  # type: ignore[arg-type]
