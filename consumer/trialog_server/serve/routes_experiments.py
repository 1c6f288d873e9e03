"""Routes about experiments and the pages of their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from trialog_server.read.experiments import get_experiment, list_experiments
from trialog_server.read.list_runs import get_run_by_name, list_runs
from trialog_server.read.search_runs import RunSearch, search_runs
from trialog_server.serve.access import caller_of
from trialog_server.serve.as_of import ByName, asking
from trialog_server.serve.questions import (
    AsOf,
    ListQuery,
    SearchBody,
    check_lookup_name,
    checked_router,
    read_json_body,
)
from trialog_server.serve.shapes import (
    ExperimentJSON,
    ExperimentPageJSON,
    RunJSON,
    RunPageJSON,
    experiment_json,
    run_json,
)

if TYPE_CHECKING:
    from fastapi import APIRouter

    from trialog_server.read.runs import RunPage
    from trialog_server.serve.as_of import Asked
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
        router = checked_router("experiments", "/api/v1/experiments")
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
        async with asking(self._service, request, query.as_of) as asked:
            page = await list_experiments(asked.tables, caller_of(request).account, query.page())
        content: ExperimentPageJSON = {
            "experiments": [experiment_json(experiment) for experiment in page.experiments],
            "next_token": page.next_token,
            "total": page.total,
        }
        return asked.answer(content)

    async def get_one(self, request: Request, name: str, as_of: AsOf = None) -> Response:
        """Show one experiment."""
        check_lookup_name("experiment_name", name)
        async with asking(self._service, request, as_of) as asked:
            found = await get_experiment(asked.tables, caller_of(request).account, name)
        return asked.answer(experiment_json(found))

    async def runs(
        self, request: Request, name: str, query: Annotated[ListQuery, Query()]
    ) -> Response:
        """List a page of an experiment's runs with parameters, metric summaries and artifacts."""
        check_lookup_name("experiment_name", name)
        async with asking(self._service, request, query.as_of, ByName(name)) as asked:
            page = await list_runs(asked.tables, caller_of(request).account, name, query.page())
        return _page_response(page, asked)

    async def run(self, request: Request, name: str, run_name: str, as_of: AsOf = None) -> Response:
        """Show one run by its name; of several with one name, the newest."""
        check_lookup_name("experiment_name", name)
        check_lookup_name("run_name", run_name)
        async with asking(self._service, request, as_of, ByName(name, run_name)) as asked:
            account = caller_of(request).account
            found = await get_run_by_name(asked.tables, account, name, run_name)
        return asked.answer(run_json(found, asked.quiet_since))

    async def search(self, request: Request, name: str, as_of: AsOf = None) -> Response:
        """Find the runs that meet a filter, in an order; missing values come last."""
        body = await read_json_body(request, SearchBody)
        check_lookup_name("experiment_name", name)
        search = RunSearch(body.filter, body.order_by, body.max_results, body.next_token)
        async with asking(self._service, request, as_of, ByName(name)) as asked:
            page = await search_runs(asked.tables, caller_of(request).account, name, search)
        return _page_response(page, asked)


def _page_response(page: RunPage, asked: Asked) -> Response:
    content: RunPageJSON = {
        "runs": [run_json(run, asked.quiet_since) for run in page.runs],
        "next_token": page.next_token,
        "total": page.total,
    }
    return asked.answer(content)
