"""Kafka's own image under a Docker engine, where one answers."""

from __future__ import annotations

import gc
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException

from tests.services.errors import ServiceUnavailableError
from tests.services.kafka.jars import kafka_version
from tests.services.kafka.probe import is_serving
from tests.services.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_PING_TIMEOUT_S = 3
_START_TIMEOUT_S = 120.0
_PROBE_INTERVAL_S = 0.2
_PORT = 9092  # inside the container


def is_engine_answering() -> bool:
    """Whether there is a Docker engine, not only its client."""
    with warnings.catch_warnings():
        # Where no engine listens, the client forgets to close its socket; find that now and
        # here, not as an error in whichever test is running when it is collected.
        warnings.simplefilter("ignore", ResourceWarning)
        is_answering = _ping()
        gc.collect()
    return is_answering


def _ping() -> bool:
    try:
        client = docker.from_env(timeout=_PING_TIMEOUT_S)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except DockerException:
        return False
    finally:
        client.close()


@contextmanager
def run_container() -> Iterator[str]:
    """Run one broker in a container and give its address.

    It ends with the block, or with testcontainers' reaper if the test process is killed.

    Raises:
        ServiceUnavailableError: The engine cannot run the image, or no broker serves in it.
    """
    # Imported here because importing it reads the user's Docker settings.
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    port = free_port()  # known beforehand, because the broker has to advertise it
    container = DockerContainer(f"apache/kafka:{kafka_version()}").with_bind_ports(_PORT, port)
    for name, value in _settings(port).items():
        container = container.with_env(name, value)
    try:
        container.start()
    except DockerException as exc:
        raise ServiceUnavailableError(f"Docker cannot run Kafka's image: {exc}") from exc
    try:
        bootstrap = f"{LOOPBACK}:{port}"
        _wait_serving(bootstrap)
        yield bootstrap
    finally:
        container.stop()


def _settings(port: int) -> dict[str, str]:
    """The image takes each line of server.properties as a variable; one given, all are needed."""
    return {
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_NODE_ID": "1",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{_PORT},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{LOOPBACK}:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }


def _wait_serving(bootstrap: str) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not is_serving(bootstrap):
        if time.monotonic() > deadline_s:
            raise ServiceUnavailableError(f"the Kafka container at {bootstrap} does not serve")
        time.sleep(_PROBE_INTERVAL_S)
