"""What a classifier's evaluation comes to, as the documents its plots are drawn from; pure.

Plain Python on purpose, and held against scikit-learn's numbers by the tests: see the decision in
`producer/README.md`. Knows nothing of runs; must not do I/O.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import accumulate, pairwise
from operator import mul
from typing import Any, TypeAlias, TypedDict

from trialog_schemas.callers_code import CallersCodeError, ask, is_text, kind_name, plain_number
from trialog_schemas.errors import ValidationError, shown

Label: TypeAlias = str | bool | int

PLOT_VERSION = 1
"""The version of the documents' form; another form gets another number."""

CURVE_POINTS_MAX = 10_000
"""Points of a curve that are kept, so that an artifact of any evaluation stays far below 5 MiB."""

LABELS_MAX = 1_000
"""Labels of a confusion matrix; their square is the number of its cells."""

LABEL_MAX = 2**63
"""Whole numbers that are labels are smaller: every reader of JSON has a form for them."""

_NEGATIVES_WITHOUT_NAME = (0, -1)
"""What the other class may be called when nobody says which class is the positive one, 1."""


class Plot(TypedDict):
    """A plot as it is stored.

    Args:
        type: what is plotted, by SageMaker's word for it.
        version: of this form.
        title: what the user called it, or None.
        data: columns and numbers, by SageMaker's words for them.
    """

    type: str
    version: int
    title: str | None
    data: dict[str, object]


def precision_recall_plot(
    y_true: object,
    predicted_probabilities: object,
    positive_label: object = None,
    title: str | None = None,
    no_skill: object = None,
) -> Plot:
    """Return precision and recall for each threshold, highest recall first, ending at (1, 0).

    Raises:
        ValidationError: see `trialog.run_evaluation.log_precision_recall`.
    """
    truth = _truth_of(y_true, positive_label)
    scores = _scores_of("predicted_probabilities", predicted_probabilities, len(truth))
    if not any(truth):
        raise _one_sided(truth)
    hits, misses = _counts(truth, scores)
    precision = [hit / (hit + miss) for hit, miss in zip(hits, misses, strict=True)]
    recall = [hit / hits[-1] for hit in hits]
    gains = (new - old for old, new in pairwise([0.0, *recall]))
    kept = _kept(len(recall) + 1)
    columns = ([*reversed(precision), 1.0], [*reversed(recall), 0.0])
    data: dict[str, object] = {
        "precision": [columns[0][index] for index in kept],
        "recall": [columns[1][index] for index in kept],
        "averagePrecisionScore": math.fsum(map(mul, gains, precision)),
        "noSkill": None if no_skill is None else _share("no_skill", no_skill),
        "pointsOmitted": len(recall) + 1 - len(kept),
    }
    return _plot("PrecisionRecallCurve", title, data)


def roc_plot(
    y_true: object, y_score: object, positive_label: object = None, title: str | None = None
) -> Plot:
    """Return the rates of false and true positives for each threshold, from (0, 0) to (1, 1).

    Points in the middle of a straight stretch are left out, as scikit-learn does.

    Raises:
        ValidationError: see `trialog.run_evaluation.log_roc_curve`.
    """
    truth = _truth_of(y_true, positive_label)
    scores = _scores_of("y_score", y_score, len(truth))
    if len(set(truth)) == 1:
        raise _one_sided(truth)
    hits, misses = _counts(truth, scores)
    corners = _corners(hits, misses)
    true_rate = [0.0, *(hits[index] / hits[-1] for index in corners)]
    false_rate = [0.0, *(misses[index] / misses[-1] for index in corners)]
    widths = (new - old for old, new in pairwise(false_rate))
    heights = ((old + new) / 2 for old, new in pairwise(true_rate))
    kept = _kept(len(true_rate))
    data: dict[str, object] = {
        "falsePositiveRate": [false_rate[index] for index in kept],
        "truePositiveRate": [true_rate[index] for index in kept],
        "areaUnderCurve": math.fsum(map(mul, widths, heights)),
        "pointsOmitted": len(true_rate) - len(kept),
    }
    return _plot("ROCCurve", title, data)


def confusion_plot(y_true: object, y_pred: object, title: str | None = None) -> Plot:
    """Return how often each label (row) was predicted as each (column), labels in their order.

    Raises:
        ValidationError: see `trialog.run_evaluation.log_confusion_matrix`.
    """
    true, predicted = _labels_of("y_true", y_true), _labels_of("y_pred", y_pred)
    _check_length("y_pred", len(predicted), len(true))
    found = {**dict.fromkeys(true), **dict.fromkeys(predicted)}
    texts = [label for label in found if isinstance(label, str)]
    if texts and len(texts) < len(found):
        raise ValidationError(
            f"y_true and y_pred have the text {shown(texts[0])} as a label, and numbers; give "
            "labels of one kind",
            field="y_pred",
            value=texts[0],
            limit="all texts, or none",
        )
    if len(found) > LABELS_MAX:
        raise ValidationError(
            f"y_true and y_pred have {len(found)} labels, at most {LABELS_MAX} make a matrix; "
            "group the rare ones",
            field="y_true",
            value=len(found),
            limit=LABELS_MAX,
        )
    labels = sorted(found)
    cells = Counter(zip(true, predicted, strict=True))
    matrix = [[cells[row, column] for column in labels] for row in labels]
    return _plot("ConfusionMatrix", title, {"labels": labels, "confusionMatrix": matrix})


def _plot(kind: str, title: str | None, data: dict[str, object]) -> Plot:
    return {"type": kind, "version": PLOT_VERSION, "title": title, "data": data}


def _counts(truth: list[bool], scores: list[float]) -> tuple[list[int], list[int]]:
    """Return true and false positives when all from a score on are called positive, per score."""
    ranked = sorted(zip(scores, truth, strict=True), reverse=True)
    found = list(accumulate(is_hit for _, is_hit in ranked))
    # The last example of each score: it and all before it are called positive together.
    ends = [at for at, (one, other) in enumerate(pairwise(ranked)) if one[0] != other[0]]
    ends.append(len(ranked) - 1)
    hits = [int(found[at]) for at in ends]
    return hits, [at + 1 - hit for at, hit in zip(ends, hits, strict=True)]


def _corners(hits: list[int], misses: list[int]) -> list[int]:
    """Return where a curve may turn: both ends, and where either count changes its step."""
    last = len(hits) - 1

    def is_turn(at: int) -> bool:
        return any(
            counts[at + 1] - counts[at] != counts[at] - counts[at - 1] for counts in (hits, misses)
        )

    return [at for at in range(last + 1) if at in {0, last} or is_turn(at)]


def _kept(count: int) -> list[int]:
    """Return which of so many points are kept: all, or evenly spread ones with both ends."""
    if count <= CURVE_POINTS_MAX:
        return list(range(count))
    return [index * (count - 1) // (CURVE_POINTS_MAX - 1) for index in range(CURVE_POINTS_MAX)]


def _truth_of(y_true: object, positive_label: object) -> list[bool]:
    """Return which labels are the positive one."""
    labels = _labels_of("y_true", y_true)
    found = dict.fromkeys(labels)
    if positive_label is None:
        if not any(found.keys() <= {negative, 1} for negative in _NEGATIVES_WITHOUT_NAME):
            odd = next(label for label in found if label not in {0, 1})
            raise ValidationError(
                f"y_true has the label {shown(odd)}, without positive_label allowed are 0 and 1, "
                "or -1 and 1; name the positive one by positive_label",
                field="y_true",
                value=odd,
                limit="0 and 1, or -1 and 1",
            )
        return [label == 1 for label in labels]
    wanted = _label("positive_label", positive_label)
    if wanted not in found:
        some = ", ".join(shown(label) for label in list(found)[:3])
        raise ValidationError(
            f"positive_label is {shown(wanted)}, which y_true does not have; it has {some}",
            field="positive_label",
            value=wanted,
            limit="a label of y_true",
        )
    return [label == wanted for label in labels]


def _one_sided(truth: list[bool]) -> ValidationError:
    there, missing = ("positive", "negative") if truth[0] else ("negative", "positive")
    return ValidationError(
        f"y_true has {len(truth)} {there} labels and no {missing} one, so that there is no curve; "
        "evaluate on data of both classes",
        field="y_true",
        value=len(truth),
        limit="both classes",
    )


def _labels_of(field: str, values: object) -> list[Label]:
    """Return labels, at least one, as Python's own values."""
    found = [
        value
        if type(value) is int and abs(value) < LABEL_MAX
        else _label(f"{field}[{index}]", value)
        for index, value in enumerate(_list(field, values))
    ]
    if not found:
        raise ValidationError(
            f"{field} is empty; give at least one label", field=field, value=values, limit="1.."
        )
    return found


def _label(field: str, value: object) -> Label:
    plain = _plain(value)
    if isinstance(plain, bool) or (isinstance(plain, int) and abs(plain) < LABEL_MAX):
        return plain
    if isinstance(plain, float) and plain.is_integer() and abs(plain) < LABEL_MAX:
        return int(plain)
    if isinstance(plain, str) and _is_unicode(plain):
        return str.__str__(plain)
    raise ValidationError(
        f"{field} is {shown(value)}, which is no label; labels are texts, truth values or whole "
        "numbers",
        field=field,
        value=value,
        limit="text, truth value or whole number",
    )


def _is_unicode(text: str) -> bool:
    """Tell whether a text has no lone surrogate, which JSON has no form for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _scores_of(field: str, values: object, count: int) -> list[float]:
    """Return as many finite numbers as there are labels."""
    found = _list(field, values)
    _check_length(field, len(found), count)
    return [
        value
        if type(value) is float and math.isfinite(value)
        else _finite(f"{field}[{index}]", value)
        for index, value in enumerate(found)
    ]


def _finite(field: str, value: object) -> float:
    plain = _plain(value)
    if isinstance(plain, int | float) and abs(plain) <= sys.float_info.max:
        return float(plain)
    raise ValidationError(
        f"{field} is {shown(value)}, which is no finite number; give one score of each example, "
        "that of the positive class",
        field=field,
        value=value,
        limit="finite number",
    )


def _check_length(field: str, count: int, count_of_true: int) -> None:
    if count != count_of_true:
        raise ValidationError(
            f"{field} has {count} values and y_true {count_of_true}; give one for each label",
            field=field,
            value=count,
            limit=count_of_true,
        )


def _share(field: str, value: object) -> float:
    plain = _plain(value)
    if not isinstance(plain, int | float) or not 0 <= plain <= 1:
        raise ValidationError(
            f"{field} is {shown(value)}, allowed are numbers from 0 to 1, or None",
            field=field,
            value=value,
            limit="0..1",
        )
    return float(plain)


def _list(field: str, values: object) -> list[object]:
    """Return what a list, array, tensor or column holds, without importing any of them."""
    try:
        held = ask(lambda: _held(values))
    except CallersCodeError as exc:
        why = f", which raised {exc} when it was read"
        raise _no_list(field, values, why) from exc.__cause__
    if held is None:
        raise _no_list(field, values)
    return held


def _held(values: Any) -> list[object] | None:
    to_list = getattr(values, "tolist", None)
    held = to_list() if callable(to_list) else values
    is_one = issubclass(type(held), str | bytes | Mapping | AbstractSet)
    return None if is_one or not isinstance(held, Iterable) else list(held)


def _no_list(field: str, values: object, why: str = "") -> ValidationError:
    return ValidationError(
        f"{field} is {shown(values)} of type {kind_name(values)}{why}; give a list or an array",
        field=field,
        value=values,
        limit="list or array",
    )


def _plain(value: object) -> str | bool | int | float | None:
    """Return the Python value of a scalar of any library; None of all else."""
    if is_text(value):
        return str.__str__(value)
    if value is True or value is False:
        return value
    number = plain_number(value)
    if number is not None:
        return number
    try:
        plain = ask(lambda: _item_of(value))
    except CallersCodeError:  # it is refused as what it is
        return None
    return plain if type(plain) in {str, bool, int, float} else None


def _item_of(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () else None
