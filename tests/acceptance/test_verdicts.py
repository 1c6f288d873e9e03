"""Verdicts: what a call raises and what comes later is the same to the user, and told once."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.integration.api_service import record_of
from tests.unit.schemas.factories import wide
from trialog.client import Client
from trialog.refusals import refusal_error, rejection_of
from trialog_schemas.events import ArtifactLogged, MetricsLogged, ParametersLogged, TagsSet
from trialog_schemas.wire import frame

if TYPE_CHECKING:
    from trialog.answers import RejectionAnswer
    from trialog_schemas.events import Body

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
        lambda run: run.log_parameter("list", [1, "é", None]),
        lambda run: run.log_parameter("list", [2]),
    ),
    "param_limit": (
        lambda run: run.log_parameters({f"p{number}": number for number in range(300)}),
        lambda run: run.log_parameter("d", "x" * 256),
    ),
    "artifact_limit text": (
        lambda run: each(run.log_artifact, *((f"a{at}", "text") for at in range(30))),
        lambda run: run.log_artifact("c", "text"),
    ),
    "artifact_limit model": (
        lambda run: each(run.log_model, *((f"s3://models/{at}",) for at in range(30))),
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
    told = client.run(run.experiment_name, run.run_name)
    assert told["rejected_count"] == len(listed) == 2
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
    big = "x" * 5_242_881
    sha = hashlib.sha256(big.encode()).hexdigest()
    cases: list[tuple[Attempt, Body]] = [
        (lambda run: run.log_parameter("p", "x" * 257), ParametersLogged({"p": "x" * 257})),
        (lambda run: run.log_parameter("p", ["é" * 253]), ParametersLogged({"p": ["é" * 253]})),
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
