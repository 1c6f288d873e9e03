"""The events of a run as they are in the log, accepted and refused: its audit view.

Where they are comes from the read model, what they say from the log itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import UnavailableError, WireError
from trialog_schemas.events import MetricsLogged, UnknownEvent
from trialog_schemas.names import check_page_size
from trialog_server.log.base import OffsetMissing, Partition
from trialog_server.read.ask import ask
from trialog_server.read.list_rejections import rejections_from_rows
from trialog_server.read.list_runs import run_not_found
from trialog_server.read.pages import bad_token, decode_token, encode_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    import asyncpg

    from trialog_schemas.events import Body, Event
    from trialog_server.log.base import Log, LogRecord
    from trialog_server.postgres.pool import Tables
    from trialog_server.read.list_rejections import RejectionView

    Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

RECORDS_MAX = 100
"""Records of one page; a record is a batch of events of about 50 KB."""

PAGE_BYTES_MAX = 4_194_304
"""Bytes of records after which a page ends early: records may be as large as 1 MiB each."""

_RECORDS_AT_ONCE = 25
"""Records that are read from the log together; a look at that many costs as much as one."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One event: who said what when, where it is, and what the rules refused of it.

    Args:
        at_us: the writer's clock.
        log_at_us: the log's clock.
        body: the event's content; of metrics only names, numbers of points and steps.
        rejections: empty if all of it was accepted.
    """

    topic: str
    partition: int
    log_offset: int
    event_id: str | None
    writer_id: str | None
    user: str | None
    seq: int | None
    type: str
    at_us: int | None
    log_at_us: int
    body: dict[str, Json]
    rejections: tuple[RejectionView, ...]


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events: those of at most so many records, and fewer where they are large."""

    events: tuple[EventView, ...]
    next_token: str | None


async def run_events(
    tables: Tables,
    log: Log,
    run: tuple[str, UUID],
    *,
    records_max: int = RECORDS_MAX,
    next_token: str | None = None,
) -> EventPage:
    """Return a page of the events of a run, deleted or not; `run` is its account and id.

    Raises:
        ResourceNotFoundError: there never was such a run.
        UnavailableError: Postgres or the log does not answer.
    """
    check_page_size(records_max)
    account, run_id = run
    after = _place_of(next_token)
    rows = await ask(tables, "run_events", account, run_id, *after, records_max + 1)
    if not rows and next_token is None:
        raise run_not_found(run_id)
    found = [row for row in rows if row["topic"] is not None]
    records = await _read_records(log, found[:records_max])
    places = found[: len(records)]
    refused = await _rejections(tables, run_id, places)
    events = tuple(view for record in records for view in _views(record, run_id.hex, refused))
    token = None
    if len(found) > len(places):
        token = encode_token("events", places[-1]["topic"], places[-1]["log_offset"])
    return EventPage(events, token)


async def _read_records(log: Log, places: Sequence[asyncpg.Record]) -> list[LogRecord]:
    """Fetch the records in the order of their places, until they are enough for a page."""
    wanted: dict[Partition, list[int]] = {}
    for place in places:
        key = Partition(place["topic"], place["partition"])
        wanted.setdefault(key, []).append(place["log_offset"])
    records: list[LogRecord] = []
    for partition, offsets in wanted.items():
        for start in range(0, len(offsets), _RECORDS_AT_ONCE):
            if sum(len(record.value) for record in records) >= PAGE_BYTES_MAX:
                return records
            try:
                records += await log.read_at(partition, offsets[start : start + _RECORDS_AT_ONCE])
            except OffsetMissing as exc:
                raise UnavailableError(exc.message, field="log", value=exc.offset) from exc
    return records


async def _rejections(
    tables: Tables, run_id: UUID, places: Sequence[asyncpg.Record]
) -> dict[tuple[str, int], tuple[RejectionView, ...]]:
    """Return the refusals of the events in those records, by writer and seq."""
    rows = await ask(
        tables,
        "record_rejections",
        run_id,
        [place["topic"] for place in places],
        [place["log_offset"] for place in places],
    )
    found: dict[tuple[str, int], tuple[RejectionView, ...]] = {}
    for rejection in rejections_from_rows(rows):
        key = (rejection.writer_id, rejection.seq)
        found[key] = (*found.get(key, ()), rejection)
    return found


def _views(
    record: LogRecord, run_id: str, refused: Mapping[tuple[str, int], tuple[RejectionView, ...]]
) -> list[EventView]:
    try:
        header, events = unpack_record(record.value)
    except WireError as error:
        return [_unreadable(record, "undecodable", error.reason)]
    views = []
    for event in events:
        if not _concerns(event, run_id):
            continue
        views.append(
            EventView(
                topic=record.partition.topic,
                partition=record.partition.number,
                log_offset=record.offset,
                event_id=event.event_id,
                writer_id=event.writer_id,
                user=header.user,
                seq=event.seq,
                type=event.type,
                at_us=None if isinstance(event, UnknownEvent) else event.at_us,
                log_at_us=record.at_us,
                body=_body_of(event),
                rejections=refused.get((event.writer_id, event.seq), ()),
            )
        )
    return views


def _concerns(event: Event | UnknownEvent, run_id: str) -> bool:
    """Tell whether the event is of this run: a catalog record may hold those of several."""
    if event.run_id == run_id or isinstance(event, UnknownEvent):
        return True
    return getattr(event.body, "run_id", None) == run_id


def _unreadable(record: LogRecord, type_name: str, reason: str) -> EventView:
    return EventView(
        topic=record.partition.topic,
        partition=record.partition.number,
        log_offset=record.offset,
        event_id=None,
        writer_id=None,
        user=None,
        seq=None,
        type=type_name,
        at_us=None,
        log_at_us=record.at_us,
        body={"reason": reason},
        rejections=(),
    )


def _body_of(event: Event | UnknownEvent) -> dict[str, Json]:
    return (
        {"reason": event.reason} if isinstance(event, UnknownEvent) else describe_body(event.body)
    )


def describe_body(body: Body) -> dict[str, Json]:
    """Return what an event says as plain JSON; of metrics what was logged, without the points."""
    if not isinstance(body, MetricsLogged):
        return asdict(body)
    blocks: list[Json] = []
    for block in body.blocks:
        steps = np.frombuffer(block.steps, "<i8")
        blocks.append(
            {
                "names": list(block.names),
                "points": block.points,
                "step_first": int(steps[0]) if block.rows else None,
                "step_last": int(steps[-1]) if block.rows else None,
            }
        )
    return {"points": body.points, "blocks": blocks}


def _place_of(token: str | None) -> tuple[str | None, int | None]:
    if token is None:
        return None, None
    match decode_token("events", token):
        case [str(topic), int(offset)]:
            return topic, offset
    raise bad_token(token)
