"""What the rules refused: of a run, of one writer, or of given records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog_schemas.names import check_page_size
from trialog_server.read.ask import ask
from trialog_server.read.list_runs import run_not_found
from trialog_server.read.pages import bad_token, decode_token, encode_token, token_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from trialog_server.postgres.pool import Tables

WRITER_REJECTIONS_MAX = 1000
"""Refusals of one writer in one answer: a wait shows the first ones, the run's list has all."""

SEQ_MAX = 2**63 - 1

ITEM_END = 2**31
"""Items are signed 32-bit integers: the catalog's refusals of a run count −1, −2 … (fold_runs)."""


@dataclass(frozen=True, slots=True)
class RejectionView:
    """One refusal: which event of which writer, why, and where in the log the event is."""

    run_id: str
    writer_id: str
    seq: int
    item: int
    code: str
    message: str
    name: str | None
    value: str | None
    facts: dict[str, str | int]
    at: datetime
    topic: str
    partition: int
    log_offset: int


@dataclass(frozen=True, slots=True)
class RejectionPage:
    """A page of refusals in order of the log."""

    rejections: tuple[RejectionView, ...]
    next_token: str | None


async def list_rejections(
    tables: Tables,
    account: str,
    run_id: UUID,
    *,
    max_results: int = 100,
    next_token: str | None = None,
) -> RejectionPage:
    """Return a page of the run's refusals; those of a deleted run stay readable.

    Raises:
        ResourceNotFoundError: there never was such a run.
    """
    check_page_size(max_results)
    after = _place_of(next_token)
    rows = await ask(tables, "list_rejections", account, run_id, *after, max_results + 1)
    if not rows and next_token is None:
        raise run_not_found(run_id)
    found = rejections_from_rows(rows)
    shown_ones = found[:max_results]
    token = None
    if len(found) > len(shown_ones):
        last = shown_ones[-1]
        token = encode_token(
            "rejections", last.topic, last.log_offset, last.writer_id, last.seq, last.item
        )
    return RejectionPage(shown_ones, token)


async def writer_rejections(
    tables: Tables, run_ids: Sequence[str], writer_id: str, seqs: tuple[int, int] = (1, SEQ_MAX)
) -> tuple[RejectionView, ...]:
    """Return the first refusals of a writer's events, of the first to the last seq given."""
    rows = await ask(
        tables, "writer_rejections", list(run_ids), writer_id, *seqs, WRITER_REJECTIONS_MAX
    )
    return rejections_from_rows(rows)


def rejections_from_rows(rows: Sequence[asyncpg.Record]) -> tuple[RejectionView, ...]:
    """Build refusals from rows of the rejection queries."""
    return tuple(
        RejectionView(
            run_id=row["run_id"].hex,
            writer_id=row["writer_id"].hex,
            seq=row["seq"],
            item=row["item"],
            code=row["code"],
            message=row["message"],
            name=row["name"],
            value=row["value"],
            facts=row["facts"],
            at=row["at"],
            topic=row["topic"],
            partition=row["partition"],
            log_offset=row["log_offset"],
        )
        for row in rows
        if row["code"] is not None
    )


def _place_of(token: str | None) -> tuple[str | int | UUID | None, ...]:
    if token is None:
        return (None, None, None, None, None)
    match decode_token("rejections", token):
        case [str(topic), int(offset), str(writer), int(seq), int(item)]:
            if -ITEM_END <= item < ITEM_END:
                return (topic, offset, token_id(writer), seq, item)
    raise bad_token(token)
