"""The artifacts of a run, every version of them, and one of them for download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog_schemas.errors import ResourceNotFoundError, did_you_mean, shown
from trialog_schemas.names import check_page_size
from trialog_server.read.ask import ask
from trialog_server.read.experiments import NEAR_NAMES_MAX
from trialog_server.read.list_runs import run_not_found
from trialog_server.read.pages import bad_token, decode_token, encode_token
from trialog_server.read.runs import ArtifactView

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from trialog_server.postgres.pool import Tables

VERSION_END = 2**31
"""Versions are signed 32-bit integers from 0 on."""


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """A page of versions in order of the artifacts' names, the newest first within a name."""

    artifacts: tuple[ArtifactView, ...]
    next_token: str | None


async def list_artifacts(
    tables: Tables,
    account: str,
    run_id: UUID,
    *,
    max_results: int = 100,
    next_token: str | None = None,
    is_output: bool | None = None,
) -> ArtifactPage:
    """Return a page of every version of every artifact.

    Args:
        tables: asks Postgres.
        account, run_id: whose artifacts.
        max_results: 1–100 versions.
        next_token: of the page before.
        is_output: True gives what the run made, False what it used, None both.

    Raises:
        ResourceNotFoundError: there is no such run.
    """
    check_page_size(max_results)
    after = _place_of(next_token)
    rows = await ask(tables, "list_artifacts", account, run_id, *after, max_results + 1, is_output)
    if not rows:
        raise run_not_found(run_id)
    found = tuple(_artifact(row) for row in rows if row["name"] is not None)
    shown_ones = found[:max_results]
    token = None
    if len(found) > len(shown_ones):
        token = encode_token("artifacts", shown_ones[-1].name, shown_ones[-1].version)
    return ArtifactPage(shown_ones, token)


async def get_artifact(
    tables: Tables, account: str, run_id: UUID, name: str, version: int | None = None
) -> ArtifactView:
    """Return one version of an artifact; None is the newest.

    Raises:
        ResourceNotFoundError: there is no such run, artifact or version.
    """
    rows = await ask(tables, "get_artifact", account, run_id, name, version)
    if not rows:
        raise run_not_found(run_id)
    if rows[0]["name"] is None:
        which = "" if version is None else f" in version {version}"
        near = await ask(tables, "near_artifact_names", run_id, NEAR_NAMES_MAX)
        others = [row["name"] for row in near if row["name"] != name]
        hint = did_you_mean(name, others) or "; list its artifacts to see which it has"
        raise ResourceNotFoundError(
            f"run {run_id.hex!r} has no artifact {shown(name)}{which}{hint}",
            field="name",
            value=name,
        )
    return _artifact(rows[0])


def _place_of(token: str | None) -> tuple[str | None, int | None]:
    if token is None:
        return None, None
    match decode_token("artifacts", token):
        case [str(name), int(version)] if 0 <= version < VERSION_END:
            return name, version
    raise bad_token(token)


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
