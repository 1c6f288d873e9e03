"""What `trialog sync` says and its exit status, where nothing can be sent anywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog
from click.testing import CliRunner

from tests.unit.producer.spools import META, new_folder
from trialog.__main__ import cli
from trialog.adoption import SpoolReport
from trialog.notices import Notices
from trialog.settings import Session

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

NOBODY = "http://127.0.0.1:9"
"""Nothing listens there; the spools below need nobody."""


def sync(spool_dir: Path | str, *options: str, url: str = NOBODY) -> Result:
    """Run the command on a folder of spools."""
    arguments = ("sync", "--spool-dir", str(spool_dir), "--url", url, *options)
    environment = {"TRIALOG_KAFKA": "", "TRIALOG_API_KEY": ""}
    return CliRunner().invoke(cli, arguments, env=environment)


# L3
def test_spool_for_another_address_is_named_and_no_failure(tmp_path: Path) -> None:
    """It stays, is counted apart from what was left, and the status is 0, as the help says."""
    new_folder(tmp_path).release()

    done = sync(tmp_path)
    counts = json.loads(sync(tmp_path, "--json").stdout)

    assert done.exit_code == 0
    first, last = done.stdout.splitlines()
    assert first.startswith(f"e/r: was recorded for {META.url} and stays")
    assert last.startswith(f"0 spools sent, 0 left in {tmp_path}; 1 there for other addresses")
    assert (counts["sent"], counts["left"], counts["elsewhere"]) == (0, 0, 1)
    assert len(list(tmp_path.iterdir())) == 1
    told = " ".join(CliRunner().invoke(cli, ["sync", "--help"]).output.split())
    assert "for other addresses are named and stay, and are no failure" in told


def test_spool_that_cannot_be_sent_is_left_and_a_failure(tmp_path: Path) -> None:
    """A folder whose facts cannot be read waits for people, and the status says so."""
    folder = new_folder(tmp_path)
    folder.release()
    (folder.path / "meta.json").write_bytes(b"{")

    done = sync(tmp_path)

    assert done.exit_code == 1
    assert "left: " in done.stdout
    assert f"0 spools sent, 1 left in {tmp_path}" in done.stdout


def test_kept_spool_with_nothing_to_send_is_not_called_sent(tmp_path: Path) -> None:
    """What an earlier sync refused is said again with its place, and is not news."""
    folder = new_folder(tmp_path)
    folder.keep_refused("a.record", b"what the log would not take")
    folder.release()

    done = sync(tmp_path, url=META.url)
    counts = json.loads(sync(tmp_path, "--json", url=META.url).stdout)

    assert done.exit_code == 0
    first, last = done.stdout.splitlines()
    assert first == (f"e/r: kept, nothing was sent; what is damaged or refused is in {folder.path}")
    assert last == f"0 spools sent, 0 left in {tmp_path}; 1 kept there, damaged or refused"
    assert (counts["sent"], counts["kept"], counts["left"]) == (0, 1, 0)


@pytest.mark.parametrize(("is_file", "wrong"), [(False, "does not exist"), (True, "is no folder")])
def test_mistyped_folder_is_one_line_and_a_failure(
    tmp_path: Path, is_file: bool, wrong: str
) -> None:
    """A folder that is not there is not the same as one without spools."""
    path = tmp_path / "typo"
    if is_file:
        path.touch()

    done = sync(path)

    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: spool_dir '{path}' {wrong}; give the folder")


def test_folder_that_cannot_be_read_is_one_line_and_a_failure(tmp_path: Path) -> None:
    """Another user's, for example; this one's name is refused to whoever asks."""
    done = sync(tmp_path / ("long" * 100))

    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "cannot be read: File name too long; give the folder" in line


def test_folder_of_the_environment_may_not_exist_yet(tmp_path: Path) -> None:
    """Where nothing has logged yet there is nothing to send; a file there is a mistake."""
    for name, status in (("new", 0), ("file", 1)):
        (tmp_path / "file").touch()
        environment = {"TRIALOG_SPOOL_DIR": str(tmp_path / name), "TRIALOG_KAFKA": ""}
        done = CliRunner().invoke(cli, ("sync", "--url", NOBODY), env=environment)
        assert done.exit_code == status, name


@pytest.mark.parametrize("size", [0, 17])
def test_adoption_of_nothing_is_not_worth_a_word(tmp_path: Path, size: int) -> None:
    """A process says once what it sent for a dead one; an empty spool is removed silently."""
    report = SpoolReport(tmp_path, outcome="sent", run="e/r", bytes_sent=size)
    with structlog.testing.capture_logs() as logged:
        Notices(Session(spool_dir=tmp_path).resolve({})).adopted(report)
    assert [(one["event"], one["bytes"]) for one in logged] == (
        [("sent what an earlier process left", size)] if size else []
    )


# L3
def test_sync_on_a_terminal_shows_a_bar_with_the_run(tmp_path: Path) -> None:
    """Long work shows how far it is; what it prints in the end is what it prints to a file."""
    new_folder(tmp_path).release()
    arguments = ["sync", "--spool-dir", str(tmp_path), "--url", META.url]

    done = CliRunner().invoke(cli, arguments, env={"FORCE_COLOR": "1", "TERM": "xterm"})

    assert "e/r" in done.stderr
    assert "1/1" in done.stderr
    assert "\x1b" not in done.stdout
    assert "e/r: " in done.stdout
