"""The shapes of the service's answers, as the SDK reads them; must not ask or compute."""

from __future__ import annotations

from typing import NotRequired, TypeAlias, TypedDict

from trialog_schemas.names import ParameterValue

Number: TypeAlias = float | str
"""A number, or one of "NaN", "Infinity", "-Infinity", which JSON has no numbers for."""


class ExperimentAnswer(TypedDict):
    """An experiment."""

    experiment_id: str
    number: int
    experiment_name: str
    experiment_arn: str
    description: str | None
    tags: dict[str, str]
    creation_time: str
    created_by: dict[str, str]
    last_modified_time: str
    last_modified_by: dict[str, str]
    run_count: int


class SummaryAnswer(TypedDict):
    """What a metric's series comes to."""

    last: Number
    min: Number | None
    max: Number | None
    mean: Number | None
    count: int
    last_step: int | None


class ArtifactAnswer(TypedDict):
    """One version of an artifact."""

    name: str
    version: int
    kind: str
    media_type: str | None
    size: int | None
    sha256: str | None
    is_output: bool
    uri: str | None
    model: dict[str, str | None] | None
    time: str | None


class RunAnswer(TypedDict):
    """A run with parameters, metric summaries and artifacts."""

    run_id: str
    run_name: str
    run_arn: str
    experiment_id: str
    experiment_name: str
    status: str
    is_stale: bool
    failure_message: str | None
    creation_time: str
    start_time: str
    end_time: str | None
    last_event_time: str | None
    parent_run_id: str | None
    parent_run_name: str | None
    created_by: dict[str, str]
    tags: dict[str, str]
    parameters: dict[str, ParameterValue]
    metrics: dict[str, SummaryAnswer]
    artifacts: list[ArtifactAnswer]
    rejected_count: int
    missing_count: int
    points: int
    limits: dict[str, int] | None
    as_of: NotRequired[str]


class ExperimentPage(TypedDict):
    """A page of experiments."""

    experiments: list[ExperimentAnswer]
    next_token: str | None
    total: int


class RunPage(TypedDict):
    """A page of runs."""

    runs: list[RunAnswer]
    next_token: str | None
    total: int


class RejectionAnswer(TypedDict):
    """One refusal of the rules."""

    writer_id: str
    seq: int
    code: str
    message: str
    name: str | None
    value: str | None
    facts: dict[str, str | int]
    time: str
    position: str


class RejectionPage(TypedDict):
    """A page of refusals in order of the log."""

    rejections: list[RejectionAnswer]
    next_token: str | None


class EventAnswer(TypedDict):
    """One event as it is in the log, with what the rules refused of it."""

    position: str
    event_id: str | None
    writer_id: str | None
    seq: int | None
    user: str | None
    type: str
    time: str | None
    log_time: str
    body: dict[str, object]
    verdict: str
    rejections: list[RejectionAnswer]


class EventPage(TypedDict):
    """A page of a run's events in order of the log."""

    events: list[EventAnswer]
    next_token: str | None


class SeriesPage(TypedDict):
    """A page of a series: columns, in order of step, then arrival; step −1 is none, times in µs."""

    name: str
    points: int
    steps: list[int]
    times: list[int]
    values: list[Number]
    next_token: str | None


class CommandAnswer(TypedDict):
    """What became of a command: where it lies in the log and what the rules said."""

    position: str
    applied: bool
    rejections: list[RejectionAnswer]
    run: RunAnswer | None
    experiment: ExperimentAnswer | None
    limits: dict[str, int]


class PolicyAnswer(TypedDict):
    """The limits in force for new runs, and the version of the service."""

    limits: dict[str, int]
    version: str
    rules_version: int


class AppliedAnswer(TypedDict):
    """Whether positions are applied; a writer's refusals so far, and how far it is."""

    applied: bool
    rejections: list[RejectionAnswer]
    progress: ProgressAnswer | None


class ProgressAnswer(TypedDict):
    """How far a writer is in the tables."""

    run_id: str
    writer_id: str
    last_seq: int
    missing: list[list[int]]
    missing_count: int
    is_parked: bool
    is_known: bool
    rejected: dict[str, int]


class LogAnswer(TypedDict):
    """How far a partition of the log is applied and sealed; without an end it did not answer."""

    partition: str
    end: int | None
    applied: int
    sealed: int
    sealed_at: str | None


class DurabilityAnswer(TypedDict):
    """How far writers are, and the partitions of the positions that were asked for."""

    applied: bool
    writers: list[ProgressAnswer]
    log: list[LogAnswer]
