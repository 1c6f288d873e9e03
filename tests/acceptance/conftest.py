"""The whole service, once on the embedded log and once on Kafka, and sessions on it."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.faulty import LONG_FOLDER, STALE_AFTER_S, Faulty
from tests.acceptance.senders import end_sender
from tests.services.kafka import KafkaBroker
from tests.services.trialog import TrialogService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.kafka import Broker

LOGS = ("embedded", "kafka")

ON_ONE_LOG = pytest.mark.parametrize("service", ["embedded"], indirect=True)
"""For what is the same whichever way the events take: what a program says, what the page shows."""

LEFT_WITH_REFUSALS = pytest.mark.filterwarnings("ignore::trialog.RejectionWarning")
"""For blocks that are left with refusals: they warn only if the verdict is there in a second."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on Kafka, so that `-m "not kafka"` leaves it out."""
    for item in items:
        if "[kafka" in item.name:
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session", params=LOGS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrialogService]:
    """A service that the tests of the session share; they use experiments of their own."""
    kafka = None
    if request.param == "kafka":
        broker: Broker = request.getfixturevalue("kafka_broker")
        kafka = broker.bootstrap
    with TrialogService(tmp_path_factory.mktemp(request.param), kafka=kafka) as running:
        yield running


@pytest.fixture(scope="session", params=LOGS)
def faulty(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Faulty]:
    """A service on each log, on Kafka with a broker of its own."""
    with contextlib.ExitStack() as stack:
        broker = None
        if request.param == "kafka":
            broker = stack.enter_context(KafkaBroker())
        folder = tmp_path_factory.mktemp(LONG_FOLDER[:100] if broker is None else "kafka")
        kafka = None if broker is None else broker.bootstrap
        stale_after = ("--stale-after-s", str(STALE_AFTER_S))
        service = stack.enter_context(TrialogService(folder, *stale_after, kafka=kafka))
        yield Faulty(service, broker)


@pytest.fixture
def session(service: TrialogService, tmp_path: Path) -> Iterator[trialog.Session]:
    """A session on the service with a spool of its own; its sender ends with the test."""
    made = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=tmp_path / "spool")
    yield made
    end_sender(made)


@pytest.fixture
def experiment_name() -> str:
    """A name that no other test uses."""
    return f"exp-{uuid.uuid4().hex[:12]}"
