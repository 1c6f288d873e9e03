"""Limits of an operator's policy at −1, 0 and +1; verdicts that come at once and those that don't.

The numbers of the default policy are shown beside what they bound: parameters, artifacts, metrics.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import signal
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import LOGS
from tests.acceptance.refusals import illegal, refusal
from tests.integration.api_service import record_of
from tests.services.kafka import KafkaBroker
from tests.services.trialog import TrialogService
from tests.unit.schemas.factories import wide
from trialog.client import Client
from trialog.refusals import refusal_error, rejection_of
from trialog_schemas.events import ArtifactLogged, MetricsLogged, ParametersLogged, TagsSet
from trialog_schemas.limits import Limits
from trialog_schemas.wire import frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog.answers import RejectionAnswer, RunAnswer
    from trialog_schemas.events import Body

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


@pytest.fixture(scope="module", params=LOGS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrialogService]:
    """A service under a policy of small numbers, on Kafka with a broker of its own."""
    with contextlib.ExitStack() as stack:
        kafka = None
        if request.param == "kafka":
            kafka = stack.enter_context(KafkaBroker()).bootstrap
        folder = tmp_path_factory.mktemp(f"limits-{request.param}")
        yield stack.enter_context(TrialogService(folder, *flags_of(POLICY), kafka=kafka))


def told(session: trialog.Session, run: trialog.Run) -> RunAnswer:
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


Attempt = Callable[[trialog.Run], None]


def each(call: Callable[..., None], *arguments: tuple[str, ...]) -> None:
    """Call once for each of the arguments."""
    for one in arguments:
        call(*one)


REFUSED: dict[str, tuple[Attempt, Attempt]] = {
    "param_immutable": (
        lambda run: run.log_parameter("lr", 0.1),
        lambda run: run.log_parameters({"lr": 0.2}),
    ),
    "param_immutable list": (
        lambda run: run.log_parameter("list", ["é"]),
        lambda run: run.log_parameter("list", [2]),
    ),
    "param_limit": (
        lambda run: run.log_parameters({"a": 1, "b": 2, "c": 3}),
        lambda run: run.log_parameter("d", "x" * 10),
    ),
    "artifact_limit text": (
        lambda run: each(run.log_artifact, ("a", "text"), ("b", "text")),
        lambda run: run.log_artifact("c", "text"),
    ),
    "artifact_limit model": (
        lambda run: each(run.log_model, ("s3://models/a",), ("s3://models/b",)),
        lambda run: run.log_model("s3://models/c"),
    ),
    "tag_limit": (
        lambda run: run.set_tags({f"k{at}": "v" for at in range(50)}),
        lambda run: run.set_tags({"one more": "v" * 256}),
    ),
}
"""What the owner does first, and what is refused after it: by a process that knows, or later."""


def parts(error: trialog.ClientError) -> dict[str, object]:
    """Everything of an error that a program can look at."""
    return {
        "class": type(error),
        "response": error.response,
        "text": str(error),
        "code": error.code,
        "parts": (error.field, error.value, error.limit),
        "is a value error": isinstance(error, ValueError),
    }


# B20 C4 C8 E8 A5 K7
def test_refusal_is_the_same_whether_its_call_raises_it_or_it_comes_later(
    session: trialog.Session, experiment_name: str
) -> None:
    """Class, words, codes, parts; on the run, in the API and in the audit trail; told once."""
    for case, (first, attempt) in REFUSED.items():
        name = case.replace(" ", "-")
        with trialog.Run(experiment_name, name, session) as run:
            other = trialog.load_run(experiment_name, name, session).__enter__()
            first(run)
            run.wait(30)
            with pytest.raises(trialog.ClientError) as early:
                attempt(run)
            attempt(other)
            with pytest.raises(trialog.RunRejectedError) as late:
                other.wait(30)
            with pytest.warns(trialog.RejectionWarning):
                other.__exit__(None, None, None)
            run.wait(30)  # what its calls have raised is not raised again
        run.wait(30)
        (late_error,) = late.value.errors
        assert parts(late_error) == parts(early.value), case
        found = sorted(run.rejections, key=lambda one: "raised" in one.facts)
        assert [one.code for one in found] == [case.split(" ", maxsplit=1)[0]] * 2
        assert [found[0]] == list(late.value) == list(late.value.rejections)
        assert found[1] == replace(found[0], facts=found[0].facts | {"raised": "in the call"})
        assert found[0].message == str(early.value)
        check_told(session, run, case)


def check_told(session: trialog.Session, run: trialog.Run, case: str) -> None:
    """Both refusals are in the API's list and beside their events, with who tried it and when."""
    client = Client(session.resolve())
    listed = list(client.rejections(run.run_id))
    assert told(session, run)["rejected_count"] == len(listed) == 2
    refused = [event for event in client.events(run.run_id) if event["rejections"]]
    assert [one for event in refused for one in event["rejections"]] == listed
    early, late = sorted(refused, key=lambda event: event["type"] != "call_refused")
    assert early["type"] == "call_refused", case
    assert early["body"].items() >= {
        "code": listed[0]["code"], "message": listed[0]["message"], "value": listed[0]["value"]
    }.items()  # fmt: skip
    assert late["type"] != "call_refused", case
    assert early["writer_id"] != late["writer_id"]
    assert {event["user"] for event in refused} == {session.resolve().user}


def foreign(session: trialog.Session, run: trialog.Run, *bodies: Body) -> list[RejectionAnswer]:
    """Append events that no call of the SDK would let pass; return what they are refused as."""
    client, writer_id = Client(session.resolve()), uuid.uuid4().hex
    (receipt,) = client.send_records(frame([record_of(run.run_id, writer_id, *bodies)]))
    found = client.rejections(run.run_id, [receipt["position"]])
    return [one for one in found if one["writer_id"] == writer_id]


# C2 C9 C13 A5 E9 D8 D14
def test_illegal_input_is_refused_in_the_same_words_by_a_call_and_by_the_log(
    session: trialog.Session, experiment_name: str
) -> None:
    """What only a producer of its own can send is refused as its call would have been."""
    big = "x" * (POLICY.artifact_bytes_max + 1)
    sha = hashlib.sha256(big.encode()).hexdigest()
    cases: list[tuple[Attempt, Body]] = [
        (lambda run: run.log_parameter("p", "x" * 11), ParametersLogged({"p": "x" * 11})),
        (lambda run: run.log_parameter("p", ["é" * 8]), ParametersLogged({"p": ["é" * 8]})),
        (lambda run: run.log_parameter("a*", 1), ParametersLogged({"a*": 1})),
        (lambda run: run.log_parameter("p" * 257, 1), ParametersLogged({"p" * 257: 1})),
        (lambda run: run.log_metric("a\n", 1.0), MetricsLogged((wide(1, ("a\n",)),))),
        (lambda run: run.log_metric("m", 1.0, -7), MetricsLogged((wide(1, step=-7),))),
        (lambda run: run.set_tags({"": "v"}), TagsSet({"": "v"})),
        (lambda run: run.set_tags({"k": "v" * 257}), TagsSet({"k": "v" * 257})),
        (
            lambda run: run.set_tags({str(at): "" for at in range(51)}),
            TagsSet({str(at): "" for at in range(51)}),
        ),
        (lambda run: run.set_tags({}, removed=[""]), TagsSet({}, ("",))),
        (lambda run: run.log_model("m.pt"), ArtifactLogged("m", "model", "a/b", uri="m.pt")),
        (
            lambda run: run.log_artifact("../x", "text"),
            ArtifactLogged("../x", "artifact", "text/plain", sha256=sha, size=4),
        ),
        (
            lambda run: run.log_artifact("big", big),
            ArtifactLogged("big", "artifact", "text/plain", sha256=sha, size=len(big)),
        ),
    ]
    with trialog.Run(experiment_name, "one", session) as run:
        run.flush(30)
        for attempt, body in cases:
            with pytest.raises(trialog.ClientError) as early:
                attempt(run)
            assert isinstance(early.value, ValueError)
            (answer,) = foreign(session, run, body)
            assert parts(refusal_error(rejection_of(answer))) == parts(early.value)
        run.log_parameter("kept", 1)
    run.wait(30)
    assert (run.parameters, run.metrics, run.artifacts, run.tags) == ({"kept": 1}, {}, [], {})


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
