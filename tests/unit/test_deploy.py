"""Holds the files under deploy/ against the command line and the settings; no engine is needed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypedDict

import click
import pytest
import yaml

from trialog_schemas.limits import EVENTS_PARTITIONS
from trialog_server.commands import service
from trialog_server.processes import WORKER_STOP_S
from trialog_server.project.settings import ProjectionSettings
from trialog_server.serve.access import OPEN_PATHS
from trialog_server.serve.server import CLOSE_TIMEOUT_S
from trialog_server.settings import DEFAULT_PORT, ServerSettings

DEPLOY = Path(__file__).parents[2] / "deploy"


class Service(TypedDict, total=False):
    """The keys of a compose service that are looked at."""

    image: str
    command: list[str]
    environment: dict[str, str]
    ports: list[str]
    volumes: list[str]
    healthcheck: dict[str, object]
    stop_grace_period: str
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
        assert settings.events_partitions == EVENTS_PARTITIONS
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


def test_compose_kafka_is_the_version_that_the_tests_run() -> None:
    """What is deployed is what was tested: one number in two files."""
    pom = (DEPLOY.parent / "tests" / "services" / "kafka" / "pom.xml").read_text(encoding="utf-8")
    (tested,) = re.findall(r"<kafka\.version>([\d.]+)<", pom)
    assert services()["kafka"]["image"] == f"apache/kafka:{tested}"


def test_compose_broker_comes_back_as_fast_as_the_tests_one() -> None:
    """A broker that was killed is not waited for by the default's twelve seconds."""
    variables = services()["kafka"]["environment"]
    session_ms = int(variables["KAFKA_BROKER_SESSION_TIMEOUT_MS"])
    assert int(variables["KAFKA_BROKER_HEARTBEAT_INTERVAL_MS"]) * 2 <= session_ms <= 3000


def test_compose_gives_our_processes_time_to_end() -> None:
    """The engine kills later than we end by ourselves: open requests, a batch, the leases."""
    for item in ours().values():
        grace_s = int(item["stop_grace_period"].removesuffix("s"))
        assert grace_s > max(WORKER_STOP_S, CLOSE_TIMEOUT_S + ProjectionSettings().lease_s)


def test_compose_health_check_asks_an_open_route_where_the_api_listens() -> None:
    """The check needs no key, and asks the port that the command binds."""
    for name in ("api-1", "api-2"):
        item = services()[name]
        address = re.search(r"http://([\d.]+):(\d+)(/\w+)", str(item["healthcheck"]["test"]))
        assert address is not None
        host, port, path = address.groups()
        assert (host, path in OPEN_PATHS) == ("127.0.0.1", True)
        assert item["command"][item["command"].index("--port") + 1] == port


def test_dockerfile_copies_only_what_the_build_may_see() -> None:
    """Each path that is copied is let in, and neither history nor environments are."""
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        path
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
        for path in line.split()
    }

    assert "*" in ignore
    assert copied == let_in
    assert all((DEPLOY.parent / path).exists() for path in let_in)


def test_dockerfile_installs_the_versions_that_were_tested() -> None:
    """The constraints exist, pin every package of the server, and Python is one we support."""
    root = DEPLOY.parent
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (constraints,) = re.findall(r"--constraint (\S+)", text)
    pins = (root / constraints).read_text(encoding="utf-8")
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in pins.splitlines()
        if "==" in line
    }
    needed = [*project["dependencies"], *project["optional-dependencies"]["server"]]

    assert {re.split(r"[<>=]", name)[0].lower() for name in needed} <= pinned
    assert "-r " not in pins, "pip takes no such line in constraints"
    for version in re.findall(r"FROM python:(\d+)\.(\d+)", text):
        assert tuple(map(int, version)) >= (3, 11)


def test_readme_of_deploy_names_every_service() -> None:
    """The table of the README explains each service of the compose file."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    for name in services():
        assert f"`{name}`" in text
