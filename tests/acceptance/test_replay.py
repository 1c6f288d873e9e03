"""The whole log delivered again, on each log: over what is there, and into empty tables."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import LEFT_WITH_REFUSALS
from tests.acceptance.senders import end_sender
from trialog_server.project.digests import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.faulty import Faulty

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def session(faulty: Faulty, tmp_path: Path) -> Iterator[trialog.Session]:
    """Where the runs are logged."""
    service = faulty.service
    made = trialog.Session(url=service.url, kafka=service.kafka, spool_dir=tmp_path / "spool")
    yield made
    end_sender(made)


def rows_of(faulty: Faulty, table: str, *, without: str = "") -> list[str]:
    """Every row of a table as text with the transaction that wrote it, or without some columns.

    Chunks are merged in quiet times: of them the series with their numbers of points.
    """
    if table == "metric_chunks":
        shown = "row (t.run_id, t.name, sum(t.points))::text"
        statement = (
            f"SELECT {shown} AS row FROM gen_1.{table} AS t GROUP BY run_id, name ORDER BY 1"
        )
        return [row["row"] for row in faulty.query(statement)]
    if without:
        shown = f"(to_jsonb(t) - '{{{without}}}'::text[])::text"
    else:
        shown = "t.xmin::text || ' ' || t::text"
    statement = f"SELECT {shown} AS row FROM gen_1.{table} AS t ORDER BY 1"
    return [row["row"] for row in faulty.query(statement)]


def log_all_kinds(session: trialog.Session, experiment_name: str) -> trialog.Run:
    """Log one run with everything a run can have, beside deleted, failed and refused ones."""
    trialog.Experiment.create(f"{experiment_name}-gone", session=session).delete()
    with pytest.raises(trialog.ResourceInUseError):
        trialog.Experiment.create(
            trialog.Experiment.create(
                f"{experiment_name}-here", "text", {"k": "v"}, session
            ).experiment_name,
            session=session,
        )
    with trialog.Run(experiment_name, "deleted", session) as deleted:
        deleted.log_metric("loss", 1.0)
    deleted.wait(30)
    deleted.delete()
    with contextlib.suppress(ZeroDivisionError), trialog.Run(experiment_name, "failed", session):
        1 / 0  # noqa: B018  what fails the run
    with trialog.Run(experiment_name, "whole", session, tags={"a": "1"}) as run:
        other = trialog.load_run(experiment_name, "whole", session).__enter__()
        run.log_parameters({"contested": "first", "layers": [1, 2.5, None]})
        run.wait(30)
        other.log_parameters({"contested": "second", "own": True})
        for step in range(300):
            run.log_metrics({"loss": 1.0 / (step + 1), "odd": math.nan}, step)
            other.log_metric("tick", float(step))
        run.log_artifact("notes", "one")
        run.log_artifact("notes", "two")
        run.log_model("s3://models/m", "cnn")
        run.set_tags({"b": "2"}, removed=["a"])
        other.__exit__(None, None, None)
    run.wait(30)
    return run


def told(session: trialog.Session, run: trialog.Run) -> dict[str, object]:
    """What a reader is told of the run and its experiment."""
    loaded = trialog.load_run(run.experiment_name, run.run_name, session)
    return {
        "parameters": loaded.parameters,
        "metrics": {name: str(summary) for name, summary in loaded.metrics.items()},
        "series": {name: str(loaded.metric_series(name)) for name in loaded.metrics},
        "artifacts": [str(artifact) for artifact in loaded.artifacts],
        "content": loaded.read_artifact("notes"),
        "rejections": loaded.rejections,
        "about": (loaded.status, loaded.start_time, loaded.end_time, loaded.tags),
        "experiment": trialog.Experiment.load(run.experiment_name, session).last_modified_time,
        "frame": str(trialog.compare(run.experiment_name, session=session).to_dict("records")),
    }


# A15 C6 D12 K3
@LEFT_WITH_REFUSALS
@pytest.mark.slow(reason="a worker looks at its leases once a second, and reads the log twice more")
def test_whole_log_delivered_again_changes_nothing_and_from_nothing_gives_all(
    faulty: Faulty, session: trialog.Session, experiment_name: str
) -> None:
    """Over live tables 0 rows are written; over empty ones every value and refusal is as before."""
    run = log_all_kinds(session, experiment_name)
    before = told(session, run)
    assert run.parameters["contested"] == "first"
    assert [one.code for one in run.rejections] == ["param_immutable"]

    live = {table: rows_of(faulty, table) for table in TABLES}
    assert {table for table in TABLES if not live[table]} <= {"gaps", "dead", "parked"}
    faulty.deliver_again()
    assert {table: rows_of(faulty, table) for table in TABLES} == live
    assert told(session, run) == before

    # How points are cut into chunks, and sums of them added up, depends on how they were read.
    replayed = [table for table in TABLES if table not in ("metric_chunks", "metric_summaries")]
    kept = {table: rows_of(faulty, table, without="none") for table in replayed}
    kept["metric_summaries"] = rows_of(faulty, "metric_summaries", without="total")
    end_sender(session)  # it would find its events gone from the tables, and send them again
    faulty.deliver_again(into_nothing=True)
    for table in replayed:
        assert rows_of(faulty, table, without="none") == kept[table], table
    assert rows_of(faulty, "metric_summaries", without="total") == kept["metric_summaries"]
    assert told(session, run) == before
