"""The frozen values a run's attributes consist of, made of the service's answers; must not ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from trialog.client import number

if TYPE_CHECKING:
    from trialog.answers import ArtifactAnswer, SummaryAnswer


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """What a metric's series comes to.

    Args:
        last: value of the point with the highest step; of several, of the one that arrived last.
        min, max, mean: over all values that are no NaN; NaN when there is none.
        count: points, NaN ones included.
        last_step: the step of `last`, None when it has none.
    """

    last: float
    min: float
    max: float
    mean: float
    count: int
    last_step: int | None

    @classmethod
    def of(cls, answer: SummaryAnswer) -> MetricSummary:
        """Return the summary that the service tells."""
        return cls(
            number(answer["last"]),
            number(answer["min"]),
            number(answer["max"]),
            number(answer["mean"]),
            answer["count"],
            answer["last_step"],
        )


@dataclass(frozen=True, slots=True)
class Artifact:
    """The newest version of an artifact; a model has a `uri` and what was said of it, no bytes.

    Args:
        name: the name it was logged under.
        version: 1 for the first content of this name, 2 for the next.
        kind: `artifact` (text), `file` or `model`.
        media_type: for example `text/plain`.
        size, sha256: of its bytes; None for a model.
        is_output: whether the run made it, or used it.
        uri: a model's address, None for others.
        model_type, framework, framework_version: what `log_model` said.
    """

    name: str
    version: int
    kind: str
    media_type: str | None
    size: int | None
    sha256: str | None
    is_output: bool
    uri: str | None
    model_type: str | None = None
    framework: str | None = None
    framework_version: str | None = None

    @classmethod
    def of(cls, answer: ArtifactAnswer) -> Artifact:
        """Return the artifact that the service tells."""
        model = answer["model"] or {}
        return cls(
            name=answer["name"],
            version=answer["version"],
            kind=answer["kind"],
            media_type=answer["media_type"],
            size=answer["size"],
            sha256=answer["sha256"],
            is_output=answer["is_output"],
            uri=answer["uri"],
            model_type=model.get("model_type"),
            framework=model.get("framework"),
            framework_version=model.get("framework_version"),
        )


def time_of(text: str | None) -> datetime | None:
    """Return a time of an answer; nothing is None."""
    return datetime.fromisoformat(text) if text else None
