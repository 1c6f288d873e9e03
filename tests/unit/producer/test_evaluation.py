"""Curves and matrices of an evaluation: scikit-learn's numbers, and what is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tests.acceptance.refusals import illegal
from trialog.evaluation import (
    CURVE_POINTS_MAX,
    LABELS_MAX,
    confusion_plot,
    precision_recall_plot,
    roc_plot,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialog.evaluation import Plot

TRUE = [0, 1, 1, 0, 1, 0]
SCORES = [0.1, 0.9, 0.4, 0.4, 0.8, 0.2]

# Few different scores, so that many examples share one; both classes are there.
_examples = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-2.5, 0.0, 0.1, 0.25, 0.5, 0.9, 1e300])),
    max_size=40,
).map(lambda rows: [(0, 0.1), (1, 0.5), *rows])


def column(plot: Plot, name: str) -> list[float]:
    """A column of a plot's data."""
    return cast("list[float]", plot["data"][name])


def close(found: object, expected: object) -> bool:
    """Whether numbers are equal but for the last bits."""
    return bool(np.allclose(np.asarray(found), np.asarray(expected), rtol=1e-12, atol=1e-15))


# E11
@given(_examples)
def test_precision_recall_is_what_scikit_learn_computes(rows: list[tuple[int, float]]) -> None:
    """Every point of the curve and the average precision, with any ties between scores."""
    true, scores = [row[0] for row in rows], [row[1] for row in rows]
    plot = precision_recall_plot(true, scores)
    precision, recall, _ = metrics.precision_recall_curve(true, scores)
    assert close(column(plot, "precision"), precision)
    assert close(column(plot, "recall"), recall)
    average = metrics.average_precision_score(true, scores)
    assert close(plot["data"]["averagePrecisionScore"], average)


# E11
@given(_examples)
def test_roc_curve_is_what_scikit_learn_computes(rows: list[tuple[int, float]]) -> None:
    """Every point, those in the middle of a straight stretch left out, and the area."""
    true, scores = [row[0] for row in rows], [row[1] for row in rows]
    plot = roc_plot(true, scores)
    false_rate, true_rate, _ = metrics.roc_curve(true, scores)
    assert close(column(plot, "falsePositiveRate"), false_rate)
    assert close(column(plot, "truePositiveRate"), true_rate)
    assert close(plot["data"]["areaUnderCurve"], metrics.roc_auc_score(true, scores))


# E11
@given(
    # Of one label alone scikit-learn warns.
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("bcd"))).map(
        lambda rows: [("a", "d"), *rows]
    )
)
def test_confusion_matrix_is_what_scikit_learn_computes(rows: list[tuple[str, str]]) -> None:
    """Also where a label was never true or never predicted."""
    true, predicted = [row[0] for row in rows], [row[1] for row in rows]
    data = confusion_plot(true, predicted)["data"]
    assert data["confusionMatrix"] == metrics.confusion_matrix(true, predicted).tolist()
    assert data["labels"] == sorted({*true, *predicted})


# E11
def test_numbers_computed_by_hand() -> None:
    """A small example, every number of it."""
    curve = precision_recall_plot(TRUE, SCORES, no_skill=0.5)["data"]
    assert curve["precision"] == [0.5, 0.6, 0.75, 1.0, 1.0, 1.0]
    assert curve["recall"] == [1.0, 1.0, 1.0, 2 / 3, 1 / 3, 0.0]
    assert close(curve["averagePrecisionScore"], (1 + 1 + 0.75) / 3)
    assert (curve["noSkill"], curve["pointsOmitted"]) == (0.5, 0)
    roc = roc_plot(TRUE, SCORES)["data"]
    assert close(roc["areaUnderCurve"], 8.5 / 9)
    matrix = confusion_plot([0, 1, 1], [1, 1, 0])["data"]
    assert matrix == {"labels": [0, 1], "confusionMatrix": [[0, 1], [1, 1]]}


# E11
def test_plot_has_type_version_and_title() -> None:
    """What is plotted, in which form, and above it."""
    plots = (
        precision_recall_plot(TRUE, SCORES),
        roc_plot(TRUE, SCORES, title="by night"),
        confusion_plot(TRUE, TRUE),
    )
    assert [(plot["type"], plot["version"], plot["title"]) for plot in plots] == [
        ("PrecisionRecallCurve", 1, None),
        ("ROCCurve", 1, "by night"),
        ("ConfusionMatrix", 1, None),
    ]


# E11
@pytest.mark.parametrize(
    "labels",
    [
        [-1, 1, 1, -1, 1, -1],
        [False, True, True, False, True, False],
        [0.0, 1.0, 1.0, 0.0, 1.0, 0.0],
        np.array(TRUE),
        np.array(TRUE, dtype=bool),
        [np.int64(label) for label in TRUE],
        [np.array(label) for label in TRUE],
        tuple(TRUE),
        (label for label in TRUE),
    ],
    ids=[
        "−1 and 1",
        "truth",
        "floats",
        "array",
        "array of truth",
        "scalars",
        "0-d",
        "tuple",
        "gen",
    ],
)
def test_binary_labels_may_have_any_of_these_forms(labels: object) -> None:
    """Lists, arrays and scalars of numpy, and whatever else gives one label after the other."""
    expected = roc_plot(TRUE, SCORES)
    assert roc_plot(labels, np.array(SCORES, dtype=np.float64)) == expected


# E11
def test_positive_label_makes_labels_binary() -> None:
    """One class against all the others, by text or by number."""
    expected = precision_recall_plot(TRUE, SCORES)
    names = ["dog", "cat", "cat", "bird", "cat", "dog"]
    assert precision_recall_plot(names, SCORES, "cat") == expected
    assert precision_recall_plot([7, 5, 5, 6, 5, 7], SCORES, positive_label=np.int64(5)) == expected
    assert roc_plot(names, SCORES, "cat") == roc_plot(TRUE, SCORES)


# E11
def test_long_curve_is_thinned_and_its_numbers_are_of_all_points() -> None:
    """Both ends stay, the area is the exact one, and the JSON is far below an artifact's limit."""
    random = np.random.default_rng(7)
    true = random.integers(0, 2, 100_000)
    scores = random.normal(size=true.size) + true
    curve, roc = precision_recall_plot(true, scores), roc_plot(true, scores)
    average = metrics.average_precision_score(true, scores)
    assert close(curve["data"]["averagePrecisionScore"], average)
    assert close(roc["data"]["areaUnderCurve"], metrics.roc_auc_score(true, scores))
    for plot, name in ((curve, "recall"), (roc, "truePositiveRate")):
        points = column(plot, name)
        assert len(points) == CURVE_POINTS_MAX
        assert {points[0], points[-1]} == {0.0, 1.0}
        assert cast("int", plot["data"]["pointsOmitted"]) > 0
        assert len(orjson.dumps(plot)) < 500_000


BAD_CURVES = [
    ("y_true has the label 2, without positive_label", [0, 1, 2], [0.1, 0.2, 0.3]),
    ("y_true has the label 'a', without", ["a", "b"], [0.1, 0.2]),
    ("y_true has the label -1, without", [0, 1, -1], [0.1, 0.2, 0.3]),
    ("y_score has 1 values and y_true 2; give one for each", [0, 1], [0.1]),
    ("y_true is empty; give at least one label", [], []),
    (r"y_score\[1\] is nan, which is no finite number", [0, 1], [0.1, math.nan]),
    (r"y_score\[0\] is inf, which is no finite number", [0, 1], [math.inf, 0.1]),
    (r"y_score\[0\] is 1000000.*, which is no finite number", [0, 1], [10**400, 0.1]),
    (r"y_score\[0\] is '0.1', which is no finite number", [0, 1], ["0.1", 0.1]),
    (r"y_score\[0\] is None, which is no finite number", [0, 1], [None, 0.1]),
    (r"y_score\[0\] is \[0.9, 0.1\], which is no .* positive class", [0, 1], [[0.9, 0.1]] * 2),
    (r"y_score\[0\] is \[0.5, 0.5\], which is no finite", [0, 1], np.full((2, 2), 0.5)),
    (r"y_score\[0\] is 1j, which is no finite number", [0, 1], [1j, 0.1]),
    ("y_score is 0.5 of type float; give a list or an array", [0, 1], 0.5),
    ("y_score is array.* of type ndarray; give a list", [0, 1], np.array(0.5)),
    ("y_score is None of type NoneType; give a list", [0, 1], None),
    ("y_true is '01' of type str; give a list or an array", "01", [0.1, 0.2]),
    ("y_true is {0, 1} of type set; give a list or an array", {0, 1}, [0.1, 0.2]),
    ("y_true is {0: 1} of type dict; give a list or an array", {0: 1}, [0.1]),
    (r"y_true\[0\] is nan, which is no label; labels are texts", [math.nan, 1], [0.1, 0.2]),
    (r"y_true\[0\] is None, which is no label", [None, 1], [0.1, 0.2]),
    (r"y_true\[1\] is 0.3, which is no label", [1, 0.3], [0.1, 0.2]),
    (r"y_true\[0\] is b'a', which is no label", [b"a", 1], [0.1, 0.2]),
    (r"y_true\[0\] is \[1\], which is no label", [[1], [0]], [0.1, 0.2]),
    (r"y_true\[0\] is 18446744073709551616, which is no label", [2**64, 1], [0.1, 0.2]),
    (r"y_true\[0\] is 1e\+300, which is no label", [1e300, 1], [0.1, 0.2]),
    (r"y_true\[0\] is '.ud800', which is no label", ["\ud800", 1], [0.1, 0.2]),
    ("y_true has 2 negative labels and no positive one", [0, 0], [0.1, 0.2]),
    ("y_true has 3 positive labels and no negative one", [1, 1, 1], [0.1, 0.2, 0.3]),
]


# E11
@pytest.mark.parametrize(("message", "y_true", "y_score"), BAD_CURVES)
def test_curve_of_bad_input_is_refused_with_field_value_and_limit(
    message: str, y_true: object, y_score: object
) -> None:
    """Each is a ValueError that says what is wrong with which value, and what to give."""
    with pytest.raises(ValueError, match=f"^{message}"):
        roc_plot(y_true, y_score)
    illegal(roc_plot, y_true, y_score)


# E11
@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("predicted_probabilities has 2 values and y_true 1", ([1], [0.1, 0.2])),
        (r"predicted_probabilities\[0\] is nan", ([1], [math.nan])),
        ("y_true has 1 negative labels and no positive one", ([0], [0.1])),
        ("positive_label is 'dog', which y_true does not have; it has 'a', 'b'$", ("dog",)),
        (r"positive_label is \[1\], which is no label", ([1],)),
        ("no_skill is 1.5, allowed are numbers from 0 to 1, or None", (None, None, 1.5)),
        ("no_skill is nan, allowed", (None, None, math.nan)),
        ("no_skill is 'low', allowed", (None, None, "low")),
    ],
)
def test_precision_recall_of_bad_input_is_refused(
    message: str, arguments: tuple[object, ...]
) -> None:
    """What only this plot asks for, and its own names of fields."""
    call = precision_recall_plot
    given: tuple[object, ...] = arguments
    if message.startswith("positive_label"):
        given = (["a", "b"], [0.1, 0.2], *arguments)
    if message.startswith("no_skill"):
        given = (TRUE, SCORES, *arguments)
    with pytest.raises(ValueError, match=f"^{message}"):
        call(*given)  # type: ignore[arg-type]  # the cases
    illegal(call, *given)


# E11
def test_curve_of_positives_alone_has_a_precision() -> None:
    """As in scikit-learn: every example that is found is a right one."""
    data = precision_recall_plot([1, 1], [0.2, 0.3])["data"]
    assert data["precision"] == [1.0, 1.0, 1.0]
    assert data["averagePrecisionScore"] == 1.0


# E11
@pytest.mark.parametrize(
    ("message", "y_true", "y_pred"),
    [
        ("y_pred has 3 values and y_true 2; give one for each label", [0, 1], [0, 1, 1]),
        ("y_true is empty", [], []),
        (r"y_pred\[1\] is 0.37, which is no label", [0, 1], [0.0, 0.37]),
        (r"y_pred\[0\] is nan, which is no label", [0, 1], [math.nan, 1]),
        ("y_true and y_pred have the text '1' as a label, and numbers", [0, 1], ["1", "0"]),
        (
            rf"y_true and y_pred have {LABELS_MAX + 1} labels, at most {LABELS_MAX}",
            range(LABELS_MAX + 1),
            [0] * (LABELS_MAX + 1),
        ),
    ],
)
def test_matrix_of_bad_input_is_refused(message: str, y_true: object, y_pred: object) -> None:
    """Each is a ValueError with its field and limit."""
    call: Callable[..., Plot] = confusion_plot
    with pytest.raises(ValueError, match=f"^{message}"):
        call(y_true, y_pred)
    illegal(call, y_true, y_pred)


# E11
def test_matrix_of_as_many_labels_as_allowed() -> None:
    """The bound itself is allowed."""
    data = confusion_plot(range(LABELS_MAX), range(LABELS_MAX))["data"]
    assert len(cast("list[int]", data["labels"])) == LABELS_MAX


# E11
def test_matrix_tells_whole_floats_and_truth_values_as_one_label() -> None:
    """What is equal is one label, as for scikit-learn: 1, 1.0 and True."""
    data = confusion_plot([1.0, 0.0, 1.0], np.array([True, False, False]))["data"]
    assert data == {"labels": [0, 1], "confusionMatrix": [[1, 0], [1, 1]]}
