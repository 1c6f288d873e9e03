"""Holds the files under deploy/ against the command line and the settings; no engine is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict

import click
import pytest
import yaml

from trialog_server.commands import service
from trialog_server.settings import DEFAULT_PORT

DEPLOY = Path(__file__).parents[2] / "deploy"


class Service(TypedDict, total=False):
    """The keys of a compose service that are looked at."""

    image: str
    command: list[str]
    environment: dict[str, str]
    ports: list[str]
    volumes: list[str]
    healthcheck: dict[str, object]


def services() -> dict[str, Service]:
    """Return the services of the compose file."""
    loaded: dict[str, dict[str, Service]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded["services"]


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
