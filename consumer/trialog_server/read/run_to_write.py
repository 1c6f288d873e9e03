"""A run as somebody who writes to it needs it: what the rules would judge by, as far as applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from trialog_schemas.events import ModelInfo, artifact_content
from trialog_schemas.limits import Limits
from trialog_schemas.rules import ArtifactState, RunState
from trialog_server.read.ask import ask
from trialog_server.read.list_runs import run_not_found

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from trialog_schemas.rules import Status
    from trialog_server.postgres.pool import Pool


@dataclass(frozen=True, slots=True)
class RunToWrite:
    """A live run before a write.

    Args:
        run_id: 32 hex digits.
        name: its name here.
        status: None before it was entered.
        state: for the rules; of parameters and artifacts only what was asked for.
    """

    run_id: str
    name: str
    status: Status | None
    state: RunState


async def run_to_write(
    pool: Pool,
    account: str,
    run_id: UUID,
    *,
    policy: Limits,
    with_parameters: bool = False,
    with_artifacts: bool = False,
) -> RunToWrite:
    """Return the live run of that id; `policy` holds until its own is known.

    Raises:
        ResourceNotFoundError: there is none.
    """
    rows = await ask(pool, "run_to_write", account, run_id, with_parameters, with_artifacts)
    if not rows:
        raise run_not_found(run_id)
    row = rows[0]
    return RunToWrite(row["run_id"].hex, row["run_name"], row["status"], _state(row, policy))


def _state(row: asyncpg.Record, policy: Limits) -> RunState:
    limits = row["limits"]
    return RunState(
        limits=policy if limits is None else Limits.from_json(limits),
        status=row["status"],
        failure_message=row["failure_message"],
        parameters={name: orjson.loads(value) for name, value in row["parameters"]},
        points=row["points"],
        # The run's own stream alone counts; what it was created with is said there as well.
        tags=row["tags_set"] or {},
        artifacts={
            name: ArtifactState(
                artifact_content(sha256, uri, None if model is None else ModelInfo(**model)),
                version,
            )
            for name, version, sha256, uri, model in row["artifacts"]
        },
    )
