"""Who applies deliveries to a run, with its parts open to be broken on purpose.

The receiver does what a projection does with records: leaves out what it has, judges the rest, and
can be stored as text and read again. Each part is a field, so that a canary may swap one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.unit.schemas.factories import Point, event, long_of, points_of, wide_of
from tests.unit.schemas.run_model import (
    ARTIFACT_BYTES,
    ARTIFACTS,
    PARAMETERS,
    POINTS,
    Artifact,
    Entered,
    Fact,
    Left,
    Outcome,
    Parameters,
    Points,
    Refused,
    Said,
    Tags,
)
from trialog_schemas.events import (
    ArtifactLogged,
    Body,
    CallRefused,
    Event,
    MetricsLogged,
    ParametersLogged,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
)
from trialog_schemas.limits import Limits
from trialog_schemas.rules import ArtifactState, RunState, Verdict, decide, evolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FEW = Limits(
    parameters_max=PARAMETERS,
    points_max=POINTS,
    artifacts_max=ARTIFACTS,
    artifact_bytes_max=ARTIFACT_BYTES,
)
_ENTERED: dict[str, Body] = {
    "started": RunStarted("e", "r", FEW),
    "resumed": RunResumed(),
    "joined": RunJoined(),
}


def body_of(said: Said) -> Body:
    """Return the event's body for what the model says in plain values."""
    match said:
        case Parameters():
            return ParametersLogged(dict(said.values))  # type: ignore[arg-type]  # JSON values
        case Points():
            return MetricsLogged(
                tuple((wide_of if is_wide else long_of)(points) for is_wide, points in said.blocks)
            )
        case Artifact():
            return ArtifactLogged(
                said.name, "artifact", "text/plain", sha256=said.content * 64, size=said.size
            )
        case Entered():
            return _ENTERED[said.how]
        case Left():
            return RunEnded(said.status, said.message, is_owner=said.is_owner)
        case Tags():
            return TagsSet(dict(said.values), said.removed)
        case Refused():
            return CallRefused(said.code, "refused by its process")


def stored(state: RunState) -> str:
    """Return a run's state as the text that a store would keep."""
    return json.dumps(
        {
            "limits": state.limits.to_json(),
            "rules_version": state.rules_version,
            "status": state.status,
            "is_failed_for_good": state.is_failed_for_good,
            "started_at_us": state.started_at_us,
            "ended_at_us": state.ended_at_us,
            "failure_message": state.failure_message,
            "parameters": dict(state.parameters),
            "points": state.points,
            "tags": dict(state.tags),
            "artifacts": {
                name: [one.content, one.version] for name, one in state.artifacts.items()
            },
        }
    )


def restored(text: str) -> RunState:
    """Return the state that was stored."""
    facts = json.loads(text)
    artifacts = {name: ArtifactState(*one) for name, one in facts.pop("artifacts").items()}
    return RunState(limits=Limits.from_json(facts.pop("limits")), artifacts=artifacts, **facts)


@dataclass
class Receiver:
    """Applies facts to a run; `judge`, `grow`, `is_new` and `through_store` may be swapped."""

    judge: Callable[[RunState, Event], Verdict] = decide
    grow: Callable[[RunState, Event, Verdict], RunState] = evolve
    is_new: Callable[[int, set[int]], bool] = lambda seq, came: seq not in came
    through_store: Callable[[RunState], RunState] = lambda state: restored(stored(state))
    state: RunState = field(default_factory=RunState)
    seqs: dict[int, set[int]] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    contents: dict[str, list[str]] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    refusals: list[tuple[int, int, str]] = field(default_factory=list)

    def deliver(self, record: Sequence[Fact]) -> None:
        """Apply one record: events of one writer in their order."""
        for fact in record:
            came = self.seqs.setdefault(fact.writer, set())
            if self.is_new(fact.seq, came):
                came.add(fact.seq)
                self._apply(fact)

    def restart(self) -> None:
        """Forget everything and read it from the store."""
        self.state = self.through_store(self.state)

    def outcome(self) -> Outcome:
        """Return what the run is, in the model's words."""
        state = self.state
        assert state.points == len(self.points)
        versions = {name: one.version for name, one in state.artifacts.items()}
        assert versions == {name: len(contents) for name, contents in self.contents.items()}
        return Outcome(
            dict(state.parameters),
            self.points,
            self.contents,
            self.tags,
            self.refusals,
            state.status,
            state.failure_message,
            state.started_at_us,
            state.ended_at_us,
        )

    def _apply(self, fact: Fact) -> None:
        told = event(body_of(fact.said), at_us=fact.at_us, seq=fact.seq)
        verdict = self.judge(self.state, told)
        self.state = self.grow(self.state, told, verdict)
        self.refusals += [(fact.writer, fact.seq, one.code) for one in verdict.rejections]
        if isinstance(verdict.accepted, MetricsLogged):
            for block in verdict.accepted.blocks:
                self.points += points_of(block)
        if isinstance(verdict.accepted, ArtifactLogged):
            content = (verdict.accepted.sha256 or "")[:1]
            self.contents.setdefault(verdict.accepted.name, []).append(content)
        if isinstance(verdict.accepted, TagsSet):
            removed = dict.fromkeys(verdict.accepted.removed)
            self.tags = {**self.tags, **verdict.accepted.tags, **removed}
