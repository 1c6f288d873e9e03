"""The page of a real server in a real browser, with everything that goes wrong in it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from tests.integration.api_service import open_socket
from tests.services.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from tests.integration.api_service import Api

Colours: TypeAlias = Literal["light", "dark"]


@asynccontextmanager
async def looking_at(
    browser: Browser,
    api: Api,
    colours: Colours = "light",
    address: str = "/",
    zone: str | None = None,
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Open the page of a real server; give it with what goes wrong in it."""
    faults: list[str] = []
    async with open_socket(api.app) as port:
        page = await browser.new_page(
            base_url=f"http://{LOOPBACK}:{port}",
            color_scheme=colours,
            locale="en-GB",
            timezone_id=zone,
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("dialog", lambda dialog: faults.append(f"a dialog: {dialog.message}"))
        await page.goto(address)
        await page.locator("main:not([aria-busy])").wait_for(state="attached")
        yield page, faults
        await page.close()
