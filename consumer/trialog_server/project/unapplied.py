"""Events that an older release listed as unknown and this one reads; applies nothing.

They came before others that are applied by now, so that only a rebuild gives them their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog_schemas.versions import THIS_RELEASE
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from trialog_server.postgres.pool import Connection, Pool


async def unapplied(connection: Connection | Pool) -> dict[str, int]:
    """Return how many records of a generation have such events, by the reason they are listed with.

    The generation is the one whose tables the connection finds by their names.
    """
    rows = await connection.fetch(load_query("count_dead"), THIS_RELEASE.reasons())
    return {row["reason"]: row["records"] for row in rows}
