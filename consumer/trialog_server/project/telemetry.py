"""The projection's own measurements, as plain counts; must not know how they are published."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Telemetry:
    """What a worker has done since its start. Read by `/metrics`; written by one worker only.

    Args:
        events: events applied, refused ones included, duplicates not.
        points: metric points accepted.
        duplicates: events that had been applied before.
        rejections: refusals recorded.
        dead: records or events listed as unreadable.
        parked: records set aside because their run is quarantined.
        faults: exceptions of our own fold; each is a defect to report.
        gaps: holes found in a writer's count.
        batches: transactions committed.
        batch_seconds: time spent from decoding to commit, in all transactions.
        retries: transactions that were tried again because Postgres did not answer.
        fenced: partitions lost to another worker in the middle of a batch.
        merged_chunks: small chunks that went into larger ones.
        next_offsets: per partition, where reading resumes.
        lag_s: per partition, age in seconds of the newest record applied when it was applied.
        stopped: partitions that stand still because the log lost an offset; needs an operator.
    """

    events: int = 0
    points: int = 0
    duplicates: int = 0
    rejections: int = 0
    dead: int = 0
    parked: int = 0
    faults: int = 0
    gaps: int = 0
    batches: int = 0
    batch_seconds: float = 0.0
    retries: int = 0
    fenced: int = 0
    merged_chunks: int = 0
    next_offsets: dict[str, int] = field(default_factory=dict)
    lag_s: dict[str, float] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
