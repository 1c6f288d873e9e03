"""The page's files: each is served under one fixed address, and names nothing but those."""

from __future__ import annotations

import re
from importlib import resources

import httpx2
import pytest
from starlette.applications import Starlette

from trialog_server.serve.access import OPEN_PATHS, OPEN_PREFIX
from trialog_server.serve.page_files import FILES, HEADERS, page_routes

FOLDER = resources.files("trialog_server.serve") / "page"
SCRIPTS = [name for name, media_type in FILES.values() if "javascript" in media_type]
OWN_SCRIPTS = [name for name in SCRIPTS if not name.startswith("vendor/")]


def text_of(name: str) -> str:
    """A file of the page."""
    return FOLDER.joinpath(*name.split("/")).read_text(encoding="utf-8")


async def ask(method: str, address: str) -> httpx2.Response:
    """A request to the page's routes alone."""
    transport = httpx2.ASGITransport(Starlette(routes=page_routes()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, address)


@pytest.mark.parametrize("address", FILES)
async def test_page_file_is_given_whole(address: str) -> None:
    """Each address gives its file, under its type and the page's policy."""
    name, media_type = FILES[address]
    response = await ask("GET", address)

    assert response.text == text_of(name)
    assert response.headers["content-type"] == media_type
    assert HEADERS.items() <= {
        key.title(): value for key, value in response.headers.items()
    }.items() | {("X-Content-Type-Options", "nosniff")}


@pytest.mark.parametrize(
    "address",
    ["/page", "/page/", "/page/index.html", "/page/vendor/README.md", "/page/%2e%2e/access.py",
     "/page/PAGE.JS", "/page/page.js%00"],
)  # fmt: skip
async def test_page_has_no_other_address(address: str) -> None:
    """No part of an address becomes a path: what is not listed is not there."""
    assert (await ask("GET", address)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_page_is_read_only(method: str) -> None:
    """Nothing writes to the page."""
    assert (await ask(method, "/")).status_code == 405


def test_page_addresses_need_no_key() -> None:
    """The page must load before it can ask for a key: it holds no data."""
    assert all(address in OPEN_PATHS or address.startswith(OPEN_PREFIX) for address in FILES)


def test_page_folder_holds_nothing_that_is_not_served() -> None:
    """A file that no address gives is dead weight in every installation."""
    inside = {f"{item.name}" for item in FOLDER.iterdir() if item.is_file()}
    inside |= {f"vendor/{item.name}" for item in (FOLDER / "vendor").iterdir()}
    served = {name for name, _ in FILES.values()}

    assert inside - served == {"vendor/README.md", "vendor/uPlot.LICENSE"}


def test_page_links_to_its_own_files_only() -> None:
    """No script, style or picture comes from another machine: the page works without a network."""
    html = text_of("index.html")
    linked = re.findall(r'(?:src|href)="([^"#]+)"', html)

    assert len(linked) > 4
    assert set(linked) <= set(FILES)


@pytest.mark.parametrize("name", OWN_SCRIPTS)
def test_page_script_imports_listed_files_only(name: str) -> None:
    """A module that cannot be loaded would leave an empty page."""
    imported = re.findall(r'from "([^"]+)"', text_of(name))
    assert set(imported) <= set(FILES)


def test_page_policy_lets_in_nothing_from_elsewhere() -> None:
    """The default is nothing; no inline script, no inline style, no frame around it."""
    policy = dict(
        part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    assert not re.search(r"<style|<script(?![^>]*src=)|\son\w+=|\sstyle=", text_of("index.html"))
