"""Whether a record is applied whose position the tables have passed; tells no verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from trialog_schemas.errors import UnavailableError
from trialog_server.read.ask import ask

if TYPE_CHECKING:
    from trialog_schemas.wire import Position
    from trialog_server.postgres.pool import Tables


async def check_applied(
    tables: Tables, run_id: str, writer_id: str, last_seq: int, position: Position
) -> None:
    """See that a record is applied whose position the tables have passed.

    Args:
        tables: which.
        run_id: whose events they are; of the catalog NIL_ID.
        writer_id: who recorded them.
        last_seq: of the last one.
        position: where the log has the record.

    Raises:
        UnavailableError: it is not: the log has lost its end, and took the record at a place where
            another one was applied.
    """
    place = (position.topic, position.partition, position.offset)
    (row,) = await ask(tables, "is_applied", UUID(run_id), UUID(writer_id), last_seq, *place)
    if not row["is_applied"]:
        raise UnavailableError(
            f"what was sent is recorded at {position.token()} and not applied: another record was, "
            "which the log has lost; it is applied when the tables are made of the log as it is "
            "(`trialog verify`, `trialog rebuild`)",
            field="position",
            value=position.token(),
        )
