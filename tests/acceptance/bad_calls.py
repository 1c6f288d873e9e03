"""Calls of the SDK that cannot be, each with the error it raises and the field that it names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import trialog
from tests.unit.schemas.hostile_objects import Lying, Mapped, Raising, RaisingText, Text
from trialog.integrations.optuna import TrialogCallback
from trialog_schemas.errors import NotNumericError, WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

INVALID = trialog.ValidationError


@dataclass(frozen=True)
class BadCall:
    """What is called on a run that is open, and what comes of it."""

    call: Callable[[Any, trialog.Session], object]
    field: str
    kind: type[trialog.ValidationError] = INVALID


def _deep() -> object:
    value: dict[str, object] = {}
    for _ in range(10_000):
        value = {"k": value}
    return value


LOG_CALLS = [
    BadCall(lambda run, _: run.log_metric("m", "1"), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metric("m", Raising()), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metric("m", Lying(float)), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metric("m", np.ma.masked), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metric("m", pd.NA), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metric("m", Decimal("1e400")), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metric("m", 10**400), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metric(7, 1.0), "metric name"),
    BadCall(lambda run, _: run.log_metric(Raising(), 1.0), "metric name"),
    BadCall(lambda run, _: run.log_metric(RaisingText("\0"), 1.0), "metric name"),
    BadCall(lambda run, _: run.log_metric("", 1.0), "metric name"),
    BadCall(lambda run, _: run.log_metric("m" * 256, 1.0), "metric name"),
    BadCall(lambda run, _: run.log_metric("a\u200bb", 1.0), "metric name"),
    BadCall(lambda run, _: run.log_metric("m\ud800", 1.0), "metric name"),
    BadCall(lambda run, _: run.log_metric("m", 1.0, 2.5), "step"),
    BadCall(lambda run, _: run.log_metric("m", 1.0, True), "step"),
    BadCall(lambda run, _: run.log_metric("m", 1.0, 2**63), "step"),
    BadCall(lambda run, _: run.log_metric("m", 1.0, Raising()), "step"),
    BadCall(lambda run, _: run.log_metric("m", 1.0, datetime.now(UTC)), "step", WrongTypeError),
    BadCall(lambda run, _: run.log_metric("m", 1.0, 1, "now"), "timestamp"),
    BadCall(lambda run, _: run.log_metric("m", 1.0, 1, pd.NaT), "timestamp"),
    BadCall(lambda run, _: run.log_metrics([1.0]), "metrics", WrongTypeError),
    BadCall(lambda run, _: run.log_metrics(Raising()), "metrics"),
    BadCall(lambda run, _: run.log_metrics({"good": 1.0, "m": None}), "m", NotNumericError),
    BadCall(lambda run, _: run.log_metrics({"good": 1.0, 7: 1.0}), "metric name"),
    BadCall(lambda run, _: run.log_metrics({"good": 1.0, Text("good"): 2.0}), "metrics"),
    BadCall(lambda run, _: run.log_metrics({"good": 1.0}, "5"), "step"),
    BadCall(lambda run, _: run.log_parameter("p", object()), "p"),
    BadCall(lambda run, _: run.log_parameter("p", Raising()), "p"),
    BadCall(lambda run, _: run.log_parameter("p", _deep()), "p"),
    BadCall(lambda run, _: run.log_parameter("p", 10**400), "p"),
    BadCall(lambda run, _: run.log_parameter("p", "x" * 257), "p"),
    BadCall(lambda run, _: run.log_parameter("p", [float("nan")]), "p"),
    BadCall(lambda run, _: run.log_parameter("p", {"a": 1, Text("a"): 2}), "p"),
    BadCall(lambda run, _: run.log_parameter("a\u0301", 1), "parameter name"),
    BadCall(lambda run, _: run.log_parameter(b"p", 1), "parameter name"),
    BadCall(lambda run, _: run.log_parameters(7), "parameters", WrongTypeError),
    BadCall(lambda run, _: run.log_parameters(Mapped(lambda: [1])), "parameters"),
    BadCall(lambda run, _: run.log_parameters({"good": "new", "p": 1j}), "p"),
    BadCall(lambda run, _: run.log_parameters({"p": 1, Text("p"): 1}), "parameters"),
    BadCall(lambda run, _: run.log_artifact("../x", "t"), "artifact name"),
    BadCall(lambda run, _: run.log_artifact("a", b"bytes"), "value", WrongTypeError),
    BadCall(lambda run, _: run.log_artifact("a", Raising()), "value", WrongTypeError),
    BadCall(lambda run, _: run.log_artifact("a", "\ud800"), "value"),
    BadCall(lambda run, _: run.log_artifact("a", "t", "text"), "media_type"),
    BadCall(lambda run, _: run.log_artifact("a", "t", 7), "media_type"),
    BadCall(lambda run, _: run.log_file(1), "file_path", WrongTypeError),
    BadCall(lambda run, _: run.log_file(Raising()), "file_path", WrongTypeError),
    BadCall(lambda run, _: run.log_file("a\0b"), "file_path"),
    BadCall(lambda run, _: run.log_file("\ud800"), "file_path"),
    BadCall(lambda run, _: run.log_file(""), "file_path"),
    BadCall(lambda run, _: run.log_file("~nobody-at-all/x"), "file_path"),
    BadCall(lambda run, _: run.log_file("/dev/zero"), "file_path"),
    BadCall(lambda run, _: run.log_file(__file__, "/x"), "artifact name"),
    BadCall(lambda run, _: run.log_file(__file__, is_output="no"), "is_output"),
    BadCall(lambda run, _: run.log_model("model.pt"), "model_data_uri"),
    BadCall(lambda run, _: run.log_model(Raising()), "model_data_uri"),
    BadCall(lambda run, _: run.log_model("s3://m", framework="x" * 257), "framework"),
    BadCall(lambda run, _: run.log_roc_curve([0, 1], Raising()), "y_score"),
    BadCall(lambda run, _: run.log_roc_curve([0, 1], [0.1]), "y_score"),
    BadCall(lambda run, _: run.log_roc_curve([0, 1], [0.1, Raising()]), "y_score[1]"),
    BadCall(lambda run, _: run.log_roc_curve([0, 1], [0.1, 0.2], Raising()), "title"),
    BadCall(lambda run, _: run.log_roc_curve([0, 1], [0.1, 0.2], "t", 1), "is_output"),
    BadCall(lambda run, _: run.log_precision_recall(Raising(), [0.1]), "y_true"),
    BadCall(lambda run, _: run.log_confusion_matrix([0], [1j]), "y_pred[0]"),
    BadCall(lambda run, _: run.log_confusion_matrix([Lying(str)], [1]), "y_true[0]"),
    BadCall(lambda run, _: run.set_tags(Raising()), "tags"),
    BadCall(lambda run, _: run.set_tags("abc"), "tags"),
    BadCall(lambda run, _: run.set_tags([{"Key": "k"}]), "tags"),
    BadCall(lambda run, _: run.set_tags({"k": 7}), "tag value"),
    BadCall(lambda run, _: run.set_tags({}, removed="good"), "removed"),
    BadCall(lambda run, _: run.set_tags({}, removed=None), "removed"),
]
"""Calls that would record something."""

QUESTIONS = [
    BadCall(lambda run, _: run.flush("5"), "timeout_s"),
    BadCall(lambda run, _: run.flush(Raising()), "timeout_s"),
    BadCall(lambda run, _: run.wait(-1), "timeout_s"),
    BadCall(lambda run, _: run.wait(np.float64("nan")), "timeout_s"),
    BadCall(lambda run, _: run.metric_series(7), "metric name"),
    BadCall(lambda run, _: run.metric_series("\ud800"), "metric name"),
    BadCall(lambda run, _: run.read_artifact("../../etc/passwd"), "artifact name"),
    BadCall(lambda run, _: run.read_artifact(None), "artifact name"),
    BadCall(lambda _, on: trialog.Run(7, session=on), "experiment_name"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.Run("e", "l\u043ess", on), "run_name"),
    BadCall(lambda _, on: trialog.Run("e", Raising(), on), "run_name"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.Run("e", None, on, resume="no"), "resume"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.Run("e", None, on, tags={1: "v"}), "tag key"),  # type: ignore[dict-item]
    BadCall(lambda _run, _: trialog.Run("e", None, "http://h"), "session", WrongTypeError),  # type: ignore[arg-type]
    BadCall(lambda _run, _: trialog.load_run("e", "r", Raising()), "session", WrongTypeError),  # type: ignore[call-overload]
    BadCall(lambda _, on: trialog.load_run(np.array(["e"]), session=on), "experiment_name"),  # type: ignore[call-overload]
    BadCall(lambda _, on: trialog.load_run("e", 7, on), "run_name"),  # type: ignore[call-overload]
    BadCall(lambda _, on: trialog.load_run(run_name="r", session=on), "experiment_name"),
    BadCall(lambda _, on: trialog.Experiment.create("a b", session=on), "experiment_name"),
    BadCall(lambda _, on: trialog.Experiment.create("e", Raising(), session=on), "description"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.Experiment.create("e", "d\0", session=on), "description"),
    BadCall(lambda _, on: trialog.Experiment.create("e", tags=[1], session=on), "tags"),  # type: ignore[list-item]
    BadCall(lambda _, on: trialog.Experiment.load(Raising(), on), "experiment_name"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.Experiment.list(Raising(), session=on), "sort_by"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.Experiment.list(sort_order="up", session=on), "sort_order"),
    BadCall(lambda _, on: trialog.Experiment.list(max_results=True, session=on), "max_results"),
    BadCall(lambda _, on: trialog.Run.list("e", max_results=10**400, session=on), "max_results"),
    BadCall(lambda _, on: trialog.Run.list("e", RaisingText("x"), session=on), "sort_by"),
    BadCall(lambda _, on: trialog.Run.iterate("e/..", session=on), "experiment_name"),
    BadCall(lambda _, on: trialog.compare("e", 7, session=on), "filter"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.compare("e", "\ud800", session=on), "filter"),
    BadCall(lambda _, on: trialog.compare("e", "x" * 4097, session=on), "filter"),
    BadCall(lambda _, on: trialog.compare("e", None, b"x", session=on), "order_by"),  # type: ignore[arg-type]
    BadCall(lambda _, on: trialog.compare("e", None, None, 0, session=on), "max_results"),
    BadCall(lambda _, on: trialog.compare("e", None, None, "5", session=on), "max_results"),  # type: ignore[arg-type]
    BadCall(lambda _run, _: trialog.Session(url=7).resolve({}), "url", WrongTypeError),  # type: ignore[arg-type]
    BadCall(lambda _run, _: trialog.Session(kafka=b"h:1").resolve({}), "kafka", WrongTypeError),  # type: ignore[arg-type]
    BadCall(lambda _run, _: trialog.Session(api_key=7).resolve({}), "api_key", WrongTypeError),  # type: ignore[arg-type]
    BadCall(lambda _run, _: trialog.Session(spool_dir=7).resolve({}), "spool_dir", WrongTypeError),  # type: ignore[arg-type]
    BadCall(lambda _run, _: trialog.Session(spool_dir="a\0").resolve({}), "spool_dir"),
    BadCall(lambda _run, _: trialog.PipelineExperimentConfig("e", None), "run_name"),  # type: ignore[arg-type]
    BadCall(lambda _run, _: TrialogCallback("e", metric_names="loss"), "metric_names"),
    BadCall(lambda _run, _: TrialogCallback("e", tags=7), "tags"),  # type: ignore[arg-type]
    BadCall(lambda _run, _: TrialogCallback("e", session="s"), "session", WrongTypeError),  # type: ignore[arg-type]
]
"""Calls that ask, or make something that does."""
