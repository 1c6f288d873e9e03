"""An experiment of 10,000 runs through the SDK: requests, order, memory, tables, exports."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import uuid
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pytest
from click.testing import CliRunner

import trialog
from tests.acceptance.bulk import requests_counted, run_commands, runs_created
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.senders import end_sender
from tests.services.trialog import wait_until
from trialog.__main__ import cli
from trialog.client import Client
from trialog_schemas.events import MetricsLogged, ParametersLogged, RunEnded, RunStarted, WideBlock
from trialog_schemas.wire import (
    RecordHeader,
    encode_event,
    event_id_for,
    first_hash,
    frame,
    pack_record,
    uuid7,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.trialog import TrialogService
    from trialog_schemas.events import Body, RunCreated

pytestmark = [
    ON_ONE_LOG,
    pytest.mark.timeout(300),  # 10,000 runs are made first
]

RUNS = 10_000
RUNS_A_RECORD = 500
RUNS_A_REQUEST = 2000
PAGES = RUNS // 100
USER = "bulk@host"


class Sized(NamedTuple):
    """The experiment: odd runs have values, even ones are only created."""

    session: trialog.Session
    experiment: str


def name_of(number: int) -> str:
    """The name of a run: by code point in another order than they were created in."""
    return f"r{number * 3 % RUNS:05}"


def loss_of(number: int) -> float:
    """The last value of an odd run's metric; of every tenth run it is NaN."""
    return float(number * 7919 % 10007) if number % 10 > 1 else math.nan


def record_of(created: RunCreated, number: int) -> bytes:
    """What the run logged, as one record: one parameter of each kind, three points, an end."""
    at_us = time.time_ns() // 1000
    writer_id = uuid7(at_us // 1000, os.urandom(10))
    values = (0.0, 1.0, loss_of(number), float(number))
    block = WideBlock(
        ("loss", "number"), 2, struct.pack("<2q", 0, 1), struct.pack("<2q", at_us, at_us),
        struct.pack("<4d", values[0], values[2], values[1], values[3]),
    )  # fmt: skip
    bodies: tuple[Body, ...] = (
        RunStarted(created.experiment_name, created.run_name),
        ParametersLogged({"lr": number % 100 / 100, "layers": number % 7,
                          "is_third": number % 3 == 0, "optimizer": ("adam", "sgd")[number % 2]}),
        MetricsLogged((block,)),
        RunEnded("Completed" if number % 5 else "Failed", None if number % 5 else "no"),
    )  # fmt: skip
    events = [
        encode_event(seq, event_id_for(writer_id, seq, at_us), at_us, body)
        for seq, body in enumerate(bodies, start=1)
    ]
    start = first_hash("default", USER, created.run_id, writer_id)
    header = RecordHeader("default", USER, created.run_id, writer_id, 1, len(events), start)
    return pack_record(header, events)


@pytest.fixture(scope="module")
def sized(service: TrialogService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sized]:
    """10,000 runs with values, appended to the log in full batches; the tests only read them."""
    spool_dir = tmp_path_factory.mktemp("spool")
    session = trialog.Session(url=service.url, spool_dir=spool_dir)
    experiment = f"sized-{uuid.uuid4().hex[:8]}"
    runs = runs_created(experiment, [name_of(number) for number in range(RUNS)])
    for first in range(0, RUNS, RUNS_A_RECORD):
        assert run_commands(session, runs[first : first + RUNS_A_RECORD]) == []
    client = Client(session.resolve())
    for first in range(0, RUNS, RUNS_A_REQUEST):
        numbers = range(first + 1, first + RUNS_A_REQUEST, 2)
        receipts = client.send_records(frame([record_of(runs[n], n) for n in numbers]))
        assert all("position" in receipt for receipt in receipts)

    def is_applied() -> bool:
        question: dict[str, str | int | float | None] = {
            "filter": "metrics.number >= 0 and status != 'InProgress'",
            "max_results": 1,
        }
        return client.search(experiment, question)["total"] == RUNS // 2

    wait_until(is_applied, "10,000 runs are projected", timeout_s=120)
    yield Sized(session, experiment)
    end_sender(session)


def counted(session: trialog.Session, call: Callable[[], object]) -> float:
    """How many requests the service answers while something is asked."""
    before = sum(requests_counted(session).values())
    call()
    return sum(requests_counted(session).values()) - before


# F1 F3 F4
def test_every_run_is_iterated_once_in_order_with_one_request_a_page(sized: Sized) -> None:
    """Newest first, equal times as created; memory holds a page; a page is one request."""
    found: list[str] = []
    peaks: list[int] = []

    def iterate() -> None:
        for number, run in enumerate(trialog.Run.iterate(sized.experiment, session=sized.session)):
            found.append(run.run_name)
            if number == RUNS // 2:
                tracemalloc.start()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert counted(sized.session, iterate) == PAGES
    assert found == [name_of(number) for number in reversed(range(RUNS))]
    assert peaks[0] < 10_000_000
    listed: list[trialog.run_view.RunList] = []
    one = counted(
        sized.session,
        lambda: listed.append(trialog.Run.list(sized.experiment, "Name", session=sized.session)),
    )
    assert (one, listed[0].total) == (1, RUNS)
    assert [run.run_name for run in listed[0]] == [f"r{n:05}" for n in range(9999, 9899, -1)]


# F7 F8
def test_all_runs_are_compared_with_one_request_a_page_into_typed_columns(sized: Sized) -> None:
    """10,000 rows, newest first; half of them have no value, and every column one kind."""
    frames: list[pd.DataFrame] = []
    asked = counted(
        sized.session,
        lambda: frames.append(trialog.compare(sized.experiment, session=sized.session)),
    )
    (frame,) = frames
    assert (asked, len(frame)) == (PAGES, RUNS)
    every = list(reversed(range(RUNS)))
    assert frame["run_name"].tolist() == [name_of(number) for number in every]
    values = {
        "number": [float(number) for number in every if number % 2],
        "lr": [number % 100 / 100 for number in every if number % 2],
    }
    for column, expected in values.items():
        assert frame[column][0::2].tolist() == expected
        assert not frame[column][1::2].notna().any()
    kinds = {column: str(kind) for column, kind in frame.dtypes.items()}
    text = kinds.pop("optimizer")
    assert {kinds.pop("run_name"), kinds.pop("status"), text} in ({"str"}, {"object"})
    assert kinds == {
        "creation_time": "datetime64[us, UTC]",
        "lr": "float64",
        "layers": "float64",
        "is_third": "object",
        "loss": "float64",
        "number": "float64",
    }


# F8 F9
def test_sorted_runs_come_with_one_request_a_page(sized: Sized) -> None:
    """In the order of a metric NaN stands after the numbers and runs without it last."""
    odd = range(1, RUNS, 2)
    order = sorted((n for n in odd if n % 10 > 1), key=lambda n: (loss_of(n), n))
    every = [name_of(n) for n in (*order, *(n for n in odd if n % 10 == 1), *range(0, RUNS, 2))]
    found: list[list[str]] = []

    def compare(text: str | None, max_results: int | None) -> None:
        frame = trialog.compare(
            sized.experiment, text, "metrics.loss", max_results, session=sized.session
        )
        found.append(frame["run_name"].tolist())

    assert counted(sized.session, lambda: compare(None, 250)) == 3
    assert counted(sized.session, lambda: compare("run_name like 'r00%'", None)) == RUNS // 1000
    assert found == [every[:250], [name for name in every if name.startswith("r00")]]


# F9
def test_filtered_runs_are_found_with_one_request_a_page_of_what_is_found(sized: Sized) -> None:
    """What a filter leaves out costs no request; a cap is a cap."""
    text = "params.lr >= 0.9 and metrics.number < 5000 and status = 'Completed'"
    found: list[list[str]] = []

    def compare(max_results: int | None) -> None:
        frame = trialog.compare(
            sized.experiment, text, "metrics.number desc", max_results, sized.session
        )
        found.append(frame["run_name"].tolist())

    wanted = [name_of(n) for n in range(4999, 0, -2) if n % 100 >= 90 and n % 5]
    assert counted(sized.session, lambda: compare(None)) == math.ceil(len(wanted) / 100)
    assert counted(sized.session, lambda: compare(130)) == 2
    assert found == [wanted, wanted[:130]]


# F4
def test_runs_that_arrive_between_pages_neither_repeat_nor_hide_others(
    sized: Sized, experiment_name: str
) -> None:
    """Every run that was there comes once and in order; a new or a deleted one at most once."""
    old = [f"old{number:03}" for number in range(250)]
    assert run_commands(sized.session, runs_created(experiment_name, old)) == []
    orders = (("CreationTime", "Descending"), ("CreationTime", "Ascending"), ("Name", "Ascending"))
    for turn, (sort_by, sort_order) in enumerate(orders):
        found: list[str] = []
        for number, run in enumerate(
            trialog.Run.iterate(experiment_name, sort_by, sort_order, sized.session)
        ):
            found.append(run.run_name)
            if number == 99:  # after it the next page begins
                run.delete()
                old.remove(run.run_name)
            if number in {50, 150}:
                # Before and behind the place in either order of names.
                new = [f"{side}-{turn}-{number}" for side in ("a", "z")]
                assert run_commands(sized.session, runs_created(experiment_name, new)) == []
        assert len(set(found)) == len(found)
        kept = [name for name in found if name in old]
        assert kept == (old[::-1] if sort_order == "Descending" else old)


# L3
def test_export_asks_one_request_a_page_and_formats_agree(sized: Sized, tmp_path: Path) -> None:
    """Of those with values three files of equal content and columns."""
    paths = {kind: tmp_path / f"runs.{kind}" for kind in ("csv", "json", "parquet")}

    def export(kind: str, *more: str) -> None:
        url = sized.session.resolve().url
        arguments = ["export", sized.experiment, "--output", str(paths[kind]), "--url", url]
        done = CliRunner().invoke(cli, [*arguments, "--order-by", "run_name", "--force", *more])
        assert "runs exported" in done.output, done.output

    for kind in paths:
        asked = counted(sized.session, partial(export, kind, "--filter", "params.lr >= 0.9"))
        assert asked == RUNS // 2 // 10 // 100
    told = json.loads(paths["json"].read_bytes())
    assert len(told) == RUNS // 2 // 10
    table = pd.read_parquet(paths["parquet"])
    with paths["csv"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table.columns)
    for run, row, typed in zip(told, rows, table.to_dict("records"), strict=True):
        for name, value in run["parameters"].items():
            in_csv = row[f"params.{name}"]
            assert (in_csv if isinstance(value, str) else json.loads(in_csv)) == value
            assert typed[f"params.{name}"] == value
        for name, summary in run["metrics"].items():
            last = float(summary["last"])
            for other in (float(row[f"metrics.{name}"]), typed[f"metrics.{name}"]):
                assert other == last or (math.isnan(last) and math.isnan(other))
        assert row["run_name"] == typed["run_name"] == run["run_name"]
        assert row["status"] == typed["status"] == run["status"]
        created = pd.Timestamp(run["creation_time"])
        assert pd.Timestamp(row["creation_time"]) == typed["creation_time"] == created


def has_begun(folder: Path) -> bool:
    """Tell whether an export has something beside the file that was there."""
    return len(list(folder.iterdir())) > 1


# L3
def test_export_that_is_interrupted_leaves_what_was_there(sized: Sized, tmp_path: Path) -> None:
    """Neither a part nor a half file, also with --force over an old one; the status tells it."""
    url = sized.session.resolve().url
    command = [sys.executable, "-m", "trialog", "export", sized.experiment, "--url", url, "--force"]
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    started = {}
    for number in numbers:
        folder = tmp_path / number.name
        folder.mkdir()
        (folder / "runs.csv").write_text("mine", encoding="utf-8")
        output = ["--output", str(folder / "runs.csv")]
        started[number] = subprocess.Popen([*command, *output], stderr=subprocess.PIPE, text=True)
    for number, process in started.items():
        folder = tmp_path / number.name
        wait_until(partial(has_begun, folder), "the export has begun")
        process.send_signal(number)
    for number, process in started.items():
        said = process.communicate(timeout=50)[1]
        assert process.returncode == (1 if number == signal.SIGINT else 128 + number)
        assert "Traceback" not in said
        left = list((tmp_path / number.name).iterdir())
        assert [path.read_text(encoding="utf-8") for path in left] == ["mine"]
