"""The JSON of durability, and how what was read becomes it; must not ask anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

# pydantic reads these classes for the OpenAPI document; before 3.12 it needs this TypedDict.
from typing_extensions import TypedDict

from trialog_schemas.wire import SHORT_NAME_BY_TOPIC
from trialog_server.serve.shapes import (
    RejectionJSON,
    optional_time_json,
    position_json,
    time_json,
)

if TYPE_CHECKING:
    from trialog_server.read.durability import LogProgress, RunDurability, WriterProgress


class ProgressJSON(TypedDict):
    """How far a writer is in the tables; `missing` has first and last seq of its first holes."""

    run_id: str
    writer_id: str
    last_seq: int
    missing: list[list[int]]
    missing_count: int
    is_parked: bool
    is_known: bool
    rejected: dict[str, int]


class LogJSON(TypedDict):
    """A partition: its next record's offset (null: not told now), what is applied and sealed."""

    partition: str
    end: int | None
    applied: int
    sealed: int
    sealed_at: str | None


class DurabilityJSON(TypedDict):
    """How far writers are, and the partitions of the positions."""

    applied: bool
    writers: list[ProgressJSON]
    log: list[LogJSON]


class RunWriterJSON(TypedDict):
    """A writer of a run: events that are applied, how many of these are sealed."""

    writer_id: str
    applied: int
    sealed: int
    last_event_time: str


class GapJSON(TypedDict):
    """Events that never came, up to the record that showed it; 0: the writer's chain is broken."""

    writer_id: str
    first_seq: int
    last_seq: int
    events: int
    position: str


class RunDurabilityJSON(TypedDict):
    """What has become of a run's events; `applied` counts those that were refused as well."""

    run_id: str
    applied: int
    sealed: int
    points: int
    rejected: dict[str, int]
    missing_count: int
    log: LogJSON | None
    writers: list[RunWriterJSON]
    gaps: list[GapJSON]


class AppliedJSON(TypedDict):
    """Whether positions are applied; of a writer what was refused, and how far it is."""

    applied: bool
    rejections: list[RejectionJSON]
    progress: ProgressJSON | None


def log_json(progress: LogProgress, end: int | None) -> LogJSON:
    """Return how far a partition is as the API shows it."""
    place = progress.partition
    return {
        "partition": f"{SHORT_NAME_BY_TOPIC[place.topic]}:{place.number}",
        "end": end,
        "applied": progress.applied,
        "sealed": progress.sealed,
        "sealed_at": optional_time_json(progress.sealed_at),
    }


def progress_json(progress: WriterProgress) -> ProgressJSON:
    """Return how far a writer is as the API shows it."""
    return {
        "run_id": progress.run_id,
        "writer_id": progress.writer_id,
        "last_seq": progress.last_seq,
        "missing": [list(hole) for hole in progress.missing],
        "missing_count": progress.missing_count,
        "is_parked": progress.is_parked,
        "is_known": progress.is_known,
        "rejected": progress.rejected,
    }


def run_durability_json(
    run_id: str, found: RunDurability, log: LogJSON | None
) -> RunDurabilityJSON:
    """Return what has become of a run's events as the API shows it."""
    return {
        "run_id": run_id,
        "applied": sum(one.applied for one in found.writers),
        "sealed": sum(one.sealed for one in found.writers),
        "points": found.points,
        "rejected": found.rejected,
        "missing_count": found.missing_count,
        "log": log,
        "writers": [
            {
                "writer_id": one.writer_id,
                "applied": one.applied,
                "sealed": one.sealed,
                "last_event_time": time_json(one.last_at),
            }
            for one in found.writers
        ],
        "gaps": [
            {
                "writer_id": gap.writer_id,
                "first_seq": gap.first_seq,
                "last_seq": gap.last_seq,
                "events": gap.events,
                "position": position_json(gap.topic, gap.partition, gap.log_offset),
            }
            for gap in found.gaps
        ],
    }
