"""What a run must come to, told once more and naively: a model that shares no code with the rules.

It keeps what was delivered as plain values and works everything out anew from the whole history.
Nothing of `rules.py`, `names.py` or `events.py` is used here: an error there is none here as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

DROPPED_TAG = "trialog.dropped_calls"
"""The one tag that is added up: each writer says how many more calls it has lost."""

ILLEGAL_NAMES = ("", "bad\nname")
"""Names that neither a parameter nor a metric nor an artifact may have."""

DEFAULT_PARAMETERS, DEFAULT_POINTS, DEFAULT_ARTIFACTS = 300, 500_000, 30
PARAMETERS, POINTS, ARTIFACTS, ARTIFACT_BYTES = 3, 6, 2, 100
"""The policy that the run's start brings in most tests, in the model's own numbers."""


class Policy(NamedTuple):
    """The limits that a run's start brings."""

    parameters: int = PARAMETERS
    points: int = POINTS
    artifacts: int = ARTIFACTS
    artifact_bytes: int = ARTIFACT_BYTES


SMALL = Policy()


class Parameters(NamedTuple):
    """A `log_parameters` call."""

    values: tuple[tuple[str, object], ...]


class Points(NamedTuple):
    """Points in the order of the calls; `is_wide` says that they are one block of equal rows."""

    blocks: tuple[tuple[bool, tuple[tuple[str, int, float], ...]], ...]


class Artifact(NamedTuple):
    """A `log_artifact` call: a content of so many bytes."""

    name: str
    content: str
    size: int


class Entered(NamedTuple):
    """A process entered: `started` by the owner, `resumed` by a later one, or `joined`."""

    how: str


class Left(NamedTuple):
    """A handle left the run."""

    status: Literal["Completed", "Failed"]
    message: str | None
    is_owner: bool


class Tags(NamedTuple):
    """Tags that are set, and names of tags that are removed."""

    values: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]


class Refused(NamedTuple):
    """A call that its own process refused, and as what."""

    code: str


Said: TypeAlias = Parameters | Points | Artifact | Entered | Left | Tags | Refused


class Fact(NamedTuple):
    """One event in a writer's count."""

    writer: int
    seq: int
    at_us: int
    said: Said


@dataclass
class Outcome:
    """What a run has come to; every part is compared with what the rules made of it."""

    parameters: dict[str, object] = field(default_factory=dict)
    points: list[tuple[str, int, float]] = field(default_factory=list)
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    refusals: list[tuple[int, int, str]] = field(default_factory=list)
    status: str | None = None
    message: str | None = None
    started_at_us: int | None = None
    ended_at_us: int | None = None


def kind_of(value: object) -> object:
    """Return a value in a form in which plain equality is the tracker's equality."""
    if value is None or isinstance(value, str | bool):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        return ("number", Fraction(value))
    if isinstance(value, list):
        return ("list", tuple(kind_of(item) for item in value))
    assert isinstance(value, dict)
    return ("dict", tuple(sorted((key, kind_of(item)) for key, item in value.items())))


def first_deliveries(delivered: list[Fact]) -> list[Fact]:
    """Return what counts of a history: each event the first time, also when it comes late."""
    seen: set[tuple[int, int]] = set()
    fresh = []
    for fact in delivered:
        if (fact.writer, fact.seq) not in seen:
            seen.add((fact.writer, fact.seq))
            fresh.append(fact)
    return fresh


def outcome_of(delivered: list[Fact], policy: Policy = SMALL) -> Outcome:
    """Work out from a whole history what the run must be."""
    facts = first_deliveries(delivered)
    outcome = Outcome()
    has_started = False
    for fact in facts:
        has_started = has_started or fact.said == Entered("started")
        codes: list[str] = []
        if isinstance(fact.said, Parameters):
            codes = _log_parameters(outcome, fact.said, policy.parameters if has_started else 300)
        elif isinstance(fact.said, Points):
            points = policy.points if has_started else DEFAULT_POINTS
            codes = _log_points(outcome, fact.said, points)
        elif isinstance(fact.said, Artifact):
            codes = _log_artifact(outcome, fact.said, policy if has_started else None)
        elif isinstance(fact.said, Tags):
            codes = _set_tags(outcome, fact.said)
        elif isinstance(fact.said, Refused):
            codes = [fact.said.code]
        outcome.refusals += [(fact.writer, fact.seq, code) for code in codes]
    _tell_status(outcome, facts)
    return outcome


def _log_parameters(outcome: Outcome, said: Parameters, at_most: int) -> list[str]:
    codes = []
    for name, value in said.values:
        if name in ILLEGAL_NAMES:
            codes.append("invalid")
        elif name in outcome.parameters:
            if kind_of(outcome.parameters[name]) != kind_of(value):
                codes.append("param_immutable")
        elif len(outcome.parameters) >= at_most:
            codes.append("param_limit")
        else:
            outcome.parameters[name] = value
    return codes


def _log_points(outcome: Outcome, said: Points, at_most: int) -> list[str]:
    codes, refused = [], 0
    for _, points in said.blocks:
        if any(name in ILLEGAL_NAMES or step < -1 for name, step, _ in points):
            codes.append("invalid")
            continue
        for point in points:
            if len(outcome.points) < at_most:
                outcome.points.append(point)
            else:
                refused += 1
    return codes + (["point_limit"] if refused else [])


def _log_artifact(outcome: Outcome, said: Artifact, policy: Policy | None) -> list[str]:
    at_most = DEFAULT_ARTIFACTS if policy is None else policy.artifacts
    if said.name in ILLEGAL_NAMES:
        return ["invalid"]
    if policy is not None and said.size > policy.artifact_bytes:
        return ["artifact_size"]
    versions = outcome.artifacts.get(said.name)
    if versions is None:
        if len(outcome.artifacts) >= at_most:
            return ["artifact_limit"]
        outcome.artifacts[said.name] = [said.content]
    elif versions[-1] != said.content:
        versions.append(said.content)
    return []


def _set_tags(outcome: Outcome, said: Tags) -> list[str]:
    if any(name in ILLEGAL_NAMES for name, _ in said.values):
        return ["invalid"]
    for name, value in said.values:
        before = outcome.tags.get(name) or "0"
        outcome.tags[name] = str(int(before) + int(value)) if name == DROPPED_TAG else value
    for name in said.removed:
        outcome.tags[name] = None
    return []


def _tell_status(outcome: Outcome, facts: list[Fact]) -> None:
    """Work out status, message and times from the entering and leaving alone."""
    is_failed_for_good = False
    for fact in facts:
        said = fact.said
        if isinstance(said, Entered):
            _tell_entering(outcome, fact, said.how, is_failed_for_good=is_failed_for_good)
        elif isinstance(said, Left) and said.is_owner:
            outcome.status = "Failed" if is_failed_for_good else said.status
            outcome.ended_at_us = max(fact.at_us, outcome.started_at_us or fact.at_us)
            outcome.message = (outcome.message if is_failed_for_good else None) or said.message
        elif isinstance(said, Left) and said.status == "Failed":
            is_failed_for_good = True
            outcome.message = outcome.message or said.message
            if outcome.status in ("Completed", "Failed"):
                outcome.status = "Failed"


def _tell_entering(outcome: Outcome, fact: Fact, how: str, *, is_failed_for_good: bool) -> None:
    if how == "joined" and outcome.status is not None:
        return
    outcome.status, outcome.ended_at_us = "InProgress", None
    if not is_failed_for_good:
        outcome.message = None
    if outcome.started_at_us is None:
        outcome.started_at_us = fact.at_us
    elif how == "started":
        outcome.started_at_us = min(outcome.started_at_us, fact.at_us)
