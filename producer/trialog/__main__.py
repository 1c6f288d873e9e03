"""The command `trialog`: questions here, the service's commands through entry points."""

from __future__ import annotations

import contextlib
import io
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.table import Table

from trialog.as_of import as_of_text
from trialog.client import Client, number
from trialog.compare import check_tag_keys, search_runs
from trialog.experiment import check_page
from trialog.export_formats import FORMATS
from trialog.output import CLOSED, drop_output, echo, escape_unknown_characters, lost
from trialog.settings import Session
from trialog_schemas import names
from trialog_schemas.errors import TrialogError, did_you_mean
from trialog_schemas.limits import PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trialog.answers import ArtifactAnswer, RunAnswer, SummaryAnswer
    from trialog.settings import Endpoint
    from trialog_schemas.names import ParameterValue

_LANGUAGE = """\b
A filter is FIELD OPERATOR VALUE, and further ones after `and`; there is no
`or`, `not`, `in` and no brackets. An order is FIELD, then ASC or DESC.
FIELD: params.NAME, tags.NAME, metrics.NAME[.last|.min|.max|.mean|.count],
status, run_name, creation_time, start_time, end_time; odd names in quotes.
OPERATOR: = != < <= > >= like (% is any text, _ one character).
VALUE: a number, nan, inf, -inf, true, false, null, a text or time in quotes.
"""
"""What `--filter` and `--order-by` take; the service reads it (`read/run_filter.py` there)."""

_PRINTED_BY_CLICK = {"--help", "--version"}
"""With these nothing is done but to print, and click does that."""

COMMANDS_GROUP = "trialog.commands"
"""Entry points under this name are commands: that is how `trialog[server]` adds `up` and others."""


class _Commands(click.Group):
    """Our own commands, and those that installed packages bring; each is loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, sorted."""
        brought = {entry.name for entry in entry_points(group=COMMANDS_GROUP)}
        return sorted({*super().list_commands(ctx), *brought})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of ours or of an installed package."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for entry in entry_points(group=COMMANDS_GROUP, name=cmd_name):
            try:
                command: click.Command = entry.load()
            except ModuleNotFoundError as exc:
                raise click.ClickException(
                    f"`trialog {cmd_name}` needs {exc.name}; pip install 'trialog[server]'"
                ) from exc
            return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, with a hint where a name nearly fits."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            hint = did_you_mean(args[0], self.list_commands(ctx)) if args else ""
            raise click.UsageError(f"{exc.message.rstrip('.')}{hint}", ctx) from exc


@click.group(cls=_Commands)
@click.version_option(package_name="trialog")
def cli() -> None:
    """Track experiments: start the service and ask it."""


def _name(_ctx: click.Context, parameter: click.Parameter, name: str) -> str:
    """Refuse what can be no part of an address; whether the name exists the service knows."""
    if not name or "/" in name:
        raise click.BadParameter(
            f"{name!r} is no name; it has at least one character and no slash", param=parameter
        )
    return name


_experiment = click.argument("experiment", callback=_name)
_run = click.argument("run", callback=_name)
_json = click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
_as_of = click.option(
    "--as-of", "as_of", help="as it was at a time, or when positions like events:3:17 were newest"
)
_url = click.option("--url", help="address of the service  [default: TRIALOG_URL]")


@cli.command("list")
@click.argument("experiment", required=False)
@click.option("--sort-by", default="CreationTime", show_default=True)
@click.option("--sort-order", default="Descending", show_default=True)
@click.option("--max-results", default=PAGE_MAX, show_default=True, type=int)
@click.option("--next-token", help="where the page before ended, as its JSON says")
@_as_of
@_url
@_json
def list_things(
    experiment: str | None,
    next_token: str | None,
    as_of: str | None,
    url: str | None,
    *,
    as_json: bool,
    **page: str | int,
) -> None:
    """List experiments, or the runs of EXPERIMENT."""
    with _plain_errors():
        client = Client(_endpoint(url), as_of=as_of_text(as_of))
        question = {
            **check_page(page["sort_by"], page["sort_order"], page["max_results"]),
            "next_token": next_token,
        }
        if experiment is None:
            found = client.experiments(question)
            rows = [
                (one["experiment_name"], one["run_count"], one["creation_time"], one["description"])
                for one in found["experiments"]
            ]
            _print(found, ("experiment", "runs", "created", "description"), rows, as_json=as_json)
            return
        runs = client.runs(names.check_experiment_name(experiment), question)
        columns = ("run", "status", "created", "parameters", "metrics", "points", "rejected")
        _print(runs, columns, [_run_row(run) for run in runs["runs"]], as_json=as_json)


@cli.command("compare", epilog=_LANGUAGE)
@_experiment
@click.option("--filter", "where", help="params.lr > 0.1 and metrics.loss.min < 0.5")
@click.option("--order-by", help="metrics.accuracy DESC")
@click.option("--max-results", type=click.IntRange(1), help="rows at most  [default: all]")
@click.option("--tag", "tags", multiple=True, help="a tag to show too; may be repeated")
@_as_of
@_url
@_json
def compare_runs(
    experiment: str,
    max_results: int | None,
    tags: tuple[str, ...],
    url: str | None,
    *,
    as_json: bool,
    **question: str | None,
) -> None:
    """Compare the runs of EXPERIMENT side by side.

    One row a run: its parameters, then the last value of each metric.
    """
    with _plain_errors():
        name, keys = names.check_experiment_name(experiment), check_tag_keys(tags)
        asked = question["where"], question["order_by"]
        client = Client(_endpoint(url), as_of=as_of_text(question["as_of"]))
        runs = list(search_runs(client, name, asked, max_results))
        parameters = list(dict.fromkeys(key for run in runs for key in run["parameters"]))
        metrics = list(dict.fromkeys(key for run in runs for key in run["metrics"]))
        rows = [_compare_row(run, keys, parameters, metrics) for run in runs]
        _print(runs, ("run", "status", *keys, *parameters, *metrics), rows, as_json=as_json)
        if client.as_of is not None and not as_json:
            echo(f"as of {client.as_of}")


@cli.command(epilog=_LANGUAGE)
@_experiment
@click.option("--format", "kind", type=click.Choice(FORMATS), help="[default: OUTPUT's ending]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="the file to write; - is standard output",
)
@click.option("--filter", "where", help="params.lr > 0.1 and metrics.loss.min < 0.5")
@click.option("--order-by", help="metrics.accuracy DESC")
@click.option("--force", is_flag=True, help="replace OUTPUT if it exists")
@_as_of
@_url
@_json
def export(
    experiment: str,
    output: Path,
    url: str | None,
    *,
    force: bool,
    as_json: bool,
    **asked: str | None,
) -> None:
    """Export the runs of EXPERIMENT into a file.

    CSV and Parquet have a row for each run: its parameters, the last value of each metric, its
    tags. JSON has all that the service answers of each.
    """
    from trialog.export_command import Export, run_export  # noqa: PLC0415  the others need none

    with _plain_errors():
        name = names.check_experiment_name(experiment)
        wanted = Export(
            name, asked["where"], asked["order_by"], asked["kind"], output, is_forced=force
        )
        client = Client(_endpoint(url), as_of=as_of_text(asked["as_of"]))
        run_export(client, wanted, as_json=as_json)


@cli.command()
@_experiment
@_run
@_as_of
@_url
@_json
def show(experiment: str, run: str, as_of: str | None, url: str | None, *, as_json: bool) -> None:
    """Show everything of one run.

    That is status and times, tags, parameters, metric summaries, artifacts, and how many events
    were refused; with --json all that the service answers.
    """
    with _plain_errors():
        answer = Client(_endpoint(url), as_of=as_of_text(as_of)).run(experiment, run)
        if as_json:
            _print_json(answer)
            return
        rows: list[tuple[object, ...]] = [
            ("run_name", answer["run_name"]),
            ("experiment_name", answer["experiment_name"]),
            ("status", _status(answer)),
            ("failure_message", answer["failure_message"]),
            ("run_id", answer["run_id"]),
            ("creation_time", answer["creation_time"]),
            ("start_time", answer["start_time"]),
            ("end_time", answer["end_time"]),
            ("last_event_time", answer["last_event_time"]),
        ]
        rows += [(f"tag {name}", value) for name, value in answer["tags"].items()]
        rows += [(f"parameter {name}", _value(it)) for name, it in answer["parameters"].items()]
        rows += [(f"metric {name}", _summary(one)) for name, one in answer["metrics"].items()]
        rows += [(f"artifact {one['name']}", _content(one)) for one in answer["artifacts"]]
        rows += [("as_of", answer["as_of"])] if "as_of" in answer else []
        rows.append(("rejected", answer["rejected_count"]))
        rows.append(("missing", answer["missing_count"]))
        _print_table(("what", "value"), rows)


@cli.command()
@_experiment
@_run
@_url
@_json
def events(experiment: str, run: str, url: str | None, *, as_json: bool) -> None:
    """Show the events of a run as they are in the log.

    Accepted and refused ones, in order. With --json it prints one event a line.
    """
    with _plain_errors():
        client = Client(_endpoint(url))
        found = client.events(client.run(experiment, run)["run_id"])
        if as_json:
            for event in found:
                _print_json(event)
            return
        rows = [
            (one["position"], one["log_time"], one["user"], one["seq"], one["type"], one["verdict"])
            for one in found
        ]
        _print_table(("position", "log time", "user", "seq", "type", "verdict"), rows)


@cli.command()
@click.option("--spool-dir", help="folder of the spools  [default: TRIALOG_SPOOL_DIR]")
@click.option("--kafka", help="brokers, to send to Kafka directly  [default: TRIALOG_KAFKA]")
@click.option("--moved", is_flag=True, help="also send what was recorded for another address")
@_url
@_json
def sync(
    spool_dir: str | None, kafka: str | None, url: str | None, *, moved: bool, as_json: bool
) -> None:
    """Send what dead processes left in the spool; living ones are left alone.

    The exit status is 1 when something was left, or was found damaged or refused. Spools recorded
    for other addresses are named and stay, and are no failure; nor is what an earlier sync kept.
    """
    # Only here: the other commands need no sender.
    from trialog.sync_command import check_spool_dir, run_sync  # noqa: PLC0415

    with _plain_errors():
        endpoint = Session(url=url, kafka=kafka, spool_dir=spool_dir).resolve()
        check_spool_dir(endpoint, is_given=spool_dir is not None)
        if not run_sync(endpoint, is_moved=moved, as_json=as_json):
            sys.exit(1)


def main() -> None:
    """Run the command line."""
    if sys.stdout is None:
        sys.exit(f"Error: {CLOSED}")
    escape_unknown_characters()
    try:
        cli(prog_name="trialog")
    except OSError as exc:
        if not _PRINTED_BY_CLICK & set(sys.argv):
            raise
        drop_output()
        sys.exit(f"Error: {lost(exc)}")


def _endpoint(url: str | None) -> Endpoint:
    return Session(url=url).resolve()


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what trialog raises on purpose into one line and exit status 1."""
    try:
        yield
    except TrialogError as exc:
        raise click.ClickException(exc.message) from exc


def _print(
    answer: object, columns: Sequence[str], rows: Sequence[tuple[object, ...]], *, as_json: bool
) -> None:
    if as_json:
        _print_json(answer)
        return
    _print_table(columns, rows)
    total = answer.get("total") if isinstance(answer, dict) else None
    if isinstance(total, int) and total > len(rows):
        echo(f"{len(rows)} of {total}")
    if isinstance(answer, dict) and "as_of" in answer:
        echo(f"as of {answer['as_of']}")


def _print_json(value: object) -> None:
    echo(orjson.dumps(value))


def _print_table(columns: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else _printable(str(cell)) for cell in row))
    # A table that goes into a file or a pipe is not folded at a width nobody has.
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    printed = io.StringIO()
    width = None if is_terminal else 10_000
    Console(
        file=printed, force_terminal=is_terminal, width=width, highlight=False, markup=False
    ).print(table)
    echo(printed.getvalue().removesuffix("\n"))


def _printable(text: str) -> str:
    """Escape what would steer the terminal or break the table's lines; names may hold anything."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _value(parameter: ParameterValue) -> str:
    """Return a parameter as the page shows it: text as it is, all else as JSON."""
    return parameter if isinstance(parameter, str) else orjson.dumps(parameter).decode()


def _summary(one: SummaryAnswer) -> str:
    numbers = ", ".join(f"{key} {number(one[key]):.6g}" for key in ("last", "min", "max"))
    return f"{numbers}, {one['count']} points"


def _content(one: ArtifactAnswer) -> str:
    """Return what an artifact is; a model is somewhere else, and its size is not known."""
    if one["kind"] == "model":
        return f"model at {one['uri']}"
    return f"{one['media_type']}, {one['size']} bytes"


def _status(run: RunAnswer) -> str:
    return f"{run['status']} (stale)" if run["is_stale"] else run["status"]


def _run_row(run: RunAnswer) -> tuple[object, ...]:
    return (
        run["run_name"],
        _status(run),
        run["creation_time"],
        len(run["parameters"]),
        len(run["metrics"]),
        run["points"],
        run["rejected_count"],
    )


def _compare_row(
    run: RunAnswer, tags: Sequence[str], parameters: Sequence[str], metrics: Sequence[str]
) -> tuple[object, ...]:
    known = run["parameters"]
    found = [_value(known[name]) if name in known else None for name in parameters]
    summaries = [run["metrics"].get(name) for name in metrics]
    last = [None if one is None else f"{number(one['last']):.6g}" for one in summaries]
    told = [run["tags"].get(key) for key in tags]
    return (run["run_name"], _status(run), *told, *found, *last)


if __name__ == "__main__":
    main()
