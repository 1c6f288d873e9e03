"""The methods of a run that log what an evaluation came to, each as a JSON artifact to be plotted.

They are `RunLogging`'s own and stand here because they are long; what they store is made in
`evaluation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from trialog.evaluation import confusion_plot, precision_recall_plot, roc_plot
from trialog_schemas import names
from trialog_schemas.arguments import check_flag
from trialog_schemas.callers_code import is_text, kind_name
from trialog_schemas.errors import ValidationError, shown

if TYPE_CHECKING:
    from trialog.evaluation import Plot
    from trialog.run_logging import RunLogging


def log_precision_recall(  # noqa: PLR0913, PLR0917  the signature of SageMaker's Run
    self: RunLogging,
    y_true: object,
    predicted_probabilities: object,
    positive_label: str | int | None = None,
    title: str | None = None,
    is_output: bool = True,
    no_skill: float | None = None,
) -> None:
    """Record precision and recall over all thresholds as a JSON artifact.

    It is named `PrecisionRecallCurve`, with a title `PrecisionRecallCurve/TITLE`; the same name
    again is a new version of it. Numbers are those of scikit-learn, which need not be installed;
    a curve of more than 10,000 points is stored thinned.

    Args:
        y_true: the label of each example: a list, array or tensor.
        predicted_probabilities: the positive class's score of each example, finite numbers.
        positive_label: the positive class; None takes 1 of labels 0 and 1, or -1 and 1. With it
            all other labels are the negative class.
        title: what to show above the plot.
        is_output: whether the run made it, or used it.
        no_skill: the precision of a classifier that guesses, from 0 to 1, to be drawn beside it.

    Raises:
        ValidationError: not one score for each label, no example, a score that is no finite
            number, labels that are not binary, no positive label, or an illegal title.
        LimitExceededError, RuntimeError: as `log_artifact`.

    Source:
        https://sagemaker.readthedocs.io/en/stable/experiments/sagemaker.experiments.html
    """
    checked = _checked_title(title)
    plot = precision_recall_plot(y_true, predicted_probabilities, positive_label, checked, no_skill)
    _log_plot(self, plot, is_output=is_output)


def log_roc_curve(
    self: RunLogging,
    y_true: object,
    y_score: object,
    title: str | None = None,
    is_output: bool = True,
    *,
    positive_label: str | int | None = None,
) -> None:
    """Record the rates of true and false positives over all thresholds as a JSON artifact.

    It is named `ROCCurve`, with a title `ROCCurve/TITLE`. All else as `log_precision_recall`.

    Args:
        y_true: the label of each example: a list, array or tensor.
        y_score: the positive class's score of each example, finite numbers.
        title: what to show above the plot.
        is_output: whether the run made it, or used it.
        positive_label: the positive class; None takes 1 of labels 0 and 1, or -1 and 1.

    Raises:
        ValidationError: not one score for each label, no example, a score that is no finite
            number, labels that are not binary or all of one class, or an illegal title.
        LimitExceededError, RuntimeError: as `log_artifact`.
    """
    plot = roc_plot(y_true, y_score, positive_label, _checked_title(title))
    _log_plot(self, plot, is_output=is_output)


def log_confusion_matrix(
    self: RunLogging,
    y_true: object,
    y_pred: object,
    title: str | None = None,
    is_output: bool = True,
) -> None:
    """Record how often each label was predicted as each, as a JSON artifact.

    It is named `ConfusionMatrix`, with a title `ConfusionMatrix/TITLE`; the same name again is a
    new version of it. Rows are true labels, columns predicted ones, both in order.

    Args:
        y_true: the label of each example: texts, truth values or whole numbers.
        y_pred: the label that was predicted for each.
        title: what to show above the plot.
        is_output: whether the run made it, or used it.

    Raises:
        ValidationError: not one prediction for each label, no example, a value that is no label,
            texts among numbers, more than 1,000 different labels, or an illegal title.
        LimitExceededError, RuntimeError: as `log_artifact`.
    """
    plot = confusion_plot(y_true, y_pred, _checked_title(title))
    _log_plot(self, plot, is_output=is_output)


def _checked_title(title: object) -> str | None:
    if title is None:
        return None
    if is_text(title):
        return str.__str__(title)
    raise ValidationError(
        f"title is {shown(title)} of type {kind_name(title)}; give a text or None",
        field="title",
        value=title,
        limit="text",
    )


def _log_plot(run: RunLogging, plot: Plot, *, is_output: bool) -> None:
    is_made = check_flag("is_output", is_output)
    title = plot["title"]
    name = plot["type"] if title is None else f"{plot['type']}/{title}"
    # Checked before the JSON is made: a title that is no Unicode text has none.
    clean = names.check_artifact_name(name)
    content = orjson.dumps(plot)
    # What calls this is a method of the run that stands in this module.
    run._log_bytes(clean, content, "application/json", ("artifact", is_made))  # noqa: SLF001
