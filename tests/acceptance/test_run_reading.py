"""What a run's attributes say, on each log: values, models, tags, pages; reading only reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

import trialog
from tests.acceptance.bulk import run_commands, runs_created
from trialog.client import Client

if TYPE_CHECKING:
    pass


# B13 B19 F6
def test_run_tells_everything_that_was_logged_with_its_type(
    session: trialog.Session, experiment_name: str
) -> None:
    """Parameters, metric summaries and artifacts of a live, a loaded and a listed run are equal."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameters({"bool": True, "int": 1, "float": 1.0, "text": "a\n", "none": None})
        run.log_parameter("numpy", np.float32(0.5))
        for step, value in enumerate([2.0, math.nan, 1.0]):
            run.log_metric("loss", value, np.int64(step))
        run.log_artifact("notes", "text", media_type="text/markdown")
        run.wait(30)
    run.wait(30)
    loaded = trialog.load_run(experiment_name, "one", session)
    (listed,) = trialog.Run.list(experiment_name, session=session)
    for told in (run, loaded, listed):
        assert {name: type(value) for name, value in told.parameters.items()} == {
            "bool": bool,
            "int": int,
            "float": float,
            "text": str,
            "none": type(None),
            "numpy": float,
        }
        summary = told.metrics["loss"]
        assert (summary.last, summary.min, summary.max, summary.mean) == (1.0, 1.0, 2.0, 1.5)
        assert (summary.count, summary.last_step) == (3, 2)
        (notes,) = told.artifacts
        assert (notes.name, notes.media_type, notes.size, notes.is_output, notes.uri) == (
            "notes",
            "text/markdown",
            4,
            True,
            None,
        )
        assert told.read_artifact("notes") == b"text"
        assert told.rejections == []
        assert told.metric_series("loss")["step"] == [0, 1, 2]


def test_attributes_of_a_run_cannot_be_set(session: trialog.Session, experiment_name: str) -> None:
    """A run is changed by logging, never by assignment; its values are frozen."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_metric("loss", 1.0)
        run.wait(30)
    for name in ("run_name", "experiment_name", "run_arn", "status", "parameters", "metrics"):
        with pytest.raises(AttributeError):
            setattr(run, name, "other")
    with pytest.raises(AttributeError):
        run.metrics["loss"].last = 2.0  # type: ignore[misc]


# E7
def test_models_come_back_with_everything_that_was_said(
    session: trialog.Session, experiment_name: str
) -> None:
    """Two models of one file name are two artifacts; the same one again is nothing new."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_model("s3://models/job-1/model.tar.gz", "cnn", "torch", "2.5")
        run.log_model("s3://models/job-2/model.tar.gz?version=3")
        run.log_model("s3://models/job-1/model.tar.gz", "cnn", "torch", "2.5")
        with pytest.raises(ValueError, match="has no scheme"):
            run.log_model("models/model.tar.gz")
    run.wait(30)
    first, second = run.artifacts
    assert (first.name, first.kind, first.version) == ("models/job-1/model.tar.gz", "model", 1)
    assert (first.uri, first.model_type) == ("s3://models/job-1/model.tar.gz", "cnn")
    assert (first.framework, first.framework_version) == ("torch", "2.5")
    assert (second.name, second.uri) == (
        "models/job-2/model.tar.gz",
        "s3://models/job-2/model.tar.gz?version=3",
    )
    assert (second.model_type, second.framework, second.size, second.sha256) == (None,) * 4
    with pytest.raises(trialog.ResourceNotFoundError, match="get them from that address"):
        run.read_artifact(first.name)


# A5 F6
def test_tags_are_set_changed_and_removed(session: trialog.Session, experiment_name: str) -> None:
    """A list has those of entering as soon as it has the run; the newest value of a key stands."""
    with trialog.Run(experiment_name, "one", session, tags={"a": "1", "b": "2"}) as run:
        (listed,) = trialog.Run.list(experiment_name, session=session)
        assert listed.tags == {"a": "1", "b": "2"}
        run.set_tags({"a": "3", "c": ""})
        run.set_tags([{"Key": "d", "Value": "4"}], removed=["b", "never there"])
        run.set_tags({})
        with pytest.raises(trialog.ValidationError, match="tag key"):
            run.set_tags({"": "x"})
    run.wait(30)
    assert run.tags == {"a": "3", "c": "", "d": "4"}


# F1 F3 F4
def test_runs_beyond_a_page_are_reached_by_the_iterator(
    session: trialog.Session, experiment_name: str
) -> None:
    """250 runs of one creation time: a page tells the total, the iterator gives each once."""
    names = [f"run-{number:03}" for number in range(250)]
    assert run_commands(session, runs_created(experiment_name, names)) == []
    page = trialog.Run.list(experiment_name, session=session)
    assert (len(page), page.total) == (100, 250)
    found = [
        run.run_name
        for run in trialog.Run.iterate(experiment_name, "Name", "Ascending", session=session)
    ]
    assert found == names
    newest = [run.run_name for run in trialog.Run.iterate(experiment_name, session=session)]
    assert [run.run_name for run in page] == newest[:100]
    assert sorted(newest) == names


# F1
def test_reading_changes_nothing(session: trialog.Session, experiment_name: str) -> None:
    """Lists, attributes, series and loading leave no event behind."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_metric("loss", 1.0)
    run.wait(30)
    before = list(Client(session.resolve()).events(run.run_id))
    (listed,) = trialog.Run.list(experiment_name, sagemaker_session=session)
    loaded = trialog.load_run(experiment_name, "one", sagemaker_session=session)
    for told in (listed, loaded, run):
        assert told.metric_series("loss")["value"] == [1.0]
        assert (told.status, told.artifacts, told.rejections) == ("Completed", [], [])
        told.wait(30)
    assert len(trialog.compare(experiment_name, sagemaker_session=session)) == 1
    assert list(Client(session.resolve()).events(run.run_id)) == before
