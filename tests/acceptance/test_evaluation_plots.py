"""Evaluation plots end to end: JSON artifacts with type, version, title and data."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics

import trialog
from tests.acceptance.refusals import illegal

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialog.run_values import Artifact

TRUE = np.array([0, 1, 1, 0, 1, 0])
SCORES = np.array([0.1, 0.9, 0.4, 0.4, 0.8, 0.2])


def plots_of(run: trialog.Run) -> dict[str, tuple[Artifact, dict[str, Any]]]:
    """Each artifact of a run by name, with its JSON."""
    return {one.name: (one, json.loads(run.read_artifact(one.name))) for one in run.artifacts}


# E11
def test_plots_come_back_as_json_with_scikit_learns_numbers(
    session: trialog.Session, experiment_name: str
) -> None:
    """Each under its type and title, as an output; another process reads the same."""
    predicted = SCORES > 0.3
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_precision_recall(TRUE, SCORES, 1, "validation", True, 0.5)
        run.log_roc_curve(TRUE, SCORES, title="validation")
        run.log_confusion_matrix(TRUE, predicted)
    run.wait()
    found = plots_of(trialog.load_run(experiment_name, "one", session))
    assert found.keys() == {
        "PrecisionRecallCurve/validation",
        "ROCCurve/validation",
        "ConfusionMatrix",
    }
    for name, (artifact, plot) in found.items():
        assert (artifact.media_type, artifact.is_output) == ("application/json", True)
        assert plot.keys() == {"type", "version", "title", "data"}
        assert plot["type"] == name.split("/")[0]
    precision, recall, _ = metrics.precision_recall_curve(TRUE, SCORES)
    curve = found["PrecisionRecallCurve/validation"][1]
    assert curve["title"] == "validation"
    assert curve["data"]["precision"] == pytest.approx(precision.tolist())
    assert curve["data"]["recall"] == pytest.approx(recall.tolist())
    assert curve["data"]["noSkill"] == 0.5
    false_rate, true_rate, _ = metrics.roc_curve(TRUE, SCORES)
    roc = found["ROCCurve/validation"][1]["data"]
    assert roc["falsePositiveRate"] == pytest.approx(false_rate.tolist())
    assert roc["truePositiveRate"] == pytest.approx(true_rate.tolist())
    assert roc["areaUnderCurve"] == pytest.approx(metrics.roc_auc_score(TRUE, SCORES))
    matrix = found["ConfusionMatrix"][1]
    assert matrix["title"] is None
    assert matrix["data"]["confusionMatrix"] == metrics.confusion_matrix(TRUE, predicted).tolist()


# E11
def test_same_plot_again_is_a_version_and_inputs_are_told_from_outputs(
    session: trialog.Session, experiment_name: str
) -> None:
    """An evaluation after every epoch does not use up the run's 30 artifacts."""
    with trialog.Run(experiment_name, "one", session) as run:
        for _epoch in range(31):
            run.log_confusion_matrix(TRUE, TRUE)
            run.log_confusion_matrix(TRUE, 1 - TRUE)
        run.log_roc_curve(["a", "b"], [0.1, 0.2], "of the data", False, positive_label="b")
    run.wait()
    told = {one.name: (one.version, one.is_output) for one in run.artifacts}
    assert told == {"ConfusionMatrix": (62, True), "ROCCurve/of the data": (1, False)}


# E11
def test_refused_plot_records_nothing_and_the_run_goes_on(
    session: trialog.Session, experiment_name: str
) -> None:
    """Lengths, labels, NaN and titles that are not legal; the run completes with the rest."""
    with trialog.Run(experiment_name, "one", session) as run:
        for call, arguments in (
            (run.log_precision_recall, (TRUE, SCORES[:5])),
            (run.log_precision_recall, (TRUE + 1, SCORES)),
            (run.log_roc_curve, (TRUE, SCORES * np.nan)),
            (run.log_roc_curve, ([], [])),
            (run.log_roc_curve, (TRUE, SCORES, "../up")),
            (run.log_roc_curve, (TRUE, SCORES, "")),
            (run.log_confusion_matrix, (TRUE, TRUE[:1])),
            (run.log_confusion_matrix, (TRUE, TRUE, 5)),
            (run.log_confusion_matrix, (TRUE, TRUE, "\ud800")),
            (run.log_confusion_matrix, (TRUE, TRUE, "x" * 240)),
        ):
            logging: Callable[..., None] = call
            illegal(logging, *arguments)
        run.log_confusion_matrix(TRUE, TRUE, title="kept")
    run.wait()
    assert run.status == "Completed"
    assert plots_of(run).keys() == {"ConfusionMatrix/kept"}


# B13 E11
def test_plot_outside_the_block_raises() -> None:
    """Before entering nothing may be logged, and nothing is asked of a service."""
    run = trialog.Run("e", "r", trialog.Session(url="http://127.0.0.1:9"))
    for call in (run.log_precision_recall, run.log_roc_curve, run.log_confusion_matrix):
        with pytest.raises(RuntimeError, match="not entered"):
            call(TRUE, TRUE)


# E11
def test_signatures_are_those_of_sagemaker() -> None:
    """Ported calls run: the same names in the same order, also by position."""
    expected: dict[Callable[..., None], str] = {
        trialog.Run.log_precision_recall: "y_true predicted_probabilities positive_label title "
        "is_output no_skill",
        trialog.Run.log_roc_curve: "y_true y_score title is_output",
        trialog.Run.log_confusion_matrix: "y_true y_pred title is_output",
    }
    for method, names in expected.items():
        parameters = list(inspect.signature(method).parameters.values())[1:]
        by_position = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
        assert by_position == names.split()
