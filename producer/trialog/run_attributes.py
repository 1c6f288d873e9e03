"""What the service says of a run, as attributes; must not ask for anything.

Apart from `RunView`, which also asks: one class for both would have no room for either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.run_values import Artifact, MetricSummary, time_of

if TYPE_CHECKING:
    from datetime import datetime

    from trialog.answers import RunAnswer
    from trialog_schemas.names import ParameterValue


class RunAttributes:
    """The attributes of a run, out of one answer of the service."""

    def __init__(self, answer: RunAnswer) -> None:
        self._answer = answer

    def _described(self) -> RunAnswer:
        """Return what is known of the run; a live handle asks anew."""
        return self._answer

    @property
    def run_name(self) -> str:
        """The name; unique among the live runs of its experiment."""
        return self._answer["run_name"]

    @property
    def experiment_name(self) -> str:
        """The name of the run's experiment."""
        return self._answer["experiment_name"]

    @property
    def run_id(self) -> str:
        """The id: 32 hex digits."""
        return self._answer["run_id"]

    @property
    def run_arn(self) -> str:
        """The resource name, unique for good."""
        return self._answer["run_arn"]

    @property
    def status(self) -> str | None:
        """None before the run is entered, then InProgress, Completed or Failed."""
        return self._described()["status"] or None

    @property
    def is_stale(self) -> bool:
        """Whether the run is in progress and had been silent for long when the service was asked.

        Its process may have died. How long is the service's setting, an hour unless it says
        otherwise; the next event makes it False again.
        """
        return self._described()["is_stale"]

    @property
    def failure_message(self) -> str | None:
        """Why the run failed, at most 1024 characters; None if it did not."""
        return self._described()["failure_message"]

    @property
    def creation_time(self) -> datetime | None:
        """When the run was created, UTC; None before it is entered."""
        return time_of(self._described()["creation_time"])

    @property
    def start_time(self) -> datetime | None:
        """When the run was first entered, UTC; resuming does not change it."""
        return time_of(self._described()["start_time"])

    @property
    def end_time(self) -> datetime | None:
        """When the run ended, UTC; None while it is in progress."""
        return time_of(self._described()["end_time"])

    @property
    def last_event_time(self) -> datetime | None:
        """When the log took the run's newest event, UTC; None before it is entered."""
        return time_of(self._described()["last_event_time"])

    @property
    def parent_run_name(self) -> str | None:
        """The name of the run inside whose block this one was first entered, or None."""
        return self._described()["parent_run_name"]

    @property
    def tags(self) -> dict[str, str]:
        """The tags, key to value."""
        return dict(self._described()["tags"])

    @property
    def parameters(self) -> dict[str, ParameterValue]:
        """The parameters, name to value with its type."""
        return dict(self._described()["parameters"])

    @property
    def metrics(self) -> dict[str, MetricSummary]:
        """What each metric's series comes to, by name."""
        metrics = self._described()["metrics"]
        return {name: MetricSummary.of(summary) for name, summary in metrics.items()}

    @property
    def artifacts(self) -> list[Artifact]:
        """The newest version of each artifact, files and models included, in order of name."""
        return [Artifact.of(artifact) for artifact in self._described()["artifacts"]]
