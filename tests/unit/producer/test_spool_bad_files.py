"""What may lie in a spool folder that no writer put there: named exactly, and all the rest is sent.

The permission of a file is no case here: tests run as root, too, whom nothing is forbidden.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.unit.producer.spools import META, new_folder, steps_of
from trialog.adoption import Adopter
from trialog.settings import Session
from trialog.spool import Spool
from trialog.testing import MemoryService, MemoryTransport
from trialog_schemas.wire import EVENTS_TOPIC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trialog.adoption import SpoolReport


def dead_spool(spool_dir: Path, number: int, steps: range) -> Path:
    """Leave a spool as a killed process does."""
    folder = new_folder(spool_dir, number)
    spool = Spool(folder)
    for step in steps:
        spool.append_point("loss", step, step + 1, 0.5)
    folder.release()
    return folder.path


async def adopt_all(spool_dir: Path) -> tuple[dict[str, SpoolReport], list[int]]:
    """Adopt everything; return the reports by folder, and the steps that were sent."""
    log = MemoryTransport()
    endpoint = Session(url=META.url, spool_dir=spool_dir).resolve({})
    adopter = Adopter(endpoint, log, None, MemoryService())
    reports = [await adopter.adopt(path) for path in adopter.folders()]
    return {one.path.name: one for one in reports}, steps_of(log.values(EVENTS_TOPIC))


def told(**changes: object) -> Callable[[Path], None]:
    """Return what rewrites some facts of a spool."""

    def rewrite(path: Path) -> None:
        facts = json.loads((path / "meta.json").read_bytes()) | changes
        (path / "meta.json").write_text(json.dumps(facts))

    return rewrite


def content(raw: bytes) -> Callable[[Path], None]:
    """Return what replaces all facts of a spool by some bytes."""

    def write(path: Path) -> None:
        (path / "meta.json").write_bytes(raw)

    return write


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what puts something else in the place of a file, and keeps the file aside."""

    def replace(path: Path) -> None:
        if (path / name).exists():
            (path / name).rename(path / f"{name}.aside")
        make(path / name)

    return replace


def link(path: Path) -> None:
    """Put a link to the file that was there."""
    path.symlink_to(path.with_name(f"{path.name}.aside"))


def link_the_folder(path: Path) -> None:
    """Put the spool elsewhere, and a link in its place."""
    elsewhere = path.parent.parent / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


LEFT: dict[str, tuple[Callable[[Path], None], str]] = {
    "facts of no bytes": (content(b""), "meta.json cannot be read"),
    "facts of another kind": (content(b"[1]"), "meta.json cannot be read"),
    "facts cut": (content(b'{"writer_id": "01'), "meta.json cannot be read"),
    "facts of illegal UTF-8": (content(b'{"url": "\xff"}'), "meta.json cannot be read"),
    "facts nested deeply": (content(b"[" * 100_000), "meta.json cannot be read"),
    "a field too many": (told(colour="red"), "unexpected keyword argument 'colour'"),
    "a later version with other fields": (told(version=2, colour="red"), "version 2, known is 1"),
    "a version that is none": (told(version="1"), "version is '1' and no number"),
    "a writer that is a number": (told(writer_id=5), "writer_id is 5 and no text"),
    "a writer that is a path": (told(writer_id="../x"), "writer_id is '../x' and not 32 hex"),
    "a run in capitals": (told(run_id="AB" * 16), "and not 32 hex digits"),
    "a run of none": (told(run_id=None), "run_id is None and no text"),
    "no account": (told(account=""), "account is '' and no text"),
    "an address that is a list": (told(url=["x"]), "url is ['x'] and no text"),
    "brokers that are a number": (told(kafka=9092), "kafka is 9092 and no text"),
    "an experiment that is a mapping": (told(experiment_name={}), "experiment_name is {}"),
    "a catalog event that is a text": (told(catalog="x"), "meta.json cannot be read"),
    "a catalog event of other types": (
        told(catalog={"at_us": "now", "body": 5}),
        "and no event",
    ),
    "a folder as facts": (instead("meta.json", os.mkdir), "cannot be opened: Is a directory"),
    "a link as facts": (instead("meta.json", link), "meta.json is l"),
    "a pipe as facts": (instead("meta.json", os.mkfifo), "meta.json is p"),
    "a pipe as lock": (instead("lock", os.mkfifo), "lock is p"),
    "a folder as lock": (instead("lock", os.mkdir), "cannot be opened: Is a directory"),
    "a folder as ack": (instead("ack", os.mkdir), "Is a directory"),
    "a folder as segment": (instead("000001.spool", os.mkdir), "Is a directory"),
    "a pipe as segment": (instead("000001.spool", os.mkfifo), "000001.spool is p"),
    "a link as segment": (instead("000001.spool", link), "000001.spool is l"),
    "a link as folder": (link_the_folder, "is l"),
}
"""What is done to a spool, and what the reason for leaving it says."""


@pytest.mark.timeout(20)  # to open a pipe is to wait for ever
@pytest.mark.parametrize("case", LEFT)
async def test_spool_with_something_foreign_is_left_and_named_and_the_next_is_sent(
    tmp_path: Path, case: str
) -> None:
    """The reason says what it is and where; nothing of it is sent or deleted, all others are."""
    spool_dir = tmp_path / "spool"
    bad = dead_spool(spool_dir, 2, range(100, 103))
    good = [dead_spool(spool_dir, 1, range(3)), dead_spool(spool_dir, 3, range(3, 6))]
    harm, reason = LEFT[case]
    harm(bad)
    before = sorted(path.name for path in bad.iterdir())
    reports, steps = await adopt_all(spool_dir)
    report = reports[bad.name]
    assert (report.outcome, report.is_clean, report.bytes_sent) == ("left", False, 0)
    assert reason in report.reason
    assert str(bad) in report.reason
    assert sorted(path.name for path in bad.iterdir()) == before
    assert [reports[path.name].outcome for path in good] == ["sent", "sent"]
    assert steps == list(range(6))


async def test_leftovers_of_unknown_kind_are_left_alone(tmp_path: Path) -> None:
    """Files beside the spools, and files in a spool that are none of its own, harm nobody."""
    spool_dir = tmp_path / "spool"
    path = dead_spool(spool_dir, 1, range(3))
    (spool_dir / "notes.txt").write_text("mine")
    (spool_dir / ".hidden").mkdir()
    (spool_dir / "stranger").mkdir()
    for name in ("x.spool", "1e3.spool", "000001.spool.bak", ".DS_Store"):
        (path / name).write_bytes(b"foreign")
    reports, steps = await adopt_all(spool_dir)
    assert reports[path.name].outcome == "sent"
    assert "has no meta.json" in reports["stranger"].reason
    assert set(reports) == {path.name, "stranger"}
    assert steps == [0, 1, 2]
    assert (spool_dir / "notes.txt").read_text() == "mine"


async def test_spool_of_another_account_is_left_to_it(tmp_path: Path) -> None:
    """What was recorded as somebody else is not sent under our name."""
    path = dead_spool(tmp_path / "spool", 1, range(3))
    told(account="somebody-else")(path)
    reports, steps = await adopt_all(tmp_path / "spool")
    assert (reports[path.name].outcome, steps) == ("elsewhere", [])
