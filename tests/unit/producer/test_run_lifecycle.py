"""Behaviour of ways into a run and out of it, as far as nobody is asked."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

import trialog
from tests.unit.producer.answers import Answering
from trialog.policy import note_policy
from trialog.run_context import current_run, pop_run, push_run
from trialog.run_lifecycle import (
    create_run,
    ending_of,
    failure_text,
    policy_of,
    state_of,
    unborn_run,
)
from trialog_schemas.errors import SpoolError, ValidationError
from trialog_schemas.events import ArtifactLogged, ModelInfo, ParametersLogged, RunEnded
from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_schemas.rules import decide_body

if TYPE_CHECKING:
    from pathlib import Path

    from trialog.answers import ArtifactAnswer, RunAnswer
    from trialog.settings import Endpoint


class Unspeakable(Exception):  # noqa: N818  the name is what the test reads
    """An error that breaks when it is asked for its text."""

    def __str__(self) -> str:
        raise ValueError("no text either")


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    """An endpoint on which nobody listens."""
    return trialog.Session(url="http://127.0.0.1:9", spool_dir=tmp_path).resolve()


def artifact(name: str, **changed: object) -> ArtifactAnswer:
    """Return an artifact as the service tells it."""
    answer: ArtifactAnswer = {
        "name": name,
        "version": 1,
        "kind": "artifact",
        "media_type": "text/plain",
        "size": 1,
        "sha256": "a" * 64,
        "is_output": True,
        "uri": None,
        "model": None,
        "time": None,
    }
    return {**answer, **changed}  # type: ignore[typeddict-item]


@pytest.fixture
def answer(endpoint: Endpoint) -> RunAnswer:
    """A run with a parameter, two artifacts and a policy of its own, as the service tells it."""
    model: dict[str, object] = {"model_type": "cnn", "framework": None, "framework_version": "2"}
    run = unborn_run(endpoint, "e", "r")
    run["parameters"] = {"lr": 0.1}
    run["artifacts"] = [
        artifact("notes"),
        artifact("m", kind="model", sha256=None, size=None, uri="s3://m", model=model),
    ]
    run["limits"] = Limits(parameters_max=1, artifacts_max=2).to_json()
    return run


# B10
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("lr is too high"), "lr is too high"),
        (ValueError(""), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (KeyError("lr"), "'lr'"),
        (AttributeError("no such thing"), "no such thing"),
        (KeyboardInterrupt(), "KeyboardInterrupt: stopped by SIGINT"),
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit("no data"), "SystemExit: no data"),
        (SystemExit(Unspeakable()), "SystemExit: "),
        (SystemExit(True), "SystemExit: True"),
        (SystemExit(128), "SystemExit: 128"),
        (SystemExit(128 + 15), "SystemExit: 143, stopped by SIGTERM"),
        (SystemExit(-2), "SystemExit: -2, stopped by SIGINT"),
        (SystemExit(255), "SystemExit: 255"),
        (SystemExit(-(10**30)), f"SystemExit: -1{'0' * 30}"),
        (asyncio.CancelledError(), "CancelledError: the task was cancelled"),
        (asyncio.CancelledError("bye"), "CancelledError: the task was cancelled, bye"),
        (Unspeakable(), "Unspeakable"),
        (OSError("a\0b"), "a\ufffdb"),
        (ValueError("lone \ud800"), "lone ?"),
    ],
)
def test_failure_text_is_never_empty_and_can_be_stored(error: BaseException, text: str) -> None:
    """The exception's own text, or its class when that is empty or cannot be made."""
    assert failure_text(error) == text


# B12
def test_failure_text_is_cut_to_1024_characters() -> None:
    """The beginning is kept."""
    assert failure_text(ValueError("é" * 3000)) == "é" * 1024


# B9 B10 B22
@pytest.mark.parametrize(
    ("error", "is_owner", "status"),
    [
        (None, True, "Completed"),
        (None, False, "Completed"),
        (ValueError("x"), True, "Failed"),
        (ValueError("x"), False, "Failed"),
        (SystemExit(0), True, "Completed"),
        (SystemExit(0), False, "Completed"),
        (SystemExit(), True, "Completed"),
        (SystemExit(), False, "Completed"),
        (SystemExit(False), True, "Completed"),
        (SystemExit(1), True, "Failed"),
        (SystemExit(1), False, "Failed"),
        (SystemExit(256), True, "Failed"),
        (SystemExit(0.0), True, "Failed"),
        (SystemExit("0"), True, "Failed"),
        (SystemExit(""), True, "Failed"),
        (GeneratorExit(), True, "Completed"),
        (GeneratorExit(), False, "Completed"),
        (asyncio.CancelledError(), True, "Failed"),
        (StopIteration(), True, "Failed"),
        (KeyboardInterrupt(), False, "Failed"),
    ],
)
def test_block_ends_as_its_exception_says(
    error: BaseException | None, is_owner: bool, status: str
) -> None:
    """An exception fails the run, unless it says that all is well: a clean exit, a generator's."""
    ending = ending_of(error, is_owner=is_owner)
    assert isinstance(ending, RunEnded)
    assert (ending.status, ending.is_owner) == (status, is_owner)
    assert (ending.failure_message is None) == (status == "Completed")


# C7
def test_state_of_an_existing_run_refuses_what_the_projection_would(
    endpoint: Endpoint, answer: RunAnswer
) -> None:
    """A handle that resumes knows the run's parameters, artifacts and policy."""
    state = state_of(answer, policy_of(endpoint, answer))
    changed = decide_body(state, ParametersLogged({"lr": 0.2}))
    same = decide_body(state, ParametersLogged({"lr": 0.1}))
    more = decide_body(state, ParametersLogged({"new": 1}))
    refused = [one.rejections[0].code if one.rejections else None for one in (changed, same, more)]
    assert refused == ["param_immutable", None, "param_limit"]


# E2 E7 E8
def test_state_of_an_existing_run_knows_its_artifacts(answer: RunAnswer) -> None:
    """The same content again is nothing new, for bytes and for models."""
    state = state_of(answer, Limits(artifacts_max=2))
    notes = ArtifactLogged("notes", "artifact", "text/plain", sha256="a" * 64, size=1)
    facts = ModelInfo("cnn", None, "2")
    model = ArtifactLogged("m", "model", "application/octet-stream", uri="s3://m", model=facts)
    third = ArtifactLogged("third", "artifact", "text/plain", sha256="a" * 64, size=1)
    assert decide_body(state, notes).accepted is None
    assert decide_body(state, model).accepted is None
    assert decide_body(state, third).rejections[0].code == "artifact_limit"


def test_run_that_was_not_started_has_the_policy_that_was_told_last(
    endpoint: Endpoint, answer: RunAnswer
) -> None:
    """Until its start is applied it is the one of new runs; of a silent service the last known."""
    answer["limits"] = None
    assert policy_of(endpoint, answer) == DEFAULT_LIMITS
    other = dataclasses.replace(endpoint, url="http://127.0.0.1:10")
    note_policy(other.url, Limits(points_max=7))
    assert policy_of(other, answer).points_max == 7
    assert policy_of(endpoint, answer) == DEFAULT_LIMITS


def test_policy_of_an_answer_that_is_none_is_refused(endpoint: Endpoint, answer: RunAnswer) -> None:
    """An answer that is no policy is an error and no policy of zeros."""
    answer["limits"] = {"points_max": -1}
    with pytest.raises(ValidationError, match="points_max"):
        policy_of(endpoint, answer)


# A5
def test_run_that_nobody_answers_for_is_told_of_later_with_its_tags(endpoint: Endpoint) -> None:
    """Who lists it when it arrives sees them at once, whenever its own stream comes."""
    opening = create_run(endpoint, {**unborn_run(endpoint, "e", "r"), "tags": {"k": "v"}}, None)
    assert opening.catalog is not None
    said = orjson.loads(opening.catalog.body)
    assert (said["run_name"], said["tags"], said["if_taken"]) == ("r", {"k": "v"}, "keep")


def test_run_that_the_service_does_not_decide_on_is_kept_and_that_is_said(
    endpoint: Endpoint,
) -> None:
    """With its reason; where nobody answers at all it is the sender that says so, once."""
    run = unborn_run(endpoint, "e", "r")
    said = (503, {"error": {"code": "Unavailable", "message": "no worker is running"}})
    silent = (
        f"the service at {endpoint.url} does not answer: it takes connections and was silent for "
        "30 s; see what holds it, or start it again"
    )
    for answer, expected in (
        (said, ["no worker is running"]),
        (TimeoutError("30 s"), [silent]),
        (ConnectionError("no"), []),
    ):
        service = Answering([answer])
        with structlog.testing.capture_logs() as logged:
            opening = create_run(endpoint, run, None, service.client(endpoint))
        assert opening.catalog is not None
        assert [line["reason"] for line in logged] == expected
        assert [line["run"] for line in logged] == ["e/r"] * len(expected)


# B4
def test_run_without_a_place_for_its_spool_is_not_created(tmp_path: Path) -> None:
    """Nobody is asked: a run that was created and has no writer would never end."""
    place = tmp_path / "file"
    place.write_bytes(b"")
    session = trialog.Session(url="http://127.0.0.1:9", spool_dir=place / "spool")
    run = trialog.Run("e", "r", session)
    with pytest.raises(SpoolError, match="Not a directory; give another with TRIALOG_SPOOL_DIR"):
        run.__enter__()
    assert (run.status, run.is_open) == (None, False)


# H3
def test_run_that_is_not_open_is_never_the_current_one(endpoint: Endpoint) -> None:
    """What was left in another thread, or never entered, is passed over."""
    run = trialog.Run("e", "r", trialog.Session(spool_dir=endpoint.spool_dir))
    push_run(run)
    try:
        assert current_run() is None
    finally:
        pop_run(run)
    pop_run(run)
    assert current_run() is None
