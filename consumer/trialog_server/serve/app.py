"""Builds the application from its dependencies; the order of the layers is the order of trust.

A request passes telemetry, the access gate and the body's bounds before a route sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from trialog_server.ingest.gateway import Gateway
from trialog_server.ingest.run_streams import RunStreams
from trialog_server.project.snapshots import Snapshots
from trialog_server.read.log_ends import LogEnds
from trialog_server.read.wait_applied import AppliedPositions
from trialog_server.serve.access import AccessGate
from trialog_server.serve.answer_at_stop import AnswerAtStop
from trialog_server.serve.bounds import BoundedBody
from trialog_server.serve.described_routes import DescribedApp
from trialog_server.serve.errors import OPENAPI_PATH, add_error_handlers
from trialog_server.serve.mlflow.routes_log import MlflowLogRoutes
from trialog_server.serve.mlflow.routes_read import MlflowReadRoutes
from trialog_server.serve.mlflow.routes_search import MlflowSearchRoutes
from trialog_server.serve.mlflow.routes_stored import MlflowStoredRoutes
from trialog_server.serve.mlflow.routes_upload import MlflowUploadRoutes
from trialog_server.serve.mlflow.routes_write import MlflowWriteRoutes
from trialog_server.serve.page_files import page_routes
from trialog_server.serve.routes_durability import DurabilityRoutes
from trialog_server.serve.routes_experiments import ExperimentRoutes
from trialog_server.serve.routes_ingest import IngestRoutes
from trialog_server.serve.routes_runs import RunRoutes
from trialog_server.serve.routes_service import ServiceRoutes, service_version
from trialog_server.serve.service import Service
from trialog_server.serve.telemetry import RequestTelemetry, Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastapi import FastAPI
    from starlette.applications import Starlette

    from trialog_server.artifacts import ArtifactStore
    from trialog_server.log.base import Log
    from trialog_server.postgres.pool import Pool
    from trialog_server.serve.access import AccessPolicy
    from trialog_server.serve.service import Terms


def build_app(
    *, pool: Pool, dsn: str, log: Log, store: ArtifactStore, access: AccessPolicy, terms: Terms
) -> Starlette:
    """Return the application; its lifespan keeps the listening for applied positions going.

    Pool, log and store belong to the caller, who closes them after the application has ended. `dsn`
    is the address of the same database, for tables beside the live ones.
    """
    telemetry = Telemetry()
    service = Service(
        pool=pool,
        log=log,
        log_ends=LogEnds(log),
        gateway=Gateway(log),
        streams=RunStreams(log, f"mlflow@{socket.gethostname()}", on_append=telemetry.count_made),
        store=store,
        terms=terms,
        applied=AppliedPositions(pool),
        snapshots=Snapshots(pool, dsn, log),
        telemetry=telemetry,
    )
    app = DescribedApp(
        title="trialog",
        version=service_version(),
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan_of(service),
    )
    ingest = IngestRoutes(service)
    app.router.routes.append(ingest.hot_route())
    for routes in (
        ingest,
        ExperimentRoutes(service),
        RunRoutes(service),
        DurabilityRoutes(service),
        ServiceRoutes(service),
    ):
        app.router.routes.extend(routes.router().routes)
    # MLflow clients of another version may send more fields than are known here.
    for mlflow_routes in (
        MlflowReadRoutes(service),
        MlflowSearchRoutes(service),
        MlflowStoredRoutes(service),
        MlflowWriteRoutes(service),
        MlflowLogRoutes(service),
        MlflowUploadRoutes(service),
    ):
        app.router.routes.extend(mlflow_routes.router().routes)
    app.router.routes.extend(page_routes())
    add_error_handlers(app)
    # The last one added is the first to see a request.
    app.add_middleware(AnswerAtStop)
    app.add_middleware(BoundedBody, artifact_bytes_max=terms.artifact_bytes_max)
    app.add_middleware(AccessGate, policy=access)
    app.add_middleware(RequestTelemetry, telemetry=service.telemetry)
    return app


def _lifespan_of(
    service: Service,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(service.applied.run(), name="applied positions"),
            asyncio.create_task(service.snapshots.keep_tidy(), name="old snapshots"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    return lifespan
