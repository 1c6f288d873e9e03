"""The commands that read, as a user runs them: tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.senders import end_sender
from tests.services.ports import free_port
from trialog.__main__ import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.trialog import TrialogService

RUN_TIMEOUT_S = 30.0
PARAMETERS = 290
"""So many events that a run's audit view is longer than a pipe holds (64 KiB) and than a page."""

READERS = ("list", "compare", "show", "events")


class CommandLine:
    """`trialog` against one service."""

    def __init__(self, url: str, experiment: str = "") -> None:
        self.environment = {**os.environ, "TRIALOG_URL": url, "COLUMNS": "100"}
        self.experiment = experiment

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_TIMEOUT_S,
        )

    def say(self, *arguments: str) -> str:
        """Run a command that must succeed without a complaint; return what it prints."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def complain(self, *arguments: str) -> str:
        """Run a command that must fail with one line; return that line."""
        done = self.run(*arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        (line,) = done.stderr.splitlines()
        return line

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The whole command with its interpreter."""
        return [sys.executable, "-m", "trialog", *arguments]


@pytest.fixture(scope="module")
def filled(
    service: TrialogService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CommandLine]:
    """A service with an experiment of two runs; one has many parameters and a failure."""
    spool_dir = tmp_path_factory.mktemp("spool")
    session = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=spool_dir)
    experiment = f"command-line-{uuid.uuid4().hex[:8]}"
    with trialog.Run(experiment, "good", session, tags={"team": "red"}) as good:
        good.log_parameters({"lr": 0.1, "optimizer": "adam", "layers": [64, 32]})
        good.log_parameter("steering", "\x1b[31mred\nnext line")
        for step, value in enumerate((0.5, math.nan, 0.9)):
            good.log_metric("validation:accuracy", value, step)
        good.log_artifact("notes.txt", "hello")
        good.log_model("s3://models/digits.pkl", framework="sklearn")
        good.wait()
    with pytest.raises(MemoryError):
        log_until_it_fails(experiment, session)
    yield CommandLine(service.url, experiment)
    end_sender(session)


def log_until_it_fails(experiment: str, session: trialog.Session) -> None:
    """Log a run with many events whose block ends by an exception."""
    with trialog.Run(experiment, "failed", session) as run:
        for number in range(PARAMETERS):
            run.log_parameter(f"p{number}", "x" * 100)
        run.wait()
        raise MemoryError("out of memory")


# L3
@ON_ONE_LOG
def test_list_shows_experiments_and_runs(filled: CommandLine) -> None:
    """Without a name the experiments, with one its runs with their counts."""
    experiments = filled.say("list")
    assert experiments.split("\n", 1)[0].split() == ["experiment", "runs", "created", "description"]
    assert filled.experiment in experiments

    heads, failed, good = filled.say("list", filled.experiment).splitlines()
    assert heads.split()[:3] == ["run", "status", "created"]
    assert failed.split()[:2] == ["failed", "Failed"]
    assert good.split()[0::1][-4:] == ["4", "1", "3", "0"]  # parameters, metrics, points, rejected


# F4
@ON_ONE_LOG
def test_list_goes_on_where_the_page_before_ended(filled: CommandLine) -> None:
    """A page says how much there is, and its JSON where the next one begins."""
    first = filled.say("list", filled.experiment, "--max-results", "1")
    token = json.loads(filled.say("list", filled.experiment, "--max-results", "1", "--json"))

    assert first.endswith("1 of 2\n")
    rest = filled.say("list", filled.experiment, "--next-token", token["next_token"])
    assert "good" in rest
    assert "failed" not in rest


# F7 F9
@ON_ONE_LOG
def test_compare_puts_runs_side_by_side(filled: CommandLine) -> None:
    """Parameters and last values are columns; filter and order are the service's."""
    table = filled.say("compare", filled.experiment, "--filter", "params.lr < 1")
    heads, row = table.splitlines()

    assert heads.split() == [
        "run", "status", "layers", "lr", "optimizer", "steering", "validation:accuracy",
    ]  # fmt: skip
    assert row.split()[:5] == ["good", "Completed", "[64,32]", "0.1", "adam"]
    assert row.split()[-1] == "0.9"


@ON_ONE_LOG
def test_show_tells_everything_of_a_run(filled: CommandLine) -> None:
    """One line a thing: status, tags, parameters, summaries, artifacts, refusals."""
    shown = filled.say("show", filled.experiment, "good")
    lines = {line.rsplit("  ", 1)[0].strip(): line.rsplit("  ", 1)[1] for line in lines_of(shown)}

    assert lines["status"] == "Completed"
    assert lines["tag team"] == "red"
    assert lines["parameter layers"] == "[64,32]"
    assert lines["metric validation:accuracy"] == "last 0.9, min 0.5, max 0.9, 3 points"
    assert lines["artifact notes.txt"] == "text/plain, 5 bytes"
    assert lines["artifact models/digits.pkl"] == "model at s3://models/digits.pkl"
    failed = filled.say("show", filled.experiment, "failed")
    assert "out of memory" in failed


def lines_of(table: str) -> list[str]:
    """The lines of a two-column table that have a value, without the padding at their ends."""
    return [line.rstrip() for line in table.splitlines() if "  " in line.rstrip()]


@ON_ONE_LOG
def test_tables_show_control_characters_escaped(filled: CommandLine) -> None:
    """A value cannot steer the terminal of who looks at it, nor break the lines of the table."""
    for command in (("compare", filled.experiment), ("show", filled.experiment, "good")):
        table = filled.say(*command)
        assert "\x1b" not in table
        assert "\\x1b[31mred\\nnext line" in table


# K7
def test_events_shows_the_log_of_a_run(filled: CommandLine) -> None:
    """Every event in order, over all pages, with where it lies and what the rules said."""
    lines = filled.say("events", filled.experiment, "failed", "--json").splitlines()
    events = [json.loads(line) for line in lines]
    table = filled.say("events", filled.experiment, "failed")

    kinds = [event["type"] for event in events]
    assert kinds.count("parameters_logged") == PARAMETERS
    assert (kinds[0], kinds[-1]) == ("run_created", "run_ended")
    assert {event["verdict"] for event in events} == {"accepted"}
    assert [line.split()[0] for line in table.splitlines()[1:]] == [
        event["position"] for event in events
    ]


# L3
@ON_ONE_LOG
@pytest.mark.parametrize("command", READERS)
def test_json_of_every_command_parses(filled: CommandLine, command: str) -> None:
    """With --json each command prints JSON and nothing else, NaN as a text that says so."""
    arguments = {"show": ("good",), "events": ("good",)}.get(command, ())
    printed = filled.say(command, filled.experiment, *arguments, "--json")

    answers = [json.loads(line, parse_constant=pytest.fail) for line in printed.splitlines()]
    assert answers
    assert "good" in printed


@ON_ONE_LOG
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "{}x"), "experiment '{}x' does not exist; did you mean '{}'?"),
        (("compare", "{}x"), "experiment '{}x' does not exist; did you mean '{}'?"),
        (("show", "{}x", "good"), "experiment '{}x' does not exist; did you mean '{}'?"),
        (("show", "{}", "goood"), "experiment '{}' has no run 'goood'"),
        (("events", "{}", "goood"), "experiment '{}' has no run 'goood'"),
        (("compare", "{}", "--filter", "params.lr >"), "filter 'params.lr >' cannot be read"),
        (("list", "--sort-by", "Nam"), "sort_by is 'Nam', allowed are CreationTime, Name"),
        (("list", "--max-results", "101"), "max_results is 101, allowed are"),
        (("list", "--next-token", "zzz"), "next_token"),
        (("list", "a b"), "experiment name 'a b' has a character outside"),
        (("list", "--url", "ftp://x"), "url 'ftp://x' does not begin with http://"),
    ],
)
def test_mistake_is_one_line(filled: CommandLine, arguments: tuple[str, ...], message: str) -> None:
    """What cannot be answered is said in one line with the remedy, and the exit status is 1."""
    asked = [part.replace("{}", filled.experiment) for part in arguments]

    done = CliRunner().invoke(cli, asked, env=filled.environment)

    assert (done.exit_code, done.stdout) == (1, "")
    assert isinstance(done.exception, SystemExit)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message.replace("{}", filled.experiment) in line


def test_service_away_is_one_line_with_the_address() -> None:
    """Who asks a service that does not run is told where it was looked for, and what to do."""
    url = f"http://127.0.0.1:{free_port()}"

    line = CommandLine(url).complain("list")

    assert line == (
        f"Error: no trialog service can be reached at {url}; "
        "start one with `trialog up` or set TRIALOG_URL"
    )


@ON_ONE_LOG
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_reader_that_leaves_ends_a_command_quietly(
    filled: CommandLine, form: tuple[str, ...]
) -> None:
    """`trialog events … | head -1` prints its line and no complaint about the broken pipe."""
    with subprocess.Popen(
        filled.command("events", filled.experiment, "failed", *form),
        env=filled.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read()
        status = process.wait(RUN_TIMEOUT_S)
    assert (status, complaint) == (0, "")


@pytest.mark.parametrize(
    ("command", "purpose"),
    [
        ("list", "List experiments, or the runs of EXPERIMENT."),
        ("compare", "Compare the runs of EXPERIMENT side by side."),
        ("show", "Show everything of one run."),
        ("events", "Show the events of a run as they are in the log."),
    ],
)
def test_help_says_what_a_command_does(command: str, purpose: str) -> None:
    """Each command's help begins with its purpose, and the list of commands repeats it."""
    for arguments in ([command, "--help"], ["--help"]):
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0
        assert purpose.rstrip(".") in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lits",), "No such command 'lits'; did you mean 'list'?"),
        (("show", "experiment"), "Missing argument 'RUN'"),
        (("show", "", "run"), "'' is no name"),
        (("events", "experiment", "a/b"), "'a/b' is no name"),
        (("compare", "e", "--max-results", "0"), "0 is not in the range x>=1"),
    ],
)
def test_wrong_call_says_how_to_call(arguments: tuple[str, ...], message: str) -> None:
    """A command that is misspelt or lacks something exits with status 2 and shows its usage."""
    done = CliRunner().invoke(cli, arguments)

    assert done.exit_code == 2
    assert done.stderr.startswith("Usage: ")
    assert message in done.stderr
