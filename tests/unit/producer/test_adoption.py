"""Who adopts what a dead process left, and what it says became of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import META, new_folder, steps_of
from trialog.adoption import Adopter, SpoolReport, belongs_to, sync_spools
from trialog.file_lock import FileLock
from trialog.settings import Endpoint, Session
from trialog.spool import Spool
from trialog.spool_folder import SpoolFolder
from trialog.spool_format import Damage
from trialog.stream import LostBytes
from trialog.testing import MemoryService, MemoryTransport
from trialog_schemas.errors import AccessRefusedError, ClientError, UnavailableError
from trialog_schemas.wire import EVENTS_TOPIC

if TYPE_CHECKING:
    from pathlib import Path

    from trialog.adoption import Outcome


@dataclass
class Harbour:
    """A spool folder with an adopter whose log and service are in memory."""

    endpoint: Endpoint
    log: MemoryTransport = field(default_factory=MemoryTransport)
    service: MemoryService = field(default_factory=MemoryService)
    watched: list[tuple[str, int]] = field(default_factory=list)

    def adopter(self) -> Adopter:
        """Return an adopter that notes what it shows."""

        def watch(report: SpoolReport) -> None:
            self.watched.append((report.run, report.bytes_sent))

        return Adopter(self.endpoint, self.log, watch, self.service)

    def dead_spool(self, number: int = 1, *steps: int) -> Path:
        """Leave a spool as a killed process does: its lock free, its last stretch not cut."""
        folder = new_folder(self.endpoint.spool_dir, number)
        spool = Spool(folder)
        for step in steps or (1, 2, 3):
            spool.append_point("loss", step, step, 0.5)
        folder.release()
        return folder.path

    def sent_steps(self) -> list[int]:
        """Return the steps that the log has, in order."""
        return steps_of(self.log.values(EVENTS_TOPIC))


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    """A harbour for the address that the spools of these tests were recorded for."""
    return Harbour(Session(url=META.url, spool_dir=tmp_path / "spool").resolve({}))


# K9
async def test_spool_of_a_dead_process_is_sent_and_goes(harbour: Harbour) -> None:
    """All its calls are in the log, under its own writer; the folder is removed."""
    path = harbour.dead_spool()
    report = await harbour.adopter().adopt(path)
    assert (report.outcome, report.run, report.reason) == ("sent", "e/r", "")
    assert report.bytes_sent == len(harbour.log.records[0].value)
    assert harbour.sent_steps() == [1, 2, 3]
    assert not path.exists()
    assert report.is_clean


async def test_progress_names_the_run_before_anything_is_sent(harbour: Harbour) -> None:
    """Whoever waits for a log that does not answer sees for which run."""
    await harbour.adopter().adopt(harbour.dead_spool())
    assert harbour.watched[0] == ("e/r", 0)
    assert harbour.watched[-1] == ("e/r", len(harbour.log.records[0].value))


async def test_spool_of_a_living_process_is_left_alone(harbour: Harbour) -> None:
    """Its lock says that it lives; nothing is read, sent or deleted."""
    folder = new_folder(harbour.endpoint.spool_dir)
    Spool(folder).append_point("loss", 1, 1, 0.5)
    report = await harbour.adopter().adopt(folder.path)
    assert (report.outcome, report.is_clean) == ("alive", True)
    assert harbour.log.records == []
    assert folder.segments() == [1]


# K9
async def test_two_adopters_send_a_spool_once(harbour: Harbour) -> None:
    """While one has it the other finds it taken, as if its process lived."""
    path = harbour.dead_spool()
    second: list[SpoolReport] = []

    class AmidSending(MemoryTransport):
        async def send(self, records):  # type: ignore[no-untyped-def]
            second.append(await harbour.adopter().adopt(path))
            return await super().send(records)

    harbour_of_first = replace(harbour, log=AmidSending())
    first = await harbour_of_first.adopter().adopt(path)
    assert (first.outcome, [report.outcome for report in second]) == ("sent", ["alive"])
    assert harbour.log.records == []
    assert harbour_of_first.sent_steps() == [1, 2, 3]


async def test_spool_for_another_address_stays_until_it_is_said_to_have_moved(
    harbour: Harbour,
) -> None:
    """Events never land in a service that is not theirs unless somebody says so."""
    path = harbour.dead_spool()
    elsewhere = Session(url="http://other:1", spool_dir=harbour.endpoint.spool_dir).resolve({})
    other = replace(harbour, endpoint=elsewhere)
    report = await other.adopter().adopt(path)
    assert (report.outcome, report.address, report.is_clean) == ("elsewhere", META.url, True)
    assert path.exists()
    report = await other.adopter().adopt(path, is_moved=True)
    assert report.outcome == "sent"


@pytest.mark.parametrize(
    ("url", "kafka", "account", "belongs"),
    [
        (META.url, None, META.account, True),
        ("http://other:1", None, META.account, False),
        (META.url, None, "other", False),
        (META.url, "brokers:9092", META.account, True),
    ],
)
def test_spool_belongs_to_a_service_by_its_address(
    harbour: Harbour, url: str, kafka: str | None, account: str, belongs: bool
) -> None:
    """A spool recorded over HTTP may be sent to that service's Kafka directly."""
    endpoint = replace(harbour.endpoint, url=url, kafka=kafka, account=account)
    assert belongs_to(META, endpoint) is belongs


def test_spool_recorded_for_kafka_belongs_to_its_brokers(harbour: Harbour) -> None:
    """Then the brokers say which service it is, under whatever address its API is."""
    meta = replace(META, kafka="a:1")
    endpoint = replace(harbour.endpoint, url="http://other:1", kafka="a:1")
    assert belongs_to(meta, endpoint)
    assert not belongs_to(meta, replace(endpoint, kafka="b:1"))
    assert belongs_to(meta, replace(endpoint, url=META.url, kafka=None))


async def test_spool_stays_as_it_was_while_the_log_is_away(harbour: Harbour) -> None:
    """The next adopter finds it whole, with its lock free."""
    path = harbour.dead_spool()
    harbour.log.fault = UnavailableError("the log is away")
    with pytest.raises(UnavailableError):
        await harbour.adopter().adopt(path)
    harbour.log.fault = None
    assert (await harbour.adopter().adopt(path)).outcome == "sent"
    assert harbour.sent_steps() == [1, 2, 3]


async def test_spool_that_nobody_says_is_applied_stays(harbour: Harbour) -> None:
    """The next adopter sends nothing again, asks, and removes it."""
    path = harbour.dead_spool()
    harbour.service.is_applied = False
    report = await harbour.adopter().adopt(path)
    assert (report.outcome, report.is_clean) == ("unconfirmed", False)
    harbour.service.is_applied = True
    report = await harbour.adopter().adopt(path)
    assert (report.outcome, report.bytes_sent) == ("sent", 0)
    assert harbour.sent_steps() == [1, 2, 3]
    assert harbour.service.questions[0] == harbour.service.questions[1]


async def test_damaged_spool_gives_up_what_is_whole_and_keeps_the_rest(harbour: Harbour) -> None:
    """The report says which bytes of which segment; the segment stays for people."""
    path = harbour.dead_spool(1, 1, 2, 3)
    segment = path / "000001.spool"
    raw = bytearray(segment.read_bytes())
    raw[16 + 24 + 40 + 20] ^= 1  # behind the head, the name's declaration and the first point
    segment.write_bytes(raw)
    report = await harbour.adopter().adopt(path)
    assert (report.outcome, report.is_clean) == ("kept", False)
    assert report.lost == [LostBytes(1, Damage(16 + 24 + 40, 40))]
    assert report.bytes_lost == 40
    assert harbour.sent_steps() == [1, 3]
    assert (path / "refused" / "000001.spool").read_bytes() == bytes(raw)
    again = await harbour.adopter().adopt(path)
    assert (again.outcome, again.bytes_sent, again.is_clean) == ("kept", 0, True)


async def test_spool_whose_facts_are_damaged_is_named_and_left(harbour: Harbour) -> None:
    """Nobody can tell whose events they are: the reason names the folder, nothing is deleted."""
    path = harbour.dead_spool()
    (path / "meta.json").write_bytes(b"{")
    report = await harbour.adopter().adopt(path)
    assert (report.outcome, report.is_clean) == ("left", False)
    assert "meta.json cannot be read" in report.reason
    assert str(path) in report.reason
    assert (path / "000001.spool").exists()


async def test_spool_without_its_facts_is_named_and_left(harbour: Harbour) -> None:
    """It is not taken for one whose process lives, which nobody would ever look at."""
    path = harbour.dead_spool()
    (path / "meta.json").unlink()
    report = await harbour.adopter().adopt(path)
    assert report.outcome == "left"
    assert "has no meta.json" in report.reason
    assert (path / "000001.spool").exists()


async def test_spool_of_a_later_version_is_left_to_its_release(harbour: Harbour) -> None:
    """A release that cannot read the records does not guess."""
    path = harbour.dead_spool()
    later = replace(META, version=2)
    (path / "meta.json").write_bytes(later.to_json())
    report = await harbour.adopter().adopt(path)
    assert report.outcome == "left"
    assert "is of version 2, known is 1" in report.reason


async def test_spool_whose_artifact_has_no_store_is_left_with_the_reason(harbour: Harbour) -> None:
    """The key of the service is wrong: nothing is kept back, nothing is given up."""
    path = harbour.dead_spool()
    blobs = path / "blobs"
    blobs.mkdir()
    content = b"content"
    (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
    harbour.service.fault = AccessRefusedError("this key is not known")
    report = await harbour.adopter().adopt(path)
    assert (report.outcome, report.reason) == ("left", "this key is not known")
    harbour.service.fault = None
    assert (await harbour.adopter().adopt(path)).outcome == "sent"
    assert list(harbour.service.blobs.values()) == [content]


async def test_record_that_is_refused_keeps_its_spool(harbour: Harbour) -> None:
    """The report has the log's own words; the bytes are beside the spool."""
    path = harbour.dead_spool()
    harbour.log.refused = f"{1:032x}".encode()
    report = await harbour.adopter().adopt(path)
    assert (report.outcome, report.is_clean) == ("kept", False)
    assert report.refusals == ["a record that this log does not take"]
    assert len(list((path / "refused").iterdir())) == 1


async def test_folder_that_is_gone_meanwhile_is_nobodys_matter(harbour: Harbour) -> None:
    """Another adopter was faster."""
    report = await harbour.adopter().adopt(harbour.endpoint.spool_dir / "gone")
    assert (report.outcome, report.is_clean) == ("alive", True)


def test_folders_are_found_oldest_first_and_remains_are_swept(harbour: Harbour) -> None:
    """Names of writers begin with their time; a removal that was cut short is finished.

    So is what a process left that died while it entered a run; who is at that is left alone.
    """
    assert list(harbour.adopter().folders()) == []
    paths = [harbour.dead_spool(number) for number in (3, 1, 2)]
    remains = harbour.endpoint.spool_dir / ".removed-x"
    remains.mkdir()
    (remains / "000001.spool").write_bytes(b"x")
    dead, young, held = (harbour.endpoint.spool_dir / f".{digit * 32}" for digit in "abc")
    for unborn in (dead, young, held):
        unborn.mkdir()
    lock = FileLock(held / "lock")
    assert lock.take_nowait()
    for unborn in (dead, held):
        os.utime(unborn, (0, 0))
    assert list(harbour.adopter().folders()) == sorted(paths)
    assert not remains.exists()
    assert [one.exists() for one in (dead, young, held)] == [False, True, True]
    lock.release()


async def test_sync_of_an_empty_folder_reports_nothing(harbour: Harbour) -> None:
    """Also when it was never made, and although nobody listens at the address."""
    assert await sync_spools(replace(harbour.endpoint, url="http://127.0.0.1:9")) == []


async def test_sync_without_a_log_tries_once_and_leaves_everything(harbour: Harbour) -> None:
    """A hundred spools do not wait a hundred times; each is reported with the same reason."""
    for number in range(3):
        harbour.dead_spool(number)
    reports = await sync_spools(replace(harbour.endpoint, url="http://127.0.0.1:9"), is_moved=True)
    assert [report.outcome for report in reports] == ["left"] * 3
    assert len({report.reason for report in reports}) == 1
    assert "http://127.0.0.1:9" in reports[0].reason
    assert all(SpoolFolder.adopt(report.path) is not None for report in reports)


@pytest.mark.parametrize(
    ("outcome", "has_news", "is_clean"),
    [
        ("sent", False, True),
        ("elsewhere", False, True),
        ("alive", False, True),
        ("kept", True, False),
        ("kept", False, True),
        ("unconfirmed", False, False),
        ("left", False, False),
    ],
)
def test_report_is_clean_when_nobody_has_to_look(
    tmp_path: Path, outcome: Outcome, has_news: bool, is_clean: bool
) -> None:
    """What was kept by an earlier sync has been said then."""
    refusals = ["too large"] if has_news else []
    assert SpoolReport(tmp_path, outcome, refusals=refusals).is_clean is is_clean


@pytest.mark.parametrize("error", [AccessRefusedError("no such key"), ClientError("not so")])
async def test_log_that_refuses_all_leaves_the_spool(harbour: Harbour, error: ClientError) -> None:
    """A wrong key is told to the caller; the spool is as it was."""
    path = harbour.dead_spool()
    harbour.log.fault = error
    with pytest.raises(type(error)):
        await harbour.adopter().adopt(path)
    harbour.log.fault = None
    assert (await harbour.adopter().adopt(path)).outcome == "sent"
