"""`trialog rebuild` and `trialog verify` on a running service: beside its work, killed, undone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import asyncpg
import pytest

import trialog
from tests.acceptance.faulty import Faulty
from tests.acceptance.tomorrow import log_with, release_of_tomorrow
from tests.services.kafka import KafkaBroker
from tests.services.trialog import ServiceProcess, TrialogService, wait_until
from trialog_schemas.wire import partition_of
from trialog_server.project.digests import TABLES, TableDigest, table_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

ON_THE_EMBEDDED_LOG = pytest.mark.parametrize("tampered", ["embedded"], indirect=True)

END_TIMEOUT_S = 60.0
POINTS = 2000


@pytest.fixture(scope="module", params=["embedded", "kafka"])
def tampered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Faulty]:
    """A service whose tables these tests edit and replace, on each log."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(KafkaBroker()) if request.param == "kafka" else None
        kafka = None if broker is None else broker.bootstrap
        folder = tmp_path_factory.mktemp("rebuilt")
        yield Faulty(stack.enter_context(TrialogService(folder, kafka=kafka)), broker)


def command(
    tampered: Faulty, *arguments: str, environment: Mapping[str, str] | None = None
) -> ServiceProcess:
    """Return a command on the service's data; not started."""
    service = tampered.service
    kafka = [] if service.kafka is None else ["--kafka", service.kafka]
    data = ("--data-dir", str(service.data_dir))
    return ServiceProcess(*arguments, *data, *kafka, environment=environment)


def ended(
    tampered: Faulty, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Run a command to its end; return status and output."""
    with command(tampered, *arguments, environment=environment) as running:
        return running.wait_ended(END_TIMEOUT_S), running.output


def answer_of(output: list[str]) -> dict[str, object]:
    """Return the JSON object that a command printed between its other lines."""
    answer: dict[str, object] = json.loads(next(line for line in output if line.startswith("{")))
    return answer


def live_generation(tampered: Faulty) -> int:
    """Return the number of the generation that answers."""
    statement = "SELECT generation FROM trialog.generations WHERE status = 'live'"
    number: int = tampered.query(statement)[0]["generation"]
    return number


def session_on(tampered: Faulty, folder: Path) -> trialog.Session:
    """Return a session on the service with a spool of its own."""
    service = tampered.service
    return trialog.Session(url=service.url, kafka=service.kafka, spool_dir=folder / "spool")


# K4 K6
def test_rebuild_beside_a_run_that_logs_loses_nothing_and_is_verified(
    tampered: Faulty, tmp_path: Path, experiment_name: str
) -> None:
    """The tables are exchanged under a run; afterwards it goes on, and all tables are verified."""
    session = session_on(tampered, tmp_path)
    before = live_generation(tampered)
    with trialog.Run(experiment_name, "watched", session) as run:
        for step in range(POINTS):
            run.log_metric("loss", 1 / (step + 1), step=step)
        run.log_parameter("lr", 0.1)
        run.wait(30)
        status, output = ended(tampered, "rebuild", "--json")
        assert status == 0, output
        assert answer_of(output)["generation"] == live_generation(tampered) > before
        run.log_parameter("late", value=True)
        run.log_metric("loss", 0.0, step=POINTS)
        run.wait(30)
        assert run.metrics["loss"].count == POINTS + 1
        assert run.parameters == {"lr": 0.1, "late": True}
    status, output = ended(tampered, "verify", "--json")
    assert status == 0, output
    assert answer_of(output)["is_clean"] is True


# K6 L3
def test_edited_row_is_found_and_a_rebuild_mends_it(
    tampered: Faulty, tmp_path: Path, experiment_name: str
) -> None:
    """Verification names table, run and both values; after a rebuild the first value is back."""
    session = session_on(tampered, tmp_path)
    with trialog.Run(experiment_name, "edited", session) as run:
        run.log_parameter("learning_rate", 0.125)
        run.wait(30)
    schema = f"gen_{live_generation(tampered)}"
    tampered.query(f"UPDATE {schema}.parameters SET value = '0.75' WHERE run_id = $1", run.run_id)
    assert run.parameters == {"learning_rate": 0.75}
    status, output = ended(tampered, "verify")
    assert status == 1
    text = "\n".join(output)
    assert "table parameters: 2 lines are on one side only" in text
    assert "0.125" in text
    assert "0.75" in text
    assert text.count("learning_rate") == 2
    assert ended(tampered, "rebuild")[0] == 0
    assert run.parameters == {"learning_rate": 0.125}


# K6
@ON_THE_EMBEDDED_LOG  # Kafka rewrites no record; this log is a table that somebody may edit
def test_history_that_was_rewritten_as_a_whole_is_found_by_a_checkpoint_kept_elsewhere(
    tampered: Faulty, tmp_path: Path, experiment_name: str
) -> None:
    """A record is taken out of the log and all tables are made from the rest: all agrees again."""
    key, kept = tmp_path / "key.pem", tmp_path / "kept.json"
    session = session_on(tampered, tmp_path)
    with trialog.Run(experiment_name, "rewritten", session) as run:
        run.log_parameter("batch_size", 32)
        run.wait(30)
        run.log_parameter("learning_rate", 0.1)
        run.wait(30)
    signing = ("checkpoint", "--key", str(key), "--new-key", "--output", str(kept))
    status, output = ended(tampered, *signing, "--json")
    assert status == 0, output
    assert answer_of(output)["partitions"] == 5  # four of events, and the catalog
    run.wait(30, stage="sealed")
    told = run.durability()
    assert told.sealed == told.applied == told.recorded
    assert told.sealed.events >= 4
    checking = ("verify", "--checkpoint", str(kept), "--public-key", f"{key}.pub")
    assert ended(tampered, *checking)[0] == 0

    tampered.query(
        "UPDATE trialog.log_records SET value = value || '\\x00' WHERE key = $1 AND log_offset = "
        "(SELECT max(log_offset) - 1 FROM trialog.log_records WHERE key = $1)",
        run.run_id,
    )
    assert ended(tampered, "rebuild")[0] == 0
    assert "learning_rate" not in run.parameters
    status, output = ended(tampered, *checking, "--json")
    assert status == 1
    answer = answer_of(output)
    assert answer["is_clean"] is False
    assert {table["findings_count"] for table in answer["tables"]} == {0}  # type: ignore[attr-defined]
    chains = [(one["live_chain"], one["replay_chain"]) for one in answer["partitions"]]  # type: ignore[attr-defined]
    assert [live for live, _ in chains] == [replayed for _, replayed in chains]
    assert answer["checkpoint"]["broken"] == [  # type: ignore[index]
        {"topic": "trialog.events.v1", "partition": partition_of(run.run_id, 4)}
    ]
    status, output = ended(tampered, "checkpoint", "--key", str(key), "--output", str(kept))
    assert status == 1
    assert "is there already and is not replaced" in output[-1]


# K6
@ON_THE_EMBEDDED_LOG  # how the log is read, `verify --checkpoint` shows on both
def test_proof_of_one_run_is_checked_without_the_service(
    tampered: Faulty, tmp_path: Path, experiment_name: str
) -> None:
    """It has the run's events and nobody else's, holds by the public key alone, or says why not."""
    key, kept, proof = (tmp_path / name for name in ("key.pem", "kept.json", "proof.json"))
    session = session_on(tampered, tmp_path)
    with trialog.Run(experiment_name, "neighbour", session) as other:
        other.log_parameter("secret", "of-another-run")
    with trialog.Run(experiment_name, "proven", session) as run:
        run.log_metrics({"loss": 0.5, "accuracy": 0.9}, step=0)
    for one in (other, run):
        one.wait(30)
    signing = ("checkpoint", "--key", str(key), "--new-key", "--output", str(kept))
    assert ended(tampered, *signing)[0] == 0
    proving = ("prove", run.run_id, "--checkpoint", str(kept), "--output", str(proof))
    assert ended(tampered, *proving)[0] == 0
    content = proof.read_text(encoding="utf-8")
    assert other.run_id not in content

    check = ("verify-proof", str(proof), "--public-key", f"{key}.pub", "--json")
    with ServiceProcess(*check) as checking:
        assert checking.wait_ended(END_TIMEOUT_S) == 0, checking.output
    told = answer_of(checking.output)
    assert (told["run_id"], told["name"]) == (run.run_id, [experiment_name, "proven"])
    assert (told["points"], told["is_proven"]) == (2, True)
    proof.write_text(content.replace('"offset":', '"offset":1', 1), encoding="utf-8")
    with ServiceProcess(*check[:-1]) as checking:
        assert checking.wait_ended(END_TIMEOUT_S) == 1
    assert checking.output[-1].startswith("not proven: the ")


# K4 K2
@ON_THE_EMBEDDED_LOG  # what is killed and left is in Postgres
async def test_rebuild_that_is_killed_leaves_the_service_as_it_was(
    tampered: Faulty, tmp_path: Path, experiment_name: str
) -> None:
    """SIGKILL in the middle: the live tables go on, and the next rebuild takes over the rest."""
    session = session_on(tampered, tmp_path)
    before = live_generation(tampered)
    with trialog.Run(experiment_name, "killed", session) as run:
        run.log_metric("loss", 1.0)
        run.wait(30)
        reader = await asyncpg.connect(tampered.service.postgres_url)
        async with reader.transaction():  # a question that lasts: no tables are exchanged under it
            await reader.execute("SELECT FROM live.record_index LIMIT 0")
            with command(tampered, "rebuild") as running:
                wait_until(lambda: len(tampered.query(BUILDING)) == 1, "one is being built")
                running.kill()
        await reader.close()
        assert live_generation(tampered) == before
        run.log_metric("loss", 2.0)
        run.wait(30)
        assert run.metrics["loss"].count == 2
    left = tampered.query(BUILDING)[0]["generation"]
    status, output = ended(tampered, "rebuild", "--json")
    assert (status, answer_of(output)["generation"]) == (0, left)
    assert run.metrics["loss"].last == 2.0


# K4
@ON_THE_EMBEDDED_LOG  # what is seized is in Postgres
async def test_rebuild_that_is_interrupted_in_its_switch_gives_everything_back(
    tampered: Faulty,
) -> None:
    """Ctrl-C is no success and no failure: status 130, a word of what is left, no lease kept."""
    before = live_generation(tampered)
    asking = await asyncpg.connect(tampered.service.postgres_url)
    transaction = asking.transaction()
    await transaction.start()
    await asking.fetchval("SELECT count(*) FROM live.runs")  # no switch before this one ends
    with command(tampered, "rebuild") as running:
        wait_until(lambda: tampered.query(SEIZED) != [], "the live tables are seized")
        os.kill(running.pid, signal.SIGINT)
        assert running.wait_ended(END_TIMEOUT_S) == 130
    await transaction.rollback()
    await asking.close()
    assert "interrupted; one whole set of tables is live" in running.output[-1]
    assert live_generation(tampered) == before
    assert tampered.query(SEIZED) == []
    assert ended(tampered, "rebuild")[0] == 0


SEIZED = "SELECT 1 FROM trialog.leases WHERE owner LIKE 'rebuild/%'"


@ON_THE_EMBEDDED_LOG
def test_command_of_another_version_leaves_the_service_that_runs_alone(tampered: Faulty) -> None:
    """Tables are not migrated under a service; what to do is said instead."""
    migration = "name = '0004_was_live'"
    tampered.query(f"UPDATE trialog.migrations SET scope = 'later' WHERE {migration}")
    try:
        for name in ("verify", "rebuild"):
            status, output = ended(tampered, name)
            assert status == (3 if name == "verify" else 1)
            assert "has not made the tables of this version" in output[-1]
    finally:
        tampered.query(f"UPDATE trialog.migrations SET scope = 'control' WHERE {migration}")


BUILDING = "SELECT generation FROM trialog.generations WHERE status = 'building'"


# K4
@ON_THE_EMBEDDED_LOG  # what is exchanged is in Postgres
def test_readers_see_one_generation_at_a_time(
    tampered: Faulty, tmp_path: Path, experiment_name: str
) -> None:
    """While tables are exchanged again and again, every answer is whole."""
    session = session_on(tampered, tmp_path)
    for number in range(3):
        with trialog.Run(experiment_name, f"run-{number}", session) as run:
            run.log_parameters({"number": number, "text": "x" * number})
            run.log_metric("loss", float(number))
            run.wait(30)
    expected = [(f"run-{number}", {"number": number, "text": "x" * number}) for number in range(3)]
    stop, wrong = threading.Event(), list[object]()

    def read() -> None:
        while not stop.is_set():
            found = trialog.Run.list(experiment_name, "Name", "Ascending", session=session)
            seen = [(one.run_name, one.parameters) for one in found]
            if seen != expected:
                wrong.append(seen)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        first = live_generation(tampered)
        assert ended(tampered, "rebuild")[0] == 0
        assert ended(tampered, "rebuild", "--back")[0] == 0
        assert live_generation(tampered) == first
    finally:
        stop.set()
        reader.join()
    assert wrong == []


def test_command_on_a_folder_without_data_says_what_to_give(tmp_path: Path) -> None:
    """A mistyped folder is no new service, and nothing is made in it; or it is another user's."""
    (tmp_path / "locked" / "postgres").mkdir(parents=True)
    (tmp_path / "locked" / "service.lock").mkdir()
    cases = [
        ("rebuild", "nothing", 1, "give its folder with --data-dir"),
        ("verify", "nothing", 3, "give its folder with --data-dir"),
        ("verify", "locked", 3, "locked cannot be used: Is a directory; give the command as the"),
    ]
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(ServiceProcess(name, "--data-dir", str(tmp_path / folder)))
            for name, folder, _, _ in cases
        ]
        for running, (_, _, status, words) in zip(started, cases, strict=True):
            assert running.wait_ended() == status
            assert words in running.output[-1]
    assert not (tmp_path / "nothing").exists()


def test_command_on_a_service_that_is_stopped_works_on_its_folder(
    tmp_path: Path, experiment_name: str
) -> None:
    """Without a running service the embedded Postgres is started for the command, and stopped."""
    with TrialogService(tmp_path) as service:
        session = trialog.Session(url=service.url, spool_dir=tmp_path / "spool")
        with trialog.Run(experiment_name, "kept", session) as run:
            run.log_parameter("lr", 0.1)
            run.wait(30)
    with ServiceProcess("rebuild", "--data-dir", str(service.data_dir)) as running:
        assert running.wait_ended(END_TIMEOUT_S) == 0, running.output
    assert not (service.data_dir / "postgres" / "postmaster.pid").exists()
    with service:
        assert trialog.load_run(experiment_name, "kept", session).parameters == {"lr": 0.1}


async def digests_of(tampered: Faulty) -> dict[str, TableDigest]:
    """Return the digest of each table that answers."""
    schema = f"gen_{live_generation(tampered)}"
    connection = await asyncpg.connect(tampered.service.postgres_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {table: await table_digest(connection, schema, table) for table in TABLES}
    finally:
        await connection.close()


# K8 K4 K6
@ON_THE_EMBEDDED_LOG  # what a release can read is the same of any log
async def test_events_of_a_later_release_are_listed_and_applied_by_its_rebuild(
    tampered: Faulty, tmp_path: Path, experiment_name: str
) -> None:
    """Today lists them and goes on; tomorrow says what to do, and then each has its effect."""
    session, tomorrow = session_on(tampered, tmp_path), release_of_tomorrow(tmp_path / "release")
    with trialog.Run(experiment_name, "of-today", session) as today:
        today.set_tags({"stage": "begun"})
    run_id = log_with(tomorrow, tampered.service, tmp_path / "spool-2", experiment_name)
    later = trialog.load_run(experiment_name, "of-tomorrow", session)
    assert (later.run_id, later.status, later.tags) == (run_id, "Completed", {})
    assert (later.parameters, later.metrics["loss"].last) == ({"lr": 0.1}, 0.5)
    reason = "unknown_event tags_set of version 2"
    assert [row["reason"] for row in tampered.query("SELECT reason FROM live.dead")].count(
        reason
    ) == 1
    before = await digests_of(tampered)

    at = ("--postgres", tampered.service.postgres_url, "--until-parent-ends")
    with ServiceProcess("worker", *at, environment=tomorrow) as worker:
        wait_until(lambda: any(reason in line for line in worker.output), "it says what to do")
        assert "run `trialog rebuild`" in worker.output[-1]
    status, output = ended(tampered, "verify", "--json", environment=tomorrow)
    answer = answer_of(output)
    assert (status, answer["is_clean"], answer["is_outdated"]) == (4, False, True)
    assert answer["unapplied"] == {reason: 1}

    assert ended(tampered, "rebuild", environment=tomorrow)[0] == 0
    assert (later.tags, today.tags) == ({"stage": "done"}, {"stage": "begun"})
    after = await digests_of(tampered)
    assert {table for table in TABLES if after[table] != before[table]} == {"dead", "run_states"}
    assert after["run_states"].lines == before["run_states"].lines
    assert ended(tampered, "verify", environment=tomorrow)[0] == 0

    status, output = ended(tampered, "verify")
    assert status == 1
    assert "where a later release made the tables, verify them with that one" in "\n".join(output)
    assert ended(tampered, "rebuild")[0] == 0
    assert await digests_of(tampered) == before
