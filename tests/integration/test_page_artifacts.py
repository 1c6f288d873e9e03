"""A run's artifacts on the page: drawn, shown or told, always downloadable, never executed."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.integration.api_service import open_api
from tests.integration.page_views import looking_at
from tests.integration.read_model_rows import ArtifactRow, RunRow
from trialog.evaluation import confusion_plot, precision_recall_plot, roc_plot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from playwright.async_api import Browser, Locator, Page

    from tests.integration.api_service import Api
    from tests.integration.page_views import Colours

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

TRUE, SCORES = [0, 0, 1, 1, 1, 0, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.7, 0.2, 0.9, 0.75]
HTML = "<html><body><script>alert('html')</script><h1>I am a page</h1></body></html>"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30" onload="alert(1)">'
    '<script>alert("svg")</script><rect width="40" height="30" fill="green"/>'
    '<image href="/healthz" width="5" height="5"/></svg>'
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service whose artifacts have bytes."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        yield opened


async def keep(api: Api, run_id: UUID, row: ArtifactRow, content: bytes | str) -> None:
    """Give a run an artifact with its bytes."""
    held = content.encode() if isinstance(content, str) else content
    digest = hashlib.sha256(held).hexdigest()
    stored = await api.client.put(f"/api/v1/artifacts/{digest}", content=held)
    assert stored.is_success
    await api.rows.version(run_id, row, sha256=digest, size=len(held))


async def new_run(api: Api, name: str) -> UUID:
    """Make a run in an experiment of its own."""
    return await api.rows.run(await api.rows.experiment(name), RunRow(name))


async def keep_plot(api: Api, run_id: UUID, name: str, document: object) -> None:
    """Give a run a document as `Run.log_roc_curve` and its like store it."""
    content = document if isinstance(document, str) else json.dumps(document)
    await keep(api, run_id, ArtifactRow(name, media_type="application/json"), content)


def figure_of(page: Page, name: str) -> Locator:
    """The figure whose caption begins so."""
    return page.locator("figure").filter(has=page.locator("figcaption").filter(has_text=name))


# E11
@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_page_draws_the_three_evaluation_plots(
    browser: Browser, api: Api, colours: Colours
) -> None:
    """Curves on axes with their areas, a matrix with its labels; titles are text."""
    run_id = await new_run(api, f"plots-{colours}")
    odd = "<b>of the test</b>"
    recall = precision_recall_plot(TRUE, SCORES, title=odd, no_skill=0.5)
    await keep_plot(api, run_id, "PrecisionRecallCurve/test", recall)
    await keep_plot(api, run_id, "ROCCurve", roc_plot(TRUE, SCORES))
    matrix = confusion_plot(["cat", "dog", "dog", "<i>owl</i>"], ["cat", "dog", "cat", "dog"])
    await keep_plot(api, run_id, "ConfusionMatrix", matrix)
    async with looking_at(browser, api, colours, f"/#/runs/{run_id.hex}") as (page, faults):
        roc = page.get_by_role("img", name="ROC curve, area under the curve 0.8125")
        await expect(roc).to_be_visible()
        assert await roc.locator("text").all_text_contents() == [
            *("0", "0", "0.25", "0.25", "0.5", "0.5", "0.75", "0.75", "1", "1"),
            *("false positive rate", "true positive rate"),
        ]
        corners = ((await roc.locator(".line").get_attribute("points")) or "").split(" ")
        assert (corners[0], corners[-1]) == ("52.00,252.00", "328.00,10.00")

        curve = page.get_by_role("img", name=f"Precision and recall: {odd}, average precision")
        await expect(curve).to_be_visible()
        await expect(
            page.get_by_role("heading", name=f"Precision and recall: {odd}")
        ).to_be_visible()
        await expect(curve.locator(".guess")).to_have_attribute(
            "points", "52.00,131.00 328.00,131.00"
        )

        table = page.get_by_role("table", name="Confusion matrix")
        await expect(table).to_be_visible()
        assert await table.get_by_role("row").all_text_contents() == [
            "predicted", "true<i>owl</i>catdog", "<i>owl</i>001", "cat010", "dog011",
        ]  # fmt: skip
        await expect(figure_of(page, "ConfusionMatrix").locator(".note")).to_contain_text(
            "2 of 4 right"
        )
    assert faults == []


# E11
async def test_page_shows_long_class_names_in_full(browser: Browser, api: Api) -> None:
    """Classes whose names begin alike can be told apart: no header is cut off."""
    run_id = await new_run(api, "long-classes")
    classes = [f"{'a very long class name that goes on ' * 3}{it}" for it in "12"]
    classes += [f"a_very_long_class_name_that_has_no_blank_{it}" for it in "12"]
    await keep_plot(api, run_id, "ConfusionMatrix", confusion_plot(classes, classes))
    async with looking_at(browser, api, address=f"/#/runs/{run_id.hex}") as (page, _):
        heads = page.get_by_role("table", name="Confusion matrix").locator("th")
        await expect(heads).to_have_count(2 * (len(classes) + 1))
        cut = "them => them.filter(it => it.scrollWidth > it.clientWidth).map(it => it.textContent)"
        assert await heads.evaluate_all(cut) == []


GOOD = roc_plot(TRUE, SCORES)
BROKEN: dict[str, tuple[object, str]] = {
    "ROCCurve/a": ("{", "it is no JSON"),
    "ROCCurve/b": ("null", "it does not say which plot it is"),
    "ROCCurve/c": ({**GOOD, "type": "__proto__"}, "it does not say which plot it is"),
    "ROCCurve/d": ({**GOOD, "version": 2}, "it has version 2 and this page knows 1"),
    "ROCCurve/e": ({**GOOD, "version": None}, "it has version null"),
    "ROCCurve/f": ({**GOOD, "data": None}, "its falsePositiveRate is not a list of numbers"),
    "ROCCurve/g": ({**GOOD, "data": {**GOOD["data"], "truePositiveRate": [0, "1"]}},
                   "its truePositiveRate is not a list of numbers"),
    "ROCCurve/h": ({**GOOD, "data": {**GOOD["data"], "truePositiveRate": [0, 1]}},
                   "its truePositiveRate has 2 values"),
    "ROCCurve/i": ({**GOOD, "data": {**GOOD["data"], "areaUnderCurve": 17}},
                   "its areaUnderCurve is not"),
    "ConfusionMatrix/j": (confusion_plot(range(51), range(51)), "it has 51 labels"),
    "ConfusionMatrix/k": ({"type": "ConfusionMatrix", "version": 1,
                           "data": {"labels": [1, 2], "confusionMatrix": [[1, 2], [3]]}},
                          "its matrix is not 2 × 2 counts"),
    "ConfusionMatrix/l": ({"type": "ConfusionMatrix", "version": 1, "data": {}},
                          "it has no labels"),
}  # fmt: skip


# E11
async def test_page_says_why_a_plot_is_not_drawn(browser: Browser, api: Api) -> None:
    """A document that is unknown or broken is a sentence and a download; the others are drawn."""
    run_id = await new_run(api, "broken-plots")
    for name, (document, _) in BROKEN.items():
        await keep_plot(api, run_id, name, document)
    await keep_plot(api, run_id, "ROCCurve/z", GOOD)
    async with looking_at(browser, api, address=f"/#/runs/{run_id.hex}") as (page, faults):
        await expect(page.get_by_role("img", name="ROC curve")).to_be_visible()
        for name, (_, why) in BROKEN.items():
            said = figure_of(page, name).locator(".note")
            await expect(said, name).to_contain_text(f"This plot cannot be drawn: {why}")
        async with page.expect_download() as coming:
            await page.get_by_role("button", name="download ConfusionMatrix/l").click()
        path = await (await coming.value).path()
        assert json.loads(path.read_text(encoding="utf-8")) == BROKEN["ConfusionMatrix/l"][0]
    assert faults == []


# G7
async def test_page_shows_pictures_and_texts_and_executes_nothing(
    browser: Browser, api: Api
) -> None:
    """PNG and SVG are images, HTML and JSON are texts; what is no picture is said to be none."""
    run_id = await new_run(api, "shown")
    for name, media_type, content in (
        ("curve.png", "image/png", PNG),
        ("drawing.svg", "image/svg+xml", SVG),
        ("lie.png", "image/png", HTML),
        ("page.html", "text/html; charset=utf-8", HTML),
        ("table.json", "application/json", '{"a": 9007199254740993}'),
        ("long.txt", "text/plain", "x" * 65_536 + "END"),
        ("weights.bin", "application/octet-stream", bytes(range(256))),
    ):
        await keep(api, run_id, ArtifactRow(name, media_type=media_type), content)
    async with looking_at(browser, api, address=f"/#/runs/{run_id.hex}") as (page, faults):
        for name, size in (("curve.png", [1, 1]), ("drawing.svg", [40, 30])):
            image = page.get_by_role("img", name=name)
            await expect(image).to_be_visible()
            measured = "it => [it.naturalWidth, it.naturalHeight]"
            assert await image.evaluate(measured) == size, name
        await expect(figure_of(page, "lie.png")).to_contain_text("no image/png that can be shown")

        await page.get_by_role("button", name="show page.html").click()
        await expect(figure_of(page, "page.html").locator("pre")).to_have_text(HTML)
        await page.get_by_role("button", name="show page.html").click()
        await expect(figure_of(page, "page.html")).to_have_count(0)
        await page.get_by_role("button", name="show table.json").click()
        shown = figure_of(page, "table.json").locator("pre")
        await expect(shown).to_have_text('{"a": 9007199254740993}')
        await page.get_by_role("button", name="show long.txt").click()
        long = figure_of(page, "long.txt")
        await expect(long.locator(".note")).to_have_text("The first 65536 of 65539 bytes.")
        await expect(long).not_to_contain_text("END")
        assert await page.get_by_role("button", name="show weights.bin").count() == 0
        assert await page.get_by_role("heading", name="I am a page").count() == 0
    assert faults == []


# G7
async def test_api_gives_an_artifact_under_its_type_and_lets_none_of_it_run(api: Api) -> None:
    """The type is as logged; only pictures without script are inline, and all is in a sandbox."""
    run_id = await new_run(api, "served")
    given = {
        "image/png": "inline",
        "image/svg+xml": "attachment",
        "text/html": "attachment",
        "application/pdf": "attachment",
        "no type": "attachment",
    }
    for media_type, disposition in given.items():
        name = media_type.replace("/", "-")
        await keep(api, run_id, ArtifactRow(name, media_type=media_type), HTML)
        path = f"/api/v1/runs/{run_id.hex}/artifacts/content"
        answer = await api.client.get(path, params={"name": name})
        expected = "application/octet-stream" if media_type == "no type" else media_type
        assert answer.text == HTML
        assert answer.headers["content-type"].partition(";")[0] == expected
        assert answer.headers["content-disposition"].startswith(f"{disposition}; ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


# E2 G7
async def test_page_reaches_every_version_of_an_artifact(browser: Browser, api: Api) -> None:
    """The newest is shown; the others are listed, shown and downloaded, also beyond one page."""
    run_id = await new_run(api, "versions")
    await keep(api, run_id, ArtifactRow("a/notes.txt", version=1), "the first")
    await keep(api, run_id, ArtifactRow("a/notes.txt", version=2), "the second")
    for version in range(1, 121):
        await api.rows.version(run_id, ArtifactRow("log.txt", version=version))
    async with looking_at(browser, api, address=f"/#/runs/{run_id.hex}") as (page, faults):
        assert await page.get_by_role("row").filter(has_text="notes.txt").count() == 1
        await page.get_by_text("All versions").click()
        await expect(page.get_by_role("heading", name="Versions, the first 100")).to_be_visible()
        await page.get_by_role("button", name="Show more").click()
        await expect(page.get_by_role("heading", name="Versions", exact=True)).to_be_visible()
        assert await page.locator("details tbody tr").count() == 122

        row = page.locator("details tr").filter(has_text="a/notes.txt")
        await row.nth(1).get_by_role("button", name="show").click()
        await expect(figure_of(page, "a/notes.txt").locator("pre")).to_have_text("the first")
        async with page.expect_download() as coming:
            await row.nth(1).get_by_role("button", name="a/notes.txt", exact=True).click()
        download = await coming.value
        assert download.suggested_filename == "notes.txt"
        assert (await download.path()).read_text(encoding="utf-8") == "the first"
    assert faults == []


# E7
async def test_page_links_to_a_model_by_http_only(browser: Browser, api: Api) -> None:
    """An address that is a script, a file or nothing a browser knows is text."""
    run_id = await new_run(api, "models")
    addresses = {
        "one": "https://models.example/a?b=c#d",
        "two": "HTTP://models.example/",
        "three": "javascript:alert(document.domain)",
        "four": " javascript:alert(1)",
        "five": "data:text/html,<script>alert(1)</script>",
        "six": "s3://bucket/model",
        "seven": "https://",
    }
    for name, uri in addresses.items():
        await api.rows.version(run_id, ArtifactRow(name, kind="model", uri=uri))
    async with looking_at(browser, api, address=f"/#/runs/{run_id.hex}") as (page, faults):
        for name, uri in addresses.items():
            row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
            await expect(row).to_contain_text(uri.strip())
            linked = await row.get_by_role("link").all()
            assert len(linked) == (1 if name in {"one", "two"} else 0), name
            for one in linked:
                assert await one.get_attribute("rel") == "noopener noreferrer"
        assert await page.locator("a[href^='javascript' i], a[href^='data' i]").count() == 0
    assert faults == []
