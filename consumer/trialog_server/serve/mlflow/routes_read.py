"""What MLflow clients read: experiments and runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from trialog_schemas.errors import ResourceNotFoundError, shown
from trialog_schemas.events import NIL_ID
from trialog_server.mlflow_names import (
    DEFAULT_EXPERIMENT,
    DEFAULT_EXPERIMENT_ID,
    native_experiment_name,
)
from trialog_server.read.experiments import (
    ExperimentView,
    experiment_not_found,
    find_experiment,
)
from trialog_server.read.list_runs import find_run, run_not_found
from trialog_server.serve.access import caller_of
from trialog_server.serve.described_routes import described_router
from trialog_server.serve.mlflow.dataset_inputs import INPUTS_ARTIFACT, datasets_of
from trialog_server.serve.mlflow.questions import (
    MlflowArguments,
    RunArguments,
    check_text,
    described,
    experiment_number_of,
    read_arguments,
)
from trialog_server.serve.mlflow.shapes import (
    EPOCH,
    DatasetInputJSON,
    ExperimentAnswerJSON,
    RunAnswerJSON,
    experiment_json,
    run_json,
)
from trialog_server.serve.shapes import json_response

if TYPE_CHECKING:
    from uuid import UUID

    from fastapi import APIRouter

    from trialog_server.read.runs import RunView
    from trialog_server.serve.service import Service


class ExperimentIdArguments(MlflowArguments):
    """Which experiment, by its id, which is its number."""

    experiment_id: str | None = None


class ExperimentNameArguments(MlflowArguments):
    """Which experiment, by its name."""

    experiment_name: str | None = None


class MlflowReadRoutes:
    """The routes of one service by which MLflow clients read experiments and runs."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return the routes."""
        router = described_router("mlflow", "/api/2.0/mlflow")
        router.add_api_route(
            "/experiments/get",
            self.experiment,
            methods=["GET"],
            response_model=ExperimentAnswerJSON,
            openapi_extra=described(ExperimentIdArguments, "GET"),
        )
        router.add_api_route(
            "/experiments/get-by-name",
            self.experiment_by_name,
            methods=["GET"],
            response_model=ExperimentAnswerJSON,
            openapi_extra=described(ExperimentNameArguments, "GET"),
        )
        router.add_api_route(
            "/runs/get",
            self.run,
            methods=["GET"],
            response_model=RunAnswerJSON,
            openapi_extra=described(RunArguments, "GET"),
        )
        return router

    async def experiment(self, request: Request) -> Response:
        """Show an MLflow client one experiment by its id, its number; a deleted one as well."""
        asked = await read_arguments(request, ExperimentIdArguments)
        number = experiment_number_of(asked.experiment_id)
        account = caller_of(request).account
        found = await experiment_of(self._service, account, number, with_deleted=True)
        content: ExperimentAnswerJSON = {"experiment": experiment_json(found)}
        return json_response(content)

    async def experiment_by_name(self, request: Request) -> Response:
        """Show an MLflow client one experiment by its name."""
        asked = await read_arguments(request, ExperimentNameArguments)
        name = check_text("experiment_name", asked.experiment_name)
        pool, account = self._service.pool, caller_of(request).account
        found = (
            await _default_of(self._service, account)
            if name == DEFAULT_EXPERIMENT
            else await find_experiment(pool, account, name=native_experiment_name(name))
        )
        if found is None:
            raise await experiment_not_found(pool, account, name)
        content: ExperimentAnswerJSON = {"experiment": experiment_json(found)}
        return json_response(content)

    async def run(self, request: Request) -> Response:
        """Show an MLflow client one run; a deleted one as well."""
        asked = await read_arguments(request, RunArguments)
        run = await run_of(self._service, caller_of(request).account, asked.run())
        content: RunAnswerJSON = {"run": run_json(run)}
        content["run"]["inputs"]["dataset_inputs"] = await self._datasets(run)
        return json_response(content)

    async def _datasets(self, run: RunView) -> list[DatasetInputJSON]:
        told = [one for one in run.artifacts if one.name == INPUTS_ARTIFACT and not one.is_output]
        if not told or told[0].sha256 is None:
            return []
        with contextlib.suppress(ResourceNotFoundError):  # its bytes are on their way, or lost
            parts = await self._service.store.get_stream(told[0].sha256)
            return datasets_of(b"".join([part async for part in parts]))
        return []


async def experiment_of(
    service: Service, account: str, number: int, *, with_deleted: bool = False
) -> ExperimentView:
    """Return the experiment that has that number for MLflow's clients; a live one, if not told so.

    Raises:
        ResourceNotFoundError: there is none.
    """
    if str(number) == DEFAULT_EXPERIMENT_ID:
        return await _default_of(service, account)
    found = await find_experiment(service.pool, account, number=number, with_deleted=with_deleted)
    if found is None:
        raise ResourceNotFoundError(
            f"experiment {shown(str(number))} does not exist or was deleted; search the "
            "experiments to see which there are",
            field="experiment_id",
            value=str(number),
        )
    return found


async def _default_of(service: Service, account: str) -> ExperimentView:
    """Return the experiment of runs that name none.

    Its first run creates it; to MLflow's clients it is there from the start, by id and by name.
    """
    found = await find_experiment(service.pool, account, name=DEFAULT_EXPERIMENT)
    return found or ExperimentView(
        experiment_id=NIL_ID,
        account=account,
        number=int(DEFAULT_EXPERIMENT_ID),
        name=DEFAULT_EXPERIMENT,
        description=None,
        tags={},
        created_at=EPOCH,
        created_by={},
        modified_at=EPOCH,
        modified_by={},
        run_count=0,
    )


async def run_of(service: Service, account: str, run_id: UUID) -> RunView:
    """Return the run of that id, deleted or not.

    Raises:
        ResourceNotFoundError: there is none.
    """
    run = await find_run(service.pool, account, run_id, with_deleted=True)
    if run is None:
        raise run_not_found(run_id)
    return run
