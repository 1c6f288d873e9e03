"""SIGKILL of each process under load: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest
from click.testing import CliRunner

import trialog
from tests.acceptance.senders import end_sender
from tests.acceptance.trainers import Trainer
from tests.services.trialog import ServiceProcess, is_alive, wait_until
from trialog.__main__ import cli
from trialog.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.faulty import Faulty

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def session(faulty: Faulty, tmp_path: Path) -> Iterator[trialog.Session]:
    """Where the training programs log."""
    service = faulty.service
    made = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=tmp_path / "spool")
    yield made
    end_sender(made)


@pytest.fixture
def trainers(faulty: Faulty, session: trialog.Session, tmp_path: Path) -> Iterator[list[Trainer]]:
    """Two programs that log into two runs until the test is over."""
    experiment_name = f"faults-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: sys.stderr.write("\n".join(faulty.service.output[-40:])))
        running = [
            stack.enter_context(Trainer(session, tmp_path, (experiment_name, f"run-{number}")))
            for number in range(2)
        ]
        for trainer in running:
            trainer.wait_progress()
        yield running


def kill_worker(faulty: Faulty) -> None:
    """SIGKILL the projection worker; `up` starts another one."""
    os.kill(faulty.service.worker_pid, signal.SIGKILL)


def kill_backend(faulty: Faulty) -> None:
    """SIGKILL the Postgres process that serves the worker; Postgres restarts all of them."""
    (row,) = faulty.query(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'trialog-worker' "
        "ORDER BY pid LIMIT 1"
    )
    os.kill(row["pid"], signal.SIGKILL)


def kill_postgres(faulty: Faulty) -> None:
    """SIGKILL the first process of Postgres; `up` starts it again."""
    before = faulty.service.postgres_pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not is_alive(before), "postgres is gone")


def kill_api(faulty: Faulty) -> None:
    """SIGKILL the API, which keeps the others, and start it again: Postgres is taken over."""
    service = faulty.service
    worker, postgres = service.worker_pid, service.postgres_pid
    service.kill()
    wait_until(lambda: not is_alive(worker), "the worker ends with the API")
    service.start()
    assert service.postgres_pid == postgres


def kill_broker(faulty: Faulty) -> None:
    """SIGKILL the broker and start it again on its data."""
    if faulty.broker is not None:
        faulty.broker.kill()
        faulty.broker.start()


KILLS = (kill_worker, kill_backend, kill_postgres, kill_api, kill_broker)


# D12 K1 K2
@pytest.mark.slow(reason="kills five processes under load and waits for each to be replaced")
def test_each_process_killed_under_load_loses_and_doubles_nothing(
    faulty: Faulty, trainers: list[Trainer]
) -> None:
    """After each SIGKILL the runs go on, and what is there is exactly what was logged so far."""
    for kill in KILLS:
        kill(faulty)
        for trainer in trainers:
            trainer.check_so_far(trainer.wait_progress())
    end_and_check(faulty, trainers)


# D12 K2
@pytest.mark.slow(reason="a worker's leases end three seconds after it was stopped")
def test_worker_stopped_beyond_its_lease_is_fenced(faulty: Faulty, trainers: list[Trainer]) -> None:
    """A worker that wakes up after another one took its partitions changes nothing any more."""
    zombie = faulty.service.worker_pid
    with second_worker(faulty) as second:
        wait_until(lambda: faulty.owners() == {zombie, second.pid}, "two workers share the work")
        os.kill(zombie, signal.SIGSTOP)
        wait_until(lambda: faulty.owners() == {second.pid}, "the other one has everything")
        for trainer in trainers:
            trainer.wait_progress()
        os.kill(zombie, signal.SIGCONT)
        wait_until(lambda: faulty.owners() == {zombie, second.pid}, "two workers share again")
        for trainer in trainers:
            trainer.check_so_far(trainer.wait_progress())
    end_and_check(faulty, trainers)


# D12 K2
@pytest.mark.slow(reason="a worker's leases end three seconds after it was killed")
async def test_worker_killed_inside_its_transaction_leaves_no_half_of_it(
    faulty: Faulty, trainers: list[Trainer]
) -> None:
    """A batch whose worker dies between position and commit is applied once, by the next one."""
    locker = await asyncpg.connect(faulty.service.postgres_url)
    try:
        async with locker.transaction():
            await locker.execute("LOCK TABLE gen_1.metric_chunks IN SHARE ROW EXCLUSIVE MODE")
            wait_until(faulty.has_waiting_worker, "a transaction of the worker waits for the lock")
            kill_worker(faulty)
    finally:
        await locker.close()
    for trainer in trainers:
        trainer.check_so_far(trainer.wait_progress())
    end_and_check(faulty, trainers)


# B23 K2 K9
def test_trainer_killed_is_complete_after_a_sync_and_still_in_progress(
    faulty: Faulty, session: trialog.Session, trainers: list[Trainer]
) -> None:
    """After SIGKILL of a trainer every call that had returned is there; nobody ended the run."""
    killed, *others = trainers
    killed.kill()
    sync(faulty, session)
    goal = killed.noted().ticks
    wait_until(lambda: killed.applied_ticks() >= goal, "what the dead left is applied")
    killed.check_exact(spare=1)
    assert killed.run()["status"] == "InProgress"
    assert killed.run()["end_time"] is None
    assert killed.run()["last_event_time"] is not None
    end_and_check(faulty, others)


def sync(faulty: Faulty, session: trialog.Session) -> None:
    """Send what dead programs left, as a user does."""
    environment = {"TRIALOG_URL": faulty.service.url, "TRIALOG_SPOOL_DIR": str(session.spool_dir)}
    if session.kafka is not None:
        environment["TRIALOG_KAFKA"] = session.kafka
    command = [sys.executable, "-m", "trialog", "sync"]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)


# B23
@pytest.mark.slow(reason="a run is stale after two seconds of silence, and is made so twice")
def test_run_of_a_killed_trainer_is_stale_until_it_is_heard_of_again(
    faulty: Faulty, session: trialog.Session, trainers: list[Trainer]
) -> None:
    """Its status stays; a late rest or a resumption ends the silence, and nothing is written."""
    killed, living = trainers
    run = trialog.load_run(killed.experiment_name, killed.run_name, session)
    with faulty.frozen_log():
        before = killed.noted().ticks
        wait_until(lambda: killed.noted().ticks > before + 100, "more than one batch is spooled")
        killed.kill()
    wait_until(lambda: run.is_stale, "the dead one's run is stale")
    silent_since, events = run.last_event_time, events_of(session, run)
    assert (run.status, run.end_time) == ("InProgress", None)
    assert is_stale_in_all_answers(session, run)
    wait_until(lambda: not living.run()["is_stale"], "what goes on is not stale")

    sync(faulty, session)
    assert silent_since is not None
    wait_until(lambda: (run.last_event_time or silent_since) > silent_since, "the rest arrives")
    wait_until(lambda: run.is_stale, "it is silent again")
    assert events_of(session, run)[: len(events)] == events  # nobody wrote that it was stale
    again = trialog.Run(killed.experiment_name, killed.run_name, session, resume=True)
    with again:
        wait_until(lambda: is_heard(again), "it is heard of again")
    again.wait(30)
    assert (again.status, again.is_stale) == ("Completed", False)
    end_and_check(faulty, [living])


def is_heard(run: trialog.Run) -> bool:
    """Log a point and tell whether the silence is over; on a busy machine it may begin again."""
    run.log_metric("again", 1.0)
    run.wait(30)
    return not run.is_stale


def events_of(session: trialog.Session, run: trialog.Run) -> list[str | None]:
    """Return the ids of a run's events as they are in the log."""
    return [event["event_id"] for event in Client(session.resolve()).events(run.run_id)]


def is_stale_in_all_answers(session: trialog.Session, run: trialog.Run) -> bool:
    """Tell whether list, search and command line say it too; a filter on the status finds it."""
    name = run.experiment_name
    listed = {one.run_name: one.is_stale for one in trialog.Run.list(name, session=session)}
    found = Client(session.resolve()).search(name, {"filter": "status = 'InProgress'"})
    searched = {one["run_name"]: one["is_stale"] for one in found["runs"]}
    environment = {"TRIALOG_URL": session.url}
    shown = CliRunner().invoke(cli, ["show", name, run.run_name], env=environment).stdout
    rows = CliRunner().invoke(cli, ["list", name], env=environment).stdout.splitlines()
    (row,) = (line for line in rows if line.startswith(run.run_name))
    said = ["InProgress (stale)" in text for text in (shown, row)]
    return all([listed[run.run_name], searched[run.run_name], *said])


def stop_log(faulty: Faulty) -> None:
    """SIGKILL what takes records: the broker, or the API that has the embedded log."""
    (faulty.service if faulty.broker is None else faulty.broker).kill()


def start_log(faulty: Faulty) -> None:
    """Start it again, on its data and at its address."""
    (faulty.service if faulty.broker is None else faulty.broker).start()


def train_until(faulty: Faulty, run: trialog.Run, error: Exception) -> None:
    """Log a step while the log lives and 499 after its death, then fail."""
    with run:
        run.log_metric("loss", 0.0, 0)
        run.wait(30)
        stop_log(faulty)
        for step in range(1, 500):
            run.log_metric("loss", float(step), step)
        raise error


# B10 B11
@pytest.mark.slow(
    reason="leaving a block waits a moment for the log, and a broker's start takes 3 s"
)
def test_exception_while_the_log_is_dead_goes_on_and_everything_arrives_afterwards(
    faulty: Faulty, session: trialog.Session
) -> None:
    """The program sees its own exception; what it had logged, and its failure, come later, once."""
    run = trialog.Run(f"dead-{uuid.uuid4().hex[:8]}", "one", session)
    error = ValueError("the loss is NaN")
    try:
        with pytest.raises(ValueError, match="the loss is NaN") as caught:
            train_until(faulty, run, error)
        assert caught.value is error
        assert run.flush(0) is False
    finally:
        start_log(faulty)
    run.wait(60)
    assert (run.status, run.failure_message) == ("Failed", "the loss is NaN")
    assert run.metric_series("loss")["value"] == [float(step) for step in range(500)]


def end_and_check(faulty: Faulty, trainers: list[Trainer]) -> None:
    """Let the programs end; everything of their runs is there once, and nothing odd was seen."""
    for trainer in trainers:
        trainer.tell_end()
    for trainer in trainers:
        trainer.wait_end()
        trainer.check_exact()
        run = trainer.run()
        assert run["status"] == "Completed"
        assert faulty.event_counts(run["run_id"]) == {"run_started": 1, "run_ended": 1}
    for table in ("dead", "parked", "gaps"):
        assert faulty.query(f"SELECT * FROM live.{table}") == [], table


def second_worker(faulty: Faulty) -> ServiceProcess:
    """Return a worker beside the one of `up`, not yet started."""
    arguments = ["worker", "--until-parent-ends", "--postgres", faulty.service.postgres_url]
    if faulty.service.kafka is not None:
        arguments += ["--kafka", faulty.service.kafka]
    return ServiceProcess(*arguments)
