"""Limits of an operator's policy at −1, 0 and +1, and when the policy changes.

The numbers of the default policy are shown beside what they bound: parameters, artifacts, metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import urllib3

import trialog
from tests.acceptance.faulty import Faulty
from tests.acceptance.programs import run_together
from tests.acceptance.refusals import illegal, refusal
from tests.services.trialog import TrialogService
from trialog.adoption import sync_spools
from trialog.client import Client
from trialog_schemas.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog.answers import RunAnswer
    from trialog.run_view import RunView

pytestmark = pytest.mark.timeout(120)

POLICY = Limits(
    experiments_max=20,
    parameters_max=3,
    parameter_value_chars_max=10,
    points_max=7,
    artifacts_max=2,
    artifact_bytes_max=1000,
)
LIMIT = (trialog.LimitExceededError, "ResourceLimitExceeded")


def flags_of(policy: Limits) -> list[str]:
    """The flags that give a service this policy."""
    return [f"--limit={name}={number}" for name, number in policy.to_json().items()]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialogService]:
    """A service under a policy of small numbers; the numbers travel in events, whatever the log."""
    with TrialogService(tmp_path_factory.mktemp("limits"), *flags_of(POLICY)) as running:
        yield running


def told(session: trialog.Session, run: trialog.Run | RunView) -> RunAnswer:
    """The run as the service has it."""
    return Client(session.resolve()).run(run.experiment_name, run.run_name)


# A14
def test_experiment_above_the_policy_is_refused_and_deleting_one_makes_room(
    session: trialog.Session, experiment_name: str
) -> None:
    """The last one that fits is created; one more is refused however it is asked for."""
    there = Client(session.resolve()).experiments({})["total"]
    made = [
        trialog.Experiment.create(f"{experiment_name}-{number}", session=session)
        for number in range(POLICY.experiments_max - there)
    ]
    create = partial(trialog.Experiment.create, experiment_name, session=session)
    enter = trialog.Run(experiment_name, "one", session).__enter__
    for attempt in (create, enter):
        error = refusal(*LIMIT, attempt)
        assert isinstance(error, ValueError)
        assert error.limit == "20"
        assert "the account may have 20 live experiments" in str(error)
    with pytest.raises(trialog.ResourceNotFoundError):
        trialog.Experiment.load(experiment_name, session)
    made.pop().delete()
    made.append(create())
    refusal(*LIMIT, trialog.Run(f"{experiment_name}-x", "one", session).__enter__)
    with trialog.Run(experiment_name, "one", session) as run:
        pass
    run.wait()
    run.delete()
    for experiment in made:
        experiment.delete()


def leave_told(run: trialog.Run) -> list[dict[str, str | int]]:
    """Leave a block after its refusals are known; the warning and the error tell the same."""
    refused: trialog.RunRejectedError | None = None
    try:
        run.wait(30)
    except trialog.RunRejectedError as error:
        refused = error
    if refused is None:
        run.__exit__(None, None, None)  # a warning would be an error here
        return []
    with pytest.warns(trialog.RejectionWarning) as caught:
        run.__exit__(None, None, None)
    assert [str(one.message) for one in caught] == [f"{refused}; see run.rejections"]
    assert refused
    assert len(refused) == len(refused.errors)
    return [one.facts for one in refused]


# C8 C9 E8 E9 A5
def test_numbers_of_a_policy_hold_in_the_call(
    session: trialog.Session, experiment_name: str
) -> None:
    """At −1 and 0 it is kept, at +1 its call raises, with the number of the policy."""
    with trialog.Run(experiment_name, "one", session) as run:
        for chars in (9, 10):
            run.log_parameter(f"chars {chars}", "é" * chars)
        assert illegal(run.log_parameter, "chars 11", "é" * 11).limit == "10"
        run.log_parameters({"chars 9": "é" * 9, "third": 3})
        assert refusal(*LIMIT, run.log_parameter, "fourth", 4).limit == "3"
        for size in (999, 1000):
            run.log_artifact("text", "x" * size)
        assert refusal(*LIMIT, run.log_artifact, "text", "x" * 1001).limit == "1000"
        run.log_model("s3://models/m")
        assert refusal(*LIMIT, run.log_artifact, "third", "text").limit == "2"
        assert refusal(*LIMIT, run.log_model, "s3://models/third").limit == "2"
    run.wait(30)
    found = told(session, run)
    assert found["parameters"] == {"chars 9": "é" * 9, "chars 10": "é" * 10, "third": 3}
    assert [(one["name"], one["size"]) for one in found["artifacts"]] == [
        ("models/m", None),
        ("text", 1000),
    ]
    codes = ["param_limit", "artifact_size", "artifact_limit", "artifact_limit"]
    assert [one.code for one in run.rejections] == codes


# A5
def test_tags_of_a_run_are_50_however_often_they_are_set(
    session: trialog.Session, experiment_name: str
) -> None:
    """Those it was entered with count; a removed tag makes room; a resumed run counts on."""
    fifty = {f"k{at:02}": "v" for at in range(50)}
    nowhere = trialog.Session(url="http://127.0.0.1:9", spool_dir=session.spool_dir)
    error = illegal(partial(trialog.Run, experiment_name, "x", nowhere, tags=fifty | {"a": "b"}))
    assert error.limit == "50"
    with trialog.Run(experiment_name, "one", session, tags=dict(list(fifty.items())[:48])) as run:
        refused = refusal(*LIMIT, run.set_tags, {"k48": "v", "k49": "v", "a": "1"})
        assert (refused.field, refused.value, refused.limit) == ("a", "'1'", "50")
        run.set_tags(fifty | {"k00": "changed"})
        refusal(*LIMIT, run.set_tags, {"a": "1"})
        run.set_tags({"a": "1"}, removed=["k01"])
    run.wait(30)
    expected = fifty | {"k00": "changed", "a": "1"}
    del expected["k01"]
    assert run.tags == expected
    with pytest.raises(trialog.LimitExceededError, match="tag 'b'"):
        trialog.Run(experiment_name, "one", session, resume=True, tags={"b": "2"}).__enter__()
    with trialog.Run(experiment_name, "one", session, resume=True, tags={"a": "2"}) as again:
        refusal(*LIMIT, again.set_tags, {"b": "2"})
    again.wait(30)
    assert again.tags == expected | {"a": "2"}
    assert [one.code for one in again.rejections] == ["tag_limit"] * 3
    assert trialog.load_run(experiment_name, "one", session).status == "Completed"


# B12
def test_failure_message_is_kept_up_to_1024_characters(
    session: trialog.Session, experiment_name: str
) -> None:
    """1023 and 1024 characters are kept whole, of 1025 the last one is cut off."""
    runs = [trialog.Run(experiment_name, f"of-{chars}", session) for chars in (1023, 1024, 1025)]
    for run in runs:
        error = ValueError("é" * (int(run.run_name.removeprefix("of-")) - 1) + "!")
        run.__enter__()
        run.__exit__(ValueError, error, None)
    for run in runs:
        run.wait(30)
    kept = ["é" * 1022 + "!", "é" * 1023 + "!", "é" * 1024]
    assert [run.failure_message for run in runs] == kept


# D10
def test_points_up_to_the_limit_are_kept_and_the_rest_is_refused(
    session: trialog.Session, experiment_name: str
) -> None:
    """6, 7 and 8 of 7 over all metrics, one at a time and in one row; the prefix is kept."""
    most = POLICY.points_max
    for logged, is_row in itertools.product((most - 1, most, most + 1), (False, True)):
        names = [f"m{at}" for at in range(logged)]
        run = trialog.Run(experiment_name, f"{logged}-{is_row}", session).__enter__()
        for row in [names] if is_row else [[name] for name in names]:
            run.log_metrics(dict.fromkeys(row, 1.0), step=3)
        said = leave_told(run)
        assert sorted(told(session, run)["metrics"]) == names[:most]
        assert [one.facts for one in run.rejections] == said
        assert said == [{"limit": 7, "points": 1}] * (logged - most)


# B20 B10
def test_block_that_an_exception_ends_warns_of_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """The exception is all that the caller sees; what was refused is on the run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = trialog.Run(experiment_name, "one", session).__enter__()
        run.log_metrics({f"m{at}": 1.0 for at in range(9)})
        with pytest.raises(trialog.RunRejectedError, match="2 points"):
            run.wait(30)
        run.__exit__(KeyError, KeyError("mine"), None)
    assert [one for one in caught if one.category is trialog.RejectionWarning] == []
    with pytest.raises(trialog.RunRejectedError):
        run.wait(30)
    assert (run.status, len(run.rejections)) == ("Failed", 1)


# B20 B9
@pytest.mark.slow(reason="leaving a block waits a second for a verdict that does not come")
def test_block_is_left_without_a_verdict_when_none_comes(
    service: TrialogService, session: trialog.Session, experiment_name: str
) -> None:
    """Leaving waits a second at most and says nothing; `wait()` raises it when it is there."""
    run = trialog.Run(experiment_name, "one", session).__enter__()
    run.wait(30)
    worker = service.worker_pid
    os.kill(worker, signal.SIGSTOP)
    try:
        run.log_metrics({f"m{at}": 1.0 for at in range(9)})
        assert run.flush(30)
        started_s = time.monotonic()
        run.__exit__(None, None, None)  # a warning would be an error here
        assert time.monotonic() - started_s < 10
        with pytest.raises(TimeoutError):
            run.wait(0.1)
    finally:
        os.kill(worker, signal.SIGCONT)
    with pytest.raises(trialog.RunRejectedError, match="2 points"):
        run.wait(60)


OTHER = replace(POLICY, parameters_max=5, points_max=2)


def policies(session: trialog.Session, experiment_name: str) -> dict[str, Limits]:
    """The policy of each run by the API, which is the one that its start has in the log."""
    client, found = Client(session.resolve()), {}
    for run in trialog.Run.list(experiment_name, session=session):
        limits = told(session, run)["limits"]
        (started,) = [one for one in client.events(run.run_id) if one["type"] == "run_started"]
        assert started["body"]["limits"] == limits
        found[run.run_name] = Limits.from_json(dict(limits or {}))
    return found


@contextlib.contextmanager
def restarted(
    service: TrialogService, monkeypatch: pytest.MonkeyPatch, policy: Limits
) -> Iterator[TrialogService]:
    """The stopped service again, on its data and address, with another policy by environment."""
    numbers = policy.to_json().items()
    monkeypatch.setenv("TRIALOG_LIMITS", ", ".join(f"{name}={number}" for name, number in numbers))
    other = TrialogService(service.data_dir.parent, kafka=service.kafka)
    other.start(port=int(service.url.rsplit(":", 1)[1]))
    try:
        yield other
    finally:
        other.stop()
        service.start()


def log_to_the_limits(run: trialog.Run, policy: Limits) -> None:
    """Enter, fill and leave a run: one more parameter and point are refused, now and later."""
    run.__enter__()
    fresh = iter(f"p{number}" for number in range(9))
    run.log_parameters({next(fresh): 1 for _ in range(policy.parameters_max)})
    error = refusal(*LIMIT, run.log_parameter, next(fresh), 1)
    assert error.limit == str(policy.parameters_max)
    run.log_metrics({f"m{number}": 1.0 for number in range(policy.points_max + 1)})
    assert leave_told(run) == [{"limit": policy.points_max, "points": 1}]


NEVER_TOLD = """
def work(session, index, name):
    yield
    with trialog.Run(name, "never-told", session) as run:
        run.log_parameters({f"p{number}": "x" * 256 for number in range(300)})
        try:
            run.log_parameter("p300", 1)
        except trialog.LimitExceededError as error:
            return error.limit
"""


# A14 D10 C8 B6 K3
@pytest.mark.slow(reason="starts the service twice more and reads its log once more")
def test_policy_that_changes_holds_for_new_runs_and_a_replay_judges_alike(
    service: TrialogService,
    session: trialog.Session,
    experiment_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resumed run keeps its own; a run without an answer has what was told last, or defaults."""
    name = experiment_name
    with trialog.Run(name, "old", session):
        pass
    nobody = replace(session, url="http://127.0.0.1:9")
    assert run_together(nobody, 1, NEVER_TOLD, name) == ["300"]
    service.stop()
    with trialog.Run(name, "told-before", session) as run:
        assert refusal(*LIMIT, run.log_parameters, dict.fromkeys("abcd", 1)).limit == "3"
    with restarted(service, monkeypatch, OTHER) as other:
        asyncio.run(sync_spools(session.resolve(), is_moved=True))
        log_to_the_limits(trialog.Run(name, "new", session), OTHER)
        log_to_the_limits(trialog.load_run(name, "old", session), POLICY)
        for run_name in ("never-told", "told-before", "new", "old"):
            trialog.load_run(name, run_name, session).wait(30)
        assert policies(session, name) == {
            "old": POLICY, "told-before": POLICY, "new": OTHER, "never-told": Limits()
        }  # fmt: skip
        runs = trialog.Run.list(name, session=session)
        before = [(one.run_name, one.parameters, one.metrics, one.rejections) for one in runs]
        assert {one.run_name: len(one.parameters) for one in runs} == {
            "old": 3, "told-before": 0, "new": 5, "never-told": 300
        }  # fmt: skip
        Faulty(other, None).deliver_again(into_nothing=True)
        again = trialog.Run.list(name, session=session)
        assert before == [
            (one.run_name, one.parameters, one.metrics, one.rejections) for one in again
        ]


def test_policy_in_force_can_be_asked_for(session: trialog.Session) -> None:
    """The route shows every limit of new runs, and what the flags did not tell."""
    assert Client(session.resolve()).policy() == POLICY
    answer = urllib3.request("GET", f"{session.url}/api/v1/policy").json()
    assert answer["limits"] == POLICY.to_json()
