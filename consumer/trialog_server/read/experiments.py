"""Experiments: one by name or id, and a page of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog_schemas.errors import ResourceNotFoundError, did_you_mean, shown
from trialog_server.read.ask import ask
from trialog_server.read.pages import PageRequest, place_of, token_after

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from trialog_server.postgres.pool import Tables

NEAR_NAMES_MAX = 200
"""How many of the newest names are looked through for a "did you mean"."""


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """An experiment as it is shown; `run_count` counts live runs."""

    experiment_id: str
    account: str
    number: int
    name: str
    description: str | None
    tags: dict[str, str]
    created_at: datetime
    created_by: dict[str, str]
    modified_at: datetime
    modified_by: dict[str, str]
    run_count: int
    deleted_at: datetime | None = None

    @property
    def arn(self) -> str:
        """The experiment's stable, unique resource name."""
        return f"arn:trialog:experiment/{self.account}/{self.experiment_id}"


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    """A page of experiments, where the next one begins, and how many there are in all."""

    experiments: tuple[ExperimentView, ...]
    next_token: str | None
    total: int


async def list_experiments(tables: Tables, account: str, request: PageRequest) -> ExperimentPage:
    """Return one page of the account's live experiments."""
    place = place_of(request, 1)
    rows = await ask(
        tables,
        "list_experiments",
        account,
        request.order,
        place.time,
        place.name,
        *place.created,
        request.max_results + 1,
    )
    found = tuple(experiment_from_row(row) for row in rows if row["experiment_id"] is not None)
    shown_ones = found[: request.max_results]
    token = None
    if len(found) > len(shown_ones):
        last = shown_ones[-1]
        token = token_after(request, last.created_at, last.name, (last.number,))
    return ExperimentPage(shown_ones, token, rows[0]["total"])


async def get_experiment(tables: Tables, account: str, name: str) -> ExperimentView:
    """Return the live experiment of that name.

    Raises:
        ResourceNotFoundError: there is none; the message names a near one.
    """
    found = await find_experiment(tables, account, name=name)
    if found is None:
        raise await experiment_not_found(tables, account, name)
    return found


async def find_experiment(
    tables: Tables,
    account: str,
    *,
    name: str | None = None,
    experiment_id: str | None = None,
    number: int | None = None,
    with_deleted: bool = False,
) -> ExperimentView | None:
    """Return the live experiment of that name, that id or that number, or None.

    With the deleted ones too it is to be asked for by what only one has ever had: id or number.
    """
    rows = await ask(tables, "get_experiment", account, name, experiment_id, number, with_deleted)
    return experiment_from_row(rows[0]) if rows else None


async def experiment_not_found(tables: Tables, account: str, name: str) -> ResourceNotFoundError:
    """Return the error for an unknown experiment, with a near name if there is one."""
    rows = await ask(tables, "near_names", account, NEAR_NAMES_MAX)
    hint = did_you_mean(name, [row["name"] for row in rows])
    return ResourceNotFoundError(
        f"experiment {shown(name)} does not exist{hint or '; the list shows which there are'}",
        field="experiment_name",
        value=name,
    )


def experiment_from_row(row: asyncpg.Record) -> ExperimentView:
    """Build an experiment from a row of one of the queries of experiments."""
    return ExperimentView(
        experiment_id=row["experiment_id"].hex,
        account=row["account"],
        number=row["number"],
        name=row["name"],
        description=row["description"],
        tags=row["tags"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        deleted_at=row["deleted_at"],
        modified_at=row["modified_at"] or row["created_at"],
        modified_by=row["modified_by"] or row["created_by"],
        run_count=row["run_count"],
    )
