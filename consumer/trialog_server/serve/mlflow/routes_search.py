"""What MLflow clients search: runs of several experiments, and experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from trialog_server.read.search_mlflow import (
    MlflowSearch,
    View,
    search_mlflow_experiments,
    search_mlflow_runs,
)
from trialog_server.serve.access import caller_of
from trialog_server.serve.described_routes import described_router
from trialog_server.serve.mlflow.questions import (
    Int64,
    MlflowArguments,
    described,
    experiment_number_of,
    read_arguments,
)
from trialog_server.serve.mlflow.shapes import (
    MlflowExperimentPageJSON,
    MlflowRunPageJSON,
    experiment_json,
    run_json,
)
from trialog_server.serve.shapes import json_response

if TYPE_CHECKING:
    from fastapi import APIRouter

    from trialog_server.serve.service import Service

RESULTS = 1_000
"""Things of a page for a client that does not say how many, as with MLflow's own server."""

_VIEWS: dict[str, View] = {"ACTIVE_ONLY": "active", "DELETED_ONLY": "deleted", "ALL": "all"}


def _view(value: object) -> object:
    """Read the name of a view, or its number, as protobuf's JSON may have it."""
    if value is None:
        return "active"
    numbered = dict(zip("123", _VIEWS, strict=True))
    name = str(value)
    view = _VIEWS.get(numbered.get(name, name))
    if view is None or isinstance(value, bool):
        raise ValueError(f"a view is one of {', '.join(_VIEWS)}")
    return view


_View: TypeAlias = Annotated[View, BeforeValidator(_view)]


class SearchArguments(MlflowArguments):
    """What is searched; the grammar of filter and order is in `read/mlflow_filter.py`."""

    filter: str | None = None
    order_by: list[str] | None = None
    max_results: Int64 | None = None
    page_token: str | None = None

    def search(self, view: View) -> MlflowSearch:
        """Return the search as `read` takes it."""
        return MlflowSearch(
            filter=self.filter,
            orders=tuple(self.order_by or ()),
            view=view,
            max_results=RESULTS if self.max_results is None else self.max_results,
            page_token=self.page_token or None,
        )


class SearchRunsArguments(SearchArguments):
    """Which runs are searched."""

    experiment_ids: list[str] | None = None
    run_view_type: _View = Field("active", json_schema_extra={"enum": [*_VIEWS]})


class SearchExperimentsArguments(SearchArguments):
    """Which experiments are searched."""

    view_type: _View = Field("active", json_schema_extra={"enum": [*_VIEWS]})


class MlflowSearchRoutes:
    """The routes of one service by which MLflow clients search."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = described_router("mlflow", "/api/2.0/mlflow")
        router.add_api_route(
            "/runs/search",
            self.runs,
            methods=["POST"],
            response_model=MlflowRunPageJSON,
            openapi_extra=described(SearchRunsArguments, "POST"),
        )
        for method in ("GET", "POST"):
            router.add_api_route(
                "/experiments/search",
                self.experiments,
                methods=[method],
                response_model=MlflowExperimentPageJSON,
                openapi_extra=described(SearchExperimentsArguments, method),
                operation_id=f"mlflow_search_experiments_{method.lower()}",
            )
        return router

    async def runs(self, request: Request) -> Response:
        """Find for an MLflow client the runs that meet a filter, in an order; newest first."""
        asked = await read_arguments(request, SearchRunsArguments)
        page = await search_mlflow_runs(
            self._service.pool,
            caller_of(request).account,
            [experiment_number_of(one) for one in asked.experiment_ids or ()],
            asked.search(asked.run_view_type),
        )
        content: MlflowRunPageJSON = {"runs": [run_json(run) for run in page.runs]}
        if page.next_token is not None:
            content["next_page_token"] = page.next_token
        return json_response(content)

    async def experiments(self, request: Request) -> Response:
        """Find for an MLflow client the experiments that meet a filter, in an order."""
        asked = await read_arguments(request, SearchExperimentsArguments)
        page = await search_mlflow_experiments(
            self._service.pool, caller_of(request).account, asked.search(asked.view_type)
        )
        content: MlflowExperimentPageJSON = {
            "experiments": [experiment_json(experiment) for experiment in page.experiments]
        }
        if page.next_token is not None:
            content["next_page_token"] = page.next_token
        return json_response(content)
