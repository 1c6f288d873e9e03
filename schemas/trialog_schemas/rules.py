"""The law: which events are accepted and which are refused. Pure; must not do I/O or ask a clock.

    verdict = decide(state, event)            # what is accepted of it, what is refused and why
    state = evolve(state, event, verdict)     # what the run is now

A verdict depends only on earlier events of the same partition, so that a replay judges alike. A
refusal is a value, never an exception. A producer judges early by the same rules, on bodies that
have no envelope yet: `decide_body`, `evolve_body`. `accepted` is the event's body reduced to what
was accepted (parameters without the refused ones, the first points up to the limit), or None if
nothing was.

    event               accepted when                                       refused as
    ------------------- --------------------------------------------------- -------------------
    parameters_logged   name and value legal                                invalid
                        the name is new, or has the same value              param_immutable
                        fewer names than parameters_max                     param_limit
    metrics_logged      names, steps and times legal                        invalid
                        points so far < points_max (the first ones are)     point_limit
    artifact_logged     name, media type, digest, address, facts legal      invalid
                        no more bytes than artifact_bytes_max               artifact_size
                        fewer names than artifacts_max                      artifact_limit
    tags_set            keys and values legal, at most 50 of each           invalid
                        the run has the key, or fewer than 50 tags          tag_limit
    call_refused        never: it is refused as what its call has raised    its own, invalid
    run_started, run_resumed, run_joined, run_ended                         never

The catalog's part of the law is in `catalog_rules.py`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from trialog_schemas import names
from trialog_schemas.errors import ValidationError, shown
from trialog_schemas.events import (
    DROPPED_TAG,
    ArtifactLogged,
    Body,
    CallRefused,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    Rejection,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
)
from trialog_schemas.illegal import Fault, invalid, raised
from trialog_schemas.limits import (
    DEFAULT_LIMITS,
    FAILURE_MESSAGE_CHARS_MAX,
    TAGS_MAX,
    TIME_US_MAX,
    TIME_US_MIN,
    Limits,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trialog_schemas.events import Block, Event
    from trialog_schemas.names import ParameterValue

RULES_VERSION = 1
"""Raised when a rule changes; a run is judged by the version in its `run_started`."""

Status: TypeAlias = Literal["InProgress", "Completed", "Failed"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER_OF_CALLS = re.compile(r"[0-9]{1,18}")

_NAMES_CACHED_CHARS_MAX = 8192
"""Names of a block whose verdict is remembered; a foreign producer's may have a megabyte."""


@dataclass(frozen=True, slots=True)
class ArtifactState:
    """The newest version of an artifact's name: what its content is and how many came before."""

    content: str
    version: int


def _nothing() -> MappingProxyType[str, ParameterValue]:
    return MappingProxyType({})


def _no_tags() -> MappingProxyType[str, str | None]:
    return MappingProxyType({})


def _no_artifacts() -> MappingProxyType[str, ArtifactState]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RunState:
    """What the rules need to know of a run.

    Args:
        limits: the policy from its `run_started`, or the defaults before it.
        rules_version: the version of the rules it is judged by.
        status: None before it was entered.
        is_failed_for_good: a joined handle failed; no later ending completes the run.
        started_at_us, ended_at_us: the writer's times in microseconds, or None.
        failure_message: at most 1024 characters, or None.
        parameters: name to the first value.
        points: accepted points over all metrics.
        artifacts: name to its newest version.
        tags: tags that were set; None for those that were removed.
    """

    limits: Limits = DEFAULT_LIMITS
    rules_version: int = RULES_VERSION
    status: Status | None = None
    is_failed_for_good: bool = False
    started_at_us: int | None = None
    ended_at_us: int | None = None
    failure_message: str | None = None
    parameters: Mapping[str, ParameterValue] = field(default_factory=_nothing)
    points: int = 0
    artifacts: Mapping[str, ArtifactState] = field(default_factory=_no_artifacts)
    tags: Mapping[str, str | None] = field(default_factory=_no_tags)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules said of an event: the accepted part of its body, and the refusals."""

    accepted: Body | None
    rejections: tuple[Rejection, ...] = ()


def decide(state: RunState, event: Event) -> Verdict:
    """Judge an event of a run's stream."""
    return decide_body(state, event.body)


def decide_body(state: RunState, body: Body) -> Verdict:
    """Judge what an event says; its envelope takes no part in a verdict."""
    if isinstance(body, MetricsLogged):
        return _decide_metrics(state, body)
    if isinstance(body, ParametersLogged):
        return _decide_parameters(state, body)
    if isinstance(body, ArtifactLogged):
        return _decide_artifact(state, body)
    if isinstance(body, TagsSet):
        return _decide_tags(state, body)
    if isinstance(body, CallRefused):
        return Verdict(None, (raised(body),))
    if isinstance(body, RunEnded) and body.failure_message is not None:
        return Verdict(
            replace(body, failure_message=body.failure_message[:FAILURE_MESSAGE_CHARS_MAX])
        )
    return Verdict(body)


def evolve(state: RunState, event: Event, verdict: Verdict) -> RunState:
    """Return the run's state after an event with its verdict."""
    body = verdict.accepted
    if isinstance(body, RunStarted | RunResumed | RunJoined):
        return _enter(state, event, body)
    if isinstance(body, RunEnded):
        return _end(state, event, body)
    return evolve_body(state, verdict)


def evolve_body(state: RunState, verdict: Verdict) -> RunState:
    """Return the run's state after what was logged; entering and ending need the envelope."""
    body = verdict.accepted
    if isinstance(body, MetricsLogged):
        return replace(state, points=state.points + body.points)
    if isinstance(body, ParametersLogged):
        return replace(state, parameters={**state.parameters, **body.parameters})
    if isinstance(body, ArtifactLogged):
        old = state.artifacts.get(body.name)
        newest = ArtifactState(body.content, 1 if old is None else old.version + 1)
        return replace(state, artifacts={**state.artifacts, body.name: newest})
    if isinstance(body, TagsSet):
        return replace(state, tags={**state.tags, **body.tags, **dict.fromkeys(body.removed)})
    return state


def _enter(state: RunState, event: Event, body: RunStarted | RunResumed | RunJoined) -> RunState:
    started_at_us = event.at_us if state.started_at_us is None else state.started_at_us
    if isinstance(body, RunJoined) and state.status is not None:
        return state
    # What an earlier owner failed of is past; what a joined handle failed of is for good.
    entered = replace(
        state,
        status="InProgress",
        started_at_us=started_at_us,
        ended_at_us=None,
        failure_message=state.failure_message if state.is_failed_for_good else None,
    )
    if not isinstance(body, RunStarted):
        return entered
    # A process that joined may be heard first: policy and start are the owner's all the same.
    return replace(
        entered,
        limits=body.limits,
        rules_version=body.rules_version,
        started_at_us=min(event.at_us, started_at_us),
    )


def _end(state: RunState, event: Event, body: RunEnded) -> RunState:
    if not body.is_owner:
        if body.status != "Failed":
            return state
        is_over = state.status in ("Completed", "Failed")
        return replace(
            state,
            is_failed_for_good=True,
            failure_message=state.failure_message or body.failure_message,
            status="Failed" if is_over else state.status,
        )
    failed = state.is_failed_for_good or body.status == "Failed"
    message = state.failure_message if state.is_failed_for_good else None
    return replace(
        state,
        status="Failed" if failed else "Completed",
        ended_at_us=max(event.at_us, state.started_at_us or event.at_us),
        failure_message=message or body.failure_message,
    )


def _decide_parameters(state: RunState, body: ParametersLogged) -> Verdict:
    accepted: dict[str, ParameterValue] = {}
    rejections: list[Rejection] = []
    for name, value in body.parameters.items():
        refusal = _refuse_parameter(state, name, value, len(accepted))
        if refusal is not None:
            rejections.append(refusal)
        elif name not in state.parameters:
            accepted[name] = value
    return Verdict(ParametersLogged(accepted) if accepted else None, tuple(rejections))


def _refuse_parameter(
    state: RunState, name: str, value: ParameterValue, fresh: int
) -> Rejection | None:
    chars_max = state.limits.parameter_value_chars_max
    try:
        names.check_parameter_value(names.check_parameter_name(name), value, chars_max)
    except ValidationError as exc:
        return invalid(exc, name)
    known = state.parameters
    if name in known:
        if names.same_parameter(known[name], value):
            return None
        return Rejection(
            "param_immutable",
            f"parameter {name!r} is already {shown(known[name])} and cannot become "
            f"{shown(value)}; log it under another name",
            name,
            shown(value),
            {"is": shown(known[name])},
        )
    if len(known) + fresh >= state.limits.parameters_max:
        return Rejection(
            "param_limit",
            f"parameter {name!r} with value {shown(value)} is refused, the run has "
            f"{state.limits.parameters_max} parameters and that is the limit; "
            "put several values into one parameter or an artifact",
            name,
            shown(value),
            {"limit": state.limits.parameters_max},
        )
    return None


def _decide_metrics(state: RunState, body: MetricsLogged) -> Verdict:
    kept: list[Block] = []
    rejections: list[Rejection] = []
    for block in body.blocks:
        refuse_names = _refuse_known_names if _is_small(block.names) else _refuse_names
        fault = refuse_names(block.names) or _refuse_columns(block)
        if fault is None:
            kept.append(block)
        else:
            rejections.append(fault.rejection(block.names[0], points=block.points))
    legal = body if not rejections else MetricsLogged(tuple(kept))
    room = state.limits.points_max - state.points
    refused = legal.points - max(room, 0)
    if refused > 0:
        rejections.append(
            Rejection(
                "point_limit",
                f"{refused} points are refused, the run has reached {state.limits.points_max} "
                "points and that is the limit; log less often or start another run",
                None,
                None,
                {"limit": state.limits.points_max, "points": refused},
            )
        )
        legal = legal.take(room)
    return Verdict(legal if legal.blocks else None, tuple(rejections))


def _is_small(metric_names: tuple[str, ...]) -> bool:
    return sum(map(len, metric_names)) <= _NAMES_CACHED_CHARS_MAX


def _refuse_names(metric_names: tuple[str, ...]) -> Fault | None:
    try:
        for name in metric_names:
            names.check_metric_name(name)
    except ValidationError as exc:
        return Fault.of(exc)
    return None


_refuse_known_names = lru_cache(maxsize=1024)(_refuse_names)


def _refuse_columns(block: Block) -> Fault | None:
    step = min(memoryview(block.steps).cast("q"))
    if step < -1:  # −1 is how a block says None
        try:
            names.check_step(step)
        except ValidationError as exc:
            return Fault.of(exc)
    times = memoryview(block.times).cast("q")
    for at_us in (min(times), max(times)):
        if not TIME_US_MIN <= at_us <= TIME_US_MAX:
            return Fault(
                f"time {at_us} is outside the years 1 to 9999; give microseconds since the epoch",
                str(at_us),
                (("field", "timestamp"), ("limit", "years 1..9999")),
            )
    return None


def _decide_artifact(state: RunState, body: ArtifactLogged) -> Verdict:
    refusal = _refuse_artifact(state.limits, body)
    if refusal is not None:
        return Verdict(None, (refusal,))
    known = state.artifacts.get(body.name)
    if known is not None and known.content == body.content:
        return Verdict(None)
    if known is None and len(state.artifacts) >= state.limits.artifacts_max:
        refusal = Rejection(
            "artifact_limit",
            f"artifact {body.name!r} is refused, the run has {state.limits.artifacts_max} "
            "artifacts and that is the limit; "
            "log a new version of one of them or put several into an archive",
            body.name,
            None,
            {"limit": state.limits.artifacts_max},
        )
        return Verdict(None, (refusal,))
    return Verdict(body)


def _refuse_artifact(policy: Limits, body: ArtifactLogged) -> Rejection | None:
    fault = _illegal_artifact(body)
    if fault is not None:
        return fault.rejection(body.name)
    if body.size is not None and body.size > policy.artifact_bytes_max:
        return Rejection(
            "artifact_size",
            f"artifact {body.name!r} has {body.size} bytes, allowed are "
            f"{policy.artifact_bytes_max}; store it elsewhere and log its address",
            body.name[:255],
            str(body.size),
            {"limit": policy.artifact_bytes_max},
        )
    return None


def _illegal_artifact(body: ArtifactLogged) -> Fault | None:
    try:
        names.check_artifact_name(body.name)
        names.check_media_type(body.media_type)
        if body.kind == "model" or body.uri is not None:
            names.check_model_uri(body.uri)
        for fact, value in asdict(body.model or ModelInfo()).items():
            names.check_model_fact(fact, value)
    except ValidationError as exc:
        return Fault.of(exc)
    is_stored = body.kind != "model"
    if not _SHA256.fullmatch(body.sha256 or "") and (is_stored or body.sha256 is not None):
        return Fault(
            f"artifact {shown(body.name)} has the digest {shown(body.sha256)}, which is no SHA-256 "
            "of 64 lower-case hex digits; give the one of its bytes",
            shown(body.sha256),
            (("field", "sha256"), ("limit", "64 hex digits")),
        )
    if (body.size is None and is_stored) or (body.size is not None and body.size < 0):
        return Fault(
            f"artifact {shown(body.name)} has the size {body.size}, which is no number of bytes "
            "from 0 on; give the length of its content",
            str(body.size),
            (
                ("field", "size"),
                ("limit", "0.."),
            ),
        )
    return None


def _decide_tags(state: RunState, body: TagsSet) -> Verdict:
    try:
        names.check_tags(body.tags)
        names.check_tags(dict.fromkeys(body.removed, ""))
        dropped = _dropped_calls(state, body.tags)
    except ValidationError as exc:
        return Verdict(None, (invalid(exc, "tags"),))
    live = {key for key, value in state.tags.items() if value is not None}
    live -= {DROPPED_TAG, *body.removed}
    accepted: dict[str, str] = {}
    rejections: list[Rejection] = []
    for key, value in body.tags.items():
        # What the run has lost is told whatever else it has.
        if key == DROPPED_TAG:
            accepted[key] = str(dropped)
        elif key in live or key in body.removed:
            accepted[key] = value
        elif len(live) < TAGS_MAX:
            live.add(key)
            accepted[key] = value
        else:
            rejections.append(_too_many_tags(key, value))
    if not accepted and not body.removed:
        return Verdict(None, tuple(rejections))
    return Verdict(replace(body, tags=accepted), tuple(rejections))


def _dropped_calls(state: RunState, tags: Mapping[str, str]) -> int:
    """Return how many calls full disks have cost a run, with those that these tags tell."""
    told = tags.get(DROPPED_TAG, "0")
    if not _NUMBER_OF_CALLS.fullmatch(told):
        raise ValidationError(
            f"tag {DROPPED_TAG} has the value {shown(told)}, which is no number of up to 18 "
            "digits; leave this tag to trialog",
            field="tags",
            value=told,
            limit="18 digits",
        )
    return int(state.tags.get(DROPPED_TAG) or 0) + int(told)


def _too_many_tags(key: str, value: str) -> Rejection:
    return Rejection(
        "tag_limit",
        f"tag {shown(key)} with value {shown(value)} is refused, the run has {TAGS_MAX} tags and "
        "that is the limit; remove one",
        key,
        shown(value),
        {"limit": TAGS_MAX},
    )
