"""Holds the files under deploy/ against the command line and the settings; no engine is needed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypedDict

import click
import pytest
import yaml

from trialog_server.commands import service
from trialog_server.settings import DEFAULT_PORT, ServerSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
CLUSTER_PARTITIONS = 32
"""Partitions of the events topic on a cluster (the log's decision on partitions)."""


class Service(TypedDict, total=False):
    """The keys of a compose service that are looked at."""

    image: str
    command: list[str]
    environment: dict[str, str]
    ports: list[str]
    volumes: list[str]
    healthcheck: dict[str, object]
    depends_on: dict[str, dict[str, str]]


class Compose(TypedDict):
    """The keys of the compose file that are looked at."""

    services: dict[str, Service]
    volumes: dict[str, None]


def compose() -> Compose:
    """Return the compose file, its merges done."""
    loaded: Compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def services() -> dict[str, Service]:
    """Return the services of the compose file."""
    return compose()["services"]


def ours() -> dict[str, Service]:
    """Return the services that run trialog."""
    return {name: item for name, item in services().items() if item["image"].startswith("trialog")}


# L2
def test_compose_services_are_the_ones_the_readme_names() -> None:
    """Kafka, Postgres, two API processes and two workers are there."""
    assert sorted(services()) == ["api-1", "api-2", "kafka", "postgres", "worker-1", "worker-2"]


def test_compose_commands_parse_on_our_command_line() -> None:
    """Each command of ours is one that the command line knows, with options it knows."""
    for item in ours().values():
        name, *arguments = item["command"]
        command = service.get_command(click.Context(service), name)
        assert command is not None, name
        command.make_context(name, arguments)


def test_compose_variables_are_read_by_the_commands() -> None:
    """Each TRIALOG_ variable in the files is one that the command in its service reads."""
    for item in ours().values():
        command = service.get_command(click.Context(service), item["command"][0])
        assert command is not None
        known = {p.envvar for p in command.params if isinstance(p, click.Option)}
        unknown = set(item["environment"]) - known - {"TRIALOG_API_KEY"}
        assert not unknown, unknown


def test_compose_ports_are_published_on_loopback_only() -> None:
    """No port is reachable from other machines, and the inner one is where the API listens."""
    published = [port for item in services().values() for port in item.get("ports", [])]
    assert published
    for port in published:
        host, _, inner = port.split(":")
        assert host == "127.0.0.1"
        assert int(inner) == DEFAULT_PORT


def test_compose_third_party_images_are_pinned_to_a_version() -> None:
    """No image floats, and Postgres is the major version the embedded default has."""
    images = {name: item["image"] for name, item in services().items()}
    assert all(re.search(r":\d+(\.\d+)*$", image) for image in images.values()), images
    assert images["postgres"].split(":")[1].split(".")[0] == "18"


@pytest.mark.parametrize("name", ["kafka", "postgres", "api-1", "api-2"])
def test_compose_services_with_state_have_health_check_and_volume(name: str) -> None:
    """Whatever others wait for says when it is ready, and keeps its data in a volume."""
    item = services()[name]
    assert item["healthcheck"]["test"]
    assert item["volumes"]


def test_compose_asks_for_secrets_and_has_none() -> None:
    """Password and key come from outside; the file names no default for them."""
    text = (DEPLOY / "compose.yaml").read_text()
    for name in ("POSTGRES_PASSWORD", "TRIALOG_API_KEY"):
        assert re.findall(rf"\$\{{{name}:\?[^}}]+\}}", text)
        assert f"${{{name}:-" not in text


def test_dockerfile_copies_what_the_package_is_built_from_and_runs_as_a_user() -> None:
    """Every source root is copied, the extra exists, and the process is not root."""
    text = (DEPLOY / "Dockerfile").read_text()
    for root in ("producer", "consumer", "schemas", "pyproject.toml"):
        assert root in text
    assert "'.[server]'" in text
    assert re.search(r"^USER trialog$", text, re.MULTILINE)
    assert f"EXPOSE {DEFAULT_PORT}" in text


def test_compose_addresses_are_taken_by_the_settings() -> None:
    """What the variables say builds settings, and names services of this file at their ports."""
    for item in ours().values():
        variables = item["environment"]
        postgres = re.sub(r"\$\{POSTGRES_PASSWORD[^}]*\}", "secret", variables["TRIALOG_POSTGRES"])
        settings = ServerSettings(
            data_dir=Path("/var/lib/trialog"),
            host="0.0.0.0",
            api_key="key",
            kafka=variables["TRIALOG_KAFKA"],
            postgres=postgres,
            events_partitions=int(variables["TRIALOG_EVENTS_PARTITIONS"]),
        )
        assert settings.events_partitions == CLUSTER_PARTITIONS
        assert (
            variables["TRIALOG_KAFKA"]
            in services()["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        )
        known = services()["postgres"]["environment"]
        assert f"//{known['POSTGRES_USER']}:secret@postgres:5432/{known['POSTGRES_DB']}" in postgres


def test_compose_kafka_is_one_node_without_zookeeper() -> None:
    """KRaft: the node is broker and controller, votes for itself, and keeps every record."""
    variables = services()["kafka"]["environment"]

    assert set(variables["KAFKA_PROCESS_ROLES"].split(",")) == {"broker", "controller"}
    assert variables["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{variables['KAFKA_NODE_ID']}@kafka:9093"
    assert not any("ZOOKEEPER" in name for name in variables)
    assert variables["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert variables["KAFKA_LOG_RETENTION_MS"] == "-1"
    assert f"kafka:{variables['KAFKA_LOG_DIRS']}" in services()["kafka"]["volumes"]


def test_compose_waits_for_what_it_needs() -> None:
    """Nobody starts before what it talks to says that it is ready, and that says so."""
    for name, item in ours().items():
        assert item["depends_on"], name
        for needed, wanted in item["depends_on"].items():
            assert wanted == {"condition": "service_healthy"}
            assert services()[needed]["healthcheck"]["test"]


def test_compose_volumes_are_declared_and_lie_where_the_data_is() -> None:
    """Every named volume exists, each is used, and the artifacts' one is the data folder."""
    used = [volume.split(":") for item in services().values() for volume in item.get("volumes", [])]

    assert {name for name, _ in used} == set(compose()["volumes"])
    (folder,) = {place for name, place in used if name == "artifacts"}
    assert f"TRIALOG_DATA_DIR={folder}" in (DEPLOY / "Dockerfile").read_text()


def test_compose_and_project_have_one_version() -> None:
    """The image is named like the release that it is built from."""
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    assert {item["image"] for item in ours().values()} == {f"trialog:{version}"}


def test_readme_of_deploy_names_every_service() -> None:
    """The table of the README explains each service of the compose file."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    for name in services():
        assert f"`{name}`" in text
