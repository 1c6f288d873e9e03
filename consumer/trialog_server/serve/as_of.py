"""Questions about then: which tables a request asks, the live ones or those of a moment.

A route says what it asks about, as a scope; what comes back knows how to answer.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from trialog_schemas.errors import ResourceNotFoundError, UnavailableError
from trialog_server.log.moments import find_moment, parse_moment, text_of
from trialog_server.project.snapshots import CATALOG, Scope
from trialog_server.read.ask import ask
from trialog_server.read.created_later import Named, created_later
from trialog_server.read.list_runs import run_not_found
from trialog_server.serve.access import caller_of
from trialog_server.serve.questions import POSITION_WAIT_S, quiet_since, wait_for_positions
from trialog_server.serve.shapes import json_response, time_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from uuid import UUID

    from starlette.requests import Request
    from starlette.responses import Response

    from trialog_server.log.moments import Moment
    from trialog_server.postgres.pool import Tables
    from trialog_server.serve.service import Service

SNAPSHOT_WAIT_S = 4.0
"""How long a question waits for its tables; clients find a service slow after five seconds."""

AS_OF_HEADER = "Trialog-As-Of"
"""Names the moment of an answer that is no JSON object."""


@dataclass(frozen=True, slots=True)
class ByName:
    """What a question is about by name: an experiment, or a run of it."""

    experiment_name: str
    run_name: str | None = None


@dataclass(frozen=True, slots=True)
class ById:
    """What a question is about by id: a run, or the runs that were opened inside its block."""

    run_id: UUID
    is_about_children: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """The tables that a request asks, and what its answer says of their moment.

    Args:
        tables: where to ask.
        quiet_since: since when a run in progress must have been silent to be stale.
        moment: None is the present.
    """

    tables: Tables
    quiet_since: datetime
    moment: Moment | None = None

    def answer(self, content: Mapping[str, Any]) -> Response:
        """Return the content as JSON, with the moment that it is of."""
        if self.moment is None:
            return json_response(content)
        return json_response({**content, "as_of": self.moment.text})

    def mark(self, answer: Response) -> Response:
        """Return an answer that is no JSON object with the moment in its head."""
        if self.moment is not None:
            answer.headers[AS_OF_HEADER] = self.moment.text
        return answer


@asynccontextmanager
async def asking(
    service: Service, request: Request, as_of: str | None, about: ByName | ById | None = None
) -> AsyncIterator[Asked]:
    """Give the tables that a question asks, the live ones unless it is about then.

    Args:
        service: whose tables.
        request: its account asks, and its positions are waited for.
        as_of: a time or positions; None is the present.
        about: what it looks at beside the experiments and the names of runs.

    Raises:
        ValidationError: `as_of` cannot be read, or is not there yet.
        ResourceNotFoundError: there never was such a run.
        UnavailableError: the projection is behind, or the tables are still being made.
    """
    await wait_for_positions(service, request)
    if as_of is None:
        yield Asked(service.pool, quiet_since(service))
        return
    moment = await find_moment(service.log, parse_moment(as_of, time.time_ns() // 1000))
    if not await service.applied.wait(moment.newest, POSITION_WAIT_S):
        raise UnavailableError(
            f"the log up to {moment.text} is not applied after {POSITION_WAIT_S:g} s; the "
            "projection is behind, ask again"
        )
    scopes = await _scopes(service, caller_of(request).account, about)
    then = _time_of(moment)
    try:
        async with service.snapshots.tables(scopes, moment, SNAPSHOT_WAIT_S) as tables:
            yield Asked(tables, then - timedelta(seconds=service.terms.stale_after_s), moment)
    except ResourceNotFoundError as missing:
        raise await _missing_then(service, request, missing, moment) from missing


async def _missing_then(
    service: Service, request: Request, missing: ResourceNotFoundError, moment: Moment
) -> ResourceNotFoundError:
    """Return the error of what is not in the tables of a moment, as it is told now."""
    path, created_at = request.path_params, None
    named = {
        "experiment_name": Named(path.get("name")),
        "run_name": Named(path.get("name"), path.get("run_name")),
        "run_id": Named(run_id=path.get("run_id")),
    }.get(missing.field or "")
    if named is not None:
        account = caller_of(request).account
        created_at = await created_later(service.pool, account, named, _time_of(moment))
    at = text_of(moment.at_us)
    message = f"at {at}, {missing.message}"
    if created_at is not None:
        what = "experiment" if missing.field == "experiment_name" else "run"
        message = (
            f"{what} {missing.value} did not exist at {at}: it was created at "
            f"{time_json(created_at)}; ask about a later moment"
        )
    found = ResourceNotFoundError(message, field=missing.field)
    found.value = missing.value
    return found


def _time_of(moment: Moment) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=max(moment.at_us, 0))


async def _scopes(service: Service, account: str, about: ByName | ById | None) -> list[Scope]:
    """Return what the tables must hold: the narrowest scope, then one that holds it too."""
    if about is None:
        return [CATALOG]
    if isinstance(about, ByName):
        whole = Scope(account, about.experiment_name)
        return (
            [whole] if about.run_name is None else [replace(whole, run_name=about.run_name), whole]
        )
    if about.is_about_children:
        return [Scope(parent_run_id=about.run_id.hex)]
    rows = await ask(service.pool, "home_of_run", account, about.run_id)
    if not rows:
        raise run_not_found(about.run_id)
    return [Scope(run_id=about.run_id.hex), Scope(account, rows[0]["name"])]
