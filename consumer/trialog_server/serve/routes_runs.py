"""Routes about one run: itself, its series, refusals, events and artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from trialog_server.read.list_artifacts import VERSION_END, get_artifact, list_artifacts
from trialog_server.read.list_children import list_children
from trialog_server.read.list_rejections import list_rejections
from trialog_server.read.list_runs import get_run
from trialog_server.read.metric_series import (
    BUCKETS_MAX,
    SERIES_PAGE_MAX,
    metric_buckets,
    metric_series,
)
from trialog_server.read.pages import TOKEN_CHARS_MAX
from trialog_server.read.run_events import run_events
from trialog_server.serve.access import caller_of
from trialog_server.serve.artifact_response import artifact_response
from trialog_server.serve.as_of import ById, asking
from trialog_server.serve.questions import (
    AsOf,
    PageQuery,
    PastPageQuery,
    RunId,
    check_lookup_name,
    checked_router,
    wait_for_positions,
)
from trialog_server.serve.shapes import (
    ArtifactPageJSON,
    ChildPageJSON,
    EventPageJSON,
    RejectionPageJSON,
    RunJSON,
    SeriesBucketsJSON,
    SeriesJSON,
    artifact_json,
    buckets_json,
    child_json,
    event_json,
    json_response,
    rejection_json,
    run_json,
    series_json,
)

if TYPE_CHECKING:
    from fastapi import APIRouter

    from trialog_server.read.metric_series import SeriesPage
    from trialog_server.serve.service import Service

SERIES_TYPE = "application/x-trialog-series"


class SeriesQuery(BaseModel):
    """Which metric, and how: a page of all points, or reduced to buckets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    buckets: Annotated[int | None, Field(ge=1, le=BUCKETS_MAX)] = None
    max_results: Annotated[int, Field(ge=1, le=SERIES_PAGE_MAX)] = SERIES_PAGE_MAX
    next_token: Annotated[str | None, Field(max_length=TOKEN_CHARS_MAX)] = None
    as_of: AsOf = None


class ArtifactsQuery(PastPageQuery):
    """Which artifacts: a page of all, or of those of one direction."""

    is_output: bool | None = Field(None, description="true: what the run made; false: what it used")


class ContentQuery(BaseModel):
    """Which artifact, and which of its versions; None is the newest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: Annotated[int | None, Field(ge=0, lt=VERSION_END)] = None
    as_of: AsOf = None


class RunRoutes:
    """The routes under `/api/v1/runs` of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = checked_router("runs", "/api/v1/runs/{run_id}")
        get = ["GET"]
        router.add_api_route("", self.get_one, methods=get, response_model=RunJSON)
        router.add_api_route(
            "/series",
            self.series,
            methods=get,
            response_model=SeriesJSON | SeriesBucketsJSON,
            responses={200: {"content": {SERIES_TYPE: {}}}},
        )
        router.add_api_route(
            "/rejections", self.rejections, methods=get, response_model=RejectionPageJSON
        )
        router.add_api_route("/children", self.children, methods=get, response_model=ChildPageJSON)
        router.add_api_route("/events", self.events, methods=get, response_model=EventPageJSON)
        router.add_api_route(
            "/artifacts", self.artifacts, methods=get, response_model=ArtifactPageJSON
        )
        router.add_api_route(
            "/artifacts/content",
            self.artifact_content,
            methods=get,
            response_model=None,
            responses={200: {"content": {"application/octet-stream": {}}}},
        )
        return router

    async def get_one(self, request: Request, run_id: RunId, as_of: AsOf = None) -> Response:
        """Show a run with parameters, metric summaries and artifacts."""
        key = UUID(run_id)
        async with asking(self._service, request, as_of, ById(key)) as asked:
            run = await get_run(asked.tables, caller_of(request).account, key)
        return asked.answer(run_json(run, asked.quiet_since))

    async def series(
        self, request: Request, run_id: RunId, query: Annotated[SeriesQuery, Query()]
    ) -> Response:
        """Give a metric's points in order of step, then arrival: a page of them, or buckets.

        With `Accept: application/x-trialog-series` the columns come packed: steps (int64), times
        (int64 µs) and values (float64), little-endian, one after the other.
        """
        check_lookup_name("name", query.name)
        run = (caller_of(request).account, UUID(run_id))
        async with asking(self._service, request, query.as_of, ById(run[1])) as asked:
            if query.buckets is not None:
                found = await metric_buckets(asked.tables, run, query.name, query.buckets)
                return asked.answer(buckets_json(found))
            page = await metric_series(
                asked.tables,
                run,
                query.name,
                points_max=query.max_results,
                next_token=query.next_token,
            )
        if SERIES_TYPE in request.headers.get("accept", ""):
            return asked.mark(_packed_response(page))
        return asked.answer(series_json(page))

    async def rejections(
        self, request: Request, run_id: RunId, query: Annotated[PastPageQuery, Query()]
    ) -> Response:
        """List a page of what the rules refused of the run, in order of the log."""
        key = UUID(run_id)
        async with asking(self._service, request, query.as_of, ById(key)) as asked:
            page = await list_rejections(
                asked.tables,
                caller_of(request).account,
                key,
                max_results=query.max_results,
                next_token=query.next_token,
            )
        content: RejectionPageJSON = {
            "rejections": [rejection_json(rejection) for rejection in page.rejections],
            "next_token": page.next_token,
        }
        return asked.answer(content)

    async def children(
        self, request: Request, run_id: RunId, query: Annotated[PastPageQuery, Query()]
    ) -> Response:
        """List a page of the runs that were opened inside the run's block, oldest first."""
        about = ById(UUID(run_id), is_about_children=True)
        async with asking(self._service, request, query.as_of, about) as asked:
            page = await list_children(
                asked.tables,
                caller_of(request).account,
                about.run_id,
                max_results=query.max_results,
                next_token=query.next_token,
            )
        content: ChildPageJSON = {
            "children": [child_json(child, asked.quiet_since) for child in page.children],
            "next_token": page.next_token,
        }
        return asked.answer(content)

    async def events(
        self, request: Request, run_id: RunId, query: Annotated[PageQuery, Query()]
    ) -> Response:
        """List the run's events as the log has them, accepted and refused: its audit view.

        A page holds the events of at most `max_results` records, of fewer where they are large.
        """
        await wait_for_positions(self._service, request)
        page = await run_events(
            self._service.pool,
            self._service.log,
            (caller_of(request).account, UUID(run_id)),
            records_max=query.max_results,
            next_token=query.next_token,
        )
        content: EventPageJSON = {
            "events": [event_json(event) for event in page.events],
            "next_token": page.next_token,
        }
        return json_response(content)

    async def artifacts(
        self, request: Request, run_id: RunId, query: Annotated[ArtifactsQuery, Query()]
    ) -> Response:
        """List a page of every version of every artifact, the newest first within a name."""
        key = UUID(run_id)
        async with asking(self._service, request, query.as_of, ById(key)) as asked:
            page = await list_artifacts(
                asked.tables,
                caller_of(request).account,
                key,
                max_results=query.max_results,
                next_token=query.next_token,
                is_output=query.is_output,
            )
        content: ArtifactPageJSON = {
            "artifacts": [artifact_json(artifact) for artifact in page.artifacts],
            "next_token": page.next_token,
        }
        return asked.answer(content)

    async def artifact_content(
        self,
        request: Request,
        run_id: RunId,
        query: Annotated[ContentQuery, Query()],
    ) -> Response:
        """Give the bytes of an artifact, of the newest version unless another one is asked for."""
        name, key = check_lookup_name("name", query.name), UUID(run_id)
        async with asking(self._service, request, query.as_of, ById(key)) as asked:
            artifact = await get_artifact(
                asked.tables, caller_of(request).account, key, name, query.version
            )
        return asked.mark(await artifact_response(self._service.store, artifact))


def _packed_response(page: SeriesPage) -> Response:
    headers = {"Trialog-Points": str(page.points)}
    if page.next_token is not None:
        headers["Trialog-Next-Token"] = page.next_token
    return Response(page.packed(), headers=headers, media_type=SERIES_TYPE)
