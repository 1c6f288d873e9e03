"""How a projection worker behaves: durations and sizes with reasons; reads no environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionSettings:
    """Settings of one worker.

    Args:
        generation: which set of read-model tables it writes.
        schema_name: the schema of that generation.
        lease_s: a dead worker's partitions are free after this time.
        renew_s: how often a lease is renewed and the share of partitions looked at.
        claim_retry_s: the same while partitions are missing from the share; with `lease_s` it
            bounds how long a new start waits after a SIGKILL.
        look_back_s: how often records of a partition that were applied are looked at once more, of
            one partition after the other; see `applied_tails.Pauses`.
        batch_bytes_max: bytes of records read at once. Larger batches make larger chunks and
            fewer statements; 4 MiB of 50 KB records were applied in about 0.15 s.
        cached_items_max: parameters, metrics and runs kept in memory for one partition.
        backoff_s_max: the longest pause between two tries while Postgres is away.
        merge_chunks_min: so many small chunks of one series in a row are merged.
    """

    generation: int = 1
    schema_name: str = "gen_1"
    lease_s: float = 3.0
    renew_s: float = 1.0
    claim_retry_s: float = 0.25
    look_back_s: float = 5.0
    batch_bytes_max: int = 4 * 1024 * 1024
    cached_items_max: int = 50_000
    backoff_s_max: float = 2.0
    merge_chunks_min: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.renew_s * 2 <= self.lease_s:
            raise ValueError(
                f"renew_s is {self.renew_s!r}, which leaves no second try within lease_s "
                f"{self.lease_s!r}; make it half of it or less"
            )

    @property
    def search_path(self) -> str:
        """The schemas of a worker's connections."""
        return f"{self.schema_name}, trialog"
