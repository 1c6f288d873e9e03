"""Lists and comparisons end to end: pages, orders, filters, tables."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest

import trialog
from tests.acceptance.bulk import requests_counted, run_commands, runs_created
from tests.acceptance.programs import run_together
from tests.acceptance.refusals import illegal, refusal
from trialog.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from trialog.run_view import RunView
    from trialog_schemas.names import ParameterValue


def names(runs: Sequence[RunView]) -> list[str]:
    """The names of runs in their order."""
    return [run.run_name for run in runs]


# F1 F6
def test_page_of_runs_is_one_request_and_changes_nothing(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Everything of each listed run is in the one answer, whatever is read of it afterwards."""
    (tmp_path / "in.csv").write_text("a,b")
    for index in range(3):
        with trialog.Run(experiment_name, f"r{index}", session, tags={"n": str(index)}) as run:
            run.log_parameters({"lr": 0.1 * index, "flag": True})
            run.log_metrics({"loss": float(index), "acc": 0.5}, 3)
            run.log_file(str(tmp_path / "in.csv"), is_output=False)
        run.wait()
    events = [len(list(Client(session.resolve()).events(run.run_id)))]
    modified = trialog.Experiment.load(experiment_name, session).last_modified_time
    before = requests_counted(session)
    listed = trialog.Run.list(experiment_name, session=session)
    told = [
        (item.run_name, item.parameters, item.tags, item.status, item.failure_message)
        for item in listed
    ]
    summaries = [(item.metrics["loss"].last, item.metrics["loss"].last_step) for item in listed]
    artifacts = [(item.artifacts[0].name, item.artifacts[0].is_output) for item in listed]
    times = [(item.creation_time, item.start_time, item.end_time) for item in listed]
    asked = {
        route: number - before.get(route, 0)
        for route, number in requests_counted(session).items()
        if number != before.get(route, 0)
    }
    assert list(asked.values()) == [1.0]
    assert 'route="/api/v1/experiments/{name}/runs"' in next(iter(asked))
    assert told == [
        (f"r{n}", {"lr": 0.1 * n, "flag": True}, {"n": str(n)}, "Completed", None)
        for n in (2, 1, 0)
    ]
    assert summaries == [(2.0, 3), (1.0, 3), (0.0, 3)]
    assert artifacts == [("in.csv", False)] * 3
    for created, started, ended in times:
        assert created is not None
        assert started is not None
        assert ended is not None
        assert ended >= started
    assert [len(list(Client(session.resolve()).events(run.run_id)))] == events
    assert trialog.Experiment.load(experiment_name, session).last_modified_time == modified


# A10
def test_page_of_experiments_with_their_descriptions_is_one_request(
    session: trialog.Session, experiment_name: str
) -> None:
    """No further question is asked for an item, whatever is read of it."""
    for index in range(3):
        trialog.Experiment.create(f"{experiment_name}-{index}", f"text {index}", session=session)
    before = requests_counted(session)
    listed = trialog.Experiment.list(max_results=3, session=session)
    assert [item.description for item in listed] == ["text 2", "text 1", "text 0"]
    asked = {
        route: number - before.get(route, 0)
        for route, number in requests_counted(session).items()
        if number != before.get(route, 0)
    }
    assert list(asked.values()) == [1.0]
    assert 'route="/api/v1/experiments"' in next(iter(asked))


# F2
def test_runs_of_an_unknown_experiment_are_not_found_and_of_an_empty_one_none(
    session: trialog.Session, experiment_name: str
) -> None:
    """List and compare say ResourceNotFound, or give an empty list and table."""
    not_found = (trialog.ResourceNotFoundError, "ResourceNotFound")
    for call in (
        trialog.Run.list,
        lambda *a, **k: list(trialog.Run.iterate(*a, **k)),
        trialog.compare,
    ):
        error = refusal(*not_found, lambda call=call: call(experiment_name, session=session))
        assert repr(experiment_name) in str(error)
    trialog.Experiment.create(experiment_name, session=session)
    assert trialog.Run.list(experiment_name, session=session) == []
    assert list(trialog.Run.iterate(experiment_name, session=session)) == []
    frame = trialog.compare(experiment_name, session=session)
    assert frame.empty
    assert list(frame.columns) == ["run_name", "creation_time", "status"]


# F3 F4
def test_runs_sort_by_code_point_or_time_and_ascending_is_the_exact_reverse(
    session: trialog.Session, experiment_name: str
) -> None:
    """130 runs of equal creation time stand as they were created; 100 are a page of them."""
    tails = ["a", "_", "Z", "0", "-", "z", "A", "9", "aa", "aA"]
    made = tails + [f"run{index:03}" for index in range(120)]
    assert run_commands(session, runs_created(experiment_name, made)) == []
    for field in ("CreationTime", "Name"):
        pages = {}
        for order in ("Ascending", "Descending"):
            pages[order] = everything(session, experiment_name, field, order)
            first = trialog.Run.list(experiment_name, field, order, session=session)
            assert names(first) == pages[order][:100]
            assert first.total == 130
        assert pages["Ascending"] == pages["Descending"][::-1]
        assert sorted(pages["Ascending"]) == sorted(made)
    assert everything(session, experiment_name, "CreationTime", "Ascending") == made
    assert everything(session, experiment_name, "Name", "Ascending") == sorted(made)
    started = trialog.compare(experiment_name, order_by="start_time desc", session=session)
    assert started["run_name"].tolist() == made[::-1]
    assert len(trialog.Run.list(experiment_name, max_results=7, session=session)) == 7


def everything(session: trialog.Session, experiment: str, field: str, order: str) -> list[str]:
    """The names of an experiment's runs, page by page, in an order."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = Client(session.resolve()).runs(
            experiment,
            {"sort_by": field, "sort_order": order, "max_results": 40, "next_token": token},
        )
        found += [run["run_name"] for run in page["runs"]]
        assert page["total"] == 130
        token = page["next_token"]
        if token is None:
            return found


# F3
def test_runs_are_listed_newest_first(session: trialog.Session, experiment_name: str) -> None:
    """The default order is by creation, the newest first, whatever the names are."""
    for name in ("b", "c", "a"):
        with trialog.Run(experiment_name, name, session):
            pass
    listed = trialog.Run.list(experiment_name, session=session)
    assert names(listed) == ["a", "c", "b"]
    oldest = trialog.Run.list(experiment_name, "CreationTime", "Ascending", 2, session)
    assert names(oldest) == ["b", "c"]


# F4
def test_all_of_250_runs_are_reached_by_compare(
    session: trialog.Session, experiment_name: str
) -> None:
    """One call gives all of them once, or as many as it is asked for."""
    made = [f"r{index:03}" for index in range(250)]
    run_commands(session, runs_created(experiment_name, made))
    frame = trialog.compare(experiment_name, order_by="run_name", session=session)
    assert frame["run_name"].tolist() == made
    some = trialog.compare(experiment_name, None, "run_name DESC", 130, session)
    assert some["run_name"].tolist() == made[::-1][:130]
    for number in (0, -1, "5", 1.0, True):
        error = illegal(
            lambda number=number: trialog.compare(
                experiment_name, max_results=number, session=session
            )
        )
        assert error.field == "max_results"


OTHER = """
def work(session, index, name):
    yield
    return [[run.run_name, run.status, run.parameters] for run in trialog.Run.list(
        name, session=session)]
"""


# F5
def test_run_that_was_waited_for_is_in_the_list_of_another_process(
    session: trialog.Session, experiment_name: str
) -> None:
    """With the block left and the wait over, somebody else sees the run with its values."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("lr", 0.1)
    run.wait()
    assert run_together(session, 1, OTHER, experiment_name) == [[["one", "Completed", {"lr": 0.1}]]]


# F8
def test_ragged_runs_have_nan_and_shared_names_have_two_columns(
    session: trialog.Session, experiment_name: str
) -> None:
    """No run is left out for what it lacks; a name of both kinds is told apart."""
    with trialog.Run(experiment_name, "full", session) as run:
        run.log_parameters({"lr": 0.1, "size": 3, "status": "mine"})
        run.log_metrics({"loss": 0.5, "size": 7.0, "run_name": 1.0})
    run.wait()
    with trialog.Run(experiment_name, "other", session) as run:
        run.log_parameter("text", "a")
        run.log_metric("acc", 0.9)
    run.wait()
    with trialog.Run(experiment_name, "bare", session) as run:
        pass
    run.wait()
    frame = trialog.compare(experiment_name, order_by="run_name", session=session)
    assert frame["run_name"].tolist() == ["bare", "full", "other"]
    assert list(frame.columns[:3]) == ["run_name", "creation_time", "status"]
    assert set(frame.columns[3:]) == {
        "lr",
        "params.size",
        "params.status",
        "text",
        "loss",
        "metrics.size",
        "metrics.run_name",
        "acc",
    }
    rows = {row["run_name"]: row for row in frame.to_dict("records")}
    assert (rows["full"]["params.size"], rows["full"]["metrics.size"]) == (3, 7.0)
    assert (rows["full"]["status"], rows["full"]["params.status"]) == ("Completed", "mine")
    assert math.isnan(rows["other"]["loss"])
    assert all(math.isnan(rows["bare"][column]) for column in frame.columns[3:])
    assert frame["loss"].dtype == "float64"


# F7 G4
def test_the_classic_lines_of_a_notebook_run_on_the_table(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """The best row by idxmax, and a scatter plot with a log axis, as snippets have them."""
    rates, accuracies = [0.0001, 0.001, 0.01, 0.1], [0.61, 0.83, 0.97, 0.12]
    for rate, accuracy in zip(rates, accuracies, strict=True):
        with trialog.Run(experiment_name, session=session) as run:
            run.log_parameters({"learning_rate": rate, "optimizer": "adam"})
            for step in range(5):
                run.log_metric("validation_accuracy", accuracy * (step + 1) * 0.2, step)
        run.wait()
    df = trialog.compare(experiment_name, session=session)
    best = df.loc[df["validation_accuracy"].idxmax()]  # type: ignore[call-overload]
    assert (best["learning_rate"], best["validation_accuracy"]) == (0.01, 0.97)
    assert sorted(df["validation_accuracy"]) == sorted(accuracies)
    assert str(df["creation_time"].dtype).startswith("datetime64")
    assert draw(df, tmp_path / "plot.png") > 1000


def draw(df: pd.DataFrame, path: Path) -> int:
    """Draw the plot into a file and return its bytes."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the choice of what draws

    figure, axes = plt.subplots()
    df.plot.scatter(x="learning_rate", y="validation_accuracy", ax=axes)
    axes.set_xscale("log")
    figure.savefig(path)
    plt.close(figure)
    return path.stat().st_size


@pytest.fixture
def searched(session: trialog.Session, experiment_name: str) -> str:
    """An experiment of four runs that differ in every kind of value."""
    values: dict[str, tuple[dict[str, ParameterValue], list[float]]] = {
        "a": ({"lr": 0.1, "opt": "adam", "flag": True}, [3.0, 1.0]),
        "b": ({"lr": 1, "opt": "sgd", "flag": False}, [0.5]),
        "c": ({"lr": "0.1", "opt": "it's"}, [math.nan]),
        "d": ({}, []),
    }
    for name, (parameters, losses) in values.items():
        run = trialog.Run(experiment_name, name, session)
        with contextlib.suppress(ZeroDivisionError):
            fill(run, parameters, losses)
        run.wait()
    return experiment_name


def fill(run: trialog.Run, parameters: dict[str, ParameterValue], losses: list[float]) -> None:
    """Log a run; one without parameters fails with a ZeroDivisionError."""
    with run:
        run.log_parameters(parameters)
        for step, loss in enumerate(losses):
            run.log_metric("val:loss", loss, step)
        run.log_metric("per parameter", 1 / len(parameters))


FILTERS = {
    "params.lr = 0.1": "a",
    "params.lr = '0.1'": "c",
    "params.lr != 0.1": "bc",
    "params.lr >= 0.1": "ab",
    "params.lr > 0.1": "b",
    "params.opt = 'adam'": "a",
    "params.opt = 'it''s'": "c",
    "params.opt like 's%'": "b",
    "params.flag = true": "a",
    "params.flag = 1": "",
    "params.missing = 1": "",
    'metrics."val:loss" = 1': "a",
    'metrics."val:loss".max = 3': "a",
    'metrics."val:loss".min <= 1': "ab",
    'metrics."val:loss".count = 2': "a",
    'metrics."val:loss".mean < 3': "ab",
    "status = 'Failed'": "d",
    "status != 'Failed'": "abc",
    "run_name = 'b'": "b",
    "params.lr >= 0.1 and metrics.`val:loss` < 1": "b",
    "params.lr >= 0.1 AND status = 'Failed'": "",
    "": "abcd",
}
ORDERS = {
    "run_name DESC": "dcba",
    'metrics."val:loss"': "bacd",
    'metrics."val:loss" DESC': "abcd",
    'metrics."val:loss".max asc': "ba",  # c has only NaN, d nothing: without a maximum both
    "params.lr": "ab",
    "params.lr desc": "ba",
}


# F9
def test_filters_and_orders_are_answered_by_the_service(
    session: trialog.Session, searched: str
) -> None:
    """Parameters by kind, summaries by figure, status; missing values come last either way."""
    for text, expected in FILTERS.items():
        frame = trialog.compare(searched, text, "run_name", session=session)
        assert ("".join(frame["run_name"]), text) == (expected, text)
    for order, expected in ORDERS.items():
        found = "".join(trialog.compare(searched, None, order, session=session)["run_name"])
        numbers = found[: len(expected)]
        assert (numbers, order) == (expected, order)
        assert sorted(found) == list("abcd")


BROKEN = {
    "params.lr": "filter",
    "lr = 1": "filter",
    "params.lr = ": "filter",
    "params.lr = 1 or params.lr = 2": "filter",
    "params.lr = 'open": "filter",
    "metrics.loss = 'text'": "filter",
    "status = 'Done'": "filter",
    "1 = 1; drop table runs": "filter",
    " and ".join(["params.lr = 1"] * 21): "filter",
}


# F9
def test_filter_that_cannot_be_read_raises_value_error(
    session: trialog.Session, experiment_name: str
) -> None:
    """The error names the place, and an order is checked as a filter is."""
    trialog.Experiment.create(experiment_name, session=session)
    for text, field in BROKEN.items():
        error = illegal(lambda text=text: trialog.compare(experiment_name, text, session=session))
        assert (error.field, text) == (field, text)
    for order in ("loss", "metrics.loss upwards", "metrics.", "params.lr, run_name"):
        error = illegal(
            lambda order=order: trialog.compare(experiment_name, None, order, session=session)
        )
        assert error.field == "order_by"
