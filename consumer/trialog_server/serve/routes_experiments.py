"""Routes about experiments and the pages of their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from trialog_server.read.experiments import get_experiment, list_experiments
from trialog_server.read.list_runs import get_run_by_name, list_runs
from trialog_server.read.search_runs import RunSearch, search_runs
from trialog_server.serve.access import caller_of
from trialog_server.serve.questions import (
    ListQuery,
    SearchBody,
    check_lookup_name,
    quiet_since,
    read_json_body,
    wait_for_positions,
)
from trialog_server.serve.shapes import (
    ExperimentJSON,
    ExperimentPageJSON,
    RunJSON,
    RunPageJSON,
    experiment_json,
    json_response,
    run_json,
)

if TYPE_CHECKING:
    from datetime import datetime

    from trialog_server.read.runs import RunPage
    from trialog_server.serve.service import Service

_SEARCH_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": SearchBody.model_json_schema(),
                "example": {
                    "filter": "params.lr > 0.1 and metrics.loss.min < 0.5",
                    "order_by": "metrics.accuracy DESC",
                },
            }
        }
    }
}


class ExperimentRoutes:
    """The routes under `/api/v1/experiments` of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/v1/experiments", tags=["experiments"])
        get = ["GET"]
        router.add_api_route("", self.list_all, methods=get, response_model=ExperimentPageJSON)
        router.add_api_route("/{name}", self.get_one, methods=get, response_model=ExperimentJSON)
        router.add_api_route("/{name}/runs", self.runs, methods=get, response_model=RunPageJSON)
        router.add_api_route(
            "/{name}/runs/{run_name}", self.run, methods=get, response_model=RunJSON
        )
        router.add_api_route(
            "/{name}/runs/search",
            self.search,
            methods=["POST"],
            response_model=RunPageJSON,
            openapi_extra=_SEARCH_BODY,
        )
        return router

    async def list_all(self, request: Request, query: Annotated[ListQuery, Query()]) -> Response:
        """List a page of the experiments."""
        await wait_for_positions(self._service, request)
        page = await list_experiments(self._service.pool, caller_of(request).account, query.page())
        content: ExperimentPageJSON = {
            "experiments": [experiment_json(experiment) for experiment in page.experiments],
            "next_token": page.next_token,
            "total": page.total,
        }
        return json_response(content)

    async def get_one(self, request: Request, name: str) -> Response:
        """Show one experiment."""
        await wait_for_positions(self._service, request)
        check_lookup_name("experiment_name", name)
        account = caller_of(request).account
        return json_response(
            experiment_json(await get_experiment(self._service.pool, account, name))
        )

    async def runs(
        self, request: Request, name: str, query: Annotated[ListQuery, Query()]
    ) -> Response:
        """List a page of an experiment's runs with parameters, metric summaries and artifacts."""
        await wait_for_positions(self._service, request)
        check_lookup_name("experiment_name", name)
        account = caller_of(request).account
        page = await list_runs(self._service.pool, account, name, query.page())
        return _page_response(page, quiet_since(self._service))

    async def run(self, request: Request, name: str, run_name: str) -> Response:
        """Show one run by its name; of several with one name, the newest."""
        await wait_for_positions(self._service, request)
        check_lookup_name("experiment_name", name)
        check_lookup_name("run_name", run_name)
        account = caller_of(request).account
        return json_response(
            run_json(
                await get_run_by_name(self._service.pool, account, name, run_name),
                quiet_since(self._service),
            )
        )

    async def search(self, request: Request, name: str) -> Response:
        """Find the runs that meet a filter, in an order; missing values come last."""
        body = await read_json_body(request, SearchBody)
        await wait_for_positions(self._service, request)
        check_lookup_name("experiment_name", name)
        search = RunSearch(body.filter, body.order_by, body.max_results, body.next_token)
        account = caller_of(request).account
        page = await search_runs(self._service.pool, account, name, search)
        return _page_response(page, quiet_since(self._service))


def _page_response(page: RunPage, quiet_since: datetime) -> Response:
    content: RunPageJSON = {
        "runs": [run_json(run, quiet_since) for run in page.runs],
        "next_token": page.next_token,
        "total": page.total,
    }
    return json_response(content)
