"""The page of a running service in a browser, for tests that log by the SDK and look there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.services.browser import FLAGS, browser_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    import trialog


@contextmanager
def run_page(session: trialog.Session, run_id: str) -> Iterator[Page]:
    """Open the page of a run in a browser, and wait until it is there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        page = browser.new_page(base_url=session.url)
        page.goto(f"/#/runs/{run_id}")
        page.get_by_role("heading", name="Parameters").wait_for()
        yield page
        browser.close()


def rows_of(page: Page, title: str) -> int:
    """How many rows the table below a heading has, without its head and a chart's legend."""
    section = page.locator("section").filter(has=page.get_by_role("heading", name=title))
    return section.locator("tbody tr:not(.chart *)").count()
