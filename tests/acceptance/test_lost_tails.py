"""Logs that lose their end, for real: a spool feeds them again, and each event counts once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
import structlog

import trialog
from tests.acceptance.faulty import Faulty
from tests.acceptance.senders import end_sender
from tests.services.kafka import KafkaBroker
from tests.services.trialog import ServiceProcess, TrialogService, wait_until
from trialog.cleaner import Cleaner
from trialog.sender import Sender
from trialog_schemas.wire import EVENTS_TOPIC, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

BATCH_HEAD = struct.Struct(">qi")
"""Offset of a batch's first record, and the bytes behind these two fields; see Kafka's format."""


@pytest.fixture(scope="module", params=["embedded", "kafka"])
def forgetful(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Faulty]:
    """A service of its own, on each log."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(KafkaBroker()) if request.param == "kafka" else None
        kafka = None if broker is None else broker.bootstrap
        folder = tmp_path_factory.mktemp("forgetful")
        yield Faulty(stack.enter_context(TrialogService(folder, kafka=kafka)), broker)


@pytest.fixture
def session(forgetful: Faulty, tmp_path: Path) -> Iterator[trialog.Session]:
    """A session on the service with a spool of its own; its sender ends with the test."""
    service = forgetful.service
    made = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=tmp_path / "spool")
    yield made
    end_sender(made)


def crash(forgetful: Faulty) -> None:
    """SIGKILL everything at once, as a power failure does."""
    forgetful.service.kill_whole()
    if forgetful.broker is not None:
        forgetful.broker.kill()


def start(forgetful: Faulty) -> None:
    """Start it again on what is left of its data."""
    if forgetful.broker is not None:
        forgetful.broker.start()
    forgetful.service.start()


def cut_log(broker: KafkaBroker, partition: int, end: int) -> int:
    """Take all batches of a partition from an offset on away; return how many."""
    (segment,) = (broker.folder / "data" / f"{EVENTS_TOPIC}-{partition}").glob("*.log")
    raw = segment.read_bytes()
    at, kept, gone = 0, 0, 0
    while at + BATCH_HEAD.size < len(raw):
        first, size = BATCH_HEAD.unpack_from(raw, at)
        at += BATCH_HEAD.size + size
        if first >= end:
            gone += 1
        else:
            kept = at
    os.truncate(segment, kept)
    return gone


def log_steps(run: trialog.Run, steps: range) -> None:
    """Log a point a step, in several records."""
    for step in steps:
        run.log_metric("loss", float(step), step)
        if step % 20 == 19:
            assert run.flush(30)


# B11 B23 D12 K9
@pytest.mark.kafka
@pytest.mark.parametrize("forgetful", ["kafka"], indirect=True)
def test_broker_that_lost_what_it_had_accepted_is_fed_again(
    forgetful: Faulty, session: trialog.Session, experiment_name: str
) -> None:
    """Acknowledged records are gone before they were applied; afterwards all is there, once."""
    with trialog.Run(experiment_name, "one", session) as run:
        log_steps(run, range(100))
        run.wait(60)
        partition = partition_of(run.run_id, 4)
        leases = {one[:2]: one.next_offset for one in forgetful.leases()}
        applied = leases[EVENTS_TOPIC, partition]
        os.kill(forgetful.service.worker_pid, signal.SIGSTOP)
        run.log_parameter("late", 1)
        log_steps(run, range(100, 200))
        before = run.durability()
        assert before.accepted == before.recorded
        crash(forgetful)
        assert forgetful.broker is not None
        assert cut_log(forgetful.broker, partition, applied) > 0
        start(forgetful)
        log_steps(run, range(200, 300))
        run.wait(90)
        assert run.metric_series("loss")["value"] == [float(step) for step in range(300)]
        assert run.parameters == {"late": 1}
        told = run.durability()
        assert told.recorded == told.accepted == told.applied
        assert (told.recorded.points, told.missing) == (300, 0)
    run.wait(60)
    assert (run.status, run.rejections) == ("Completed", [])
    gaps = forgetful.query("SELECT * FROM live.gaps WHERE run_id = $1", run.run_id)
    assert gaps == []


# B11 D12 K9
@pytest.mark.parametrize("forgetful", ["embedded"], indirect=True)
def test_service_that_is_restored_from_a_backup_is_given_what_came_after_it(
    forgetful: Faulty, session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Log and tables go back to before the run was created, and its program just goes on."""
    service, backup = forgetful.service, tmp_path / "backup"
    service.stop()
    subprocess.run(["cp", "-a", str(service.data_dir), str(backup)], check=True)  # with its owner
    service.start()
    with trialog.Run(experiment_name, "one", session, tags={"a": "b"}) as run:
        run.log_parameter("early", 1)
        log_steps(run, range(60))
        run.wait(60)
        crash(forgetful)
        shutil.rmtree(service.data_dir)
        backup.rename(service.data_dir)
        service.start()
        log_steps(run, range(60, 80))
        run.wait(90)
        assert run.metric_series("loss")["value"] == [float(step) for step in range(80)]
    run.wait(60)
    (listed,) = trialog.Run.list(experiment_name, session=session)
    assert (listed.status, listed.parameters, listed.tags) == (
        "Completed",
        {"early": 1},
        {"a": "b"},
    )
    assert forgetful.query("SELECT * FROM live.gaps WHERE run_id = $1", run.run_id) == []


# B11 D12
@pytest.mark.parametrize("forgetful", ["embedded"], indirect=True)
def test_events_that_a_service_never_gets_to_see_are_given_up_aloud(
    forgetful: Faulty, session: trialog.Session, experiment_name: str
) -> None:
    """A service without a writer's row asks for its events for ever; after seven times it is told.

    They stay in the spool until the row is there again.
    """
    with trialog.Run(experiment_name, "one", session) as run:
        log_steps(run, range(20))
        run.wait(60)
        sender = Sender._senders[session.resolve()]
        sender.cleaner = Cleaner(sender.service, look_interval_s=0, feed_pause_s=0)
        forgetful.query("DELETE FROM live.writers WHERE run_id = $1", run.run_id)
        with structlog.testing.capture_logs() as said:
            wait_until(lambda: run.durability().given_up > 0, "they are given up", 90)
            told = run.durability()
            wait_until(lambda: any("no more" in str(one["event"]) for one in said), "it is said")
        assert told.given_up == told.accepted.events
        (line,) = [one for one in said if "`trialog sync` sends them" in str(one["event"])]
        assert line["run"] == f"{experiment_name}/one"
        assert list(session.resolve().spool_dir.glob("*/*.spool"))
    run.wait(60)
    assert run.durability().given_up == 0


def command(forgetful: Faulty, *arguments: str) -> tuple[int, str]:
    """Run a command on the service's data to its end; return its status and what it said."""
    service = forgetful.service
    kafka = [] if service.kafka is None else ["--kafka", service.kafka]
    with ServiceProcess(*arguments, "--data-dir", str(service.data_dir), *kafka) as running:
        return running.wait_ended(60), "\n".join(running.output)


def lose_applied(forgetful: Faulty, run_id: str, count: int) -> int:
    """Crash everything, take the last records of a run's partition away, start; return the end."""
    partition = partition_of(run_id, 4)
    applied = {one[:2]: one.next_offset for one in forgetful.leases()}[EVENTS_TOPIC, partition]
    end = applied - count
    if forgetful.broker is None:
        forgetful.query(
            "DELETE FROM trialog.log_records "
            "WHERE topic = $1 AND partition = $2 AND log_offset >= $3",
            EVENTS_TOPIC,
            partition,
            end,
        )
    crash(forgetful)
    if forgetful.broker is not None:
        assert cut_log(forgetful.broker, partition, end) > 0
    start(forgetful)
    return end


def run_beside(session: trialog.Session, names: tuple[str, str], run_id: str) -> trialog.Run:
    """Log ten points, not waited for, to a run that shares a partition with another one."""
    for number in range(100):
        with trialog.Run(names[0], f"{names[1]}-{number}", session) as run:
            if partition_of(run.run_id, 4) == partition_of(run_id, 4):
                log_steps(run, range(10))
                run.flush(30)
                return run
    raise AssertionError("a hundred runs and none in that partition")


def losses(run: trialog.Run) -> list[float]:
    """Return the points of a run as the service has them."""
    return [float(value) for value in run.metric_series("loss")["value"]]


# K2 K4 K6
@pytest.mark.slow(reason="starts the service and the broker again, and three commands")
def test_log_that_lost_what_was_applied_is_told_and_given_up_on_word(
    forgetful: Faulty, session: trialog.Session, experiment_name: str
) -> None:
    """No spool has it any more: everybody hears whose events it was, and one command leads out."""
    with trialog.Run(experiment_name, "lost", session) as run:
        log_steps(run, range(60))
        run.wait(60)
    run.wait(60)
    wait_until(lambda: not list(session.resolve().spool_dir.glob("[0-9a-f]*")), "the spool is gone")
    end = lose_applied(forgetful, run.run_id, 3)
    place = f"{EVENTS_TOPIC} partition {partition_of(run.run_id, 4)}"
    stands_still = "partition stands still, the log has lost data"
    wait_until(lambda: stands_still in "\n".join(forgetful.service.output), "the worker says so")

    status, said = command(forgetful, "verify")
    assert (
        status,
        f"{place}: 3 records from offset {end} on were applied and are lost" in said,
    ) == (
        1,
        True,
    )
    assert f"nowhere in the log: run {run.run_id} ({experiment_name}/lost), writer " in said
    status, said = command(forgetful, "rebuild")
    assert (status, "--accept-lost-events the tables are made of what the log" in said) == (
        1,
        True,
    )
    assert losses(run) == [float(step) for step in range(60)]

    beside = run_beside(session, (experiment_name, "beside"), run.run_id)
    status, said = command(forgetful, "rebuild", "--accept-lost-events", "--json")
    assert status == 0, said
    loss = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["loss"]
    assert {one["run_id"] for one in loss["events"]} == {run.run_id}
    beside.wait(60)
    assert losses(beside) == [float(step) for step in range(10)]
    kept = losses(run)
    assert kept == [float(step) for step in range(len(kept))]
    assert len(kept) < 60


# K2 K4 K6
@pytest.mark.kafka
@pytest.mark.slow(reason="starts the service and the broker again, and six commands")
@pytest.mark.parametrize("forgetful", ["kafka"], indirect=True)
def test_archive_gives_a_log_that_lost_its_end_what_only_it_has(
    forgetful: Faulty, session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """It is refused as another log's until it is superseded; then nothing is lost, and all seen."""
    archive = tmp_path / "archive"
    to = ("archive", "--to", str(archive), "--segment-records", "4")
    with trialog.Run(experiment_name, "archived", session) as run:
        log_steps(run, range(60))
    run.wait(60)
    status, said = command(forgetful, *to)
    assert status == 0, said
    end = lose_applied(forgetful, run.run_id, 3)
    beside = run_beside(session, (experiment_name, "beside"), run.run_id)
    status, said = command(forgetful, *to)
    assert (status, "`trialog archive --supersede` gives it what only" in said) == (1, True)

    status, said = command(forgetful, *to, "--supersede", "--json")
    assert status == 0, said
    told = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert told["partitions"] == [
        {
            "topic": EVENTS_TOPIC,
            "partition": partition_of(run.run_id, 4),
            "first_offset": end,
            "superseded": 3,
            "appended": 3,
        }
    ]
    status, said = command(forgetful, "rebuild")
    assert status == 0, said
    assert "every event that was applied is in the log, at another place" in said
    beside.wait(60)
    assert losses(run) == [float(step) for step in range(60)]
    assert losses(beside) == [float(step) for step in range(10)]
    assert command(forgetful, *to)[0] == 0
    status, said = command(forgetful, "verify", "--archive", str(archive))
    assert (status, "are superseded, last at" in said) == (0, True)
