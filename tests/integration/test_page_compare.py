"""Runs side by side on the page: what is identical, what differs, and an address to share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.integration.api_service import open_api
from tests.integration.page_views import looking_at
from tests.integration.read_model_rows import RunRow, Series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from playwright.async_api import Browser, Page

    from tests.integration.api_service import Api

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

INPUTS: dict[str, object] = {
    "lr": 0.1,
    "seed": 9007199254740993,
    "layers": [64, 32],
    "nested": {"a": 1, "b": [True, None]},
    "__proto__": "mine",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service for the runs of this module."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        yield opened


async def make_runs(api: Api, experiment: str, **rows: RunRow) -> dict[str, str]:
    """Make runs of an experiment; return their ids by name."""
    experiment_id = await api.rows.experiment(experiment)
    made: dict[str, UUID] = {}
    for minute, (name, row) in enumerate(rows.items()):
        filled = RunRow(name, minute, parameters=row.parameters, metrics=row.metrics, tags=row.tags)
        made[name] = await api.rows.run(experiment_id, filled)
    return {name: run_id.hex for name, run_id in made.items()}


async def rows_of(page: Page, title: str) -> list[list[str]]:
    """What the visible rows of a section's table say, cell by cell, without the head."""
    section = page.locator("section").filter(has=page.get_by_role("heading", name=title))
    rows = await section.locator("tbody tr").filter(visible=True).all()
    return [await row.locator("td").all_text_contents() for row in rows]


# G8
async def test_runs_of_the_same_inputs_show_identical_parameters(
    browser: Browser, api: Api
) -> None:
    """Ticked in the list and compared: all parameters identical, key order and type of 1 aside."""
    again = {**INPUTS, "nested": {"b": [True, None], "a": 1.0}}
    await make_runs(
        api,
        "reproduced",
        first=RunRow(parameters=INPUTS, metrics={"loss": Series([0.5, 0.25])}),
        second=RunRow(parameters=again, metrics={"loss": Series([0.5, 0.25])}),
        third=RunRow(parameters={}),
    )
    async with looking_at(browser, api, address="/#/experiments/reproduced") as (page, faults):
        await expect(page.get_by_text("Tick two runs or more to compare them.")).to_be_visible()
        await page.get_by_label("compare first").check()
        await expect(page.get_by_text("Tick another run.")).to_be_visible()
        await page.get_by_label("compare third").check()
        await page.get_by_label("compare second").check()
        await page.get_by_label("compare third").uncheck()
        await page.get_by_role("link", name="Compare 2 runs").click()

        title = page.get_by_role("heading", name="Parameters")
        await expect(title).to_have_text("Parameters all 5 identical")
        await expect(page.get_by_role("heading", name="Metrics")).to_contain_text("all 1 identical")
        assert await rows_of(page, "Parameters") == [
            ["__proto__", "mine", "mine"],
            ["layers", "[64,32]", "[64,32]"],
            ["lr", "0.1", "0.1"],
            ["nested", '{"a":1,"b":[true,null]}', '{"a":1,"b":[true,null]}'],
            ["seed", "9007199254740993", "9007199254740993"],
        ]
        await page.get_by_label("Only what differs").check()
        assert await rows_of(page, "Parameters") == []

        await page.get_by_label("where you are").get_by_role("link", name="reproduced").click()
        await expect(page.get_by_label("compare first")).to_be_checked()
        await page.get_by_role("button", name="Choose none").click()
        await expect(page.get_by_label("compare first")).not_to_be_checked()
    assert faults == []


# G8
async def test_only_what_differs_stays_and_its_address_can_be_shared(
    browser: Browser, api: Api
) -> None:
    """Values of other types differ and do not look the same; missing is not empty."""
    ids = await make_runs(
        api,
        "differing",
        one=RunRow(
            parameters={**INPUTS, "kind": 1, "note": "", "flag": True},
            metrics={"loss": Series([0.123456789]), "odd": Series([math.nan])},
            tags={"team": "red"},
        ),
        two=RunRow(
            parameters={**INPUTS, "kind": "1", "flag": 1, "seed": 9007199254740992},
            metrics={"loss": Series([0.123456788]), "odd": Series([math.nan])},
            tags={"team": "blue"},
        ),
    )
    address = f"/#/compare?runs={ids['one']},{ids['two']}"
    expected = [
        ["≠ flag", "true", "1"],
        ["≠ kind", "1", '"1"'],
        ["≠ note", '""', ""],
        ["≠ seed", "9007199254740993", "9007199254740992"],
    ]
    async with looking_at(browser, api, address=address) as (page, faults):
        await expect(page.get_by_role("heading", name="Parameters")).to_contain_text(
            "4 of 8 differ"
        )
        assert len(await rows_of(page, "Parameters")) == 8
        await page.get_by_label("Only what differs").check()
        assert await rows_of(page, "Parameters") == expected
        shared = page.url.partition("#")[2]
    assert shared == f"/compare?runs={ids['one']},{ids['two']}&only=differing"
    async with looking_at(browser, api, "dark", f"/#{shared}") as (page, more_faults):
        await expect(page.get_by_label("Only what differs")).to_be_checked()
        assert await rows_of(page, "Parameters") == expected
        assert await rows_of(page, "Metrics") == [["≠ loss", "0.123456789", "0.123456788"]]
        assert await rows_of(page, "Tags") == [["≠ team", "red", "blue"]]
        await page.get_by_role("link", name="two").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("two")
    assert faults + more_faults == []


async def test_comparison_of_nothing_says_what_to_do(browser: Browser, api: Api) -> None:
    """Too few, too many, unknown: a sentence each, and the page lives on."""
    many = ",".join(f"{number:032x}" for number in range(21))
    async with looking_at(browser, api) as (page, _):
        for address, sentence in (
            ("#/compare", "Two runs or more can be compared"),
            ("#/compare?runs=..,..", "Two runs or more can be compared"),
            ("#/compare?runs=..,x", "Nothing is called .. here"),
            (f"#/compare?runs={many}", "At most 20 runs"),
            (f"#/compare?runs={many[:65]}", "does not exist or was deleted"),
        ):
            await page.goto(f"/{address}")
            await expect(page.get_by_role("alert"), address).to_contain_text(sentence)
