"""The runs that were opened inside a run's block, whichever experiment they are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog_server.read.ask import ask
from trialog_server.read.list_runs import run_not_found
from trialog_server.read.pages import PageRequest, place_of, token_after

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from trialog_server.postgres.pool import Tables


@dataclass(frozen=True, slots=True)
class ChildView:
    """A run as far as its parent's page shows it."""

    run_id: str
    run_name: str
    experiment_name: str
    status: str
    created_at: datetime
    last_event_at: datetime


@dataclass(frozen=True, slots=True)
class ChildPage:
    """A page of children, oldest first."""

    children: tuple[ChildView, ...]
    next_token: str | None


async def list_children(
    tables: Tables,
    account: str,
    run_id: UUID,
    *,
    max_results: int = 100,
    next_token: str | None = None,
) -> ChildPage:
    """Return a page of the live children of a run.

    Raises:
        ResourceNotFoundError: there is no such run.
    """
    request = PageRequest("CreationTime", "Ascending", max_results, next_token)
    place = place_of(request, 2)
    after = (place.time, *place.created)
    rows = await ask(tables, "list_children", account, run_id, *after, max_results + 1)
    if not rows:
        raise run_not_found(run_id)
    found = [row for row in rows if row["run_id"] is not None]
    children = tuple(
        ChildView(
            run_id=row["run_id"].hex,
            run_name=row["run_name"],
            experiment_name=row["experiment_name"],
            status=row["status"],
            created_at=row["created_at"],
            last_event_at=row["last_event_at"],
        )
        for row in found[:max_results]
    )
    token = None
    if len(found) > max_results:
        last = found[max_results - 1]
        created = (last["log_offset"], last["seq"])
        token = token_after(request, last["created_at"], last["run_name"], created)
    return ChildPage(children, token)
