"""What the routes work with, given to them explicitly; must not hold behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trialog_schemas.limits import Limits
    from trialog_server.artifacts import ArtifactStore
    from trialog_server.ingest.gateway import Gateway
    from trialog_server.log.base import Log
    from trialog_server.postgres.pool import Pool
    from trialog_server.read.wait_applied import AppliedPositions
    from trialog_server.serve.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one running service."""

    pool: Pool
    log: Log
    gateway: Gateway
    store: ArtifactStore
    limits: Limits
    artifact_bytes_max: int
    applied: AppliedPositions
    telemetry: Telemetry
