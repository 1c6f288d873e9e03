"""The service on addresses of Kafka and Postgres: several processes, and addresses of no use."""

from __future__ import annotations

import contextlib
import signal
import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner

import trialog
from tests.acceptance.trainers import Trainer
from tests.services.blocking import run_blocking
from tests.services.ports import free_port
from tests.services.postgres import fresh_database
from tests.services.trialog import ServiceProcess, wait_until
from trialog_server.commands import service as service_commands
from trialog_server.postgres.address import shown_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.services.kafka import Broker, KafkaBroker

LEASED = "SELECT count(*) FROM trialog.leases WHERE owner IS NOT NULL"

pytestmark = pytest.mark.timeout(120)


# L2
@pytest.mark.slow(reason="starts four processes of the service")
def test_two_apis_and_two_workers_on_addresses_are_one_service(
    kafka_broker: Broker, postgres_url: str, tmp_path: Path
) -> None:
    """Flags or environment alone: a run logged through one API is read through the other.

    All four start at once on an empty database; a worker that is killed is replaced by the other.
    """
    flags = ["--kafka", kafka_broker.bootstrap, "--postgres", postgres_url]
    environment = {"TRIALOG_KAFKA": kafka_broker.bootstrap, "TRIALOG_POSTGRES": postgres_url}
    shared = ["--artifacts", (tmp_path / "artifacts").as_uri(), "--port", "0"]
    processes = [
        ServiceProcess("api", *shared, *flags),
        ServiceProcess("api", *shared, environment=environment),
        ServiceProcess("worker", *flags),
        ServiceProcess("worker", environment=environment),
    ]
    names = (f"addresses-{uuid.uuid4().hex[:8]}", "one")
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
        first, second = (process.wait_ready() for process in processes[:2])
        logging = trialog.Session(url=first, spool_dir=tmp_path / "spool")
        reading = trialog.Session(url=second, spool_dir=tmp_path / "spool")
        with Trainer(logging, tmp_path, names, read=reading) as trainer:
            trainer.wait_progress()
            processes[2].kill()
            trainer.check_so_far(trainer.wait_progress())
            trainer.tell_end()
            trainer.wait_end()
        trainer.check_exact()
        survivors = [processes[0], processes[1], processes[3]]
        assert [process.stop() for process in survivors] == [0, 0, 0]


def closed_address() -> str:
    """Return an address on this machine where nobody listens."""
    return f"127.0.0.1:{free_port()}"


def refused(*commands: Sequence[str]) -> list[str]:
    """Run commands that cannot start; return the lines they end with, which are no tracebacks."""
    processes = [ServiceProcess(*arguments) for arguments in commands]
    for process in processes:
        process.launch()
    for process in processes:
        assert process.wait_ended(60.0) == 1, process.output
        assert not [line for line in process.output if "Traceback" in line]
    return [process.output[-1] for process in processes]


def test_postgres_that_does_not_answer_is_named_in_one_line(
    postgres_url: str, tmp_path: Path
) -> None:
    """The address and the flag are in the words, also of a database that is not there."""
    address = closed_address()
    postgres = ["--postgres", f"postgresql://ada:se%2Fcret@{address}/runs"]
    kafka = ["--kafka", closed_address()]
    *lines, lacking = refused(
        ["up", *postgres, "--data-dir", str(tmp_path)],
        ["api", *postgres, *kafka],
        ["worker", *postgres, *kafka],
        ["worker", "--postgres", f"{postgres_url}-not-there", *kafka],
    )
    for line in lines:
        assert f"Error: postgres at {address}/runs cannot be used" in line
        assert line.endswith("start it, or check the address in --postgres or TRIALOG_POSTGRES")
        assert "cret" not in line
    assert "cannot be used (InvalidCatalogNameError: " in lacking


def test_kafka_that_does_not_answer_is_named_in_one_line(postgres_url: str, tmp_path: Path) -> None:
    """The address and the flag are in the words."""
    address = closed_address()
    flags = ["--postgres", postgres_url, "--kafka", address]
    lines = refused(
        ["up", *flags, "--data-dir", str(tmp_path)], ["api", *flags], ["worker", *flags]
    )
    for line in lines:
        assert f"Error: kafka at {address} cannot be reached" in line
        assert line.endswith("start it, or check the address in --kafka or TRIALOG_KAFKA")


# L3
def test_commands_beside_a_service_make_no_tables_at_a_mistyped_address(
    postgres_server_url: str, tmp_path: Path
) -> None:
    """A database without trialog is named, and is as it was."""
    with fresh_database(postgres_server_url) as url:
        flags = ["--postgres", url, "--kafka", closed_address()]
        key, output = ["--key", str(tmp_path / "key"), "--new-key"], str(tmp_path / "checkpoint")
        lines = refused(
            ["rebuild", *flags],
            ["archive", *flags, "--to", str(tmp_path / "archive")],
            ["checkpoint", *flags, *key, "--output", output],
        )
        with ServiceProcess("verify", *flags) as verifying:
            assert verifying.wait_ended(60.0) == 3
        assert run_blocking(schemas_of(url)) == ["public"]
    for line in (*lines, verifying.output[-1]):
        assert f"there are no trialog tables in postgres at {shown_address(url)}" in line


# L3
@pytest.mark.slow(reason="starts a broker of its own")
def test_commands_that_only_read_make_no_topics_at_a_mistyped_address(
    private_kafka: KafkaBroker, postgres_url: str, tmp_path: Path
) -> None:
    """A broker without trialog is named, and is as it was; `up` and `api` make what they need."""
    flags = ["--postgres", postgres_url, "--kafka", private_kafka.bootstrap]
    key, output = ["--key", str(tmp_path / "key"), "--new-key"], str(tmp_path / "checkpoint")
    lines = refused(
        ["rebuild", *flags],
        ["archive", *flags, "--to", str(tmp_path / "archive")],
        ["checkpoint", *flags, *key, "--output", output],
    )
    for line in lines:
        assert f"there are no trialog topics at {private_kafka.bootstrap}" in line
    with ServiceProcess("verify", *flags) as verifying:
        assert verifying.wait_ended(60.0) == 3
    assert "there are no trialog topics" in verifying.output[-1]
    assert run_blocking(topics_of(private_kafka.bootstrap)) == []
    assert not (tmp_path / "archive").exists()


async def schemas_of(url: str) -> list[str]:
    """Return the schemas of a database, but for those of Postgres itself."""
    connection = await asyncpg.connect(url)
    try:
        names = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'"
        return [row["nspname"] for row in await connection.fetch(names)]
    finally:
        await connection.close()


async def topics_of(bootstrap: str) -> list[str]:
    """Return the topics of a broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return [str(topic) for topic in await admin.list_topics()]
    finally:
        await admin.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--host", "0.0.0.0"], "host '0.0.0.0' can be reached from other machines and no"),
        (["up", "--postgres", "mysql://there"], "the address of postgres begins with 'mysql'"),
        (["up", "--kafka", "there"], "'there' is no address of a Kafka broker; give HOST:PORT"),
        (["up", "--kafka", "a:1,b:0"], "'b:0' is no address of a Kafka broker; give HOST:PORT"),
        (["api", "--kafka", "a:1"], "--postgres or TRIALOG_POSTGRES is needed"),
        (["worker", "--postgres", "postgresql://a"], "--kafka or TRIALOG_KAFKA is needed"),
        (["checkpoint", "--key", "none", "--output", "new"], "none: No such file or directory; "),
        (["checkpoint", "--key", "none", "--new-key", "--output", "/dev/null"], "is not replaced"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_starts(
    arguments: Sequence[str], words: str, tmp_path: Path
) -> None:
    """A wrong setting is one line that names it and the remedy."""
    environment = {"TRIALOG_DATA_DIR": str(tmp_path / "data")}
    result = CliRunner().invoke(service_commands, arguments, env=environment)
    assert result.exit_code != 0
    assert words in result.output
    assert not (tmp_path / "data").exists()


def has_leases(url: str) -> bool:
    """Tell whether a worker holds partitions; the table may not be there yet."""

    async def ask() -> bool:
        connection = await asyncpg.connect(url)
        try:
            return bool(await connection.fetchval(LEASED))
        except asyncpg.UndefinedTableError:
            return False
        finally:
            await connection.close()

    return run_blocking(ask())


def test_worker_on_addresses_ends_cleanly_by_ctrl_c(
    kafka_broker: Broker, postgres_url: str
) -> None:
    """SIGINT ends a worker with status 0 and frees its partitions at once."""
    flags = ["--kafka", kafka_broker.bootstrap, "--postgres", postgres_url]
    with ServiceProcess("worker", *flags) as worker:
        wait_until(lambda: has_leases(postgres_url), "the worker has its partitions")
        assert worker.stop(signal.SIGINT) == 0
    assert not has_leases(postgres_url)
