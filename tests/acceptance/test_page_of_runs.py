"""Runs logged by the SDK, looked at on the page: the same values, verdicts and relatives."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from playwright.sync_api import expect

import trialog
from tests.acceptance.conftest import LEFT_WITH_REFUSALS, ON_ONE_LOG
from tests.acceptance.pages import rows_of, run_page

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

INPUTS = {"learning_rate": 0.05, "layers": [64, 32], "seed": 2**53 + 1, "optimizer": "adam"}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def train(run: trialog.Run, accuracy: float) -> None:
    """Log the same inputs as every other run, and what came of them."""
    run.log_parameters(INPUTS)
    run.log_metric("accuracy", accuracy, 0)


# B16 E11 G7 G8
@LEFT_WITH_REFUSALS
@ON_ONE_LOG
def test_page_shows_what_was_logged_and_that_a_run_was_reproduced(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Plots, pictures, relatives and refusals of one run; beside another, identical parameters."""
    picture = tmp_path / "samples.png"
    picture.write_bytes(PNG)
    with (
        trialog.Run(experiment_name, "first", session) as first,
        # Before anything is logged: this handle does not know the parameters.
        trialog.load_run(experiment_name, "first", session) as other,
    ):
        train(first, 0.9)
        first.log_roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], "of the test data")
        first.log_precision_recall([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        first.log_confusion_matrix(["cat", "dog"], ["cat", "cat"])
        first.log_file(str(picture))
        with trialog.Run(experiment_name, "inner", session) as inner:
            train(inner, 0.5)
        first.wait(30)
        other.log_parameter("seed", 1)
    with trialog.Run(experiment_name, "second", session) as second:
        train(second, 0.9)
    for run in (first, inner, second):
        run.wait(30)

    with run_page(session, first.run_id) as page:
        check_figures(page)
        (refused,) = first.rejections
        assert rows_of(page, "Refused") == 1
        row = page.locator("section").last.get_by_role("row").last
        cells = row.get_by_role("cell").all_text_contents()
        assert cells[:4] == [refused.code, refused.name, refused.value, refused.message]
        page.get_by_role("link", name="inner").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("inner")
        page.get_by_role("link", name="first").click()

        page.get_by_label("where you are").get_by_role("link").click()
        for name in ("first", "second"):
            page.get_by_label(f"compare {name}").check()
        page.get_by_role("link", name="Compare 2 runs").click()
        title = page.get_by_role("heading", name="Parameters")
        expect(title).to_have_text("Parameters all 4 identical")
        assert rows_of(page, "Parameters") == 4


def check_figures(page: Page) -> None:
    """The three plots are drawn with their numbers, and the picture is shown."""
    for name in (
        "ROC curve: of the test data, area under the curve 0.7500",
        "Precision and recall, average precision 0.8333",
        "samples.png",
    ):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    matrix = page.get_by_role("table", name="Confusion matrix")
    expect(matrix.get_by_role("row").last).to_have_text("dog10")
