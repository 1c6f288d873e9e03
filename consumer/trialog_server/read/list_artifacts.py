"""The artifacts of a run, every version of them, and one of them for download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog_schemas.errors import ResourceNotFoundError, shown
from trialog_server.read.ask import ask
from trialog_server.read.list_runs import run_not_found
from trialog_server.read.runs import ArtifactView

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from trialog_server.postgres.pool import Pool


async def list_artifacts(pool: Pool, account: str, run_id: UUID) -> tuple[ArtifactView, ...]:
    """Return every version of every artifact, the newest first within a name.

    Raises:
        ResourceNotFoundError: there is no such run.
    """
    rows = await ask(pool, "list_artifacts", account, run_id, None, None)
    if not rows:
        raise run_not_found(run_id)
    return tuple(_artifact(row) for row in rows if row["name"] is not None)


async def get_artifact(
    pool: Pool, account: str, run_id: UUID, name: str, version: int | None = None
) -> ArtifactView:
    """Return one version of an artifact; None is the newest.

    Raises:
        ResourceNotFoundError: there is no such run, artifact or version.
    """
    rows = await ask(pool, "list_artifacts", account, run_id, name, version)
    if not rows:
        raise run_not_found(run_id)
    if rows[0]["name"] is None:
        which = "" if version is None else f" in version {version}"
        raise ResourceNotFoundError(
            f"run {run_id.hex!r} has no artifact {shown(name)}{which}; list its artifacts to see "
            "which it has",
            field="name",
            value=name,
        )
    return _artifact(rows[0])


def _artifact(row: asyncpg.Record) -> ArtifactView:
    return ArtifactView(
        name=row["name"],
        version=row["version"],
        kind=row["kind"],
        media_type=row["media_type"],
        size=row["size"],
        sha256=row["sha256"],
        is_output=row["is_output"],
        uri=row["uri"],
        model=row["model"],
        at=row["at"],
    )
