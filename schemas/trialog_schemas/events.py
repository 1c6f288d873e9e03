"""The facts a run or an account can record: frozen, versioned, documented; must not do I/O.

A body says what happened; `Event` is the envelope around it. Bodies of the *catalog* topic are
those whose rule crosses runs (unique names, deleting); all others travel in the run's partition.
A body's JSON form is its fields; metric blocks carry their columns as packed bytes beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_schemas.names import ParameterValue

NIL_ID = "0" * 32
"""The run id of events that belong to no run's stream: those of the catalog."""

POINT_BYTES = 24
"""Bytes of one stored point: step, time and value of 8 bytes each."""


@dataclass(frozen=True, slots=True)
class ExperimentCreated:
    """An experiment with this name shall exist."""

    experiment_id: str
    name: str
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    experiments_max: int = DEFAULT_LIMITS.experiments_max


@dataclass(frozen=True, slots=True)
class ExperimentDeleted:
    """The experiment shall be gone from lists; refused while it has live runs."""

    experiment_id: str


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run shall exist under this name; its experiment is created when missing.

    `experiment_id` is the id a missing experiment gets. `if_taken` says what a taken name means:
    `refuse` it, or `keep` the run under `<name>-<first 6 hex digits of its id>` because its user
    went on without an answer, or `share` it with others, as MLflow's clients may.
    """

    run_id: str
    experiment_name: str
    run_name: str
    experiment_id: str
    if_taken: Literal["refuse", "keep", "share"] = "refuse"
    tags: dict[str, str] = field(default_factory=dict)
    parent_run_id: str | None = None
    experiments_max: int = DEFAULT_LIMITS.experiments_max


@dataclass(frozen=True, slots=True)
class RunDeleted:
    """The run shall be gone from list and compare; its events stay in the log."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The owner entered the run; carries the limits in force, so that a replay judges alike."""

    experiment_name: str
    run_name: str
    limits: Limits = DEFAULT_LIMITS
    rules_version: int = 1
    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A new owner continues the run; it is in progress again."""

    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class RunJoined:
    """Another process logs into the run; it will not end it."""

    host: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A handle left the run. Only the owner's ending ends it; a joined failure marks it Failed."""

    status: Literal["Completed", "Failed"]
    failure_message: str | None = None
    is_owner: bool = True


@dataclass(frozen=True, slots=True)
class ParametersLogged:
    """Named inputs; the first value of a name stays."""

    parameters: dict[str, ParameterValue]


@dataclass(frozen=True, slots=True)
class WideBlock:
    """Points of `log_metrics` calls with the same names: one step and time a row.

    `steps` and `times` hold `rows` little-endian int64 (step −1: none; time in µs), `values` holds
    `len(names) * rows` float64, all rows of the first name, then of the second, and so on.
    """

    names: tuple[str, ...]
    rows: int
    steps: bytes
    times: bytes
    values: bytes

    @property
    def points(self) -> int:
        """How many points the block has."""
        return len(self.names) * self.rows

    def take(self, points: int) -> tuple[WideBlock, ...]:
        """Return the first points in the order of the calls (row by row), as at most two blocks."""
        if points >= self.points:
            return (self,)
        rows, rest = divmod(points, len(self.names))
        blocks = []
        if rows:
            blocks.append(self._cut(0, rows, len(self.names)))
        if rest:
            blocks.append(self._cut(rows, rows + 1, rest))
        return tuple(blocks)

    def _cut(self, start: int, stop: int, width: int) -> WideBlock:
        column = self.rows * 8
        return WideBlock(
            names=self.names[:width],
            rows=stop - start,
            steps=self.steps[start * 8 : stop * 8],
            times=self.times[start * 8 : stop * 8],
            values=b"".join(
                self.values[index * column + start * 8 : index * column + stop * 8]
                for index in range(width)
            ),
        )


@dataclass(frozen=True, slots=True)
class LongBlock:
    """Points of `log_metric` calls in their order: a row has its own name, step, time and value.

    `ids` holds `rows` little-endian uint32, indexes into `names`; the other columns are as in
    `WideBlock`, with one value a row.
    """

    names: tuple[str, ...]
    rows: int
    ids: bytes
    steps: bytes
    times: bytes
    values: bytes

    @property
    def points(self) -> int:
        """How many points the block has."""
        return self.rows

    def take(self, points: int) -> tuple[LongBlock, ...]:
        """Return the first points in the order of the calls, as at most one block."""
        if points >= self.rows:
            return (self,)
        if points <= 0:
            return ()
        return (
            LongBlock(
                names=self.names,
                rows=points,
                ids=self.ids[: points * 4],
                steps=self.steps[: points * 8],
                times=self.times[: points * 8],
                values=self.values[: points * 8],
            ),
        )


Block: TypeAlias = WideBlock | LongBlock


@dataclass(frozen=True, slots=True)
class MetricsLogged:
    """Points of metrics, packed in columns, in the order of the calls."""

    blocks: tuple[Block, ...]

    @property
    def points(self) -> int:
        """How many points the event has."""
        return sum(block.points for block in self.blocks)

    def take(self, points: int) -> MetricsLogged:
        """Return an event of the first points in the order of the calls."""
        kept: list[Block] = []
        for block in self.blocks:
            if points <= 0:
                break
            kept.extend(block.take(points))
            points -= block.points
        return MetricsLogged(tuple(kept))


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What `log_model` says about a model besides its address."""

    model_type: str | None = None
    framework: str | None = None
    framework_version: str | None = None


@dataclass(frozen=True, slots=True)
class ArtifactLogged:
    """An artifact; the bytes are in the artifact store under `sha256`, a model's at `uri`."""

    name: str
    kind: Literal["artifact", "file", "model"]
    media_type: str
    is_output: bool = True
    sha256: str | None = None
    size: int | None = None
    uri: str | None = None
    model: ModelInfo | None = None

    @property
    def content(self) -> str:
        """What tells one version from another: the digest, or a model's address and facts."""
        return artifact_content(self.sha256, self.uri, self.model)


def artifact_content(sha256: str | None, uri: str | None, model: ModelInfo | None) -> str:
    """Return what tells one version of an artifact from another."""
    if sha256 is not None:
        return sha256
    facts = model or ModelInfo()
    # Spelled out, so that a field that is added later changes no version of today.
    return repr((uri, facts.model_type, facts.framework, facts.framework_version))


@dataclass(frozen=True, slots=True)
class TagsSet:
    """Tags of the run that are set or removed."""

    tags: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallRefused:
    """A call that its own process refused: what it raised, so that the attempt is seen.

    Nothing else of the call was recorded. The parts are those of a `Rejection`. Where a process
    refuses very many, one stands for several: it has the last one's parts and `CALLS_FACT`.
    """

    code: str
    message: str
    name: str | None = None
    value: str | None = None
    facts: dict[str, str | int] = field(default_factory=dict)


RAISED_FACT = "raised"
"""The fact of a refusal that its call has raised; only such a refusal has it."""

CALLS_FACT = "calls"
"""The fact how many calls a `CallRefused` stands for, if it is not one."""

DROPPED_TAG = "trialog.dropped_calls"
"""Tag of a run that tells how many log calls full disks have cost it.

Each writer tells those that it has not told yet; the run has the sum."""


CatalogBody: TypeAlias = ExperimentCreated | ExperimentDeleted | RunCreated | RunDeleted
RunBody: TypeAlias = (
    RunStarted
    | RunResumed
    | RunJoined
    | RunEnded
    | ParametersLogged
    | MetricsLogged
    | ArtifactLogged
    | TagsSet
    | CallRefused
)
Body: TypeAlias = CatalogBody | RunBody

CATALOG_TYPES: dict[str, type[CatalogBody]] = {
    "experiment_created": ExperimentCreated,
    "experiment_deleted": ExperimentDeleted,
    "run_created": RunCreated,
    "run_deleted": RunDeleted,
}
RUN_TYPES: dict[str, type[RunBody]] = {
    "run_started": RunStarted,
    "run_resumed": RunResumed,
    "run_joined": RunJoined,
    "run_ended": RunEnded,
    "parameters_logged": ParametersLogged,
    "metrics_logged": MetricsLogged,
    "artifact_logged": ArtifactLogged,
    "tags_set": TagsSet,
    "call_refused": CallRefused,
}
EVENT_TYPES: dict[str, type[Body]] = {**CATALOG_TYPES, **RUN_TYPES}
TYPE_NAMES: dict[type[Body], str] = {kind: name for name, kind in EVENT_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Event:
    """One fact in the log with its envelope.

    Args:
        event_id: UUIDv7 as 32 hex digits, derived from writer, seq and time.
        account: whose data it is.
        user: who acted, `user@host`.
        run_id: the run's id, or `NIL_ID` for events of the catalog.
        writer_id: the identity of the process in this run.
        seq: 1, 2, 3 … per writer, without holes.
        prev_hash: chain value before this event (32 bytes).
        digest: chain value after it (32 bytes).
        at_us: the writer's time in microseconds since the epoch.
        body: what happened.
    """

    event_id: str
    account: str
    user: str
    run_id: str
    writer_id: str
    seq: int
    prev_hash: bytes
    digest: bytes
    at_us: int
    body: Body

    @property
    def type(self) -> str:
        """The name of the event's type on the wire."""
        return TYPE_NAMES[type(self.body)]


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a type or version, or with a body, that this release cannot read.

    It keeps its place in the writer's sequence and chain and is listed, never lost.
    """

    event_id: str
    run_id: str
    writer_id: str
    seq: int
    digest: bytes
    type: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal as a fact: what was refused, why, and the numbers behind it."""

    code: str
    message: str
    name: str | None = None
    value: str | None = None
    facts: dict[str, str | int] = field(default_factory=dict)
