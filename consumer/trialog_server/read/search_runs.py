"""Runs of an experiment that meet conditions, in an asked order; compare is this without pages."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from trialog_schemas.names import check_page_size
from trialog_server.read.ask import ask
from trialog_server.read.experiments import experiment_not_found
from trialog_server.read.list_runs import list_runs
from trialog_server.read.pages import PageRequest, bad_token, decode_token, encode_token
from trialog_server.read.run_filter import parse_filter, parse_order
from trialog_server.read.runs import PAGE_METRICS_MAX, RunPage, run_from_row

if TYPE_CHECKING:
    import asyncpg

    from trialog_server.postgres.pool import Tables
    from trialog_server.read.run_filter import Order


_LISTED = {"creation_time": "CreationTime", "run_name": "Name"}
"""The orders that a list has as well, by the name that a search has for them."""


@dataclass(frozen=True, slots=True)
class RunSearch:
    """What is searched; the grammar of `filter` and `order_by` is in run_filter.py."""

    filter: str | None = None
    order_by: str | None = None
    max_results: int = 100
    next_token: str | None = None

    def __post_init__(self) -> None:
        check_page_size(self.max_results)


@dataclass(frozen=True, slots=True)
class _SortPlace:
    """The sort key of the last run shown; rank None: begin with the first run."""

    rank: int | None = None
    number: float | None = None
    text: str | None = None
    log_offset: int | None = None
    seq: int | None = None


async def search_runs(
    tables: Tables, account: str, experiment_name: str, search: RunSearch
) -> RunPage:
    """Return one page of the live runs that meet every condition, in one query.

    It holds fewer than asked for where they have very many metrics, and then a next token.

    Raises:
        ValidationError: filter, order or token cannot be read.
        ResourceNotFoundError: there is no such experiment.
    """
    conditions = parse_filter(search.filter)
    order = parse_order(search.order_by)
    if not conditions and order.field in _LISTED:
        # An index has this order: a page of it is read without looking at all the other runs.
        direction = "Descending" if order.is_descending else "Ascending"
        page = PageRequest(_LISTED[order.field], direction, search.max_results, search.next_token)
        return await list_runs(tables, account, experiment_name, page)
    after = _place_of(order, search.next_token)
    rows = await ask(
        tables,
        "search_runs",
        account,
        experiment_name,
        [condition.source for condition in conditions],
        [condition.name for condition in conditions],
        [condition.field for condition in conditions],
        [condition.operator for condition in conditions],
        [condition.low for condition in conditions],
        [condition.high for condition in conditions],
        [condition.text for condition in conditions],
        order.source,
        order.name,
        order.field,
        order.is_descending,
        after.rank,
        after.number,
        after.text,
        after.log_offset,
        after.seq,
        search.max_results + 1,
        PAGE_METRICS_MAX,
    )
    if not rows:
        raise await experiment_not_found(tables, account, experiment_name)
    found = [row for row in rows if row["run_id"] is not None]
    is_last = not found or found[0]["found"] == len(found)
    token = None if is_last else _token_after(order, found[-1])
    return RunPage(tuple(run_from_row(row) for row in found), token, rows[0]["total"])


def _kind(order: Order) -> str:
    direction = "descending" if order.is_descending else "ascending"
    # A digest, because a name may be as long as a whole token.
    name = blake2b(order.name.encode(), digest_size=8).hexdigest()
    return f"search {order.source} {name} {order.field} {direction}"


def _token_after(order: Order, row: asyncpg.Record) -> str:
    # JSON has no infinity, and a metric's value may be one: the number travels as its text.
    number = float(row["key_number"]).hex()
    created = (row["log_offset"], row["seq"])
    return encode_token(_kind(order), row["key_rank"], number, row["key_text"], *created)


def _place_of(order: Order, token: str | None) -> _SortPlace:
    if token is None:
        return _SortPlace()
    match decode_token(_kind(order), token):
        case [int(rank), str(number), str(text), int(log_offset), int(seq)] if 0 <= rank <= 3:  # noqa: PLR2004
            try:
                return _SortPlace(rank, float.fromhex(number), text, log_offset, seq)
            except (ValueError, OverflowError) as exc:
                raise bad_token(token) from exc
    raise bad_token(token)
