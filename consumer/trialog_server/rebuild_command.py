"""What `trialog rebuild` shows and says; the rebuild itself is in `project/rebuild.py`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trialog.output import echo
from trialog_server.project.lost_tails import EventsLostError
from trialog_server.project.rebuild import rebuild
from trialog_server.stores import beside_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialog_server.project.rebuild import Way
    from trialog_server.settings import ServerSettings


async def run_rebuild(
    settings: ServerSettings, way: Way, *, accepts_loss: bool, as_json: bool
) -> None:
    """Rebuild the read model of a service and say what came of it.

    Args:
        settings: where its data is.
        way: how; see `rebuild`.
        accepts_loss: likewise.
        as_json: print one JSON object instead of a sentence.
    """
    try:
        async with beside_service(settings) as (dsn, log):
            with progress("records") as tell:
                done = await rebuild(dsn, log, tell, way=way, accepts_loss=accepts_loss)
    except EventsLostError as exc:
        lines = exc.loss.lines(is_back=way == "back")
        for line in (orjson.dumps({"loss": exc.loss.json()}),) if as_json else lines:
            echo(line, status=1)
        raise
    if as_json:
        echo(
            orjson.dumps(
                {
                    "generation": done.generation,
                    "replaced": done.replaced,
                    "records": done.records,
                    "loss": done.loss.json(),
                }
            )
        )
    else:
        for line in done.loss.lines(is_back=way == "back"):
            echo(line)
        echo(
            f"generation {done.generation} is live, made of {done.records} records; generation "
            f"{done.replaced} is kept: `trialog rebuild --back` returns to it"
        )


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give what shows progress on standard error: a bar on a terminal, else a line each tenth."""
    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        said: set[int] = set()

        def tell(done: int, total: int) -> None:
            tenths = 10 * done // max(total, 1)
            if tenths not in said:
                said.add(tenths)
                click.echo(f"trialog: {done} of {total} {what}", err=True)

        yield tell
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
