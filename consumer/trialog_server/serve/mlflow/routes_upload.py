"""How MLflow clients upload artifacts: one PUT each, under the artifact address of their run.

The client names no digest, so that the bytes wait in a temporary file until theirs is known. An
artifact is recorded after its bytes are stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import uuid
from typing import IO, TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from trialog.ids import now_us
from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.events import ArtifactLogged
from trialog_schemas.names import check_artifact_name, check_media_type
from trialog_schemas.rules import decide_body
from trialog_server.read.run_to_write import run_to_write
from trialog_server.serve.access import caller_of
from trialog_server.serve.described_routes import described_router
from trialog_server.serve.mlflow.artifact_paths import parse_artifact_path
from trialog_server.serve.mlflow.writes import NothingJSON, RunWrites
from trialog_server.serve.shapes import json_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import APIRouter

    from trialog_server.serve.service import Service

MEMORY_BYTES_MAX = 1_048_576
"""Bytes of an upload that are kept in memory; what is more goes into a temporary file."""

PART_BYTES = 1_048_576
"""Bytes handed on at once to the store."""

ANY_TYPE = "application/octet-stream"

_BODY = {
    "requestBody": {
        "required": True,
        "content": {ANY_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class MlflowUploadRoutes:
    """The routes of one service by which MLflow clients upload artifacts."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = described_router("mlflow", "/api/2.0/mlflow-artifacts/artifacts")
        router.add_api_route(
            "/{path:path}",
            self.upload,
            methods=["PUT"],
            response_model=NothingJSON,
            openapi_extra=_BODY,
        )
        return router

    async def upload(self, request: Request, path: str) -> Response:
        """Store an artifact of an MLflow client's run; a new version if it has the name."""
        run_hex, told = parse_artifact_path(path)
        if told is None:
            raise ValidationError(
                f"{shown(path)} names no artifact; put its name behind the run's artifact_uri",
                field="path",
                value=path,
            )
        name = check_artifact_name(told)
        given = request.headers.get("content-type") or ANY_TYPE
        media_type = check_media_type(given.partition(";")[0].strip())
        account, run_id = caller_of(request).account, uuid.UUID(run_hex)
        limits = self._service.terms.limits
        run = await run_to_write(
            self._service.pool, account, run_id, policy=limits, with_artifacts=True
        )
        writes = RunWrites(self._service, account)
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX) as file:
            digest, size = await _received(request, file)
            body = ArtifactLogged(name, "file", media_type, sha256=digest, size=size)
            verdict = decide_body(run.state, body)
            for refused in verdict.rejections[:1]:
                await writes.refuse(run, refused)
            if verdict.accepted is not None:
                await writes.store_bytes(digest, _parts(file))
                await writes.record(run_id, [(now_us(), body)])
        nothing: NothingJSON = {}
        return json_response(nothing)


async def _received(request: Request, file: IO[bytes]) -> tuple[str, int]:
    """Return digest and size of a body, of which the file has the bytes afterwards."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
        # A disk may be slow; what is in memory costs no thread.
        if size > MEMORY_BYTES_MAX:
            await asyncio.to_thread(file.write, chunk)
        else:
            file.write(chunk)
    file.seek(0)
    return digest.hexdigest(), size


async def _parts(file: IO[bytes]) -> AsyncIterator[bytes]:
    while part := await asyncio.to_thread(file.read, PART_BYTES):
        yield part
