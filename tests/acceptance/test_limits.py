"""Limits of an operator's policy end to end: at −1, 0 and +1, and when the policy changes.

The numbers of the default policy are shown beside what they bound: parameters, artifacts, metrics.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import LOGS
from tests.acceptance.refusals import refusal
from tests.services.kafka import KafkaBroker
from tests.services.trialog import TrialogService
from trialog.client import Client
from trialog_schemas.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog.answers import RunAnswer

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
