"""What the page says of a run besides its values: verdicts, relatives, silence, exact numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.integration.api_service import open_api
from tests.integration.page_views import looking_at
from tests.integration.read_model_rows import RunRow, Series
from trialog_schemas.wire import EVENTS_TOPIC

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Request

    from tests.integration.api_service import Api

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

EXACT = 2**53 + 1
LAST_STEP = 2**63 - 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service for the runs of this module."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        yield opened


# K2
async def test_page_counts_what_was_refused_missing_and_dropped(browser: Browser, api: Api) -> None:
    """The counts stand in the list and on the run; each refusal with code, message and place."""
    experiment = await api.rows.experiment("lossy")
    dropped = {"trialog.dropped_calls": "4"}
    lossy = await api.rows.run(experiment, RunRow("lossy", tags_set={**dropped}, rejected=105))
    await api.rows.run(experiment, RunRow("clean"))
    writer = uuid4()
    for seq in range(105):
        await api.rows.rejection(lossy, seq, writer_id=writer)
    await api.rows.gap(lossy, 3, 9)
    await api.rows.gap(lossy, 20, 20)
    await api.rows.gap(lossy, 31, 30)  # a broken chain: nothing is missing
    async with looking_at(browser, api, address="/#/experiments/lossy") as (page, faults):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="lossy"))
        assert (await row.locator("td").all_text_contents())[-2:] == ["105", "12"]
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="clean"))
        assert (await row.locator("td").all_text_contents())[-2:] == ["0", "0"]

        await page.get_by_role("link", name="lossy").last.click()
        facts = page.locator("table.facts")
        await api.rows.record(lossy, writer, 7, (1, 12))
        await api.rows.sealed(8)
        await api.rows.applied(EVENTS_TOPIC, 0, 8)
        await page.reload()
        facts_texts = ("events missing8", "calls dropped4", "events12 applied, 12 sealed")
        for text in ("refused by the rules105", *facts_texts):
            await expect(facts.get_by_role("row").filter(has_text=text)).to_have_count(1)
        await expect(page.get_by_role("heading", name="Refused, the first 100")).to_be_visible()
        await page.get_by_role("button", name="Show more").click()
        await expect(page.get_by_role("heading", name="Refused", exact=True)).to_be_visible()
        refused = page.locator("section").filter(has=page.get_by_role("heading", name="Refused"))
        rows = await refused.locator("tbody tr").all_text_contents()
        assert len(rows) == 105
        assert rows[104].startswith("param_immutablelr0.2no")
        assert rows[104].endswith("events:0:104")
        missing = page.locator("section").filter(has=page.get_by_role("heading", name="Missing"))
        rows = await missing.locator("tbody tr").all_text_contents()
        assert [text.partition(lossy.hex)[0] for text in rows] == [
            "739", "12020", "none: its chain is broken here3130",
        ]  # fmt: skip
    assert faults == []


# B16 G5
async def test_page_leads_from_a_run_to_its_parent_and_children(browser: Browser, api: Api) -> None:
    """Links both ways, also into another experiment; to a deleted run there is none."""
    experiment = await api.rows.experiment("family")
    other = await api.rows.experiment("elsewhere")
    parent = await api.rows.run(experiment, RunRow("parent"))
    for minute in range(101):
        row = RunRow(f"child-{minute}", minute, parent_run_id=parent)
        await api.rows.run(other if minute == 0 else experiment, row)
    gone = await api.rows.run(
        experiment, RunRow("gone", 200, parent_run_id=parent, is_deleted=True)
    )
    orphan = await api.rows.run(other, RunRow("orphan", 201, parent_run_id=gone))
    async with looking_at(browser, api, address=f"/#/runs/{parent.hex}") as (page, faults):
        await expect(page.get_by_role("heading", name="Children, the first 100")).to_be_visible()
        await page.get_by_role("button", name="Show more").click()
        await expect(page.get_by_role("heading", name="Children", exact=True)).to_be_visible()
        children = page.locator("section").filter(has=page.get_by_role("heading", name="Children"))
        shown = await children.locator("tbody tr td:first-child").all_text_contents()
        assert shown == [f"child-{minute}" for minute in range(101)]
        first = children.get_by_role("row").filter(has_text="child-0")
        await expect(first.get_by_role("link", name="elsewhere")).to_be_visible()

        await page.get_by_role("link", name="child-0").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("child-0")
        await page.locator("table.facts").get_by_role("link", name="parent").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("parent")

        await page.evaluate(f"location.hash = '#/runs/{orphan.hex}'")
        await expect(page.get_by_role("heading", level=1)).to_have_text("orphan")
        fact = page.locator("table.facts").get_by_role("row", name="parent")
        await expect(fact).to_contain_text("a deleted run")
        await expect(fact.get_by_role("link")).to_have_count(0)
    assert faults == []


# B23
async def test_page_marks_a_silent_run_and_says_since_when(browser: Browser, api: Api) -> None:
    """Stale stands beside the status, which stays; what spoke lately or has ended is not marked."""
    experiment = await api.rows.experiment("silence")
    now = datetime.now(UTC)
    for name, status, silent_s in (
        ("silent", "InProgress", 3700),
        ("busy", "InProgress", 3500),
        ("done", "Completed", 7200),
    ):
        at = now - timedelta(seconds=silent_s)
        await api.rows.run(experiment, RunRow(name, status=status, last_event_at=at))
    async with looking_at(browser, api, address="/#/experiments/silence") as (page, faults):
        for name, said in (
            ("silent", "InProgress stale"), ("busy", "InProgress"), ("done", "Completed"),
        ):  # fmt: skip
            row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name))
            assert (await row.locator("td").all_text_contents())[1] == said
        await page.get_by_role("link", name="silent").click()
        mark = page.locator("table.facts .stale")
        assert "its process may have died" in (await mark.get_attribute("title") or "")
        await expect(page.locator("table.facts")).to_contain_text("last event")
    assert faults == []


async def test_page_shows_whole_numbers_exactly(browser: Browser, api: Api) -> None:
    """A number beyond 2^53 is not rounded: in a parameter, a list of them, a step, the chart."""
    experiment = await api.rows.experiment("exact")
    parameters: dict[str, object] = {"seed": EXACT, "seeds": [EXACT, -EXACT], "plain": 2**53}
    metrics = {"loss": Series([1.0, 2.0], [EXACT, LAST_STEP])}
    run_id = await api.rows.run(experiment, RunRow("r", parameters=parameters, metrics=metrics))
    async with looking_at(browser, api, address=f"/#/runs/{run_id.hex}") as (page, faults):
        for name, value in (
            ("plain", str(2**53)), ("seed", str(EXACT)), ("seeds", f"[{EXACT},{-EXACT}]"),
        ):  # fmt: skip
            row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
            assert await row.locator("td").all_text_contents() == [name, value]
        row = page.get_by_role("row").filter(has=page.get_by_role("button", name="loss"))
        assert (await row.locator("td").all_text_contents())[-1] == str(LAST_STEP)

        over = page.locator(".chart .u-over")
        await expect(over).to_be_visible()
        await over.hover(position={"x": 1, "y": 20})
        await expect(page.locator(".chart .u-legend")).to_contain_text(str(EXACT))
    assert faults == []


async def test_page_shows_no_value_for_a_name_of_javascript(browser: Browser, api: Api) -> None:
    """A run without a parameter `__proto__` has an empty cell there."""
    experiment = await api.rows.experiment("prototypes")
    odd = {"__proto__": "mine", "constructor": "yours"}
    await api.rows.run(experiment, RunRow("with", parameters={**odd}))
    await api.rows.run(experiment, RunRow("without", parameters={"lr": 1}))
    async with looking_at(browser, api, address="/#/experiments/prototypes") as (page, faults):
        for name, cells in (("with", ["mine", "yours", ""]), ("without", ["", "", "1"])):
            link = page.get_by_role("link", name=name, exact=True)
            row = page.get_by_role("row").filter(has=link)
            assert (await row.locator("td").all_text_contents())[3:6] == cells
    assert faults == []


async def test_page_asks_nothing_for_an_address_that_is_none(browser: Browser, api: Api) -> None:
    """A name with steps of a path in it never leaves the place it belongs to."""
    async with looking_at(browser, api) as (page, _):
        asked: list[str] = []

        def note(request: Request) -> None:
            if "/api/" in request.url:
                asked.append(request.url)

        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.on("request", note)
        for address, sentence in (
            ("#/runs/../../x", "The page has no /runs/../../x"),
            ("#/runs/..", "Nothing is called .. here"),
            ("#/runs/%2e%2e", "Nothing is called .. here"),
            ("#/experiments/.", "Nothing is called . here"),
            ("#/experiments/a/b", "The page has no /experiments/a/b"),
            ("#/experiments/%", "is cut off or misspelt"),
            ("#/nothing", "The page has no /nothing"),
        ):
            await page.goto(f"/{address}")
            await expect(page.get_by_role("alert"), address).to_contain_text(sentence)
        assert asked == []
        await page.goto("/#/runs/%2e%2e%2fexperiments")
        await expect(page.get_by_role("alert")).to_be_visible()
        assert [url.partition("/api/")[2] for url in asked] == [
            f"v1/runs/..%2Fexperiments{rest}"
            for rest in ("", "/durability", "/rejections", "/children")
        ]


# J1
async def test_addresses_that_mlflows_client_prints_lead_to_run_and_experiment(
    browser: Browser, api: Api
) -> None:
    """It knows an experiment by its number; a name of digits is still a name."""
    experiment = await api.rows.experiment("of-mlflow")
    run_id = (await api.rows.run(experiment, RunRow("printed"))).hex
    listed = (await api.client.get("/api/v1/experiments")).json()["experiments"]
    (number,) = [one["number"] for one in listed if one["experiment_name"] == "of-mlflow"]
    run = f"/#/experiments/{number}/runs/{run_id}"
    async with looking_at(browser, api, address=run) as (page, faults):
        await expect(page.get_by_role("heading", name="printed")).to_be_visible()
        await page.goto(page.url.partition("#")[0] + f"#/experiments/{number}")
        await expect(page.get_by_role("heading", name="of-mlflow")).to_be_visible()
        await expect(page.get_by_role("link", name="printed")).to_be_visible()
    assert [fault for fault in faults if "404" not in fault] == []
