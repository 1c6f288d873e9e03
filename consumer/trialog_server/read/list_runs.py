"""A page of an experiment's runs, and one run by id or name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog_schemas.errors import ResourceNotFoundError, did_you_mean, shown
from trialog_server.read.ask import ask
from trialog_server.read.experiments import (
    NEAR_NAMES_MAX,
    experiment_not_found,
    get_experiment,
)
from trialog_server.read.pages import PageRequest, place_of, token_after
from trialog_server.read.runs import PAGE_METRICS_MAX, RunPage, RunView, run_from_row

if TYPE_CHECKING:
    from uuid import UUID

    from trialog_server.postgres.pool import Tables


async def list_runs(
    tables: Tables, account: str, experiment_name: str, request: PageRequest
) -> RunPage:
    """Return one page of the experiment's live runs, in one query.

    It holds fewer than asked for where they have very many metrics, and then a next token.

    Raises:
        ResourceNotFoundError: there is no such experiment.
    """
    place = place_of(request, 2)
    rows = await ask(
        tables,
        "list_runs",
        account,
        experiment_name,
        request.order,
        place.time,
        place.name,
        *place.created,
        request.max_results + 1,
        PAGE_METRICS_MAX,
    )
    if not rows:
        raise await experiment_not_found(tables, account, experiment_name)
    found, token = [row for row in rows if row["run_id"] is not None], None
    if found and found[0]["found"] > len(found):
        last = found[-1]
        created = (last["log_offset"], last["seq"])
        token = token_after(request, last["created_at"], last["run_name"], created)
    return RunPage(tuple(run_from_row(row) for row in found), token, rows[0]["total"])


async def find_run(
    tables: Tables, account: str, run_id: UUID | str, *, with_deleted: bool = False
) -> RunView | None:
    """Return the run of that id, or None; a deleted one only if it is asked for."""
    rows = await ask(tables, "get_run", account, run_id, None, None, with_deleted)
    return run_from_row(rows[0]) if rows and rows[0]["run_id"] is not None else None


async def get_run(tables: Tables, account: str, run_id: UUID) -> RunView:
    """Return the live run of that id.

    Raises:
        ResourceNotFoundError: there is none.
    """
    run = await find_run(tables, account, run_id)
    if run is None:
        raise run_not_found(run_id)
    return run


async def get_run_by_name(
    tables: Tables, account: str, experiment_name: str, run_name: str
) -> RunView:
    """Return the live run of that name; of several with one name, the newest.

    Raises:
        ResourceNotFoundError: there is no such experiment or run; the message names a near one.
    """
    rows = await ask(tables, "get_run", account, None, experiment_name, run_name, False)
    if rows and rows[0]["run_id"] is not None:
        return run_from_row(rows[0])
    experiment = await get_experiment(tables, account, experiment_name)
    near = await ask(tables, "near_run_names", experiment.experiment_id, NEAR_NAMES_MAX)
    hint = did_you_mean(run_name, [row["name"] for row in near])
    raise ResourceNotFoundError(
        f"experiment {experiment_name!r} has no run {shown(run_name)}"
        f"{hint or '; list its runs to see which it has'}",
        field="run_name",
        value=run_name,
    )


def run_not_found(run_id: UUID) -> ResourceNotFoundError:
    """Return the error for an unknown or deleted run."""
    return ResourceNotFoundError(
        f"run {run_id.hex!r} does not exist or was deleted; list the runs to see which there are",
        field="run_id",
        value=run_id.hex,
    )
