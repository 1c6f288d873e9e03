"""Routes about the service itself: health, telemetry, the policy, waiting for the projection."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_schemas.events import NIL_ID
from trialog_schemas.rules import RULES_VERSION
from trialog_schemas.versions import THIS_RELEASE
from trialog_schemas.wire import SHORT_NAME_BY_TOPIC
from trialog_server.log.base import topic_partitions
from trialog_server.read.ask import ask
from trialog_server.read.durability import writer_progress
from trialog_server.read.list_rejections import writer_rejections
from trialog_server.serve.access import caller_of
from trialog_server.serve.bounds import POLICY_PATH
from trialog_server.serve.durability_shapes import AppliedJSON, progress_json
from trialog_server.serve.questions import WaitS, checked_router, parse_positions
from trialog_server.serve.shapes import (
    PolicyJSON,
    json_response,
    rejection_json,
)

if TYPE_CHECKING:
    from fastapi import APIRouter

    from trialog_server.serve.service import Service

_Id = Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}$")]


class ServiceRoutes:
    """The routes about one service itself."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = checked_router("service")
        get = ["GET"]
        router.add_api_route("/healthz", self.is_alive, methods=get, response_model=None)
        router.add_api_route("/readyz", self.is_ready, methods=get, response_model=None)
        router.add_api_route("/metrics", self.measurements, methods=get, response_model=None)
        router.add_api_route(POLICY_PATH, self.policy, methods=get, response_model=PolicyJSON)
        router.add_api_route(
            "/api/v1/applied", self.applied, methods=get, response_model=AppliedJSON
        )
        return router

    async def is_alive(self) -> Response:
        """Tell that the process lives and its loop turns."""
        return json_response({"status": "alive"})

    async def is_ready(self) -> Response:
        """Tell whether questions can be answered: Postgres is there and migrated."""
        rows = await ask(self._service.pool, "is_ready")
        if not rows or not rows[0]["has_tables"]:
            raise UnavailableError("the database has no live tables yet; migrations have to run")
        return json_response({"status": "ready", "generation": rows[0]["generation"]})

    async def measurements(self) -> Response:
        """Give the service's telemetry to Prometheus."""
        telemetry = self._service.telemetry
        try:
            await self._measure_lag()
            listed = await ask(self._service.pool, "count_dead", THIS_RELEASE.reasons())
            telemetry.unapplied_records.set(sum(row["records"] for row in listed))
        except UnavailableError:
            # A scrape must still show the rest when the database is away.
            telemetry.is_database_up.set(0)
        else:
            telemetry.is_database_up.set(1)
        return Response(telemetry.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def policy(self) -> Response:
        """Show the limits for new runs."""
        content: PolicyJSON = {
            "limits": self._service.terms.limits.to_json(),
            "version": service_version(),
            "rules_version": RULES_VERSION,
        }
        return json_response(content)

    async def applied(
        self,
        request: Request,
        position: Annotated[list[str], Query()],
        wait_s: WaitS = 0.0,
        writer: _Id = None,
        run: _Id = None,
    ) -> Response:
        """Wait until positions are applied; then tell what of a run's writer was refused."""
        if (writer is None) != (run is None):
            raise ValidationError(
                "writer and run belong together: refusals are asked of one writer in one run",
                field="run" if run is None else "writer",
                limit="both or none",
            )
        is_applied = await self._service.applied.wait(parse_positions(position), wait_s)
        content: AppliedJSON = {"applied": is_applied, "rejections": [], "progress": None}
        if writer is not None and run is not None:
            pool, account = self._service.pool, caller_of(request).account
            rejections = await writer_rejections(pool, [run, NIL_ID], writer)
            (progress,) = await writer_progress(pool, account, [(run, writer)])
            content["rejections"] = [rejection_json(rejection) for rejection in rejections]
            content["progress"] = progress_json(progress)
        return json_response(content)

    async def _measure_lag(self) -> None:
        applied, log = self._service.applied, self._service.log
        await applied.refresh()
        bounds = await log.bounds(topic_partitions(log))
        for (topic, number), (_start, end) in bounds.items():
            lag = end - applied.next_offsets.get((topic, number), 0)
            labels = SHORT_NAME_BY_TOPIC[topic], str(number)
            self._service.telemetry.lag_records.labels(*labels).set(lag)


def service_version() -> str:
    """Return the installed version of trialog."""
    try:
        return version("trialog")
    except PackageNotFoundError:
        return "unknown"
