"""What of the log is sealed: covered by the newest signed checkpoint; must not sign or verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from trialog_server.postgres.pool import postgres_away
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from trialog_server.project.checkpoint import Checkpoint


async def record_seals(dsn: str, checkpoint: Checkpoint) -> None:
    """Let the service know which records a checkpoint covers, so that it can show that.

    Called when the checkpoint lies in its file: what is shown as sealed can be proven.

    Raises:
        UnavailableError: Postgres does not answer; the file is good, and nothing shows it.
    """
    signed = sorted(checkpoint.chains.items())
    with postgres_away():
        connection = await asyncpg.connect(
            dsn, server_settings={"application_name": "trialog checkpoint"}
        )
        try:
            await connection.execute(
                load_query("record_seals"),
                [partition.topic for partition, _ in signed],
                [partition.number for partition, _ in signed],
                [records for _, (records, _) in signed],
                [bytes.fromhex(chain) for _, (_, chain) in signed],
                checkpoint.made_at,
            )
        finally:
            await connection.close()
