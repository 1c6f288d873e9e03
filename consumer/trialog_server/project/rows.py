"""The rows of one batch and how each table takes them; decides nothing.

Tables that only grow take their rows by COPY. The others take one statement per batch that gets the
rows as columns (`unnest`), and inserts or updates. Both were measured at 100 times the rate of
single statements.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialog_server.postgres.pool import Connection

Row: TypeAlias = tuple[object, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COPIED: dict[str, tuple[str, ...]] = {
    "gaps": ("run_id", "writer_id", "first_seq", "last_seq", "topic", "partition", "log_offset"),
    "parameters": ("run_id", "name", "value", "value_number", "value_text", "at", "log_offset"),
    "metric_chunks": (
        "run_id",
        "name",
        "first_index",
        "points",
        "step_min",
        "step_max",
        "offsets",
        "counts",
        "data",
    ),
    "artifacts": (
        "run_id",
        "name",
        "version",
        "kind",
        "sha256",
        "size",
        "media_type",
        "is_output",
        "uri",
        "model",
        "at",
        "log_offset",
    ),
    "rejections": (
        "run_id",
        "writer_id",
        "seq",
        "item",
        "code",
        "message",
        "name",
        "value",
        "facts",
        "at",
        "topic",
        "partition",
        "log_offset",
    ),
    "record_index": (
        "topic",
        "partition",
        "log_offset",
        "run_id",
        "writer_id",
        "first_seq",
        "events",
        "types",
        "at",
    ),
}
"""Tables that take rows by COPY, with the columns in the order of the tuples."""

STATED: tuple[str, ...] = (
    # The order matters: a name must be free again before another row takes it.
    "delete_experiments",
    "delete_runs",
    "insert_experiments",
    "insert_runs",
    "touch_experiments",
    "upsert_writers",
    "upsert_run_states",
    "upsert_metric_summaries",
    "insert_dead",
    "insert_parked",
    "delete_gaps",
)
"""Statements that take the rows of a batch as columns, in the order they are run."""


class Rows:
    """What one batch writes, per table or statement."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}

    def add(self, target: str, row: Row) -> None:
        """Add one row for a table of `COPIED` or a statement of `STATED`."""
        self._rows.setdefault(target, []).append(row)

    def extend(self, target: str, rows: Iterable[Row]) -> None:
        """Add several rows."""
        self._rows.setdefault(target, []).extend(rows)

    def absorb(self, other: Rows) -> None:
        """Add all rows of another collection."""
        for target, rows in other._rows.items():
            self.extend(target, rows)

    def of(self, target: str) -> list[Row]:
        """Return the rows of one target."""
        return self._rows.get(target, [])

    async def write(self, connection: Connection) -> None:
        """Write everything in the caller's transaction."""
        for name in STATED:
            rows = self._rows.get(name)
            if rows:
                await connection.execute(load_query(name), *map(list, zip(*rows, strict=True)))
        for table, columns in COPIED.items():
            rows = self._rows.get(table)
            if rows:
                await connection.copy_records_to_table(table, columns=columns, records=rows)


def time_of(at_us: int) -> datetime:
    """Return microseconds since the epoch as Postgres' driver wants them."""
    return _EPOCH + timedelta(microseconds=at_us)


def time_or_none(at_us: int | None) -> datetime | None:
    """Return a time that may be missing."""
    return None if at_us is None else time_of(at_us)


def us_of(at: datetime) -> int:
    """Return a time of Postgres as microseconds since the epoch, without rounding."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def us_or_none(at: datetime | None) -> int | None:
    """Return a time that may be missing."""
    return None if at is None else us_of(at)
