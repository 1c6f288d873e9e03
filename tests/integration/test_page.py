"""The page in a real browser: what it lists and draws, and that no name is ever read as HTML."""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.integration.api_service import open_api
from tests.integration.page_views import looking_at
from tests.integration.read_model_rows import RunRow, Series
from trialog_server.serve.access import AccessPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from playwright.async_api import Browser

    from tests.integration.api_service import Api
    from tests.integration.page_views import Colours

# One browser and one service for all: starting them is what takes time.
pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

STRANGE_NAME = "<img src=x onerror=alert(1)> \"double\" 'single' &amp; 漢字 🚀 " + "x" * 60
KEY = "s3cret"

KEEP_WHAT_IS_WRITTEN = """
const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.clearRect = function (...box) {
  this.canvas.written = [];
  clearRect.apply(this, box);
};
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const wide = this.measureText(text).width;
  const left = x - wide * { left: 0, center: 0.5, right: 1 }[this.textAlign];
  this.canvas.written.push([this.textAlign, text, left, left + wide, y]);
  fillText.call(this, text, x, y);
};
"""
"""A canvas holds no texts that could be asked for: each is kept with its place."""

WIDE = [2_000_000_000 + step * 1000 for step in range(10)]
LAST = [2**63 - 1 - step for step in reversed(range(10))]
MAGNITUDES = {
    "tiny": Series([1e-9 * value for value in range(1, 11)]),
    "rate": Series([3e-4 * 0.9**step for step in range(10)]),
    "share": Series([0.1 * value for value in range(10)], WIDE),
    "close": Series([1e9 + 1e-3 * value for value in range(10)], LAST),
    "large": Series([1.2e7 * value for value in range(1, 11)], WIDE),
    "huge": Series([1.7e308 * (-1) ** value for value in range(10)], LAST),
    "least": Series([5e-324 * value for value in range(10)]),
    "zero": Series([0.0, 0.0]),
    "same": Series([-7e22], [5]),
}


class Tick(NamedTuple):
    """A label of an axis and where it stands, in pixels."""

    text: str
    left: float
    right: float
    y: float


def assert_readable(ticks: list[Tick], width: float, values: Sequence[float]) -> None:
    """Labels are numbers at even distances, span the values, lie apart and in the picture."""
    numbers = [Decimal(tick.text) for tick in ticks]
    if len(set(values)) == 1:
        assert Decimal(str(values[0])) in numbers, ticks
    else:
        (distance,) = {after - before for before, after in pairwise(numbers)}
        assert distance > 0, ticks
        assert numbers[0] - distance < Decimal(min(values)), ticks
        assert numbers[-1] + distance > Decimal(max(values)), ticks
    assert all(tick.left >= 0 and tick.right <= width for tick in ticks), ticks
    for one, other in pairwise(ticks):
        assert one.right + 8 < other.left or other.y + 16 < one.y, ticks


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service with an experiment of two runs."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        experiment = await opened.rows.experiment("digits")
        loss = Series([1 / (1 + step) for step in range(500)])
        for name, rate in (("first", 0.1), ("second", 0.01)):
            row = RunRow(name, parameters={"lr": rate}, metrics={"loss": loss})
            await opened.rows.run(experiment, row)
        yield opened


@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_page_leads_from_experiments_to_a_drawn_metric(
    browser: Browser, api: Api, colours: Colours
) -> None:
    """Three clicks: the experiments, the runs with their values, a run with its curve."""
    async with looking_at(browser, api, colours) as (page, faults):
        await page.get_by_role("link", name="digits").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("digits 2 runs")
        await expect(page.get_by_role("row").filter(has_text="second")).to_contain_text("0.01")

        await page.get_by_role("link", name="second").click()
        await expect(page.locator(".chart canvas")).to_be_visible()
        await expect(page.get_by_role("heading", level=3)).to_have_text("loss")
        await expect(page).to_have_title("second · trialog")

        await page.get_by_label("where you are").get_by_role("link", name="digits").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("digits 2 runs")
    assert faults == []


async def test_page_shows_strange_names_as_text(browser: Browser, api: Api) -> None:
    """Whatever a name holds, it is read as text: nothing of it runs or becomes an element."""
    experiment = await api.rows.experiment(STRANGE_NAME)
    run_id = await api.rows.run(
        experiment,
        RunRow(
            STRANGE_NAME,
            parameters={STRANGE_NAME: STRANGE_NAME},
            metrics={STRANGE_NAME: Series([1.0])},
            tags={STRANGE_NAME: STRANGE_NAME},
        ),
    )
    await api.rows.artifact(run_id, STRANGE_NAME)
    async with looking_at(browser, api) as (page, faults):
        for level in ("an experiment", "a run"):
            await page.get_by_role("link", name=STRANGE_NAME).click()
            await expect(page.get_by_role("heading", level=1), level).to_contain_text(STRANGE_NAME)
        await expect(page.locator(".chart canvas")).to_be_visible()

        assert await page.locator("main").get_by_text(STRANGE_NAME).count() >= len(
            ("heading", "tag", "parameter", "value", "caption", "metric", "artifact")
        )
        assert await page.locator("main img").count() == 0
    assert faults == []


# D7
async def test_page_says_what_cannot_be_drawn(browser: Browser, api: Api) -> None:
    """NaN and infinities stand in the table, and the chart says that it has gaps for them."""
    experiment = await api.rows.experiment("broken")
    metrics = {
        "gaps": Series([1.0, math.nan, math.inf, 2.0]),
        "nothing": Series([math.nan, math.nan]),
    }
    await api.rows.run(experiment, RunRow("lost", metrics=metrics))
    async with looking_at(browser, api) as (page, faults):
        await page.get_by_role("link", name="broken").click()
        await page.get_by_role("link", name="lost").click()

        await expect(page.locator(".chart .note")).to_have_text(
            "2 of 4 places along the steps are NaN or infinite: gaps in the line."
        )
        await expect(page.get_by_role("row").filter(has_text="gaps")).to_contain_text("Infinity")
        await page.get_by_role("button", name="nothing").click()
        await expect(page.locator(".chart .note")).to_contain_text("there is nothing to draw")
        await expect(page.get_by_role("row").filter(has_text="nothing")).to_contain_text("NaN")
    assert faults == []


# D7
async def test_page_axes_can_be_read_at_every_magnitude(browser: Browser, api: Api) -> None:
    """Ticks have distinct labels, in order, in the picture, apart, at the heights they name."""
    experiment = await api.rows.experiment("magnitudes")
    run_id = await api.rows.run(experiment, RunRow("wide", metrics=MAGNITUDES))
    async with looking_at(browser, api) as (page, faults):
        await page.add_init_script(KEEP_WHAT_IS_WRITTEN)
        await page.goto(f"/?again#/runs/{run_id.hex}")
        canvas = page.locator(".chart canvas")
        for name, series in MAGNITUDES.items():
            await canvas.evaluate("it => it.remove()")
            await page.get_by_role("button", name=name, exact=True).click()
            width, written = await canvas.evaluate("it => [it.width, it.written]")
            for align, values in (("center", series.steps), ("right", series.values)):
                ticks = [Tick(*it[1:]) for it in written if it[0] == align]
                assert_readable(ticks, width, values or range(len(series.values)))
    assert faults == []


async def test_page_says_what_it_leaves_out(browser: Browser, api: Api) -> None:
    """Columns and refusals beyond what a page holds are counted; a name of JavaScript is a name."""
    experiment = await api.rows.experiment("crowded")
    many: dict[str, object] = {f"p{number:02}": number for number in range(41)}
    await api.rows.run(experiment, RunRow("wide", parameters={**many, "constructor": "mine"}))
    plain = await api.rows.run(experiment, RunRow("plain", parameters={"p00": 1}))
    await api.rows.artifact(plain, "lost.txt")
    writer = uuid4()
    for seq in range(101):
        await api.rows.rejection(plain, seq, writer_id=writer)
    async with looking_at(browser, api) as (page, _):
        await page.get_by_role("link", name="crowded").click()
        await expect(page.locator(".note")).to_contain_text("2 more parameters")
        await expect(page.get_by_role("row").filter(has_text="wide")).to_contain_text("mine")

        await page.get_by_role("link", name="plain").click()
        await expect(page.get_by_role("heading", name="Refused, the first 100")).to_be_visible()
        await page.get_by_role("button", name="lost.txt", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("no bytes are stored")


async def test_page_says_what_is_not_there(browser: Browser, api: Api) -> None:
    """An address of nothing shows the service's sentence, and the way back works."""
    async with looking_at(browser, api) as (page, _):
        await page.goto("/#/experiments/digit")
        await expect(page.get_by_role("alert")).to_contain_text("did you mean 'digits'?")
        await page.get_by_role("link", name="trialog").click()
        await expect(page.get_by_role("link", name="digits")).to_be_visible()


async def test_page_asks_for_the_key(
    browser: Browser, api: Api, module_postgres_url: str, tmp_path: Path
) -> None:
    """A service with a key shows no data before the page has it."""
    await api.rows.experiment("secret-plan")
    access = AccessPolicy(api_key=KEY)
    async with (
        open_api(module_postgres_url, tmp_path, access=access) as locked,
        looking_at(browser, locked) as (page, _),
    ):
        await expect(page.get_by_role("alert")).to_contain_text("API key is missing")
        await page.get_by_label("API key").fill(KEY)
        await page.get_by_role("button", name="Use this key").click()
        await expect(page.get_by_role("link", name="secret-plan")).to_be_visible()
