"""`trialog up` as its user meets it: started, stopped, started again, twice, as root or not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import trialog
from tests.acceptance.trainers import Trainer
from tests.services.errors import ServiceUnavailableError
from tests.services.trialog import (
    ServiceProcess,
    TrialogService,
    interpreter_for,
    is_alive,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(120)

ORDINARY_USER = "nobody"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialogService]:
    """A service that the tests share which leave it as it is."""
    with TrialogService(tmp_path_factory.mktemp("up")) as service:
        yield service


def log_run(service: TrialogService, folder: Path, run_name: str) -> Trainer:
    """Log a short run and return its program, which has ended."""
    session = trialog.Session(url=service.url, spool_dir=folder / "spool")
    with Trainer(session, folder, ("lifecycle", run_name)) as trainer:
        trainer.wait_progress()
        trainer.tell_end()
        trainer.wait_end()
    return trainer


def answer_of(url: str, **fields: object) -> dict[str, Any]:
    """Return what the service says at an address, if it is given fields, to a POST of them."""
    body = json.dumps(fields).encode() if fields else None
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        said: dict[str, Any] = json.load(answer)
    return said


# L1
@pytest.mark.slow(reason="starts the service three times")
def test_up_stopped_and_started_again_has_all_data(tmp_path: Path) -> None:
    """Ctrl-C or SIGTERM ends everything with status 0; the next start has every run."""
    with TrialogService(tmp_path) as service:
        trainers = []
        for number in (signal.SIGINT, signal.SIGTERM):
            trainers.append(log_run(service, tmp_path, f"before-{number.name}"))
            family = service.family()
            assert {"postgres"} < {process.name() for process in family}
            assert service.stop(number) == 0
            assert [process for process in family if is_alive(process.pid)] == []
            assert not (service.data_dir / "postgres" / "postmaster.pid").exists()
            service.start()
            for trainer in trainers:
                trainer.check_exact()


# K2 L1
@pytest.mark.slow(reason="starts the service twice, once with a crash recovery")
def test_up_killed_whole_starts_again_with_all_data(tmp_path: Path) -> None:
    """After SIGKILL of every process at once, under load, the next start has every run."""
    with TrialogService(tmp_path) as service:
        session = trialog.Session(url=service.url, spool_dir=tmp_path / "spool")
        with Trainer(session, tmp_path, ("lifecycle", "during")) as trainer:
            trainer.wait_progress()
            service.kill_whole()
            assert (service.data_dir / "postgres" / "postmaster.pid").exists()
            service.start()
            trainer.check_so_far(trainer.wait_progress())
            trainer.tell_end()
            trainer.wait_end()
        trainer.check_exact()


# J4 L1
@pytest.mark.slow(reason="starts the service twice")
def test_writes_that_up_has_taken_are_answered_when_it_is_stopped(tmp_path: Path) -> None:
    """A client of MLflow's asks again for what has no answer: recorded, it would count twice."""
    with TrialogService(tmp_path) as service:
        mlflow = f"{service.url}/api/2.0/mlflow"
        run_id = answer_of(f"{mlflow}/runs/create", experiment_id="0")["run"]["info"]["run_id"]
        point = {"run_id": run_id, "key": "loss", "value": 0.5, "timestamp": 1}
        answered, failed = list[int](), list[int]()

        def log_until_stopped(writer: int) -> None:
            try:
                for step in range(10_000):
                    answer_of(f"{mlflow}/runs/log-metric", **point, step=10_000 * writer + step)
                    answered.append(step)
            except urllib.error.HTTPError as error:
                failed.append(error.code)
            except OSError:
                pass  # the service is away: this point was not taken

        writers = [threading.Thread(target=log_until_stopped, args=(one,)) for one in range(6)]
        for writer in writers:
            writer.start()
        wait_until(lambda: len(answered) > 60, "points are logged")
        worker = service.worker_pid
        os.kill(worker, signal.SIGSTOP)  # so that each of them waits for an answer
        threading.Timer(1.5, os.kill, (worker, signal.SIGCONT)).start()
        refused = list[tuple[int, str | None]]()

        def ask_in_vain() -> None:
            try:
                answer_of(f"{service.url}/api/v1/applied?position=events:0:99999&wait_s=60")
            except urllib.error.HTTPError as error:
                with error:
                    refused.append((error.code, error.headers["Retry-After"]))

        asker = threading.Thread(target=ask_in_vain)
        asker.start()
        time.sleep(0.5)
        assert service.stop() == 0
        for thread in (*writers, asker):
            thread.join()
        assert failed == []
        # What has no answer when the service ends is to be asked again: it is no defect.
        assert refused == [(503, "1")]
        service.start()
        answer_of(f"{mlflow}/runs/log-metric", **point, step=0)  # behind all that was recorded
        history = answer_of(f"{mlflow}/metrics/get-history?run_id={run_id}&metric_key=loss")
        assert len(history["metrics"]) == len(answered) + 1


# L1 L5
def test_up_says_whether_it_lives_and_is_ready(running: TrialogService) -> None:
    """/healthz and /readyz answer once the line with the address is printed."""
    assert answer_of(f"{running.url}/healthz")["status"] == "alive"
    assert answer_of(f"{running.url}/readyz")["status"] == "ready"


def test_second_up_on_one_folder_is_refused_in_one_line(running: TrialogService) -> None:
    """The folder has one service; a second one says so and ends with status 1."""
    second = ServiceProcess("up", "--data-dir", str(running.data_dir), "--port", "0")
    second.launch()
    assert second.wait_ended() == 1
    assert second.output == [
        (
            f"Error: another trialog already serves {running.data_dir}; use it, or give another "
            "folder with --data-dir"
        )
    ]
    assert answer_of(f"{running.url}/readyz")["status"] == "ready"


def test_up_ended_while_it_makes_its_database_says_nothing_is_wrong(tmp_path: Path) -> None:
    """The terminal's Ctrl-C ends initdb too; that is an end as any other."""
    up = ServiceProcess("up", "--data-dir", str(tmp_path), "--port", "0")
    up.launch()
    wait_until(
        lambda: any(process.name() == "initdb" for process in up.family()), "initdb is at work"
    )
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait_ended() == 0
    assert up.output == [f"trialog: starting the service in {tmp_path}", "trialog: stopped"]


# K2
@pytest.mark.slow(reason="starts the service after a power cut in its first start")
def test_up_killed_whole_while_it_makes_its_database_starts_again(tmp_path: Path) -> None:
    """A power cut inside initdb leaves nothing that a later start takes for a database."""
    data_dir = tmp_path / "data, 'mine'"  # any name will do
    up = ServiceProcess("up", "--data-dir", str(data_dir), "--port", "0")
    up.launch()
    wait_until(lambda: any(data_dir.glob("*/PG_VERSION")), "initdb has made its first files")
    os.killpg(up.pid, signal.SIGKILL)
    up.kill_whole()
    assert not any(data_dir.glob("*/base/5")), "initdb had ended before"
    with ServiceProcess("up", "--data-dir", str(data_dir), "--port", "0") as again:
        again.wait_ready()
        assert again.output[:-1] == [f"trialog: starting the service in {data_dir}"]
        assert [found.name for found in data_dir.glob("postgres*")] == ["postgres"]


def test_up_on_a_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    """A port that was asked for and is taken ends the start before anything is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        second = ServiceProcess("up", "--data-dir", str(tmp_path / "data"), "--port", port)
        second.launch()
        assert second.wait_ended() == 1
    assert second.output[-1] == (
        f"Error: port {port} on 127.0.0.1 is taken by another program; give another with --port, "
        "or none"
    )
    assert not (tmp_path / "data" / "postgres").exists()


@pytest.fixture
def folder_of_other() -> Iterator[tuple[Path, int | None]]:
    """A folder of an ordinary user and that user's id; None when we are one ourselves."""
    user = None
    if os.geteuid() == 0:
        import pwd  # noqa: PLC0415  not on Windows

        user = pwd.getpwnam(ORDINARY_USER).pw_uid
        try:
            interpreter_for(user)
        except ServiceUnavailableError as error:
            pytest.skip(str(error))
    folder = Path(tempfile.mkdtemp(prefix="trialog-user-"))
    if user is not None:
        os.chown(folder, user, user)
    try:
        yield folder, user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# L1
def test_up_works_as_an_ordinary_user(
    folder_of_other: tuple[Path, int | None], tmp_path: Path
) -> None:
    """Who is not root gets the same service; its files and processes are that user's."""
    folder, user = folder_of_other
    with TrialogService(folder, user=user) as service:
        log_run(service, tmp_path, "ordinary").check_exact()
        owners = {process.uids().real for process in service.family()}
        assert owners == {os.getuid() if user is None else user}
        assert service.stop() == 0


def test_up_in_a_folder_it_may_not_write_says_so_in_one_line(
    folder_of_other: tuple[Path, int | None],
) -> None:
    """A folder of somebody else is named, with the remedy; there is no traceback."""
    folder, user = folder_of_other
    if user is not None:
        os.chown(folder, 0, 0)
    folder.chmod(0o555)
    refused = ServiceProcess("up", "--data-dir", str(folder), "--port", "0", user=user)
    refused.launch()
    assert refused.wait_ended() == 1
    assert refused.output == [
        (
            f"Error: data folder {folder} cannot be written: Permission denied; make it this "
            "user's, or give another with --data-dir or TRIALOG_DATA_DIR"
        )
    ]


def test_worker_of_up_ends_when_up_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the first process leaves no worker behind; its Postgres waits to be taken over."""
    with TrialogService(tmp_path) as service:
        worker, postgres = service.worker_pid, service.postgres_pid
        service.kill()
        wait_until(lambda: not is_alive(worker), "the worker ends")
        assert psutil.pid_exists(postgres)
        service.start()
        assert service.postgres_pid == postgres
        assert service.stop(signal.SIGHUP) == 0  # the terminal is closed
        assert not is_alive(postgres)
