"""What `trialog export` does: asks for all runs page by page, and puts a whole file in place.

The file is written under another name and gets its own when it is complete: whatever happens,
nothing half-written stands under that name. What goes to standard output goes there when it is
complete, for the same reason.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import tempfile
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from trialog.compare import search_pages
from trialog.export_formats import FORMATS, Columns, write_csv, write_json, write_parquet
from trialog.output import copy, echo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialog.answers import RunAnswer
    from trialog.client import Client


_ENDING_SIGNALS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
"""Beside the terminal's Ctrl-C, which is KeyboardInterrupt anyway."""

STANDARD_OUTPUT = Path("-")
"""The name that stands for standard output, as in other programs; `./-` cannot be told from it."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported, and whereto.

    Args:
        experiment: the name of an experiment.
        where, order_by: which runs, and in which order; None is all, newest first.
        format: one of FORMATS; None takes the ending of the output's name.
        output: the file, or STANDARD_OUTPUT.
        is_forced: replace the file if there is one.
    """

    experiment: str
    where: str | None
    order_by: str | None
    format: str | None
    output: Path
    is_forced: bool


def run_export(client: Client, export: Export, *, as_json: bool) -> None:
    """Write the runs of an experiment into a file, and say how many.

    Raises:
        click.ClickException: the file exists, cannot be written, or its format needs a package.
        ClientError: the service refuses the question or cannot be reached.
    """
    kind = _format_of(export)
    if export.output == STANDARD_OUTPUT:
        count, size = _write_standard_output(client, export, kind)
        with contextlib.suppress(OSError):  # the runs are out; nobody has to hear how many
            click.echo(_summary(client, export, (kind, count, size), as_json=as_json), err=True)
        return
    # Through links: what is replaced is the file they lead to.
    output = Path(os.path.realpath(export.output))
    try:
        _check_place(output, is_forced=export.is_forced)
        count = _write(client, export, kind, output)
    except OSError as exc:
        raise click.ClickException(
            f"{export.output} cannot be written: {exc.strerror or exc}"
        ) from exc
    echo(_summary(client, export, (kind, count, output.stat().st_size), as_json=as_json))


def _summary(client: Client, export: Export, done: tuple[str, int, int], *, as_json: bool) -> str:
    """Say what was written: its format, how many runs, how many bytes."""
    kind, count, size = done
    if not as_json:
        where = "standard output" if export.output == STANDARD_OUTPUT else export.output
        return f"{count} runs exported to {where}, {decimal(size)}"
    told = {"experiment": export.experiment, "runs": count, "format": kind}
    if client.as_of is not None:
        told["as_of"] = client.as_of
    return orjson.dumps({**told, "output": str(export.output), "bytes": size}).decode()


def _format_of(export: Export) -> str:
    kind = export.format or export.output.suffix.removeprefix(".").lower()
    is_standard_output = export.output == STANDARD_OUTPUT
    if is_standard_output and export.format is None:
        raise click.ClickException(
            f"standard output has no name that tells a format; give --format {', '.join(FORMATS)}"
        )
    if is_standard_output and kind == "parquet" and sys.stdout.isatty():
        raise click.ClickException(
            "Parquet is no text and is not written to a terminal; direct standard output to a "
            "file or a program, or give --format csv"
        )
    if kind not in FORMATS:
        raise click.ClickException(
            f"{export.output} does not end in one of {', '.join(FORMATS)}; give --format"
        )
    if kind == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise click.ClickException("Parquet needs pyarrow; pip install 'trialog[parquet]'")
    return kind


def _check_place(output: Path, *, is_forced: bool) -> None:
    """Refuse a place that no file can be put in, before anything is asked."""
    if not output.parent.is_dir():
        raise click.ClickException(f"there is no folder {output.parent}; make it first")
    if output.exists() and not output.is_file():
        raise click.ClickException(f"{output} is no file; give the name of one")
    if output.exists() and not is_forced:
        raise _taken(output)


def _taken(output: Path) -> click.ClickException:
    return click.ClickException(f"{output} exists; give another name, or --force to replace it")


def _write(client: Client, export: Export, kind: str, output: Path) -> int:
    """Write all runs and put the file in place; return how many they are."""
    part = output.with_name(f".trialog-export-{uuid.uuid4().hex[:8]}.part")
    try:
        with _signals_raise(), part.open("xb") as file, _progress() as show:
            count = _write_runs(file, kind, _runs(client, export, show))
            file.flush()
            os.fsync(file.fileno())
        _put(part, output, is_forced=export.is_forced)
    finally:
        part.unlink(missing_ok=True)
    return count


def _write_standard_output(client: Client, export: Export, kind: str) -> tuple[int, int]:
    """Write all runs to standard output; return how many they are, and how many bytes."""
    try:
        with tempfile.NamedTemporaryFile(prefix="trialog-export-") as file, _progress() as show:
            count = _write_runs(file, kind, _runs(client, export, show))
            size = file.tell()
            file.seek(0)
            copy(file)
    except OSError as exc:
        raise click.ClickException(
            f"{tempfile.gettempdir()} cannot be written: {exc.strerror or exc}; name another "
            "folder for what is not whole yet in TMPDIR"
        ) from exc
    return count, size


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Have signals that end the process raise, so that what is half-written is removed first."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)  # what a shell says of a process that a signal ended

    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread may set handlers, and none is needed where nobody sends signals
        return
    before = {number: signal.signal(number, end) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_runs(file: IO[bytes], kind: str, runs: Iterator[RunAnswer]) -> int:
    count = _Counter()
    if kind == "json":
        write_json(file, count.through(runs))
        return count.value
    # The columns are known when all runs are: meanwhile these are on the disk, not in memory.
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as kept:
        columns = Columns()
        for run in count.through(runs):
            columns.note(run)
            kept.write(orjson.dumps(run) + b"\n")
        kept.seek(0)
        again: Iterator[RunAnswer] = (orjson.loads(line) for line in kept)
        (write_csv if kind == "csv" else write_parquet)(file, again, columns)
    return count.value


class _Counter:
    """Counts what goes through."""

    def __init__(self) -> None:
        self.value = 0

    def through(self, runs: Iterator[RunAnswer]) -> Iterator[RunAnswer]:
        for run in runs:
            self.value += 1
            yield run


def _runs(client: Client, export: Export, show: Callable[[int, int], None]) -> Iterator[RunAnswer]:
    """Yield the runs, one request a page, and show how many of how many there are."""
    seen = 0
    for page in search_pages(client, export.experiment, (export.where, export.order_by), None):
        yield from page["runs"]
        seen += len(page["runs"])
        show(seen, page["total"])


def _put(part: Path, output: Path, *, is_forced: bool) -> None:
    """Give the complete file its name; without force never in the place of another."""
    if is_forced:
        part.replace(output)
        return
    try:
        output.hardlink_to(part)
    except FileExistsError as exc:  # somebody has made it meanwhile
        raise _taken(output) from exc
    except OSError as exc:  # a file system without hard links
        if output.exists():
            raise _taken(output) from exc
        part.replace(output)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Give what shows the progress: a bar on a terminal, and else nothing."""
    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda _seen, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("runs", total=None)
        yield lambda seen, total: progress.update(task, completed=seen, total=max(seen, total))
