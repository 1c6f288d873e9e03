"""What MLflow clients log to a run: parameters, points of metrics, tags."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from trialog_schemas.errors import ResourceNotFoundError, shown
from trialog_server.serve.access import caller_of
from trialog_server.serve.described_routes import described_router
from trialog_server.serve.mlflow.dataset_inputs import (
    INPUTS_ARTIFACT,
    LogInputsArguments,
    inputs_document,
)
from trialog_server.serve.mlflow.log_arguments import (
    LogBatchArguments,
    LogPairArguments,
    LogPointArguments,
    TagKeyArguments,
    checked_pair,
    points_of,
)
from trialog_server.serve.mlflow.questions import described, read_arguments
from trialog_server.serve.mlflow.writes import Logged, NothingJSON, RunWrites
from trialog_server.serve.shapes import json_response

if TYPE_CHECKING:
    from fastapi import APIRouter

    from trialog_server.serve.mlflow.questions import RunArguments
    from trialog_server.serve.service import Service


class MlflowLogRoutes:
    """The routes of one service by which MLflow clients log to runs."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = described_router("mlflow", "/api/2.0/mlflow/runs")
        for path, answer, model in (
            ("/log-parameter", self.log_parameter, LogPairArguments),
            ("/log-metric", self.log_metric, LogPointArguments),
            ("/log-batch", self.log_batch, LogBatchArguments),
            ("/set-tag", self.set_tag, LogPairArguments),
            ("/delete-tag", self.delete_tag, TagKeyArguments),
            ("/log-inputs", self.log_inputs, LogInputsArguments),
        ):
            router.add_api_route(
                path,
                answer,
                methods=["POST"],
                response_model=NothingJSON,
                openapi_extra=described(model, "POST"),
            )
        return router

    async def log_parameter(self, request: Request) -> Response:
        """Log a parameter of an MLflow client; another value than it has is refused at once."""
        told = await read_arguments(request, LogPairArguments)
        return await self._log(request, told, Logged(parameters=dict([checked_pair(told)])))

    async def log_metric(self, request: Request) -> Response:
        """Log a point of an MLflow client's metric."""
        told = await read_arguments(request, LogPointArguments)
        return await self._log(request, told, Logged(metrics=points_of([told])))

    async def log_batch(self, request: Request) -> Response:
        """Log an MLflow client's parameters, points and tags, all of them or none."""
        told = await read_arguments(request, LogBatchArguments)
        return await self._log(request, told, told.logged())

    async def set_tag(self, request: Request) -> Response:
        """Set a tag for an MLflow client."""
        told = await read_arguments(request, LogPairArguments)
        return await self._log(request, told, Logged(tags=dict([checked_pair(told)])))

    async def delete_tag(self, request: Request) -> Response:
        """Remove a tag for an MLflow client."""
        told = await read_arguments(request, TagKeyArguments)
        key, _ = checked_pair(LogPairArguments(key=told.key))
        run = await self._writes(request).find(told.run())
        if run.state.tags.get(key) is None:
            raise ResourceNotFoundError(
                f"run {run.run_id!r} has no tag {shown(key)}; get it to see those it has",
                field="key",
                value=key,
            )
        return await self._log(request, told, Logged(removed=(key,)))

    async def log_inputs(self, request: Request) -> Response:
        """Log which datasets an MLflow client's run has used, as an input artifact of the run."""
        asked = await read_arguments(request, LogInputsArguments)
        run_id, told = asked.run(), asked.told()
        await self._writes(request).log_input_document(
            run_id, INPUTS_ARTIFACT, lambda before: inputs_document(before, told)
        )
        nothing: NothingJSON = {}
        return json_response(nothing)

    async def _log(self, request: Request, told: RunArguments, logged: Logged) -> Response:
        # Only a point that is counted twice would be another one than a point that is told twice.
        asked = None
        if logged.metrics is not None:
            account = caller_of(request).account
            head = f"{account}\n{request.url.path}\n".encode()
            asked = hashlib.sha256(head + await request.body()).digest()
        await self._writes(request).log(told.run(), logged, asked)
        nothing: NothingJSON = {}
        return json_response(nothing)

    def _writes(self, request: Request) -> RunWrites:
        return RunWrites(self._service, caller_of(request).account)
