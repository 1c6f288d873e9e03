"""What the audit view shows of an event: everything it says, but for a metric's points."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.unit.consumer.project_writers import EXPERIMENT, RUN, long, run_created, wide
from trialog_schemas.events import (
    TYPE_NAMES,
    ArtifactLogged,
    CallRefused,
    ExperimentCreated,
    ExperimentDeleted,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    RunDeleted,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
    WideBlock,
)
from trialog_server.read.run_events import describe_body

if TYPE_CHECKING:
    from trialog_schemas.events import Body

BODIES: list[Body] = [
    ExperimentCreated(EXPERIMENT, "digits", "about", {"team": "red"}),
    ExperimentDeleted(EXPERIMENT),
    run_created(tags={"a": "b"}),
    RunDeleted(RUN),
    RunStarted("digits", "first"),
    RunResumed(),
    RunJoined(),
    RunEnded("Failed", "out of memory"),
    ParametersLogged({"lr": 0.1, "layers": [1, 2], "none": None}),
    MetricsLogged((wide(("loss", "acc"), [[1.0, 2.0]]),)),
    ArtifactLogged("notes", "artifact", "text/plain", sha256="ab" * 32, size=5),
    ArtifactLogged("net", "model", "", uri="s3://b/net", model=ModelInfo("mlp", None, None)),
    TagsSet({"a": "1"}, ("b",)),
    CallRefused("param_limit", "too many", "p", "1", {"limit": 300}),
]


# K7
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_describe_body_is_plain_json(body: Body) -> None:
    """Whatever an event says can be shown by any client."""
    described = describe_body(body)
    assert json.loads(orjson.dumps(described)).keys() == described.keys()


def test_describe_body_is_tried_for_every_type() -> None:
    """A new type of event must be shown as well."""
    tried = {type(body) for body in BODIES}
    assert {name for kind, name in TYPE_NAMES.items() if kind not in tried} == set()


def test_describe_body_shows_what_was_given() -> None:
    """Parameters, failures and models are shown as they were logged, before any rule."""
    assert describe_body(ParametersLogged({"lr": 0.1})) == {"parameters": {"lr": 0.1}}
    assert describe_body(RunEnded("Failed", "x"))["failure_message"] == "x"
    net = ArtifactLogged("net", "model", "", uri="s3://b/net", model=ModelInfo("mlp", None, None))
    model = describe_body(net)["model"]
    assert model == {"model_type": "mlp", "framework": None, "framework_version": None}


def test_describe_body_of_metrics_counts_and_frames_them() -> None:
    """Of half a million points the view shows names, number, first and last step."""
    described = describe_body(
        MetricsLogged((
            wide(("loss", "acc"), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], step=7),
            long([("m", -1, 0.5), ("n", 3, 0.25)]),
        ))
    )  # fmt: skip

    assert described == {
        "points": 8,
        "blocks": [
            {"names": ["loss", "acc"], "points": 6, "step_first": 7, "step_last": 9},
            {"names": ["m", "n"], "points": 2, "step_first": -1, "step_last": 3},
        ],
    }


def test_describe_body_of_an_empty_block_has_no_steps() -> None:
    """A block without rows is legal and has neither a first nor a last step."""
    described = describe_body(MetricsLogged((WideBlock(("m",), 0, b"", b"", struct.pack("<")),)))
    assert described["blocks"] == [
        {"names": ["m"], "points": 0, "step_first": None, "step_last": None}
    ]
