"""The command `demo`: an embedded service of its own, a real search that logs to it, until Ctrl-C.

The service is the one of `up`; the search is a program in a session of its own. It is ended first,
so that what it logs last still arrives. Must not know what the search does.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trialog_schemas.errors import UnavailableError
from trialog_server.commands import (
    DataFolder,
    hold_data_dir,
    plain_errors,
    port_option,
    run,
    say,
    say_ready,
)
from trialog_server.settings import ServerSettings, default_data_dir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

SEARCH_STOP_S = 6.0
"""How long the search may take to end its runs before it is killed."""

_PACKAGES = {"matplotlib": "matplotlib", "pandas": "pandas", "sklearn": "scikit-learn"}
"""What the search imports, and what it is called in an installation."""


@click.command()
@click.option(
    "--data-dir",
    type=DataFolder(),
    help="folder of the demo  [default: `demo` in TRIALOG_DATA_DIR or the user's data folder]",
)
@port_option
@click.option(
    "--trials", type=click.IntRange(1, 10_000), default=24, show_default=True, help="runs to make"
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=4, show_default=True, help="runs at a time"
)
def demo(data_dir: Path | None, port: int | None, trials: int, processes: int) -> None:
    """Run a real hyper-parameter search on an embedded service and keep serving.

    Its data has a folder of its own, beside the user's. Ctrl-C ends it.
    """
    _need_packages()
    folder = data_dir or _default_folder(os.environ)
    # What the shell names is the user's real service; nothing of the demo may go there.
    for name in [name for name in os.environ if name.startswith("TRIALOG_")]:
        del os.environ[name]
    with plain_errors(), hold_data_dir(folder):
        arguments = ["--spool-dir", str(folder / "spool")]
        arguments += ["--trials", str(trials), "--processes", str(processes)]
        say(f"starting the service in {folder}")
        run(lambda: run_demo(ServerSettings(data_dir=folder, port=port), arguments))
        say("stopped")


def _default_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("TRIALOG_DATA_DIR") or default_data_dir()) / "demo"


def _need_packages() -> None:
    missing = [name for module, name in _PACKAGES.items() if not importlib.util.find_spec(module)]
    if missing:
        raise click.ClickException(
            f"`trialog demo` needs {', '.join(missing)}; pip install 'trialog[demo]'"
        )


async def run_demo(settings: ServerSettings, search_arguments: Sequence[str]) -> None:
    """Serve, search, and go on serving until SIGINT or SIGTERM.

    Raises:
        click.ClickException: the search ended without a result.
    """
    from trialog_server.processes import run_up  # noqa: PLC0415
    from trialog_server.stopping import stop_on_signals  # noqa: PLC0415

    told, stop = stop_on_signals(), asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    service = asyncio.create_task(run_up(settings, ready.set_result, stop))
    is_told = asyncio.create_task(told.wait())
    try:
        await _first(ready, service, is_told)
        if ready.done() and not told.is_set():
            await _search(ready.result(), settings.data_dir, search_arguments, (service, is_told))
        if ready.done() and not told.is_set() and not service.done():
            say_ready(ready.result())
            await _first(service, is_told)
    finally:
        stop.set()
        await _ended(service, told)


async def _ended(service: asyncio.Task[None], told: asyncio.Event) -> None:
    try:
        await service
    except UnavailableError:
        # The terminal's Ctrl-C also ended the program that makes the database.
        if not told.is_set():
            raise


async def _first(*waiting: asyncio.Future[Any]) -> None:
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


async def _search(
    url: str,
    folder: Path,
    arguments: Sequence[str],
    until: tuple[asyncio.Task[None], asyncio.Task[bool]],
) -> None:
    """Run the search to its end, or until the service ends or we are told to."""
    async with _started_search(url, folder, arguments) as search:
        ended = asyncio.create_task(search.wait())
        await _first(ended, *until)
        if ended.done() and ended.result() != 0 and not any(task.done() for task in until):
            raise click.ClickException(
                f"the search ended with status {ended.result()}; what it says is above"
            )


@contextlib.asynccontextmanager
async def _started_search(
    url: str, folder: Path, arguments: Sequence[str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the search; afterwards nothing of it runs on.

    In a session of its own the terminal's Ctrl-C does not reach it: we pass the word on, so that
    it comes once and is not answered while the search is still starting.
    """
    # A thread a process: four of them would otherwise fight over two cores.
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    search = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trialog_server.digits_search",
        *("--url", url, "--until-parent-ends"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, **one_thread, "MPLCONFIGDIR": str(folder / "matplotlib")},
        start_new_session=True,
    )
    try:
        yield search
    finally:
        if search.returncode is None:
            search.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(search.wait(), SEARCH_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(search.pid, signal.SIGKILL)
        await search.wait()
