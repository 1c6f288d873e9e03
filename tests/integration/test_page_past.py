"""The page as of a moment: what was there then, an address to share, and the way back to now."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.integration.page_views import looking_at
from tests.integration.test_as_of import EXPERIMENTS, RUNS, open_history
from tests.integration.test_snapshots import HeldLog
from tests.unit.consumer.project_writers import long
from trialog_schemas.events import (
    ArtifactLogged,
    MetricsLogged,
    ParametersLogged,
    RunCreated,
    RunStarted,
)
from trialog_server.log.moments import text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from tests.integration.test_as_of import History

# One browser and one history for all: starting them is what takes time.
pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

ZONE = "Asia/Kolkata"
TEXTS = ("what was", "what is")


@dataclass(frozen=True)
class Past:
    """A history: an early moment with one run, a later one with two."""

    history: History
    log: HeldLog
    early_us: int

    @property
    def early_local(self) -> str:
        """The early moment as people in the zone of the tests write it."""
        return local(self.early_us).strftime("%Y-%m-%dT%H:%M:%S")


def local(at_us: int) -> datetime:
    """Return a time in the zone of the tests."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(
        ZoneInfo(ZONE)
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def past(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Past]:
    """A run that goes on after the early moment, and another one that is created then."""
    log = HeldLog()
    folder = tmp_path_factory.mktemp("artifacts")
    async with open_history(module_postgres_url, folder, log) as history:
        digests = []
        for text in TEXTS:
            digests.append(hashlib.sha256(text.encode()).hexdigest())
            path = f"/api/v1/artifacts/{digests[-1]}"
            assert (await history.api.client.put(path, content=text.encode())).is_success
        kept = [
            ArtifactLogged("notes", "artifact", "text/plain", sha256=digest, size=len(text))
            for digest, text in zip(digests, TEXTS, strict=True)
        ]
        home = EXPERIMENTS["digits"]
        await history.command(RunCreated(RUNS[0], "digits", "a", home))
        await history.tell(RUNS[0], 1, RunStarted("digits", "a"), ParametersLogged({"lr": 0.5}))
        await history.tell(RUNS[0], 1, MetricsLogged((long([("loss", 0, 0.75)]),)), kept[0])
        early_us = (history.at_us // 1_000_000 + 1) * 1_000_000
        await history.tell(RUNS[0], 1, MetricsLogged((long([("loss", 1, 0.25)]),)), kept[1])
        await history.command(RunCreated(RUNS[1], "digits", "b", home, parent_run_id=RUNS[0]))
        await history.tell(RUNS[1], 1, RunStarted("digits", "b"), ParametersLogged({"lr": 0.1}))
        await history.command(RunCreated(RUNS[3], "other", "c", EXPERIMENTS["other"]))
        yield Past(history, log, early_us)


async def title_is(page: Page, text: str) -> None:
    """Wait for the heading of the view."""
    await expect(page.get_by_role("heading", level=1)).to_have_text(text)


# K5
async def test_page_shows_two_moments_and_the_way_back(browser: Browser, past: Past) -> None:
    """Chosen by keyboard in the viewer's zone: the list, the run and its bytes as they were."""
    address = "/#/experiments/digits"
    async with looking_at(browser, past.history.api, address=address, zone=ZONE) as (page, faults):
        await title_is(page, "digits 2 runs")
        band = page.get_by_role("region", name="the past")
        await expect(band).to_be_hidden()
        await page.get_by_label("as of").fill(past.early_local)
        await page.get_by_label("as of").press("Enter")

        await title_is(page, "digits 1 runs")
        shown = local(past.early_us).strftime("%d/%m/%Y, %H:%M:%S")
        await expect(band).to_contain_text(f"As it was at {shown}")
        # A browser leaves out seconds that are 0.
        value = re.compile(re.escape(past.early_local.removesuffix(":00")))
        await expect(page.get_by_label("as of")).to_have_value(value)
        await expect(page.get_by_role("row").last).to_contain_text("0.75")

        await page.get_by_role("link", name="a", exact=True).click()
        await check_run_of_then(page)
        shared = page.url.partition("/?")[2]
        assert shared.startswith("as_of=2"), shared
        await page.get_by_label("where you are").get_by_role("link", name="digits").click()
        await title_is(page, "digits 1 runs")

        await band.get_by_role("button", name="Back to now").press("Enter")
        await title_is(page, "digits 2 runs")
        await expect(band).to_be_hidden()
        await expect(page.get_by_label("as of")).to_be_focused()
        await expect(page.get_by_role("button", name="Now", exact=True)).to_be_hidden()
        assert "as_of" not in page.url
        await expect(page.get_by_role("row").filter(has_text="0.5")).to_contain_text("0.25")
        await page.go_back()
        await title_is(page, "digits 1 runs")
        await expect(band).to_be_visible()
        await page.get_by_role("button", name="Now", exact=True).click()
        await title_is(page, "digits 2 runs")
    async with looking_at(browser, past.history.api, "dark", f"/?{shared}") as (page, more):
        await check_run_of_then(page)
        await page.get_by_role("link", name="trialog").click()
        await expect(page.get_by_role("row").filter(has_text="digits")).to_contain_text("1")
        await expect(page.get_by_role("link", name="other")).to_have_count(0)
    assert faults + more == []


async def check_run_of_then(page: Page) -> None:
    """The run at the early moment: its values, curve and bytes, and what cannot be told of then."""
    await title_is(page, "a")
    await expect(page.locator(".chart canvas")).to_be_visible()
    loss = page.locator("section").filter(has=page.get_by_role("heading", name="Metrics"))
    await expect(loss.get_by_role("row").filter(has_text="loss").last).to_contain_text("0.75")
    await expect(page.get_by_role("heading", name="Children")).to_have_count(0)
    events = page.get_by_role("rowheader", name="events", exact=True)
    events_row = page.get_by_role("row").filter(has=events)
    await expect(events_row).to_contain_text("counted for the present alone")
    await page.get_by_role("button", name="show notes").click()
    await expect(page.locator("figure pre")).to_have_text(TEXTS[0])
    await expect(page.get_by_text("All versions")).to_have_count(0)


# K5
async def test_page_compares_runs_as_they_were(browser: Browser, past: Past) -> None:
    """Side by side at the later moment, by positions; the switch keeps the moment."""
    named = ",".join(past.history.newest.values())
    address = f"/?as_of={named}#/compare?runs={RUNS[0]},{RUNS[1]}"
    async with looking_at(browser, past.history.api, address=address) as (page, faults):
        await title_is(page, "2 runs side by side")
        await expect(page.get_by_role("region", name="the past")).to_contain_text("As it was at")
        await page.get_by_label("Only what differs").check()
        assert f"/?as_of={named}#/compare" in page.url
        await expect(page.get_by_role("row").filter(has_text="lr")).to_contain_text("0.1")
    assert faults == []


# K5
async def test_page_waits_for_the_tables_of_then(browser: Browser, past: Past) -> None:
    """While they are made it says how far it is, and shows nothing of another moment."""
    address = "/#/experiments/digits"
    async with looking_at(browser, past.history.api, address=address, zone=ZONE) as (page, _):
        await title_is(page, "digits 2 runs")
        past.log.is_free.clear()
        later = past.early_us + 1_000_000
        await page.get_by_label("as of").fill(local(later).strftime("%Y-%m-%dT%H:%M:%S"))
        await page.get_by_role("button", name="Show").click()
        said = page.get_by_role("status")
        await expect(said).to_contain_text("The log is being read up to then: ", timeout=15_000)
        await expect(page.locator("main table")).to_have_count(0)
        past.log.is_free.set()
        await title_is(page, "digits 1 runs")
        await expect(said).not_to_contain_text("being read")


# K5
async def test_page_says_what_is_no_moment_and_what_was_not_there(
    browser: Browser, past: Past
) -> None:
    """Malformed, ahead of the clock, before everything: a sentence each, and back to now."""
    early = text_of(past.history.start_us)
    async with looking_at(browser, past.history.api) as (page, _):
        alert = page.get_by_role("alert")
        for as_of, view, sentence in (
            ("yesterday", "", "neither a time nor positions"),
            ("2999-01-01", "", "ahead of the service's clock"),
            (early, "experiments/digits", "experiment 'digits' did not exist at"),
            (early, f"runs/{RUNS[0]}", "it was created at"),
            (early, "runs/xyz", "run_id is 'xyz', which is not 32 hex digits"),
        ):
            await page.goto(f"/?as_of={as_of}#/{view}")
            await expect(alert, as_of).to_contain_text(sentence)
        await page.get_by_role("button", name="Back to now").click()
        await expect(page.get_by_role("region", name="the past")).to_be_hidden()
        await page.goto(f"/?as_of={early}#/")
        await expect(page.locator("main")).to_contain_text("There was no experiment then.")
