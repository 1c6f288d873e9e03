"""Behaviour of the sender's thread: what it sends by itself, waits for, says, and leaves."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.services.trialog import wait_until
from tests.unit.producer.spools import META, new_folder, steps_of
from trialog.deadline import Deadline
from trialog.sender import Sender
from trialog.settings import Session
from trialog.spool import Spool
from trialog.spool_folder import SpoolFolder, writer_folders
from trialog.testing import MemoryService, MemoryTransport
from trialog_schemas.errors import AccessRefusedError, ClientError, UnavailableError
from trialog_schemas.events import ArtifactLogged
from trialog_schemas.wire import EVENTS_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from structlog.typing import EventDict

    from trialog.settings import Endpoint
    from trialog.shipper import Shipment
    from trialog.transports.base import OutRecord, Receipt

AWAY = UnavailableError("nobody answers")
DEADLINE_S = 30.0


class Post:
    """A sender whose log and service are in memory, and the spools that it takes."""

    def __init__(self, spool_dir: Path) -> None:
        self.log: MemoryTransport = MemoryTransport()
        self.service = MemoryService()
        self.endpoint = Session(url=META.url, spool_dir=spool_dir).resolve({})
        self._sender: Sender | None = None
        self._numbers = iter(range(1, 1000))

    @property
    def sender(self) -> Sender:
        """The sender; it starts when it is first asked for."""
        if self._sender is None:
            self._sender = Sender(self.endpoint, self.service, self._connect)
        return self._sender

    def _connect(self, _endpoint: Endpoint) -> MemoryTransport:
        return self.log

    def enter(self) -> tuple[Spool, Shipment]:
        """Give the sender a new spool, as entering a run does."""
        folder = new_folder(self.endpoint.spool_dir, next(self._numbers))
        spool = Spool(folder)
        return spool, self.sender.add(folder, spool)

    def leave_dead(self, *steps: int) -> None:
        """Leave a spool in the folder as a killed process does."""
        folder = new_folder(self.endpoint.spool_dir, next(self._numbers))
        spool = Spool(folder)
        for step in steps:
            spool.append_point("loss", step, step, 0.5)
        folder.release()

    def leave_damaged(self) -> Path:
        """Leave a folder that does not say whose it is."""
        path = self.endpoint.spool_dir / "damaged"
        path.mkdir(parents=True)
        return path

    def steps(self) -> list[int]:
        """Return the steps that the log has, in order."""
        return steps_of(self.log.values(EVENTS_TOPIC))

    def folders(self) -> list[Path]:
        """Return the spools that are on the disk."""
        return list(writer_folders(self.endpoint.spool_dir))

    def end(self) -> None:
        """End the sender as the end of the program does."""
        if self._sender is not None:
            self._sender.end()


@pytest.fixture
def said() -> Iterator[list[EventDict]]:
    """Everything that is said."""
    with structlog.testing.capture_logs() as logged:
        yield logged


@pytest.fixture
def post(said: list[EventDict], tmp_path: Path) -> Iterator[Post]:
    """A sender that ends with the test."""
    assert said == []
    made = Post(tmp_path / "spool")
    yield made
    made.end()


def flush(post: Post, spool: Spool, shipment: Shipment, timeout_s: float = DEADLINE_S) -> bool:
    """Wait as `Run.flush` does."""
    return post.sender.wait_acked(shipment, spool.cut(), Deadline(timeout_s))


# B9
def test_flush_returns_when_the_log_has_everything(post: Post) -> None:
    """What was appended before it is in the log, in order."""
    spool, shipment = post.enter()
    for step in range(100):
        spool.append_point("loss", step, step, 0.5)
    assert flush(post, spool, shipment)
    assert post.steps() == list(range(100))


def test_events_are_sent_without_anybody_waiting(post: Post) -> None:
    """A run that only logs is seen by others while it goes on."""
    spool, _ = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    wait_until(lambda: post.steps() == [1], "the point is sent")


# K10
def test_flush_while_the_log_is_away_ends_in_time_and_loses_nothing(
    post: Post, said: list[EventDict]
) -> None:
    """It tells that the log has not everything; the rest follows by itself when it is back."""
    post.log.fault = AWAY
    spool, shipment = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    assert not flush(post, spool, shipment, 0.05)
    wait_until(lambda: post.sender.is_away, "the absence is noticed")
    spool.append_point("loss", 2, 2, 0.5)
    post.log.fault = None
    assert flush(post, spool, shipment)
    wait_until(lambda: not post.sender.is_away, "the log is known to be back")
    assert post.steps() == [1, 2]
    assert [line["event"] for line in said] == [
        "the log cannot be reached; events are kept in the spool and sent later",
        "the log is back; what was kept is sent",
    ]


@pytest.mark.parametrize("error", [AccessRefusedError("no such key"), ClientError("not so")])
def test_log_that_refuses_us_is_said_as_such_and_is_no_defect(
    post: Post, said: list[EventDict], error: ClientError
) -> None:
    """A wrong key costs one warning; once it is right everything is sent."""
    post.log.fault = error
    spool, shipment = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    assert not flush(post, spool, shipment, 0.2)
    post.log.fault = None
    assert flush(post, spool, shipment)
    assert said[0]["event"] == "the log refuses us; events are kept in the spool and sent later"
    assert {line["log_level"] for line in said} <= {"warning", "info"}


def test_log_is_not_said_to_be_back_before_it_has_answered(
    post: Post, said: list[EventDict]
) -> None:
    """A turn in which nothing is sent, because its run has a trouble of its own, proves nothing."""
    spool, shipment = post.enter()
    content = b"content"
    digest = hashlib.sha256(content).hexdigest()
    post.service.fault = AccessRefusedError("no such key")
    spool.store_blob(digest, content)
    spool.append_event(ArtifactLogged("a", "artifact", "text/plain", sha256=digest, size=7))
    wait_until(lambda: shipment.trouble is not None, "the store refuses the artifact")
    post.service.fault = AWAY
    wait_until(lambda: post.sender.is_away, "the service is away")
    for _ in range(3):
        assert not flush(post, spool, shipment, 0.1)
    assert [line["event"] for line in said if "back" in str(line["event"])] == []


def test_defect_in_a_step_is_said_and_the_thread_goes_on(post: Post, said: list[EventDict]) -> None:
    """Whatever breaks in it, training does not learn of it by an exception, and data is sent."""

    class Broken(MemoryTransport):
        is_broken = True

        async def send(self, records: list[OutRecord]) -> list[Receipt]:  # type: ignore[override]
            if self.is_broken:
                raise ZeroDivisionError("a defect")
            return await super().send(records)

    post.log = broken = Broken()
    spool, shipment = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    assert not flush(post, spool, shipment, 0.1)
    wait_until(lambda: bool(said), "it is said")
    broken.is_broken = False
    assert flush(post, spool, shipment)
    assert post.steps() == [1]
    assert [line["event"] for line in said] == [
        "a defect of trialog; nothing recorded is lost by it"
    ]


def test_many_threads_may_flush_at_once(post: Post) -> None:
    """Each is let go when its own events are in the log."""
    entered = [post.enter() for _ in range(8)]
    flushed: list[bool] = []

    def log_and_flush(spool: Spool, shipment: Shipment) -> None:
        for step in range(50):
            spool.append_point("loss", step, step, 0.5)
            flushed.append(flush(post, spool, shipment))

    threads = [threading.Thread(target=log_and_flush, args=one) for one in entered]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert flushed == [True] * 400
    assert sorted(post.steps()) == sorted(list(range(50)) * 8)


def test_ended_runs_leave_no_folder_at_the_end_of_a_program(post: Post) -> None:
    """What is applied is deleted before the process is gone: nobody has to look at it."""
    for _ in range(3):
        spool, _ = post.enter()
        spool.append_point("loss", 1, 1, 0.5)
        spool.close()
    post.end()
    assert post.folders() == []
    assert post.log.is_closed


def test_program_that_ends_early_has_sent_what_it_logged(post: Post, said: list[EventDict]) -> None:
    """The last calls before the end are sent in it, also of a run that nobody has left."""
    spool, _ = post.enter()
    for step in range(1000):
        spool.append_point("loss", step, step, 0.5)
    post.end()
    assert post.steps() == list(range(1000))
    assert said == []


# B11
def test_program_that_ends_while_the_log_is_away_says_what_it_keeps(
    post: Post, said: list[EventDict]
) -> None:
    """It does not wait for the log; the spool is whole, and its next adopter sends all of it."""
    post.log.fault = AWAY
    spool, _ = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    post.end()
    assert "1 run is kept in" in str(said[-1]["event"])
    assert len(post.folders()) == 1
    assert post.steps() == []


def test_program_that_ends_waits_for_a_log_that_is_there_and_slow(
    post: Post, said: list[EventDict]
) -> None:
    """Longer than for one that is away, and says so: a busy service costs nobody a run."""
    post.log.delay_s = 0.3
    spool, _ = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    post.sender.end(away_s=0.01)
    assert (post.steps(), post.folders()) == ([1], [])
    (line,) = said
    assert "the log is slow; the program ends when it has everything, in 30 s" in line["event"]


class Silent(MemoryTransport):
    """A log that takes a connection and never answers: the first send is given up soon."""

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Raise, after a while."""
        waited_s, self.delay_s = self.delay_s, 20.0
        await asyncio.sleep(waited_s)
        raise AWAY


# B11
@pytest.mark.parametrize(("answer_s", "slow_s"), [(20.0, 0.1), (0.2, DEADLINE_S)])
def test_program_that_ends_leaves_a_log_that_never_answers(
    post: Post, said: list[EventDict], answer_s: float, slow_s: float
) -> None:
    """After the time for a slow one, or as soon as an answer is overdue; what it keeps is said."""
    post.log = Silent(delay_s=answer_s)
    spool, _ = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    spool.close()
    started_s = time.monotonic()
    post.sender.end(away_s=0.01, slow_s=slow_s)
    assert time.monotonic() - started_s < 15
    assert (post.steps(), len(post.folders())) == ([], 1)
    assert "1 run is kept in" in str(said[-1]["event"])


# K9
def test_program_that_ends_sends_what_its_killed_workers_left(
    post: Post, said: list[EventDict]
) -> None:
    """Whose folders came after it had begun; what could not be sent before is said once."""
    damaged = post.leave_damaged()
    post.enter()[0].close()
    wait_until(lambda: "is left as it is" in str(said), "the damaged one is looked at")
    post.leave_dead(2, 3)
    post.end()
    assert post.steps() == [2, 3]
    assert post.folders() == [damaged]
    assert [line["event"] for line in said] == [
        "a spool is left as it is",
        "sent what an earlier process left",
    ]


def test_flush_behind_the_end_of_the_thread_does_not_wait_for_ever(post: Post) -> None:
    """A program's own last function may log and flush: it is told that nobody sends any more."""
    spool, shipment = post.enter()
    spool.append_point("loss", 1, 1, 0.5)
    post.end()
    assert flush(post, spool, shipment, threading.TIMEOUT_MAX)
    spool.append_point("loss", 2, 2, 0.5)
    assert not flush(post, spool, shipment, threading.TIMEOUT_MAX)
    late, late_shipment = post.enter()
    late.append_point("loss", 3, 3, 0.5)
    assert not flush(post, late, late_shipment, threading.TIMEOUT_MAX)


# K9
def test_next_process_sends_what_dead_ones_left(post: Post, said: list[EventDict]) -> None:
    """In the background, oldest first, and says it; the folders are removed."""
    post.leave_dead(1, 2)
    post.leave_dead(3)
    assert post.sender is not None
    wait_until(lambda: len(said) == 2, "both are adopted")
    assert post.folders() == []
    assert post.steps() == [1, 2, 3]
    assert [line["event"] for line in said] == ["sent what an earlier process left"] * 2


def test_adoption_waits_for_a_log_that_is_away(post: Post) -> None:
    """What a dead process left is not given up because nobody answers when the next one starts."""
    post.log.fault = AWAY
    post.leave_dead(1)
    spool, shipment = post.enter()
    spool.append_point("loss", 2, 2, 0.5)
    assert not flush(post, spool, shipment, 0.1)
    post.log.fault = None
    wait_until(lambda: sorted(post.steps()) == [1, 2], "both are sent")


def test_spool_of_this_process_is_never_adopted_by_itself(post: Post) -> None:
    """Its lock is held: entering a run while another is adopted sends neither twice."""
    post.leave_dead(1)
    spool, shipment = post.enter()
    spool.append_point("loss", 2, 2, 0.5)
    assert flush(post, spool, shipment)
    wait_until(lambda: len(post.folders()) == 1, "the dead one is gone")
    assert sorted(post.steps()) == [1, 2]
    assert SpoolFolder.adopt(post.folders()[0]) is None


def test_sender_of_a_session_is_one_for_the_process(tmp_path: Path) -> None:
    """Many runs share the thread; another session has its own."""
    one = Session(url="http://127.0.0.1:9", spool_dir=tmp_path).resolve({})
    other = Session(url="http://127.0.0.1:10", spool_dir=tmp_path).resolve({})
    senders = [Sender.of(one), Sender.of(other), Sender.of(one)]
    assert senders[0] is senders[2]
    assert senders[0] is not senders[1]
    for endpoint in (one, other):
        Sender._senders.pop(endpoint).end()
