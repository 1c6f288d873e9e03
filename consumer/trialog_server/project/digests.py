"""What a generation's tables hold, in a form that two of them can be compared in; changes nothing.

Each row is a line of text; lines come in the order of their bytes. Series are one line each, of
their points alone: how a worker has cut them into chunks is no content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from trialog_schemas.wire import HASH_BYTES
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from trialog_server.postgres.pool import Connection

TABLES = (
    "experiments",
    "runs",
    "run_states",
    "writers",
    "gaps",
    "parameters",
    "metric_summaries",
    "metric_chunks",
    "artifacts",
    "rejections",
    "dead",
    "parked",
    "record_index",
)
"""Every table of a generation, in the order of their making."""

_FETCHED_AT_ONCE = 1000
_CHUNKS_AT_ONCE = 16  # each may have a MiB


@dataclass(frozen=True, slots=True)
class TableDigest:
    """How many lines a table has, and the hash over all of them as 64 hex digits."""

    lines: int
    digest: str


async def table_digest(connection: Connection, schema_name: str, table: str) -> TableDigest:
    """Return the digest of a table; inside a transaction of the caller."""
    digest, count = blake2b(digest_size=HASH_BYTES), 0
    async for line in table_lines(connection, schema_name, table):
        digest.update(line.encode() + b"\n")
        count += 1
    return TableDigest(count, digest.hexdigest())


async def table_lines(connection: Connection, schema_name: str, table: str) -> AsyncIterator[str]:
    """Yield the lines of a table in order; inside a transaction of the caller."""
    if table == "metric_chunks":
        await connection.execute(load_query("set_search_path"), schema_name)
        async for line in _series_lines(connection):
            yield line
        return
    rows = connection.cursor(
        load_query("canonical_rows"), schema_name, table, prefetch=_FETCHED_AT_ONCE
    )
    async for row in rows:
        yield row["line"]


@dataclass(slots=True)
class _Series:
    """The columns of one series, hashed as they come; `origins` says which offset gave how many."""

    key: tuple[str, str]
    points: int = 0
    columns: tuple[blake2b, blake2b, blake2b] = field(
        default_factory=lambda: (blake2b(), blake2b(), blake2b())
    )
    origins: blake2b = field(default_factory=blake2b)
    _origin: tuple[int, int] = (-1, 0)

    def add(self, row: asyncpg.Record) -> None:
        width = 8 * row["points"]
        for number, column in enumerate(self.columns):
            column.update(row["data"][number * width : (number + 1) * width])
        self.points += row["points"]
        for offset, count in zip(row["offsets"], row["counts"], strict=True):
            if offset == self._origin[0]:
                self._origin = (offset, self._origin[1] + count)
            else:
                self._close_origin()
                self._origin = (offset, count)

    def line(self) -> str:
        """Return the line of the whole series."""
        self._close_origin()
        digest = blake2b(digest_size=HASH_BYTES)
        for part in (*self.columns, self.origins):
            digest.update(part.digest())
        # A tab stands before every character of a name: the lines' order is that of the names.
        return "\t".join((*self.key, str(self.points), digest.hexdigest()))

    def _close_origin(self) -> None:
        if self._origin[1]:
            self.origins.update(b"%d:%d;" % self._origin)


async def _series_lines(connection: Connection) -> AsyncIterator[str]:
    series: _Series | None = None
    async for row in connection.cursor(load_query("all_chunks"), prefetch=_CHUNKS_AT_ONCE):
        key = (row["run_id"].hex, row["name"])
        if series is not None and series.key != key:
            yield series.line()
            series = None
        if series is None:
            series = _Series(key)
        series.add(row)
    if series is not None:
        yield series.line()
