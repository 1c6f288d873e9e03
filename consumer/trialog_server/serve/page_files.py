"""The page: files of the package, each under its own fixed address, none by a client's path."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = resources.files("trialog_server.serve") / "page"

_SCRIPT, _STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"

FILES: dict[str, tuple[str, str]] = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", _STYLE),
    "/page/page.js": ("page.js", _SCRIPT),
    "/page/api.js": ("api.js", _SCRIPT),
    "/page/moment.js": ("moment.js", _SCRIPT),
    "/page/nodes.js": ("nodes.js", _SCRIPT),
    "/page/experiments.js": ("experiments.js", _SCRIPT),
    "/page/run.js": ("run.js", _SCRIPT),
    "/page/chart.js": ("chart.js", _SCRIPT),
    "/page/axes.js": ("axes.js", _SCRIPT),
    "/page/artifacts.js": ("artifacts.js", _SCRIPT),
    "/page/plots.js": ("plots.js", _SCRIPT),
    "/page/compare.js": ("compare.js", _SCRIPT),
    "/page/uPlot.iife.min.js": ("vendor/uPlot.iife.min.js", _SCRIPT),
    "/page/uPlot.min.css": ("vendor/uPlot.min.css", _STYLE),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Address to file and media type: the whole page."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""No script or style that is not a file of ours runs, whatever a run is called."""


def page_routes() -> list[Route]:
    """Return one route per file; the files are read once, now."""
    return [
        Route(address, _File(name, media_type).serve, methods=["GET"], name=f"page {name}")
        for address, (name, media_type) in FILES.items()
    ]


class _File:
    """One file of the page, held in memory."""

    def __init__(self, name: str, media_type: str) -> None:
        self._content = _FOLDER.joinpath(*name.split("/")).read_bytes()
        self._media_type = media_type

    async def serve(self, _request: Request) -> Response:
        """Answer with the file."""
        return Response(self._content, headers=HEADERS, media_type=self._media_type)
