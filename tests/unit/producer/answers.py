"""Answers of the service as it gives them, for tests that ask none; each call makes a new one."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from trialog.client import Client
from trialog.settings import Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trialog.answers import (
        ArtifactAnswer,
        ExperimentAnswer,
        RejectionAnswer,
        RunAnswer,
        SummaryAnswer,
    )
    from trialog.settings import Endpoint

URL = "http://service:7788"
CREATED = "2026-03-01T12:00:00.000001+00:00"


def endpoint_in(spool_dir: Path, api_key: str | None = None) -> Endpoint:
    """Return an endpoint whose service is not there."""
    return Session(url=URL, api_key=api_key, spool_dir=spool_dir).resolve({})


def experiment_answer(name: str = "e", **changed: object) -> ExperimentAnswer:
    """Return an experiment."""
    answer: ExperimentAnswer = {
        "experiment_id": "ab" * 16,
        "number": 7,
        "experiment_name": name,
        "experiment_arn": f"arn:trialog:experiment/default/{'ab' * 16}",
        "description": None,
        "tags": {"team": "red"},
        "creation_time": CREATED,
        "created_by": {"user": "me", "host": "here"},
        "last_modified_time": CREATED,
        "last_modified_by": {"user": "you", "host": "there"},
        "run_count": 3,
    }
    return {**answer, **changed}  # type: ignore[typeddict-item]


def run_answer(name: str = "r", **changed: object) -> RunAnswer:
    """Return a run that has ended."""
    run_id = uuid.uuid4().hex
    answer: RunAnswer = {
        "run_id": run_id,
        "run_name": name,
        "run_arn": f"arn:trialog:run/default/{run_id}",
        "experiment_id": "ab" * 16,
        "experiment_name": "e",
        "status": "Completed",
        "is_stale": False,
        "failure_message": None,
        "creation_time": CREATED,
        "start_time": CREATED,
        "end_time": CREATED,
        "last_event_time": CREATED,
        "parent_run_id": None,
        "parent_run_name": None,
        "created_by": {"user": "me", "host": "here"},
        "tags": {},
        "parameters": {},
        "metrics": {},
        "artifacts": [],
        "rejected_count": 0,
        "missing_count": 0,
        "points": 0,
        "limits": None,
    }
    return {**answer, **changed}  # type: ignore[typeddict-item]


def summary_answer(last: float | str, **changed: object) -> SummaryAnswer:
    """Return what a metric of one point comes to."""
    answer: SummaryAnswer = {
        "last": last,
        "min": last,
        "max": last,
        "mean": last,
        "count": 1,
        "last_step": 0,
    }
    return {**answer, **changed}  # type: ignore[typeddict-item]


def artifact_answer(name: str = "notes", **changed: object) -> ArtifactAnswer:
    """Return a text artifact."""
    answer: ArtifactAnswer = {
        "name": name,
        "version": 1,
        "kind": "artifact",
        "media_type": "text/plain",
        "size": 4,
        "sha256": "aa" * 32,
        "is_output": True,
        "uri": None,
        "model": None,
        "time": CREATED,
    }
    return {**answer, **changed}  # type: ignore[typeddict-item]


def rejection_answer(code: str = "param_immutable", **changed: object) -> RejectionAnswer:
    """Return a refusal."""
    answer: RejectionAnswer = {
        "writer_id": "01" * 16,
        "seq": 1,
        "code": code,
        "message": "parameter 'lr' is already 1",
        "name": "lr",
        "value": "2",
        "facts": {"limit": 1},
        "time": CREATED,
        "position": "events:0:0",
    }
    return {**answer, **changed}  # type: ignore[typeddict-item]


@dataclass(frozen=True)
class Asked:
    """One request as it was sent."""

    method: str
    url: str
    body: bytes | None
    headers: dict[str, str]


@dataclass
class Answering:
    """Answers requests one after the other and keeps what was asked.

    Args:
        answers: status and body of each request; a body that is no bytes is sent as JSON, an
            exception is raised.
    """

    answers: list[tuple[int, object] | Exception]
    asked: list[Asked] = field(default_factory=list)

    def request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Answer one request."""
        self.asked.append(Asked(method, url, body, dict(headers)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        return status, content if isinstance(content, bytes) else orjson.dumps(content)

    def client(self, endpoint: Endpoint) -> Client:
        """Return a client whose service this is."""
        return Client(endpoint, self.request)
