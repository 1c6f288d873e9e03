"""`trialog export` as a user runs it: whole files or none, in three formats."""

from __future__ import annotations

import csv
import json
import math
import os
import pty
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from click.testing import CliRunner

import trialog
from tests.acceptance.bulk import run_commands, runs_created
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.senders import end_sender
from tests.services.ports import free_port
from trialog.__main__ import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from tests.services.trialog import TrialogService

BULK = 250
"""Runs beside the two with values: more than two pages."""


@pytest.fixture(scope="module")
def filled(
    service: TrialogService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The service's address, and an experiment of more than two pages of runs."""
    spool_dir = tmp_path_factory.mktemp("spool")
    session = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=spool_dir)
    experiment = f"export-{uuid.uuid4().hex[:8]}"
    for name, lr in (("good", 0.1), ("odd", 0.5)):
        with trialog.Run(experiment, name, session, tags={"team": "red"}) as run:
            run.log_parameters({"lr": lr, "optimizer": 'a"dam\n,', "layers": [64, 32]})
            run.log_metrics({"loss": math.nan if name == "odd" else 0.25, "validation:acc": lr})
            run.log_artifact("notes", "text")
            run.wait()
    assert run_commands(session, runs_created(experiment, [f"r{n}" for n in range(BULK)])) == []
    yield service.url, experiment
    end_sender(session)


def export(url: str, *arguments: str | Path) -> Result:
    """Run the command in this process."""
    given = ["export", *(str(argument) for argument in arguments), "--url", url]
    return CliRunner().invoke(cli, given, catch_exceptions=False)


def refused(folder: Path, done: Result) -> str:
    """The one line of a command that failed; nothing new stands in the folder."""
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    return line.removeprefix("Error: ")


# L3
@ON_ONE_LOG
def test_csv_has_a_row_for_every_run_of_every_page(filled: tuple[str, str], tmp_path: Path) -> None:
    """In the order asked for; values come back exactly; one line says how many."""
    output = tmp_path / "runs.csv"
    done = export(filled[0], filled[1], "--output", output, "--order-by", "params.lr DESC")
    assert done.output.startswith(f"{BULK + 2} runs exported to {output}, ")
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["run_name"] for row in rows}) == len(rows) == BULK + 2
    assert [row["params.lr"] for row in rows[:3]] == ["0.5", "0.1", ""]
    odd, good = rows[:2]
    assert (good["params.optimizer"], good["params.layers"]) == ('a"dam\n,', "[64,32]")
    assert (good["metrics.loss"], odd["metrics.loss"]) == ("0.25", "NaN")
    assert (good["metrics.validation:acc"], good["tags.team"]) == ("0.1", "red")
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


# L3
@ON_ONE_LOG
def test_json_has_what_show_tells_of_each_run(filled: tuple[str, str], tmp_path: Path) -> None:
    """Summaries, artifacts and typed parameters; a filter chooses; the summary is JSON, too."""
    output = tmp_path / "runs.txt"
    done = export(
        *filled, "--format", "json", "--output", output, "--filter", "params.lr > 0.3", "--json"
    )
    assert json.loads(done.output) == {
        "experiment": filled[1],
        "runs": 1,
        "format": "json",
        "output": str(output),
        "bytes": output.stat().st_size,
    }
    shown = CliRunner().invoke(cli, ["show", filled[1], "odd", "--url", filled[0], "--json"])
    assert json.loads(output.read_text(encoding="utf-8")) == [json.loads(shown.output)]


# L3
@ON_ONE_LOG
def test_parquet_has_typed_columns(filled: tuple[str, str], tmp_path: Path) -> None:
    """As pandas reads it: floats, times with their zone, missing values."""
    output = tmp_path / "runs.parquet"
    assert export(*filled, "--output", output).exit_code == 0
    frame = pd.read_parquet(output)
    assert len(frame) == BULK + 2
    assert frame["params.lr"].sort_values().head(2).tolist() == [0.1, 0.5]
    assert str(frame["creation_time"].dt.tz) == "UTC"
    assert int(frame["metrics.validation:acc"].notna().sum()) == 2


# L3
@ON_ONE_LOG
def test_dash_is_standard_output(
    filled: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file would hold, byte for byte, for another program; the summary stands beside it."""
    url, experiment = filled
    monkeypatch.chdir(tmp_path)
    for kind in ("csv", "json", "parquet"):
        path = tmp_path / f"runs.{kind}"
        assert export(url, experiment, "--output", path).exit_code == 0
        done = export(url, experiment, "--output", "-", "--format", kind)
        assert (done.exit_code, done.stdout_bytes) == (0, path.read_bytes())
        assert done.stderr.startswith(f"{BULK + 2} runs exported to standard output, ")
        path.unlink()
    told = export(url, experiment, "--output", "-", "--format", "csv", "--json").stderr
    assert json.loads(told)["runs"] == BULK + 2
    no_format = refused(tmp_path, export(url, experiment, "--output", "-"))
    assert no_format.endswith("no name that tells a format; give --format csv, json, parquet")
    nobody = export(url, "nobody", "--output", "-", "--format", "csv")
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert list(tmp_path.iterdir()) == []


# L3
def test_parquet_is_not_written_to_a_terminal() -> None:
    """Bytes that steer a terminal are refused before anything is asked; no service is needed."""
    controller, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "trialog", "export", "e", "--output", "-", "--format", "parquet"],
        stdout=terminal,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(terminal)
    os.close(controller)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Parquet is no text and is not written to a terminal; ")


# L3
@ON_ONE_LOG
def test_existing_file_stays_without_force(filled: tuple[str, str], tmp_path: Path) -> None:
    """It is replaced as a whole with it, also where the name is a link."""
    target, link = tmp_path / "runs.json", tmp_path / "newest.json"
    target.write_text("mine", encoding="utf-8")
    link.symlink_to(target)
    for output in (target, link):
        line = refused(tmp_path, export(*filled, "--output", output))
        assert line == f"{target} exists; give another name, or --force to replace it"
        assert target.read_text(encoding="utf-8") == "mine"
    assert export(*filled, "--output", link, "--force").exit_code == 0
    assert link.is_symlink()
    assert len(json.loads(target.read_text(encoding="utf-8"))) == BULK + 2


# L3
@ON_ONE_LOG
def test_refused_export_leaves_nothing(filled: tuple[str, str], tmp_path: Path) -> None:
    """Unknown experiment, bad filter, no folder, a folder as file, an ending without a format."""
    url, experiment = filled
    output = tmp_path / "runs.csv"
    lines = [
        refused(tmp_path, export(url, *arguments))
        for arguments in (
            ("nobody", "--output", output),
            (experiment, "--output", output, "--filter", "params.lr >"),
            (experiment, "--output", tmp_path / "no" / "runs.csv"),
            (experiment, "--output", tmp_path, "--format", "csv", "--force"),
            (experiment, "--output", tmp_path / "runs.xlsx"),
        )
    ]
    assert "'nobody'" in lines[0]
    assert "filter" in lines[1]
    assert lines[2] == f"there is no folder {tmp_path / 'no'}; make it first"
    assert lines[3] == f"{tmp_path} is no file; give the name of one"
    assert lines[4].startswith(f"{tmp_path / 'runs.xlsx'} does not end in one of csv, json, parq")
    assert list(tmp_path.iterdir()) == []


# L3
def test_service_that_is_away_leaves_the_old_file(tmp_path: Path) -> None:
    """Even with --force: what is there is replaced by a whole file or not at all."""
    output = tmp_path / "runs.csv"
    output.write_text("mine", encoding="utf-8")
    done = export(f"http://127.0.0.1:{free_port()}", "e", "--output", output, "--force")
    assert "can be reached" in refused(tmp_path, done)
    assert output.read_text(encoding="utf-8") == "mine"


# L3
@ON_ONE_LOG
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_disk_that_is_full_in_the_middle_leaves_nothing(
    filled: tuple[str, str], tmp_path: Path, kind: str
) -> None:
    """One line says why; neither a part nor what the columns were looked up in stays."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "from trialog.__main__ import main; main()"
    )
    output = tmp_path / f"runs.{kind}"
    arguments = ["export", filled[1], "--url", filled[0], "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {output} cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


# L3
@ON_ONE_LOG
def test_folder_that_takes_no_file_is_said(filled: tuple[str, str], tmp_path: Path) -> None:
    """The reason of the operating system, in one line."""
    output = tmp_path / ("x" * 300 + ".csv")
    assert "File name too long" in refused(tmp_path, export(*filled, "--output", output))


# L3
@ON_ONE_LOG
def test_progress_is_shown_on_a_terminal(filled: tuple[str, str], tmp_path: Path) -> None:
    """How many runs of how many, on standard error; standard output has the result alone."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "trialog", "export", filled[1], "--url", filled[0]]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "runs.json"), "--json"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        text=True,
        check=True,
    )
    os.close(terminal)
    shown = b""
    while f"{BULK + 2}/{BULK + 2}".encode() not in shown:
        shown += os.read(controller, 65536)  # raises at the terminal's end
    os.close(controller)
    assert json.loads(done.stdout)["runs"] == BULK + 2


# L3
def test_parquet_without_pyarrow_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    """The message names the extra to install; no service is needed to hear it."""
    code = "import sys; sys.modules['pyarrow'] = None; from trialog.__main__ import main; main()"
    arguments = ["export", "e", "--output", str(tmp_path / "runs.parquet")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "Error: Parquet needs pyarrow; pip install 'trialog[parquet]'\n"
