"""The one loop over the pages of a list; must not know what is asked, or of whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, TypeVar

from trialog_schemas.limits import PAGE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trialog.answers import RunPage


class Paged(TypedDict):
    """Any page: where the next one begins, or None."""

    next_token: str | None


Page = TypeVar("Page", bound=Paged)


def pages(ask: Callable[[str | None], Page]) -> Iterator[Page]:
    """Yield all pages, one request each, the next when it is wanted.

    Args:
        ask: gives the page that begins at a token, the first one at None.
    """
    token: str | None = None
    while True:
        page = ask(token)
        yield page
        token = page["next_token"]
        if token is None:
            return


def run_pages(
    ask: Callable[[Mapping[str, str | int | None]], RunPage], runs_max: int | None
) -> Iterator[RunPage]:
    """Yield pages until they have so many runs, or all; a page may have fewer than asked for.

    Args:
        ask: gives the page of a `max_results` and a `next_token`.
        runs_max: runs at most, from 1 on; None gives all.
    """
    left = runs_max

    def ask_at(token: str | None) -> RunPage:
        size = PAGE_MAX if left is None else min(left, PAGE_MAX)
        return ask({"max_results": size, "next_token": token})

    for page in pages(ask_at):
        yield page
        if left is not None:
            left -= len(page["runs"])
            if left <= 0:
                return
