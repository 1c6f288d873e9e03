"""What the SDK says to people: each thing once, with the address and what becomes of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.unit.producer.spools import new_folder
from trialog.adoption import SpoolReport
from trialog.notices import Notices
from trialog.settings import Session
from trialog.shipper import Shipment
from trialog.spool import Spool
from trialog.spool_format import Damage
from trialog.stream import LostBytes, StreamReader
from trialog_schemas.errors import AccessRefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from structlog.typing import EventDict

URL = "http://127.0.0.1:7788"
AWAY = UnavailableError("nobody answers")


@pytest.fixture
def said() -> Iterator[list[EventDict]]:
    """Everything that is said, as a program that configured structlog gets it."""
    with structlog.testing.capture_logs() as logged:
        yield logged


@pytest.fixture
def notices(tmp_path: Path) -> Notices:
    """What a session's sender says with."""
    return Notices(Session(url=URL, spool_dir=tmp_path).resolve({}))


@pytest.fixture
def shipment(tmp_path: Path) -> Shipment:
    """A living run's spool."""
    folder = new_folder(tmp_path)
    return Shipment(folder, Spool(folder), StreamReader(folder, is_checked=False))


def words(said: list[EventDict]) -> list[str]:
    """Return the sentences that were said."""
    return [str(one["event"]) for one in said]


def test_log_that_is_away_is_said_once_with_address_and_what_happens(
    notices: Notices, said: list[EventDict], tmp_path: Path
) -> None:
    """Hours of attempts cost one line."""
    for _ in range(1000):
        notices.away(AWAY)
    (line,) = said
    assert line == {
        "event": "the log cannot be reached; events are kept in the spool and sent later",
        "log_level": "warning",
        "address": URL,
        "spool": str(tmp_path),
        "reason": "nobody answers",
    }
    assert notices.is_away


def test_log_that_is_back_is_said_once_and_its_next_absence_again(
    notices: Notices, said: list[EventDict]
) -> None:
    """One line for each change; nothing about a log that was never away."""
    for _ in range(2):
        notices.back()
        notices.back()
        notices.away(AWAY)
        notices.away(AWAY)
    notices.back()
    away = "the log cannot be reached; events are kept in the spool and sent later"
    back = "the log is back; what was kept is sent"
    assert words(said) == [away, back, away, back]
    assert said[1]["address"] == URL
    assert not notices.is_away


def test_log_that_refuses_us_is_told_from_one_that_is_away(
    notices: Notices, said: list[EventDict]
) -> None:
    """Whoever reads it looks at the key and not at the network."""
    notices.away(AccessRefusedError("this key is not known"))
    (line,) = said
    assert line["event"] == "the log refuses us; events are kept in the spool and sent later"
    assert line["reason"] == "this key is not known"


def test_address_of_kafka_is_the_logs_address(said: list[EventDict], tmp_path: Path) -> None:
    """With events going to brokers, it is they who are away."""
    endpoint = Session(url=URL, kafka="127.0.0.1:9092", spool_dir=tmp_path).resolve({})
    Notices(endpoint).away(AWAY)
    assert said[0]["address"] == "kafka 127.0.0.1:9092"


def test_store_that_is_away_is_said_once_and_once_when_it_is_back(
    notices: Notices, said: list[EventDict]
) -> None:
    """On Kafka the log may be there while the service, which stores artifacts, is not."""
    for fault in (None, "first", "second", None, None, "first"):
        notices.store(fault)
    away = "artifacts cannot be stored now; they are kept in the spool and sent later"
    back = "artifacts can be stored again; what was kept is sent"
    assert words(said) == [away, back, away]
    assert (said[0]["address"], said[0]["reason"]) == (URL, "first")


def test_trouble_of_a_spool_is_said_once_for_each_reason(
    notices: Notices, said: list[EventDict], shipment: Shipment
) -> None:
    """It names the run and the folder; a second run with the same reason says nothing new."""
    for reason in ("one", "one", None, "two", "one"):
        shipment.trouble = reason
        notices.shipment(shipment)
    assert words(said) == ["a spool cannot be sent now and is tried again"] * 2
    assert [line["reason"] for line in said] == ["one", "two"]
    assert said[0]["run"] == "e/r"
    assert said[0]["spool"] == str(shipment.folder.path)


def test_refusals_are_counted_and_told_with_the_first_reason(
    notices: Notices, said: list[EventDict], shipment: Shipment
) -> None:
    """They are shown once and then forgotten: the bytes are kept."""
    shipment.refusals += ["too large", "too old"]
    notices.shipment(shipment)
    notices.shipment(shipment)
    (line,) = said
    assert (line["refused"], line["reason"]) == (2, "too large")
    assert shipment.refusals == []


def test_full_disk_is_said_once_a_run(
    notices: Notices, said: list[EventDict], shipment: Shipment
) -> None:
    """A training loop that drops a million calls is told once."""
    notices.dropped(shipment)
    assert said == []
    assert shipment.spool is not None
    shipment.spool.room_fault = "No space left on device"
    for count in (1, 5, 10):
        shipment.spool.dropped_calls = count
        notices.dropped(shipment)
    (line,) = said
    assert line["event"] == (
        "the spool has no room: log calls are dropped and counted until there is some"
    )
    assert (line["run"], line["reason"]) == ("e/r", "No space left on device")


def test_disk_that_fails_is_told_with_the_systems_words(
    notices: Notices, said: list[EventDict], tmp_path: Path
) -> None:
    """It is no defect of ours, and said once."""
    for path in ("a", "b"):
        notices.disk(OSError(5, "Input/output error", path))
    (line,) = said
    assert line["spool"] == str(tmp_path)
    assert "Input/output error" in str(line["reason"])


def test_adoption_that_sent_something_is_told_and_an_empty_one_is_not(
    notices: Notices, said: list[EventDict], tmp_path: Path
) -> None:
    """Whoever restarts a killed training learns that nothing was lost."""
    report = SpoolReport(tmp_path, "sent", "e/r", bytes_sent=77)
    notices.adopted(report)
    notices.adopted(replace(report, bytes_sent=0))
    (line,) = said
    assert line == {
        "event": "sent what an earlier process left",
        "log_level": "info",
        "run": "e/r",
        "bytes": 77,
    }


def test_adoption_of_a_damaged_spool_says_how_many_bytes_it_costs(
    notices: Notices, said: list[EventDict], tmp_path: Path
) -> None:
    """And where the damaged segments are."""
    lost = [LostBytes(1, Damage(16, 40)), LostBytes(2, Damage(0, 8))]
    notices.adopted(SpoolReport(tmp_path, "kept", "e/r", lost=lost))
    (line,) = said
    assert (line["bytes_lost"], line["spool"], line["run"]) == (48, str(tmp_path), "e/r")


def test_spool_that_is_left_is_said_with_its_reason(
    notices: Notices, said: list[EventDict], tmp_path: Path
) -> None:
    """One line a reason: it may be the same for a hundred folders."""
    for _ in range(3):
        notices.adopted(SpoolReport(tmp_path, reason="its meta.json cannot be read"))
    notices.adopted(SpoolReport(tmp_path, "elsewhere"))
    notices.adopted(SpoolReport(tmp_path, "alive"))
    assert words(said) == ["a spool is left as it is"]


@pytest.mark.parametrize(("runs", "kept"), [(1, "1 run is kept"), (3, "3 runs are kept")])
def test_end_of_a_program_says_what_is_kept_and_how_it_is_sent(
    notices: Notices, said: list[EventDict], tmp_path: Path, runs: int, kept: str
) -> None:
    """The last line of a training without a service is what to do next."""
    notices.kept(runs)
    assert words(said) == [f"{kept} in {tmp_path}; `trialog sync` or the next run sends them"]


def test_end_of_a_program_that_waits_for_a_slow_log_says_for_how_long(
    notices: Notices, said: list[EventDict]
) -> None:
    """And how it can be ended, and that nothing is lost by that."""
    notices.slow_end(30.0)
    (line,) = said
    assert line["event"] == (
        "the log is slow; the program ends when it has everything, in 30 s at most, or by Ctrl-C: "
        "what is not sent is kept"
    )
    assert line["address"] == URL


def test_defect_is_said_once_with_its_trace(notices: Notices, said: list[EventDict]) -> None:
    """And another one again."""
    first, second = ZeroDivisionError("one"), ZeroDivisionError("two")
    for error in (first, first, second):
        notices.defect(error)
    assert [line["exc_info"] for line in said] == [first, second]
    assert {line["log_level"] for line in said} == {"error"}


def test_slow_upload_says_how_many_bytes_and_where_to(
    notices: Notices, said: list[EventDict]
) -> None:
    """Long work shows that it goes on."""
    notices.slow_upload(5_000_000)
    assert (said[0]["bytes"], said[0]["address"]) == (5_000_000, URL)


def test_what_was_said_does_not_fill_the_memory(notices: Notices, shipment: Shipment) -> None:
    """A reason with a changing number in it is forgotten in time, at the price of a repetition."""
    with structlog.testing.capture_logs() as logged:
        for number in range(5000):
            shipment.trouble = f"reason {number}"
            notices.shipment(shipment)
    assert len(logged) == 5000
    assert len(notices._said) <= 1000


# D12
def test_events_that_are_given_up_are_said_once_with_how_to_send_them(
    notices: Notices, said: list[EventDict], shipment: Shipment
) -> None:
    """What stays in the spool, where that is, and that `trialog sync` sends it."""
    notices.given_up(shipment)
    assert said == []
    shipment.is_given_up = True
    for _ in range(3):
        notices.given_up(shipment)
    (one,) = said
    assert "`trialog sync` sends them once this program has ended" in str(one["event"])
    assert (one["spool"], one["from_event"], one["log_level"]) == (
        str(shipment.folder.path),
        1,
        "warning",
    )
