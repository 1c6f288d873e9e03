"""Fixtures that every test may use: real Kafka, real PostgreSQL, and nothing of the user's own."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import uuid
from typing import TYPE_CHECKING, NoReturn

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.services.blocking import run_blocking
from tests.services.errors import ServiceUnavailableError
from tests.services.kafka import BROKER_VARIABLE, Broker, KafkaBroker, open_broker, prepare_kafka
from tests.services.postgres import PostgresServer, fresh_database, open_server
from trialog_server.postgres.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

_KAFKA_FIXTURES = {"kafka_broker", "private_kafka"}
_POSTGRES_FIXTURES = {"postgres_server_url", "private_postgres"}


def pytest_configure() -> None:
    """Forget the user's own settings: no test may talk to a service that is in use.

    Nor may Ctrl-C be ignored, as the background jobs of a shell inherit it, nor the end of the
    terminal, as under nohup: the programs that tests start would inherit it, too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Ignored here all the same, but by a handler, which no program inherits.
        signal.signal(signal.SIGHUP, lambda *_: None)
    # Else each of hundreds of programs compiles trialog anew: up to a second of work.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in tuple(os.environ):
        if name.startswith("TRIALOG_") and not name.startswith("TRIALOG_TEST_"):
            del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among modules and tests, which stay: a quarter of the collecting."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a service, so that `-m "not kafka"` leaves them out."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & _KAFKA_FIXTURES:
            item.add_marker(pytest.mark.kafka)
        if fixtures & _POSTGRES_FIXTURES:
            item.add_marker(pytest.mark.postgres)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch Kafka's jars before the first test: a first time may take longer than a test may."""
    needs_kafka = any(item.get_closest_marker("kafka") for item in session.items)
    if not needs_kafka or session.config.option.collectonly or os.environ.get(BROKER_VARIABLE):
        return
    with contextlib.suppress(ServiceUnavailableError):  # the fixture says it, to those who need it
        prepare_kafka()


def _give_up(error: ServiceUnavailableError) -> NoReturn:
    """In CI a missing service is a failure: a skip there would look like a proof."""
    if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker]:
    """The session's Kafka broker; tests share it, so each uses topics of its own."""
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(open_broker())
        except ServiceUnavailableError as exc:
            _give_up(exc)
        yield broker


@pytest.fixture
async def kafka_topic(kafka_broker: Broker) -> AsyncIterator[str]:
    """The name of an empty topic of one partition, deleted afterwards."""
    name = f"trialog-test-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
        yield name
        await admin.delete_topics([name])
    finally:
        await admin.close()


@pytest.fixture
def private_kafka() -> Iterator[KafkaBroker]:
    """A broker from the jars that nobody else uses: it may be stopped and killed."""
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(KafkaBroker())
        except ServiceUnavailableError as exc:
            _give_up(exc)
        yield broker


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """The URL of the session's PostgreSQL server; tests use databases of their own on it."""
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(open_server())
        except ServiceUnavailableError as exc:
            _give_up(exc)
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server_url: str) -> Iterator[str]:
    """The URL of an empty database for one test, dropped afterwards."""
    with fresh_database(postgres_server_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_server_url: str) -> Iterator[str]:
    """The URL of a migrated database that nobody connects to: copying it is quicker than making."""
    with fresh_database(postgres_server_url) as url:
        run_blocking(migrate(url))
        yield url


@pytest.fixture
def postgres_url(postgres_server_url: str, migrated_postgres_url: str) -> Iterator[str]:
    """The URL of a migrated database without data for one test, dropped afterwards."""
    with fresh_database(postgres_server_url, like=migrated_postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_postgres_url(postgres_server_url: str, migrated_postgres_url: str) -> Iterator[str]:
    """The URL of a migrated database that the tests of one module share, without data at first."""
    with fresh_database(postgres_server_url, like=migrated_postgres_url) as url:
        yield url


@pytest.fixture
def private_postgres() -> Iterator[PostgresServer]:
    """A server that nobody else uses: it may be stopped and killed."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer())
        except ServiceUnavailableError as exc:
            _give_up(exc)
        yield server
