"""Experiments and runs as MLflow clients read them, made of our views; must not ask anything.

NaN and ±Inf are texts, as protobuf's JSON has them; times are milliseconds since the epoch.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NotRequired

# pydantic reads these classes for the OpenAPI document; before 3.12 it needs this TypedDict.
from typing_extensions import TypedDict

from trialog_schemas.names import parameter_json
from trialog_server.mlflow_names import (
    EXPERIMENT_NAME_TAG,
    KILLED,
    PARENT_RUN_TAG,
    RUN_NAME_TAG,
    mlflow_experiment_id,
    mlflow_experiment_name,
    mlflow_run_name,
)
from trialog_server.serve.mlflow.artifact_paths import artifacts_address, experiment_address
from trialog_server.serve.shapes import Number, number_json

if TYPE_CHECKING:
    from trialog_schemas.names import ParameterValue
    from trialog_server.read.experiments import ExperimentView
    from trialog_server.read.runs import RunView

USER_TAG = "mlflow.user"

MLFLOW_STATUSES = {"InProgress": "RUNNING", "Completed": "FINISHED", "Failed": "FAILED"}
"""MLflow's word for each status of a run."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class PairJSON(TypedDict):
    """A tag or a parameter."""

    key: str
    value: str


class MlflowExperimentJSON(TypedDict):
    """An experiment."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int
    last_update_time: int
    tags: list[PairJSON]


class MetricJSON(TypedDict):
    """A point of a metric."""

    key: str
    value: Number
    timestamp: int
    step: int


class RunInfoJSON(TypedDict):
    """What a run is, beside what was logged."""

    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: NotRequired[int]
    artifact_uri: str
    lifecycle_stage: str


class RunDataJSON(TypedDict):
    """What was logged: of each metric its last point."""

    metrics: list[MetricJSON]
    params: list[PairJSON]
    tags: list[PairJSON]


class DatasetInputJSON(TypedDict):
    """A dataset that a run used: name, digest and what else was told, as texts."""

    tags: list[PairJSON]
    dataset: dict[str, str]


class RunInputsJSON(TypedDict):
    """The datasets of a run; told of one run alone, a search leaves them out."""

    dataset_inputs: list[DatasetInputJSON]


class MlflowRunJSON(TypedDict):
    """A run."""

    info: RunInfoJSON
    data: RunDataJSON
    inputs: RunInputsJSON


class ExperimentAnswerJSON(TypedDict):
    """One experiment."""

    experiment: MlflowExperimentJSON


class RunAnswerJSON(TypedDict):
    """One run."""

    run: MlflowRunJSON


class MlflowRunPageJSON(TypedDict):
    """A page of runs; no token: there are no more."""

    runs: list[MlflowRunJSON]
    next_page_token: NotRequired[str]


class MlflowExperimentPageJSON(TypedDict):
    """A page of experiments; no token: there are no more."""

    experiments: list[MlflowExperimentJSON]
    next_page_token: NotRequired[str]


class HistoryJSON(TypedDict):
    """A page of a metric's points; no token: there are no more."""

    metrics: list[MetricJSON]
    next_page_token: NotRequired[str]


class FileJSON(TypedDict):
    """An artifact, or a folder of artifacts."""

    path: str
    is_dir: bool
    file_size: NotRequired[int]


class FilesJSON(TypedDict):
    """What is in a folder of a run's artifacts."""

    files: list[FileJSON]


class RunFilesJSON(FilesJSON):
    """What is in a folder of a run's artifacts, and the address of its artifacts."""

    root_uri: str


class ModelsJSON(TypedDict):
    """MLflow's logged models, of which trialog keeps none."""

    models: list[PairJSON]


class ServerInfoJSON(TypedDict):
    """What this server has of what only some of MLflow's servers have."""

    workspaces_enabled: bool
    multipart_uploads_enabled: bool
    multipart_downloads_enabled: bool
    trace_archival_enabled: bool


def milliseconds(time: datetime) -> int:
    """Return a time as MLflow counts it."""
    return (time - EPOCH) // _MILLISECOND


def parameter_text(value: ParameterValue) -> str:
    """Return a parameter's value as the text that an MLflow client would have logged for it."""
    match value:
        case str():
            return value
        case None | bool():
            return str(value)
    return parameter_json(value)


def experiment_json(experiment: ExperimentView) -> MlflowExperimentJSON:
    """Return an experiment."""
    tags = {key: tag for key, tag in experiment.tags.items() if key != EXPERIMENT_NAME_TAG}
    experiment_id = mlflow_experiment_id(experiment.name, experiment.number)
    return {
        "experiment_id": experiment_id,
        "name": mlflow_experiment_name(experiment.name, experiment.tags),
        "artifact_location": experiment_address(experiment_id),
        "lifecycle_stage": "active" if experiment.deleted_at is None else "deleted",
        "creation_time": milliseconds(experiment.created_at),
        "last_update_time": milliseconds(experiment.modified_at),
        "tags": _pairs(tags),
    }


def run_json(run: RunView) -> MlflowRunJSON:
    """Return a run with its parameters, tags and the last point of each metric."""
    tags = run_tags(run)
    return {
        "info": run_info_json(run),
        "data": {
            "metrics": [
                {
                    "key": name,
                    "value": number_json(summary.last),
                    "timestamp": milliseconds(summary.last_at),
                    # MLflow has no point without a step; what is logged without one has 0.
                    "step": summary.last_step or 0,
                }
                for name, summary in run.metrics.items()
            ],
            "params": _pairs(
                {name: parameter_text(value) for name, value in run.parameters.items()}
            ),
            "tags": _pairs(tags),
        },
        "inputs": {"dataset_inputs": []},
    }


def run_info_json(run: RunView) -> RunInfoJSON:
    """Return what a run is, beside what was logged."""
    tags = run_tags(run)
    experiment_id = mlflow_experiment_id(run.experiment_name, run.experiment_number)
    info: RunInfoJSON = {
        "run_id": run.run_id,
        "run_uuid": run.run_id,
        "run_name": tags[RUN_NAME_TAG],
        "experiment_id": experiment_id,
        "user_id": tags[USER_TAG],
        "status": KILLED if _is_killed(run) else MLFLOW_STATUSES[run.status],
        "start_time": milliseconds(run.started_at),
        "artifact_uri": artifacts_address(experiment_id, run.run_id),
        "lifecycle_stage": "active" if run.deleted_at is None else "deleted",
    }
    if run.ended_at is not None:
        info["end_time"] = milliseconds(run.ended_at)
    return info


def _is_killed(run: RunView) -> bool:
    return run.status == "Failed" and run.failure_message == KILLED


def run_tags(run: RunView) -> dict[str, str]:
    """Return a run's tags with those by which MLflow tells name, user and parent of a run.

    What the run has under these keys itself comes first: an MLflow client gave it. The search
    reads them alike (search_mlflow_runs.sql).
    """
    tags = {USER_TAG: run.created_by.get("user", "")}
    if run.parent_run_id is not None:
        tags[PARENT_RUN_TAG] = run.parent_run_id
    return tags | run.tags | {RUN_NAME_TAG: mlflow_run_name(run.run_name, run.tags)}


def _pairs(texts: dict[str, str]) -> list[PairJSON]:
    return [{"key": key, "value": value} for key, value in texts.items()]
