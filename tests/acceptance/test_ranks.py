"""Distributed training: processes that a launcher starts join one run by their environment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pytest

import trialog
from tests.acceptance import rank_program
from tests.acceptance.rank_program import STEPS, loss_at
from tests.services.ports import free_port
from tests.services.proxy import Proxy
from tests.services.trialog import wait_until
from trialog.adoption import sync_spools
from trialog.client import Client

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.services.trialog import TrialogService
    from trialog.answers import EventAnswer

END_TIMEOUT_S = 50.0


class Ranks:
    """Processes of one job, started as torchrun does: `python script.py` and an environment.

    Args:
        session: where they log.
        names: of experiment and run.
        count: how many there are.
        variables: further ones of their environment.
    """

    def __init__(
        self, session: trialog.Session, names: tuple[str, str], count: int, **variables: str
    ) -> None:
        self._environment = {
            "TRIALOG_URL": str(session.url),
            "TRIALOG_KAFKA": session.kafka or "",
            "TRIALOG_SPOOL_DIR": str(session.spool_dir),
            "TRIALOG_EXPERIMENT": names[0],
            "TRIALOG_RUN": names[1],
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            **variables,
        }
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()

    def start(self, *ranks: int) -> None:
        """Start some of them; do not wait."""
        for rank in ranks:
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            self._processes[rank] = subprocess.Popen(
                [sys.executable, rank_program.__file__],
                env={**os.environ, **self._environment, **own},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def wait_logged(self, *ranks: int) -> None:
        """Wait until these have logged all their steps but the last."""
        for rank in ranks:
            output = self._processes[rank].stdout
            assert output is not None
            assert output.readline() == "logged\n", self._processes[rank].communicate()[1]

    def end(self, rank: int, word: str = "leave") -> str:
        """Tell one to leave or to fail; return what it said as it ended."""
        process = self._processes[rank]
        said = process.communicate(f"{word}\n", END_TIMEOUT_S)[1]
        assert process.returncode == (1 if word == "fail" else 0), said
        return said

    def kill(self, rank: int) -> None:
        """SIGKILL one."""
        process = self._processes[rank]
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL


def steps_of(run: trialog.Run) -> dict[int, int]:
    """Return how many steps the run has of each rank; each has its value, once."""
    found = {}
    for name in run.metrics:
        rank = int(name.removeprefix("rank").removesuffix("/loss"))
        series = run.metric_series(name)
        found[rank] = count = len(series["step"])
        assert series["step"] == list(range(count))
        assert series["value"] == [loss_at(rank, step) for step in range(count)]
    return found


def endings_of(session: trialog.Session, run: trialog.Run) -> list[EventAnswer]:
    """Return the events of the run by which handles left it."""
    events = Client(session.resolve()).events(run.run_id)
    return [event for event in events if event["type"] == "run_ended"]


# B8 B22 B23 K9
@pytest.mark.slow(reason="starts four processes that import trialog")
def test_ranks_of_a_launcher_join_its_run_and_only_the_launcher_ends_it(
    session: trialog.Session, experiment_name: str
) -> None:
    """They end in any order: cleanly, by an exception, by SIGKILL, and after the launcher."""
    names = (experiment_name, "job-1")
    with Ranks(session, names, 4) as ranks:
        with trialog.Run(*names, session) as run:
            ranks.start(0, 1, 2, 3)
            ranks.wait_logged(0, 1, 2, 3)
            ranks.end(2)
            assert "rank 0 lost its GPU" in ranks.end(0, "fail")
            ranks.kill(3)
            run.wait(30)
            assert (run.status, run.end_time) == ("InProgress", None)
        run.wait(30)
        assert (run.status, run.failure_message) == ("Failed", "rank 0 lost its GPU")
        ended = run.end_time
        ranks.end(1)
    asyncio.run(sync_spools(session.resolve()))  # what the killed rank has left, if anything
    wait_until(lambda: run.metrics["rank1/loss"].count == STEPS + 1, "the late rank's last step")
    assert steps_of(run) == {0: STEPS, 1: STEPS + 1, 2: STEPS + 1, 3: STEPS}
    assert (run.status, run.end_time) == ("Failed", ended)
    devices = {f"rank{rank}/device": f"cuda:{rank}" for rank in range(4)}
    assert run.parameters == devices | {"world_size": 4}
    assert run.rejections == []
    owners = [event["body"]["is_owner"] for event in endings_of(session, run)]
    assert sorted(map(str, owners)) == ["False"] * 3 + ["True"]


# B3 B8 B22 B23
@pytest.mark.slow(reason="starts three processes that import trialog")
def test_rank_0_creates_the_run_that_the_others_wait_for(
    session: trialog.Session, experiment_name: str
) -> None:
    """They started before it; it leaves first, which ends the run; a killed rank is no failure."""
    names = (experiment_name, "job-2")
    with Ranks(session, names, 3, CREATED_BY_RANK_0="1") as ranks:
        ranks.start(1, 2)
        with pytest.raises(trialog.ResourceNotFoundError):
            trialog.load_run(*names, session, timeout_s=0.5)
        ranks.start(0)
        ranks.wait_logged(0, 1, 2)
        ranks.kill(2)
        ranks.end(0)
        run = trialog.load_run(*names, session)
        run.wait(30)
        assert (run.status, run.failure_message) == ("Completed", None)
        ranks.end(1)
    asyncio.run(sync_spools(session.resolve()))
    wait_until(lambda: run.metrics["rank1/loss"].count == STEPS + 1, "the late rank's last step")
    assert steps_of(run) == {0: STEPS + 1, 1: STEPS + 1, 2: STEPS}
    assert run.status == "Completed"


# B8
@pytest.mark.parametrize("service", ["embedded"], indirect=True)
def test_rank_that_waits_for_its_run_waits_for_the_service_as_well(
    service: TrialogService, session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """One that starts beside the service is not too early; without a time it is told at once."""
    parts = urlsplit(service.url)
    assert parts.hostname is not None
    assert parts.port is not None
    names = (experiment_name, "job-4")
    with trialog.Run(*names, session), Proxy((parts.hostname, parts.port)) as proxy:
        away = trialog.Session(url=f"http://{proxy.address}", spool_dir=tmp_path)
        proxy.refuse()
        for timeout_s in (0.0, 0.5):
            with pytest.raises(trialog.UnavailableError):
                trialog.load_run(*names, away, timeout_s=timeout_s)
        coming = threading.Timer(0.5, proxy.accept)
        coming.start()
        assert trialog.load_run(*names, away, timeout_s=30).status == "InProgress"
        coming.join()


# B7 B8
def test_rank_that_comes_before_the_run_is_told_what_to_do(
    session: trialog.Session, experiment_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a time to wait it is told at once; nothing is created by asking."""
    monkeypatch.setenv("TRIALOG_EXPERIMENT", experiment_name)
    monkeypatch.setenv("TRIALOG_RUN", "job-3")
    for _ in range(2):
        with pytest.raises(
            trialog.ResourceNotFoundError, match=r"TRIALOG_RUN name it: .* give load_run a timeout"
        ):
            trialog.load_run(session=session)
    with contextlib.suppress(trialog.ResourceNotFoundError):
        assert trialog.Run.list(experiment_name, session=session) == []
    with pytest.raises(trialog.ValidationError, match="timeout_s is -1"):
        trialog.load_run(session=session, timeout_s=-1)
