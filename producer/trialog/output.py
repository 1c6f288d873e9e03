"""What the command line prints on standard output, wherever that leads; must not format anything.

A reader that has left ends the command quietly. A full disk or a closed output is one line.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSED = "standard output is closed; direct it to a file, or to /dev/null"


def echo(content: str | bytes, *, status: int = 0) -> None:
    """Print a line.

    Args:
        content: text, or bytes that go out as they are whatever the encoding.
        status: exit status of a command whose reader has left.

    Raises:
        Exit: the reader has left.
        ClickException: the output takes nothing.
    """
    with _open_output(status):
        click.echo(content)


def copy(file: IO[bytes]) -> None:
    """Print what is left of a file, as it is.

    Raises:
        Exit: the reader has left.
        ClickException: the output takes nothing.
    """
    with _open_output(0):
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _open_output(status: int) -> Iterator[None]:
    """Turn what becomes of standard output amid the block into an end of the command."""
    if sys.stdout is None:
        raise click.ClickException(CLOSED)
    try:
        yield
    except BrokenPipeError as exc:
        drop_output()
        raise click.exceptions.Exit(status) from exc
    except OSError as exc:
        drop_output()
        raise click.ClickException(lost(exc)) from exc


def escape_unknown_characters() -> None:
    """Have standard output escape what its encoding lacks: names may hold any character."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def lost(error: OSError) -> str:
    """Return the sentence for an output that takes nothing."""
    return f"standard output cannot be written: {error.strerror or error}; give it room elsewhere"


def drop_output() -> None:
    """Send the rest to nowhere: the interpreter would complain when it cannot write it either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
