"""What the routes work with, given to them explicitly; must not hold behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_server.settings import STALE_AFTER_S

if TYPE_CHECKING:
    from trialog_server.artifacts import ArtifactStore
    from trialog_server.ingest.gateway import Gateway
    from trialog_server.ingest.run_streams import RunStreams
    from trialog_server.log.base import Log
    from trialog_server.postgres.pool import Pool
    from trialog_server.project.snapshots import Snapshots
    from trialog_server.read.log_ends import LogEnds
    from trialog_server.read.wait_applied import AppliedPositions
    from trialog_server.serve.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator of a service sets.

    Args:
        limits: the policy of new runs.
        artifact_bytes_max: bytes of an artifact that the store takes, of older runs too.
        stale_after_s: silence in seconds after which a run in progress is shown as stale.
    """

    limits: Limits = DEFAULT_LIMITS
    artifact_bytes_max: int = DEFAULT_LIMITS.artifact_bytes_max
    stale_after_s: float = STALE_AFTER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one running service, and its terms."""

    pool: Pool
    log: Log
    log_ends: LogEnds
    gateway: Gateway
    streams: RunStreams
    store: ArtifactStore
    terms: Terms
    applied: AppliedPositions
    snapshots: Snapshots
    telemetry: Telemetry
