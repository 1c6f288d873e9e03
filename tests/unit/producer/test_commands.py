"""Commands under a policy: what they carry, and what happens when the service has another."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.answers import Answering, endpoint_in
from trialog.commands import send_command, under_policy
from trialog.policy import known_policy, note_policy
from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import ResourceInUseError, UnavailableError
from trialog_schemas.events import Event, ExperimentCreated, ExperimentDeleted, RunCreated
from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_schemas.wire import unframe

if TYPE_CHECKING:
    from pathlib import Path

    from trialog.settings import Endpoint

BODY = ExperimentCreated("ab" * 16, "e")


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    """A service that this process has never heard of."""
    return dataclasses.replace(endpoint_in(tmp_path), url=f"http://{uuid.uuid4().hex}:1")


def policy(experiments_max: int) -> tuple[int, object]:
    """What the service says of its policy."""
    limits = Limits(experiments_max=experiments_max).to_json()
    return 200, {"limits": limits, "version": "1", "rules_version": 1}


def done(experiments_max: int) -> tuple[int, object]:
    """What the service says of a command that was accepted."""
    limits = Limits(experiments_max=experiments_max).to_json()
    answer = {"position": "catalog:0:1", "applied": True, "rejections": []}
    return 200, {**answer, "run": None, "experiment": None, "limits": limits}


CHANGED = (409, {"error": {"code": "PolicyChanged", "message": "not so"}})


def carried(service: Answering) -> list[int]:
    """The limit in each command that was sent."""
    found = []
    for request in service.asked:
        if request.body is not None:
            (event,) = unpack_record(unframe(request.body)[0])[1]
            assert isinstance(event, Event)
            assert isinstance(event.body, ExperimentCreated)
            found.append(event.body.experiments_max)
    return found


# A14
def test_command_is_sent_again_with_the_policy_that_the_service_has(endpoint: Endpoint) -> None:
    """The default at first, then what was told; the next command carries it at once."""
    service = Answering([CHANGED, policy(7), done(7), done(7)])
    for _ in range(2):
        send_command(endpoint, BODY, service.client(endpoint))
    assert carried(service) == [5000, 7, 7]
    assert known_policy(endpoint.url).experiments_max == 7


def test_command_of_a_service_that_changes_its_mind_each_time_ends(endpoint: Endpoint) -> None:
    """Three attempts, then an error that says what is wrong with the service."""
    service = Answering([CHANGED, policy(7), CHANGED, policy(8), CHANGED, policy(7)])
    with pytest.raises(UnavailableError, match="start all of them with the same limits"):
        send_command(endpoint, BODY, service.client(endpoint))
    assert carried(service) == [5000, 7, 8]


def test_other_refusals_of_a_command_are_raised_at_once(endpoint: Endpoint) -> None:
    """Only another policy is a reason to ask for it."""
    service = Answering([(409, {"error": {"code": "ResourceInUse", "message": "taken"}})])
    with pytest.raises(ResourceInUseError):
        send_command(endpoint, BODY, service.client(endpoint))
    assert carried(service) == [5000]


def test_limit_is_put_into_what_creates_and_into_nothing_else(endpoint: Endpoint) -> None:
    """Policies are kept per service: what one told says nothing of another."""
    note_policy(endpoint.url, Limits(experiments_max=9))
    run = RunCreated("ab" * 16, "e", "r", "cd" * 16)
    assert under_policy(endpoint, run) == dataclasses.replace(run, experiments_max=9)
    deleted = ExperimentDeleted("ab" * 16)
    assert under_policy(endpoint, deleted) is deleted
    assert known_policy(f"{endpoint.url}0") == DEFAULT_LIMITS
