"""Routes about how safe events are: of a run for people, of many writers for their senders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from trialog_server.log.base import Partition
from trialog_server.read.durability import log_progress, run_durability, writer_progress
from trialog_server.serve.access import caller_of
from trialog_server.serve.durability_shapes import (
    DurabilityJSON,
    LogJSON,
    RunDurabilityJSON,
    log_json,
    progress_json,
    run_durability_json,
)
from trialog_server.serve.questions import (
    POSITIONS_MAX,
    RunId,
    WaitS,
    checked_router,
    parse_positions,
    read_json_body,
    wait_for_positions,
)
from trialog_server.serve.shapes import json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import APIRouter

    from trialog_server.serve.service import Service

ASKED_MAX = 500
"""Writers in one question: their ids fit a JSON body with room to spare."""

_Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class WriterOf(BaseModel):
    """A writer of a run; the catalog's run is all zeros."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: _Id
    writer_id: _Id


class DurabilityBody(BaseModel):
    """Whose events are asked for, and where in the log their newest are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    writers: Annotated[list[WriterOf], Field(max_length=ASKED_MAX)] = []
    positions: Annotated[list[str], Field(max_length=POSITIONS_MAX)] = []


_DURABILITY_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": DurabilityBody.model_json_schema()}},
    }
}


class DurabilityRoutes:
    """The routes about durability of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = checked_router("durability")
        router.add_api_route(
            "/api/v1/durability",
            self.of_writers,
            methods=["POST"],
            response_model=DurabilityJSON,
            openapi_extra=_DURABILITY_BODY,
        )
        router.add_api_route(
            "/api/v1/runs/{run_id}/durability",
            self.of_run,
            methods=["GET"],
            response_model=RunDurabilityJSON,
        )
        return router

    async def of_writers(self, request: Request, wait_s: WaitS = 0.0) -> Response:
        """Wait until positions are applied; then tell how far writers are, and where the log ends.

        A writer whose events are in the log and not in the tables behind those positions, or whose
        positions the log does not reach, has lost them and can send them again.
        """
        body = await read_json_body(request, DurabilityBody)
        positions = parse_positions(body.positions)
        is_applied = not positions or await self._service.applied.wait(positions, wait_s)
        offsets: dict[Partition, int] = {}
        for position in positions:
            place = Partition(position.topic, position.partition)
            offsets[place] = max(position.offset, offsets.get(place, -1))
        # Critical: in this order. A writer's rows and its partition's position come by one
        # transaction; looked at later, it is never behind a position that was told as applied.
        log = await self._log(offsets)
        writers = [(one.run_id, one.writer_id) for one in body.writers]
        found = await writer_progress(self._service.pool, caller_of(request).account, writers)
        content: DurabilityJSON = {
            "applied": is_applied,
            "writers": [progress_json(one) for one in found],
            "log": log,
        }
        return json_response(content)

    async def of_run(self, request: Request, run_id: RunId) -> Response:
        """Count a run's events that are applied, refused, missing and sealed, by writer."""
        await wait_for_positions(self._service, request)
        account = caller_of(request).account
        found = await run_durability(self._service.pool, account, UUID(run_id))
        log = [] if found.partition is None else await self._log({found.partition: -1})
        return json_response(run_durability_json(run_id, found, log[0] if log else None))

    async def _log(self, offsets: Mapping[Partition, int]) -> list[LogJSON]:
        ends = await self._service.log_ends.at(offsets)
        return [
            log_json(one, ends.get(one.partition))
            for one in await log_progress(self._service.pool, offsets)
        ]
