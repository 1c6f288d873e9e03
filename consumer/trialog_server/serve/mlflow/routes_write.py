"""What MLflow clients create, change and delete: experiments and runs."""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal, NoReturn

from starlette.requests import Request
from starlette.responses import Response

# pydantic reads these classes for the OpenAPI document; before 3.12 it needs this TypedDict.
from typing_extensions import TypedDict

from trialog.ids import now_us
from trialog.run import new_run_name
from trialog_schemas.errors import (
    LimitExceededError,
    ResourceInUseError,
    UnavailableError,
    ValidationError,
    shown,
)
from trialog_schemas.events import (
    ExperimentCreated,
    ExperimentDeleted,
    RunCreated,
    RunDeleted,
    RunEnded,
    RunResumed,
)
from trialog_schemas.limits import TAG_VALUE_CHARS_MAX
from trialog_schemas.names import check_callers_tags
from trialog_server.mlflow_names import (
    DEFAULT_EXPERIMENT,
    DEFAULT_EXPERIMENT_ID,
    EXPERIMENT_NAME_TAG,
    KILLED,
    PARENT_RUN_TAG,
    RUN_NAME_TAG,
    mlflow_experiment_id,
    native_experiment_name,
    native_run_name,
)
from trialog_server.read.experiments import find_experiment
from trialog_server.serve.access import caller_of
from trialog_server.serve.described_routes import described_router
from trialog_server.serve.mlflow.log_arguments import PairArguments, checked_pair, time_us
from trialog_server.serve.mlflow.questions import (
    Int64,
    MlflowArguments,
    RunArguments,
    check_storable,
    described,
    experiment_number_of,
    read_arguments,
)
from trialog_server.serve.mlflow.routes_read import ExperimentIdArguments, experiment_of, run_of
from trialog_server.serve.mlflow.shapes import (
    RunAnswerJSON,
    RunInfoJSON,
    run_info_json,
    run_json,
)
from trialog_server.serve.mlflow.writes import Logged, NothingJSON, RunWrites
from trialog_server.serve.shapes import json_response

if TYPE_CHECKING:
    from fastapi import APIRouter

    from trialog_schemas.events import RunBody
    from trialog_server.read.run_to_write import RunToWrite
    from trialog_server.serve.service import Service

USER_CHARS_MAX = 256
"""Characters of `user_id` that are kept as who created a run."""

UNANSWERED_MAX = 1000
"""Runs whose creating got no answer, and which the same request gets when it comes again."""


class CreateExperimentArguments(MlflowArguments):
    """A new experiment."""

    name: str | None = None
    artifact_location: str | None = None
    tags: list[PairArguments] | None = None


class CreateRunArguments(MlflowArguments):
    """A new run."""

    experiment_id: str | None = None
    user_id: str | None = None
    run_name: str | None = None
    start_time: Int64 | None = None
    tags: list[PairArguments] | None = None


class UpdateRunArguments(RunArguments):
    """What of a run is another now."""

    status: Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"] | None = None
    end_time: Int64 | None = None
    run_name: str | None = None


class CreatedExperimentJSON(TypedDict):
    """The id of a new experiment."""

    experiment_id: str


class UpdatedRunJSON(TypedDict):
    """A run as it is after the update."""

    run_info: RunInfoJSON


class MlflowWriteRoutes:
    """The routes of one service by which MLflow clients create, change and delete."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._unanswered: OrderedDict[bytes, list[str]] = OrderedDict()

    def router(self) -> APIRouter:
        """Return the routes."""
        router = described_router("mlflow", "/api/2.0/mlflow")
        for path, answer, model, response in (
            (
                "/experiments/create",
                self.create_experiment,
                CreateExperimentArguments,
                CreatedExperimentJSON,
            ),
            ("/experiments/delete", self.delete_experiment, ExperimentIdArguments, NothingJSON),
            ("/experiments/restore", self.restore, ExperimentIdArguments, NothingJSON),
            ("/experiments/update", self.rename_experiment, ExperimentIdArguments, NothingJSON),
            (
                "/experiments/set-experiment-tag",
                self.set_experiment_tag,
                ExperimentIdArguments,
                NothingJSON,
            ),
            ("/runs/create", self.create_run, CreateRunArguments, RunAnswerJSON),
            ("/runs/update", self.update_run, UpdateRunArguments, UpdatedRunJSON),
            ("/runs/delete", self.delete_run, RunArguments, NothingJSON),
            ("/runs/restore", self.restore, RunArguments, NothingJSON),
        ):
            router.add_api_route(
                path,
                answer,
                methods=["POST"],
                response_model=response,
                openapi_extra=described(model, "POST"),
            )
        return router

    async def create_experiment(self, request: Request) -> Response:
        """Create an experiment for an MLflow client."""
        told = await read_arguments(request, CreateExperimentArguments)
        name = _experiment_name(told.name)
        if told.artifact_location:
            raise ValidationError(
                f"artifact_location {shown(told.artifact_location)} is refused: this service keeps "
                "the artifacts of its runs; leave it out",
                field="artifact_location",
                value=told.artifact_location,
                limit="none",
            )
        tags = check_callers_tags(dict(map(checked_pair, told.tags or [])))
        native = native_experiment_name(name)
        if native != name:
            tags[EXPERIMENT_NAME_TAG] = name
        limits, experiment_id = self._service.terms.limits, uuid.uuid4().hex
        created = ExperimentCreated(
            experiment_id, native, None, tags, experiments_max=limits.experiments_max
        )
        try:
            await self._writes(request).command(_user_of(request, None), created)
        except ResourceInUseError as exc:
            raise ResourceInUseError(
                f"experiment {shown(name)} exists already; get it by its name, or choose another",
                field="name",
                value=name,
            ) from exc
        account = caller_of(request).account
        found = await find_experiment(self._service.pool, account, experiment_id=experiment_id)
        if found is None:  # somebody deleted it in the meantime
            raise UnavailableError(f"experiment {shown(name)} is gone again; create it once more")
        content: CreatedExperimentJSON = {
            "experiment_id": mlflow_experiment_id(found.name, found.number)
        }
        return json_response(content)

    async def delete_experiment(self, request: Request) -> Response:
        """Delete an experiment without runs for an MLflow client."""
        told = await read_arguments(request, ExperimentIdArguments)
        account = caller_of(request).account
        number = experiment_number_of(told.experiment_id)
        experiment = await experiment_of(self._service, account, number)
        deleted = ExperimentDeleted(experiment.experiment_id)
        try:
            await self._writes(request).command(_user_of(request, None), deleted)
        except ResourceInUseError as exc:
            raise ValidationError(exc.message, field="experiment_id", limit="no runs") from exc
        return _nothing()

    async def rename_experiment(self, request: Request) -> Response:
        """Refuse an MLflow client that would rename an experiment."""
        await read_arguments(request, ExperimentIdArguments)
        _refuse("an experiment keeps its name; create another one")

    async def set_experiment_tag(self, request: Request) -> Response:
        """Refuse an MLflow client that would change an experiment's tags."""
        await read_arguments(request, ExperimentIdArguments)
        _refuse("an experiment has the tags that it was created with; set them with create")

    async def restore(self, request: Request) -> Response:
        """Refuse an MLflow client that would restore what was deleted."""
        await read_arguments(request, MlflowArguments)
        _refuse("what was deleted stays deleted, its events are in the log; create it anew")

    async def create_run(self, request: Request) -> Response:
        """Create a run for an MLflow client; its name may be in use already."""
        told = await read_arguments(request, CreateRunArguments)
        account = caller_of(request).account
        experiment_name = await self._experiment_name(account, told.experiment_id)
        started_at_us = now_us()
        if told.start_time is not None:
            started_at_us = time_us("start_time", told.start_time)
        tags = dict(map(checked_pair, told.tags or []))
        name = check_storable("run_name", told.run_name or tags.get(RUN_NAME_TAG) or new_run_name())
        tags[RUN_NAME_TAG] = name
        asked = hashlib.sha256(account.encode() + b"\n" + await request.body()).digest()
        created = RunCreated(
            self._run_id_for(asked),
            experiment_name,
            native_run_name(name),
            uuid.uuid4().hex,
            "share",
            tags,
            _parent_of(tags),
            self._service.terms.limits.experiments_max,
        )
        try:
            user = _user_of(request, told.user_id)
            await self._writes(request).create(user, created, started_at_us)
        except UnavailableError:
            self._keep_unanswered(asked, created.run_id)
            raise
        run = await run_of(self._service, account, uuid.UUID(created.run_id))
        content: RunAnswerJSON = {"run": run_json(run)}
        return json_response(content)

    async def update_run(self, request: Request) -> Response:
        """Change a run's status, end time or name for an MLflow client."""
        told = await read_arguments(request, UpdateRunArguments)
        writes, run_id = self._writes(request), told.run()
        run = await writes.find(run_id)
        ending = _status_event(run, told)
        if told.run_name:
            name = check_storable("run_name", told.run_name)
            await writes.log(run_id, Logged(tags={RUN_NAME_TAG: name}))
        if ending is not None:
            await writes.record(run_id, [ending])
        shown_run = await run_of(self._service, caller_of(request).account, run_id)
        content: UpdatedRunJSON = {"run_info": run_info_json(shown_run)}
        return json_response(content)

    async def delete_run(self, request: Request) -> Response:
        """Delete a run for an MLflow client; its events stay in the log."""
        told = await read_arguments(request, RunArguments)
        writes, run_id = self._writes(request), told.run()
        await writes.find(run_id)
        await writes.command(_user_of(request, None), RunDeleted(run_id.hex), run_id.hex)
        return _nothing()

    def _writes(self, request: Request) -> RunWrites:
        return RunWrites(self._service, caller_of(request).account)

    async def _experiment_name(self, account: str, told: str | None) -> str:
        """Return the name of a run's experiment; that of clients that name none need not exist."""
        if (told or DEFAULT_EXPERIMENT_ID) == DEFAULT_EXPERIMENT_ID:
            return DEFAULT_EXPERIMENT
        number = experiment_number_of(told)
        return (await experiment_of(self._service, account, number)).name

    def _run_id_for(self, asked: bytes) -> str:
        """Return the id of a new run: of one whose creating was not answered, if it is asked again.

        Two clients may ask in the same words; each of them that comes again gets one of the runs.
        """
        waiting = self._unanswered.pop(asked, [])
        if not waiting:
            return uuid.uuid4().hex
        run_id = waiting.pop()
        if waiting:
            self._unanswered[asked] = waiting
        return run_id

    def _keep_unanswered(self, asked: bytes, run_id: str) -> None:
        self._unanswered.setdefault(asked, []).append(run_id)
        while len(self._unanswered) > UNANSWERED_MAX:
            self._unanswered.popitem(last=False)


def _experiment_name(told: str | None) -> str:
    name = check_storable("name", told or "")
    if not name.strip():
        raise ValidationError("name is missing; give the experiment's", field="name", value=name)
    if len(name) > TAG_VALUE_CHARS_MAX:
        raise LimitExceededError(
            f"an experiment's name of {len(name)} characters is refused, allowed are "
            f"{TAG_VALUE_CHARS_MAX}; shorten it",
            field="name",
            value=name,
            limit=TAG_VALUE_CHARS_MAX,
        )
    return name


def _user_of(request: Request, user_id: str | None) -> str:
    """Return who acts: whom the client names, at the address that it comes from."""
    user = user_id if user_id and user_id.isprintable() else "mlflow"
    host = "" if request.client is None else request.client.host
    return f"{user[:USER_CHARS_MAX]}@{host}"


def _parent_of(tags: dict[str, str]) -> str | None:
    """Return whose child a new run is, if the client names a run's id."""
    told = tags.get(PARENT_RUN_TAG, "")
    try:
        parent = uuid.UUID(hex=told).hex
    except ValueError:
        return None
    return parent if parent == told else None


def _status_event(run: RunToWrite, told: UpdateRunArguments) -> tuple[int, RunBody] | None:
    """Return the event by which a run becomes what a client says, or None if it is that already.

    An end time is kept of a run that has ended. A run that is scheduled is one in progress here.

    Raises:
        ValidationError: the end time is none.
    """
    at_us = now_us() if told.end_time is None else time_us("end_time", told.end_time)
    is_over = run.status in ("Completed", "Failed")
    if told.status in ("RUNNING", "SCHEDULED"):
        return (now_us(), RunResumed()) if is_over else None
    if told.status == "FINISHED" or (
        told.status is None and told.end_time is not None and run.status == "Completed"
    ):
        return at_us, RunEnded("Completed")
    if told.status in ("FAILED", "KILLED"):
        message = KILLED if told.status == KILLED else None
        return at_us, RunEnded("Failed", message)
    if told.end_time is not None and is_over:
        return at_us, RunEnded("Failed", run.state.failure_message)
    return None


def _refuse(why: str) -> NoReturn:
    raise ValidationError(f"this is refused: {why}", field="request")


def _nothing() -> Response:
    nothing: NothingJSON = {}
    return json_response(nothing)
