"""What MLflow clients read beside runs: the points of a metric, artifacts, what this server has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from trialog_schemas.errors import ResourceNotFoundError, ValidationError, shown
from trialog_server.read.list_artifacts import get_artifact
from trialog_server.read.metric_series import SERIES_PAGE_MAX, metric_series
from trialog_server.serve.access import caller_of
from trialog_server.serve.artifact_response import artifact_response
from trialog_server.serve.described_routes import described_router
from trialog_server.serve.mlflow.artifact_folders import folder_entries
from trialog_server.serve.mlflow.artifact_paths import parse_artifact_path
from trialog_server.serve.mlflow.questions import (
    Int64,
    MlflowArguments,
    RunArguments,
    check_storable,
    check_text,
    described,
    read_arguments,
)
from trialog_server.serve.mlflow.routes_read import run_of
from trialog_server.serve.mlflow.shapes import (
    FileJSON,
    FilesJSON,
    HistoryJSON,
    MetricJSON,
    ModelsJSON,
    RunFilesJSON,
    ServerInfoJSON,
    run_info_json,
)
from trialog_server.serve.questions import check_lookup_name
from trialog_server.serve.shapes import json_response, number_json

if TYPE_CHECKING:
    from fastapi import APIRouter

    from trialog_server.read.metric_series import SeriesPage
    from trialog_server.read.runs import RunView
    from trialog_server.serve.mlflow.artifact_folders import Entry
    from trialog_server.serve.service import Service

SERVER_INFO_PATH = "/api/3.0/mlflow/server-info"


class HistoryArguments(RunArguments):
    """Which metric's points; without a size all of them, if they fit one answer."""

    metric_key: str | None = None
    max_results: Annotated[Int64, Field(ge=1, le=SERIES_PAGE_MAX)] | None = None
    page_token: str | None = None


class RunFilesArguments(RunArguments):
    """Which folder of a run's artifacts; none is their root."""

    path: str | None = None


class FilesArguments(MlflowArguments):
    """Which folder, by what follows `mlflow-artifacts:/` in the address of its run."""

    path: str | None = None


class MlflowStoredRoutes:
    """The routes of one service by which MLflow clients read points and artifacts."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = described_router("mlflow")
        get = ["GET"]
        router.add_api_route(
            "/api/2.0/mlflow/metrics/get-history",
            self.history,
            methods=get,
            response_model=HistoryJSON,
            openapi_extra=described(HistoryArguments, "GET"),
        )
        router.add_api_route(
            "/api/2.0/mlflow/artifacts/list",
            self.files_of_run,
            methods=get,
            response_model=RunFilesJSON,
            openapi_extra=described(RunFilesArguments, "GET"),
        )
        artifacts = "/api/2.0/mlflow-artifacts/artifacts"
        router.add_api_route(
            artifacts,
            self.files,
            methods=get,
            response_model=FilesJSON,
            openapi_extra=described(FilesArguments, "GET"),
        )
        router.add_api_route(
            f"{artifacts}/{{path:path}}",
            self.content,
            methods=get,
            response_model=None,
            responses={200: {"content": {"application/octet-stream": {}}}},
        )
        router.add_api_route(
            "/api/2.0/mlflow/logged-models/search",
            self.logged_models,
            methods=["POST"],
            response_model=ModelsJSON,
            openapi_extra=described(MlflowArguments, "POST"),
        )
        router.add_api_route(
            SERVER_INFO_PATH, self.server_info, methods=get, response_model=ServerInfoJSON
        )
        return router

    async def history(self, request: Request) -> Response:
        """Give an MLflow client the points of a metric, by step, then as they came."""
        asked = await read_arguments(request, HistoryArguments)
        name = check_lookup_name("metric_key", asked.metric_key or "")
        run = (caller_of(request).account, asked.run())
        try:
            page = await metric_series(
                self._service.pool,
                run,
                name,
                points_max=asked.max_results or SERIES_PAGE_MAX,
                next_token=asked.page_token or None,
            )
        except ResourceNotFoundError as error:
            if error.field != "name":
                raise
            return json_response(HistoryJSON(metrics=[]))  # as MLflow's server has it
        if page.next_token is not None and asked.max_results is None:
            raise ValidationError(
                f"metric {shown(name)} has {page.points} points, more than the {SERIES_PAGE_MAX} "
                "of one answer; give max_results, and the token of each page for the next",
                field="max_results",
                limit=SERIES_PAGE_MAX,
            )
        content: HistoryJSON = {"metrics": await asyncio.to_thread(_points, page)}
        if page.next_token is not None:
            content["next_page_token"] = page.next_token
        return json_response(content)

    async def files_of_run(self, request: Request) -> Response:
        """List for an MLflow client what is in a folder of a run's artifacts."""
        asked = await read_arguments(request, RunFilesArguments)
        run = await run_of(self._service, caller_of(request).account, asked.run())
        folder = check_storable("path", asked.path or "").strip("/")
        before = f"{folder}/" if folder else ""
        content: RunFilesJSON = {
            "root_uri": run_info_json(run)["artifact_uri"],
            "files": [_file(entry, before) for entry in folder_entries(run.artifacts, folder)],
        }
        return json_response(content)

    async def files(self, request: Request) -> Response:
        """List for an MLflow client what is in a folder, by the address of its run."""
        asked = await read_arguments(request, FilesArguments)
        run_id, folder = parse_artifact_path(check_text("path", asked.path))
        run = await self._run(request, run_id)
        content: FilesJSON = {
            "files": [_file(entry, "") for entry in folder_entries(run.artifacts, folder or "")]
        }
        return json_response(content)

    async def content(self, request: Request, path: str) -> Response:
        """Give an MLflow client the bytes of an artifact, of its newest version."""
        run_id, name = parse_artifact_path(path)
        if name is None:
            raise ValidationError(
                f"{shown(path)} names no artifact; put its name behind the run's artifact_uri",
                field="path",
                value=path,
            )
        check_lookup_name("artifact name", name)
        account = caller_of(request).account
        artifact = await get_artifact(self._service.pool, account, UUID(run_id), name)
        return await artifact_response(self._service.store, artifact)

    async def logged_models(self, request: Request) -> Response:
        """Tell an MLflow client that there are no logged models; it asks beside artifacts."""
        await read_arguments(request, MlflowArguments)
        return json_response(ModelsJSON(models=[]))

    async def server_info(self) -> Response:
        """Tell an MLflow client what this server has of what only some servers have."""
        content: ServerInfoJSON = {
            "workspaces_enabled": False,
            "multipart_uploads_enabled": False,
            "multipart_downloads_enabled": False,
            "trace_archival_enabled": False,
        }
        return json_response(content)

    async def _run(self, request: Request, run_id: str) -> RunView:
        return await run_of(self._service, caller_of(request).account, UUID(run_id))


def _points(page: SeriesPage) -> list[MetricJSON]:
    columns = zip(page.steps.tolist(), page.times.tolist(), page.values.tolist(), strict=True)
    return [
        {
            "key": page.name,
            "value": number_json(value),
            "timestamp": at_us // 1000,
            # MLflow has no point without a step; what is logged without one has 0.
            "step": max(step, 0),
        }
        for step, at_us, value in columns
    ]


def _file(entry: Entry, before: str) -> FileJSON:
    content: FileJSON = {"path": f"{before}{entry.name}", "is_dir": entry.is_folder}
    if entry.size is not None:
        content["file_size"] = entry.size
    return content
