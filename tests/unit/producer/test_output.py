"""Standard output that takes nothing, or not everything: one line or none, and no traceback."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from trialog.__main__ import _print_table
from trialog.output import CLOSED, echo, escape_unknown_characters

FULL = Path("/dev/full")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("size", [1, 100_000])
def test_reader_that_leaves_ends_the_command_with_its_own_status(size: int, status: int) -> None:
    """Who has read enough is no failure, however much was to come."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as pipe, contextlib.redirect_stdout(pipe):
        with pytest.raises(click.exceptions.Exit) as caught:
            echo("x" * size, status=status)
        assert caught.value.exit_code == status


@needs_full
@pytest.mark.parametrize("content", ["text", b"bytes"])
def test_full_disk_is_one_sentence(content: str | bytes) -> None:
    """It says what could not be done; what is left is dropped and not tried at the end again."""
    refused = pytest.raises(click.ClickException, match="standard output cannot be written: No sp")
    with FULL.open("w") as full, contextlib.redirect_stdout(full), refused:
        echo(content)


def test_closed_output_is_one_sentence() -> None:
    """An interpreter without standard output has None there."""
    with contextlib.redirect_stdout(None), pytest.raises(click.ClickException) as caught:
        _print_table(("run",), [("r",)])
    assert caught.value.message == CLOSED


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("utf-8", "ü€".encode()), ("latin-1", b"\xfc\\u20ac"), ("ascii", "ü€".encode())],
)
def test_table_prints_what_the_encoding_lacks(encoding: str, printed: bytes) -> None:
    """A name is shown escaped, and where ASCII is all that is known, as UTF-8."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    with contextlib.redirect_stdout(out):
        escape_unknown_characters()
        _print_table(("run",), [("ü€",)])
    out.flush()
    assert printed in raw.getvalue()


@needs_full
@pytest.mark.parametrize(
    ("target", "message"),
    [("/dev/full", "standard output cannot be written: No space left"), ("&-", CLOSED)],
)
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_printed_is_one_line(option: str, target: str, message: str) -> None:
    """Click prints these itself, and they end as everything else does."""
    shell = ["sh", "-c", f'exec "$@" >{target}', "sh", sys.executable, "-m", "trialog", option]
    done = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=30)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"Error: {message}")
