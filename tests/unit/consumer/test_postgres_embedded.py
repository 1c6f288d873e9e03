"""The embedded Postgres without one running: what a left-over pid file may and may not say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from trialog_server.postgres.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from pathlib import Path

READY = "ready"


def write_pid_file(folder: Path, pid: object, state: str = READY, *, lines: int = 8) -> None:
    """A pid file as a server leaves it: the number first, the state last."""
    content = [str(pid), str(folder), "1700000000", "5432", str(folder), "", "  1 2", f"{state}   "]
    (folder / "postmaster.pid").write_text("\n".join(content[:lines]) + "\n")


def test_address_before_the_start_is_a_mistake(tmp_path: Path) -> None:
    """Where the server listens is known once it does; asking before is a mistake of the caller."""
    with pytest.raises(RuntimeError, match="start"):
        _ = EmbeddedPostgres(tmp_path).dsn


def test_folder_without_a_server_has_no_process(tmp_path: Path) -> None:
    """Nothing was ever started here, or it was stopped in order."""
    assert EmbeddedPostgres(tmp_path).pid is None


def test_pid_file_of_another_program_is_no_server(tmp_path: Path) -> None:
    """After a crash the number may belong to anybody, such as this very test."""
    write_pid_file(tmp_path, os.getpid())
    assert EmbeddedPostgres(tmp_path).pid is None


def test_pid_file_of_a_process_that_is_gone_is_no_server(tmp_path: Path) -> None:
    """A number that no process has is what a machine leaves that went down."""
    write_pid_file(tmp_path, 2**22 - 3)
    assert EmbeddedPostgres(tmp_path).pid is None


@pytest.mark.parametrize("state", ["starting", "stopping", "standby"])
def test_server_that_is_not_ready_is_not_there_yet(tmp_path: Path, state: str) -> None:
    """Only a server that takes connections counts."""
    write_pid_file(tmp_path, os.getpid(), state)
    assert EmbeddedPostgres(tmp_path).pid is None


@pytest.mark.parametrize("lines", [0, 1, 4, 7])
def test_pid_file_that_is_being_written_is_no_server(tmp_path: Path, lines: int) -> None:
    """The server writes the file bit by bit: half of it says nothing."""
    write_pid_file(tmp_path, os.getpid(), lines=lines)
    assert EmbeddedPostgres(tmp_path).pid is None


def test_stop_without_a_server_does_nothing(tmp_path: Path) -> None:
    """Stopping twice, or before a start that failed, is no error."""
    postgres = EmbeddedPostgres(tmp_path)
    postgres.stop()
    postgres.stop()
    assert list(tmp_path.iterdir()) == []


def test_server_that_did_not_start_has_its_grave_words_in_the_error(tmp_path: Path) -> None:
    """Its last lines are seldom the reason; a full disk takes them away, so the room is said."""
    grave = 'PANIC:  could not write to file "pg_wal/xlogtemp.31": No space left on device'
    lines = ["LOG:  starting", "FATAL:  long ago", *["LOG:  ready"] * 20, grave, *["LOG:  bye"] * 3]
    (tmp_path / "log").write_text("\n".join(lines))
    said = EmbeddedPostgres(tmp_path)._log_tail()
    assert said.startswith(f"{grave} (")
    assert said.endswith(" MB are free on its disk)")
