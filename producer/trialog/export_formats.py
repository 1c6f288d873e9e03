"""How exported runs look in a file: CSV, JSON and Parquet. Asks nothing and names no file.

A table has a column for each parameter, metric and tag of any run, so that its columns are known
only when all runs are: they are noted first, run by run. Memory holds names and one batch of rows.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from datetime import datetime
from io import TextIOWrapper
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import orjson

from trialog.client import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trialog.answers import RunAnswer
    from trialog_schemas.names import ParameterValue

FORMATS = ("csv", "json", "parquet")

TEXT_COLUMNS = ("run_name", "run_id", "status", "parent_run_name", "failure_message")
TIME_COLUMNS = ("creation_time", "start_time", "end_time")

BATCH_CELLS_MAX = 200_000
"""Cells of one row group of a Parquet file: what is in memory at once, a few tens of MB."""

EXACT_INTEGER_MAX = 2**53
"""Up to here every whole number is a float, too."""

_INT64 = range(-(2**63), 2**63)
_WIDER = {frozenset({"int", "float"}): "float", frozenset({"int", "long"}): "long"}


@dataclass(slots=True)
class Columns:
    """What columns a table of the runs noted so far has.

    Args:
        parameters: the narrowest kind that all values of each fit into: `none`, `bool`, `int`,
            `long` (whole, but too large to be a float), `float` or `text`.
        metrics, tags: their names, in order of first appearance.
    """

    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, None] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)

    def note(self, run: RunAnswer) -> None:
        """Add what a run has."""
        for name, value in run["parameters"].items():
            kind, known = _kind_of(value), self.parameters.get(name, "none")
            self.parameters[name] = _wider(known, kind)
        self.metrics.update(dict.fromkeys(run["metrics"]))
        self.tags.update(dict.fromkeys(run["tags"]))

    @property
    def names(self) -> list[str]:
        """The names of all columns, in order; the groups are told apart by their beginning."""
        groups = (("params", self.parameters), ("metrics", self.metrics), ("tags", self.tags))
        found = [f"{group}.{name}" for group, members in groups for name in members]
        return [*TEXT_COLUMNS, *TIME_COLUMNS, *found]


def write_json(file: IO[bytes], runs: Iterable[RunAnswer]) -> None:
    """Write runs as one JSON array, each as the service answers it, one a line."""
    before = b"[\n"
    for run in runs:
        file.write(before + orjson.dumps(run))
        before = b",\n"
    file.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def write_csv(file: IO[bytes], runs: Iterable[RunAnswer], columns: Columns) -> None:
    """Write runs as a table in UTF-8 with a head; a value that a run lacks is an empty cell.

    Texts stand as they are, all other values of parameters as JSON.
    """
    text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    table = csv.writer(text)
    table.writerow(columns.names)
    for run in runs:
        known, metrics = run["parameters"], run["metrics"]
        table.writerow(
            [
                *(run[name] for name in (*TEXT_COLUMNS, *TIME_COLUMNS)),  # type: ignore[literal-required]  # texts and times are keys
                *(_text(known[name]) if name in known else "" for name in columns.parameters),
                *(
                    _number_text(number(metrics[name]["last"])) if name in metrics else ""
                    for name in columns.metrics
                ),
                *(run["tags"].get(name, "") for name in columns.tags),
            ]
        )
    text.detach()


def write_parquet(file: IO[bytes], runs: Iterable[RunAnswer], columns: Columns) -> None:
    """Write runs as a table of typed columns; a value that a run lacks is null.

    Times are microseconds in UTC. A parameter is a column of truth values, whole numbers or
    floats where all runs agree, and else one of texts, as in CSV.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  who writes no Parquet needs no pyarrow

    schema = _schema_of(columns)
    rows_max = max(BATCH_CELLS_MAX // len(schema), 1)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        left = iter(runs)
        while batch := list(islice(left, rows_max)):
            writer.write_table(_table_of(batch, columns, schema))


def _schema_of(columns: Columns) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    types = {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "long": pa.int64(),
        "float": pa.float64(),
    }
    kinds = [
        *(pa.string() for _ in TEXT_COLUMNS),
        *(pa.timestamp("us", tz="UTC") for _ in TIME_COLUMNS),
        *(types.get(kind, pa.string()) for kind in columns.parameters.values()),
        *(pa.float64() for _ in columns.metrics),
        *(pa.string() for _ in columns.tags),
    ]
    return pa.schema(list(zip(columns.names, kinds, strict=True)))


def _table_of(runs: list[RunAnswer], columns: Columns, schema: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    found: Iterator[list[object]] = _values_of(runs, columns)
    arrays = [pa.array(values, kind) for values, kind in zip(found, schema.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _values_of(runs: list[RunAnswer], columns: Columns) -> Iterator[list[object]]:
    """Yield the values of each column, in order."""
    for name in TEXT_COLUMNS:
        yield [run[name] for run in runs]  # type: ignore[literal-required]  # texts are keys
    for name in TIME_COLUMNS:
        yield [_time_of(run[name]) for run in runs]  # type: ignore[literal-required]  # so are times
    for name, kind in columns.parameters.items():
        yield [_cell(run["parameters"].get(name), kind) for run in runs]
    for name in columns.metrics:
        found = [run["metrics"].get(name) for run in runs]
        yield [None if one is None else number(one["last"]) for one in found]
    for name in columns.tags:
        yield [run["tags"].get(name) for run in runs]


def _time_of(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _cell(value: ParameterValue, kind: str) -> ParameterValue:
    if value is None:
        return None
    if kind == "float" and isinstance(value, int | float):
        return float(value)
    return value if kind in {"bool", "int", "long"} else _text(value)


def _text(value: ParameterValue) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _number_text(value: float) -> str:
    """Return the shortest text that is read as the same float; words as in the service's JSON."""
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}Infinity"


def _kind_of(value: ParameterValue) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) <= EXACT_INTEGER_MAX:
            return "int"
        return "long" if value in _INT64 else "text"
    return "float" if isinstance(value, float) else "text"


def _wider(one: str, other: str) -> str:
    """Return the kind that values of both kinds fit into."""
    if "none" in {one, other}:
        return other if one == "none" else one
    return one if one == other else _WIDER.get(frozenset({one, other}), "text")
