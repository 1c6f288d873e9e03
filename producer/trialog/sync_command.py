"""What `trialog sync` shows while it sends what dead processes left, and what it says of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from trialog.adoption import sync_spools
from trialog.output import echo
from trialog.spool_folder import writer_folders
from trialog_schemas.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialog.adoption import SpoolReport
    from trialog.settings import Endpoint

REFUSALS_SHOWN_MAX = 5
"""Refusals of one spool that are shown in full; all are kept beside it."""


def check_spool_dir(endpoint: Endpoint, *, is_given: bool) -> None:
    """Raise ValidationError for what is no folder of ours: it would look like an empty one.

    Args:
        endpoint: where the spools are.
        is_given: the caller named the folder; without that it may not exist yet.
    """
    path = endpoint.spool_dir
    try:
        os.scandir(path).close()
    except FileNotFoundError:
        if not is_given:
            return
        wrong = "does not exist"
    except NotADirectoryError:
        wrong = "is no folder"
    except OSError as exc:
        wrong = f"cannot be read: {exc.strerror}"
    else:
        return
    raise ValidationError(
        f"spool_dir {str(path)!r} {wrong}; give the folder that the programs log with",
        field="spool_dir",
        value=path,
        limit="an existing folder",
    )


def run_sync(endpoint: Endpoint, *, is_moved: bool, as_json: bool) -> bool:
    """Send the spools of dead processes; return False when somebody should look at some.

    What was recorded for another address is no failure of this sync, nor is what an earlier one
    has kept and said.

    Args:
        endpoint: where they are sent, and where they are.
        is_moved: also send what was recorded for another address.
        as_json: print one JSON object instead of lines.
    """
    with _progress(endpoint) as watch:
        reports = asyncio.run(sync_spools(endpoint, watch, is_moved=is_moved))
    is_clean = all(report.is_clean for report in reports)
    status = 0 if is_clean else 1
    if as_json:
        echo(orjson.dumps(_summary(endpoint, reports)), status=status)
    else:
        for report in reports:
            for line in _lines(report):
                echo(line, status=status)
        echo(_total(endpoint, reports), status=status)
    return is_clean


@contextlib.contextmanager
def _progress(endpoint: Endpoint) -> Iterator[Callable[[SpoolReport], None]]:
    """Give what shows the progress: a bar on a terminal, and else a line for each spool."""
    console = Console(stderr=True, highlight=False, markup=False)
    total = sum(1 for _ in writer_folders(endpoint.spool_dir))
    if not console.is_terminal:
        seen: set[str] = set()

        def tell(report: SpoolReport) -> None:
            is_sent_here = report.run and report.outcome != "elsewhere"
            if is_sent_here and report.path.name not in seen:
                seen.add(report.path.name)
                click.echo(f"spool {len(seen)} of {total}: sending {report.run}", err=True)

        yield tell
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking", total=total)
        paths: dict[str, None] = {}

        def show(report: SpoolReport) -> None:
            paths[report.path.name] = None
            text = f"{report.run or report.path.name} {decimal(report.bytes_sent)}"
            progress.update(task, description=text, completed=len(paths))

        yield show


def _lines(report: SpoolReport) -> Iterator[str]:
    """Yield what people should know of one spool; nothing of those whose process lives."""
    name = report.run or report.path.name
    if report.outcome == "alive":
        return
    if report.outcome == "elsewhere":
        yield (
            f"{name}: was recorded for {report.address} and stays; sync it with that address, or "
            "with --moved if that service is now here"
        )
        return
    for lost in report.lost:
        yield (
            f"{name}: segment {lost.segment} is damaged: {lost.damage.size} bytes from "
            f"{lost.damage.start} on cannot be read; what is whole was sent"
        )
    for refusal in report.refusals[:REFUSALS_SHOWN_MAX]:
        yield f"{name}: refused: {refusal}"
    if len(report.refusals) > REFUSALS_SHOWN_MAX:
        yield f"{name}: and {len(report.refusals) - REFUSALS_SHOWN_MAX} refusals more"
    is_still_kept = report.outcome == "kept" and not report.bytes_sent
    ending = _STILL_KEPT if is_still_kept else _ENDINGS[report.outcome]
    yield f"{name}: {ending.format(report=report)}"


_STILL_KEPT = "kept, nothing was sent; what is damaged or refused is in {report.path}"

_ENDINGS = {
    "sent": "sent, {report.bytes_sent} bytes",
    "kept": "kept, {report.bytes_sent} bytes were sent; what is damaged or refused is in "
    "{report.path}",
    "unconfirmed": "sent, {report.bytes_sent} bytes; nobody says that it is applied, so it stays "
    "until the next sync",
    "left": "left: {report.reason}",
}


def _total(endpoint: Endpoint, reports: list[SpoolReport]) -> str:
    counts = _counts(reports)
    said = f"{counts['sent']} spools sent, {counts['left']} left in {endpoint.spool_dir}"
    if counts["kept"]:
        said += f"; {counts['kept']} kept there, damaged or refused"
    if counts["elsewhere"]:
        said += f"; {counts['elsewhere']} there for other addresses, no matter of this sync"
    return said


def _summary(endpoint: Endpoint, reports: list[SpoolReport]) -> dict[str, object]:
    return {
        **_counts(reports),
        "spool_dir": str(endpoint.spool_dir),
        "spools": [_report_json(report) for report in reports],
    }


def _counts(reports: list[SpoolReport]) -> dict[str, int]:
    """Return how many spools came to each end; an unconfirmed one is left."""
    outcomes = Counter("left" if one.outcome == "unconfirmed" else one.outcome for one in reports)
    return {end: outcomes[end] for end in ("sent", "kept", "left", "elsewhere", "alive")}


def _report_json(report: SpoolReport) -> dict[str, object]:
    return {
        "path": str(report.path),
        "run": report.run,
        "outcome": report.outcome,
        "address": report.address,
        "bytes_sent": report.bytes_sent,
        "damages": [
            {"segment": lost.segment, "start": lost.damage.start, "bytes": lost.damage.size}
            for lost in report.lost
        ],
        "refusals": report.refusals,
        "reason": report.reason,
    }
