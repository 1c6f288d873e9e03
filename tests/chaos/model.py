"""What the tables must hold of a log, by the independent models; and what they hold, alike.

Both become lines by thing, so that a difference can be named.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.integration.partition_model import (
    Call,
    Dreamed,
    Record,
    Rubbish,
    Sent,
    Tables,
    tables_of,
)
from tests.integration.projection_bench import PARTITION_STRIDE, Naming, tables_in
from tests.unit.schemas.run_model import (
    Artifact,
    Entered,
    Left,
    Parameters,
    Points,
    Policy,
    Refused,
    Tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import asyncpg

    from tests.chaos.plain_log import Entry, PlainEvent, PlainRecord
    from tests.unit.schemas.run_model import Said

NAMING = Naming(lambda run: run.int, lambda writer: writer.int, lambda sha256: sha256.hex())

_ENTERED = {"run_started": "started", "run_resumed": "resumed", "run_joined": "joined"}


def model_of(records: Iterable[tuple[Entry, PlainRecord | None]]) -> Tables:
    """Work out the tables of the events topic from its records, in the order of the log."""
    partitions: dict[int, list[Record]] = defaultdict(list)
    policies: dict[int, Policy] = {}
    for entry, record in records:
        partitions[entry.partition].append(Rubbish() if record is None else _sent(record))
        if record is not None:
            policies.update((int(record.run_id, 16), one) for one in _policies(record))
    whole = Tables()
    for number, told in partitions.items():
        part = tables_of(told, policies)
        whole.runs |= part.runs
        whole.writers |= part.writers
        whole.gaps |= part.gaps
        whole.index |= part.index
        whole.dead |= {number * PARTITION_STRIDE + offset for offset in part.dead}
        whole.parked |= {number * PARTITION_STRIDE + offset for offset in part.parked}
    return whole


def _policies(record: PlainRecord) -> Iterator[Policy]:
    """Yield the policy that a run's start brings."""
    for event in record.events:
        limits = event.body.get("limits")
        if event.kind == "run_started" and isinstance(limits, dict):
            yield Policy(
                parameters=limits["parameters_max"],
                points=limits["points_max"],
                artifacts=limits["artifacts_max"],
                artifact_bytes=limits["artifact_bytes_max"],
            )


def _sent(record: PlainRecord) -> Sent:
    writer = int(record.writer_id, 16)
    calls = (Call(writer, event.seq, event.at_us, _said(event)) for event in record.events)
    return Sent(int(record.run_id, 16), tuple(calls))


def _said(event: PlainEvent) -> Said | Dreamed:
    """Return an event in the model's words."""
    body = event.body
    if event.kind in _ENTERED:
        return Entered(_ENTERED[event.kind])
    if event.kind == "metrics_logged":
        return Points(
            tuple(
                (
                    is_wide,
                    tuple(
                        (name, row.step, value)
                        for row in rows
                        for name, value in zip(row.names, row.values, strict=True)
                    ),
                )
                for is_wide, rows in event.blocks
            )
        )
    said: dict[str, Said] = {
        "parameters_logged": Parameters(tuple(_pairs(body.get("parameters")))),
        "tags_set": Tags(
            tuple((name, str(value)) for name, value in _pairs(body.get("tags"))),
            tuple(str(name) for name in _items(body.get("removed"))),
        ),
        "artifact_logged": Artifact(
            str(body.get("name")), str(body.get("sha256")), int(str(body.get("size") or 0))
        ),
        "run_ended": Left(
            "Failed" if body.get("status") == "Failed" else "Completed",
            None if body.get("failure_message") is None else str(body.get("failure_message")),
            is_owner=bool(body.get("is_owner")),
        ),
        "call_refused": Refused(str(body.get("code"))),
    }
    return said.get(event.kind, Dreamed())


def _pairs(value: object) -> list[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def tables_found(row: asyncpg.Record) -> Tables:
    """Return what the tables hold, from the one row of `EVERYTHING`."""
    return tables_in(row, NAMING)


def told(tables: Tables) -> dict[str, str]:
    """Return tables as lines by thing; texts, because NaN is no equal of NaN."""
    lines: dict[str, str] = {}
    for run, rows in tables.runs.items():
        outcome, name = rows.outcome, f"{run:032x}"
        lines[f"run {name}"] = repr(
            (
                outcome.status,
                outcome.message,
                outcome.started_at_us,
                outcome.ended_at_us,
                sorted(outcome.tags.items()),
                sorted(outcome.artifacts.items()),
                rows.rejected,
                rows.log_offset,
            )
        )
        lines[f"refusals {name}"] = repr(outcome.refusals)
        lines |= {f"parameter {name} {key}": repr(v) for key, v in outcome.parameters.items()}
        lines |= {f"series {name} {key}": repr(v) for key, v in rows.series.items()}
        lines |= {f"summary {name} {key}": repr(v) for key, v in rows.summaries.items()}
    lines |= {f"writer {run:032x} {one:032x}": str(n) for (run, one), n in tables.writers.items()}
    lines["gaps"] = repr(sorted(tables.gaps))
    lines["index"] = repr(sorted(tables.index))
    lines["dead"] = repr(sorted(tables.dead))
    lines["parked"] = repr(sorted(tables.parked))
    return lines
