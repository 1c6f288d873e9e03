"""Whether what was not there at a time has been created since, for the error that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog_schemas.wire import CATALOG_TOPIC
from trialog_server.read.ask import ask

if TYPE_CHECKING:
    from datetime import datetime

    from trialog_server.postgres.pool import Tables


@dataclass(frozen=True, slots=True)
class Named:
    """An experiment by its name, a run of it by its own name besides, or a run by its id alone."""

    experiment_name: str | None = None
    run_name: str | None = None
    run_id: str | None = None


async def created_later(
    tables: Tables, account: str, named: Named, then: datetime
) -> datetime | None:
    """Return when the log took its creation, if that was after then and it is there now."""
    rows = await ask(
        tables,
        "created_later",
        account,
        named.experiment_name,
        named.run_name,
        named.run_id,
        CATALOG_TOPIC,
        then,
    )
    at: datetime | None = rows[0]["at"]
    return at
