"""What the recorder puts into the corpus: events of every type as this release writes them.

A case is recorded once, in the version of its day, and never again: to change one here changes
nothing of what is recorded. A new version, field or value wants new cases.
"""

from __future__ import annotations

import struct

from trialog_schemas.events import (
    ArtifactLogged,
    Body,
    CallRefused,
    ExperimentCreated,
    ExperimentDeleted,
    LongBlock,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    RunCreated,
    RunDeleted,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
    WideBlock,
)
from trialog_schemas.limits import Limits
from trialog_schemas.names import ParameterValue

AT_US = 1_764_150_000_123_456
EXPERIMENT, RUN, PARENT = "0190" + "ee" * 14, "0190" + "ab" * 14, "0190" + "cd" * 14

_BITS = (
    0x7FF8000000000000,  # NaN
    0xFFF8000000000001,  # a NaN with a sign and a payload
    0x7FF0000000000000,  # infinity
    0xFFF0000000000000,  # minus infinity
    0x8000000000000000,  # minus zero
    0x0000000000000001,  # the smallest number above zero
    0x7FEFFFFFFFFFFFFF,  # the largest number
    0x3FB999999999999A,  # 0.1
)
"""Values that a writer or a reader may get wrong."""


def _wide(names: tuple[str, ...], rows: int) -> WideBlock:
    """Return a block of calls whose values are quarters."""
    cells = len(names) * rows
    return WideBlock(
        names,
        rows,
        struct.pack(f"<{rows}q", *range(rows)),
        struct.pack(f"<{rows}q", *(AT_US + 1000 * row for row in range(rows))),
        struct.pack(f"<{cells}d", *(cell / 4 for cell in range(cells))),
    )


def _long(names: tuple[str, ...], rows: int) -> LongBlock:
    """Return a block of single points, the first ones without a step."""
    return LongBlock(
        names,
        rows,
        struct.pack(f"<{rows}I", *(row % len(names) for row in range(rows))),
        struct.pack(f"<{rows}q", *(row - 1 if row < 2 else 2**62 + row for row in range(rows))),
        struct.pack(f"<{rows}q", *(AT_US + row for row in range(rows))),
        struct.pack(f"<{rows}Q", *(_BITS[row % len(_BITS)] for row in range(rows))),
    )


_EVERY_KIND_OF_VALUE: dict[str, ParameterValue] = {
    "flag": True,
    "none": None,
    "whole": 2**63 - 1,
    "huge": 2**64 - 1,
    "negative": -(2**63),
    "real": 0.1,
    "whole real": 1.0,
    "text": 'é 学 \U0001f600 "quoted" \\ \n',
    "nested": [1, {"x": ["y", None, 2.5]}, []],
}

CASES: dict[str, list[Body]] = {
    "experiment": [ExperimentCreated(EXPERIMENT, "digits")],
    "experiment with everything": [
        ExperimentCreated(EXPERIMENT, "digits-2", "hand-written digits", {"team": "vision"}, 9)
    ],
    "experiment deleted": [ExperimentDeleted(EXPERIMENT)],
    "run": [RunCreated(RUN, "digits", "first", EXPERIMENT)],
    "run that keeps its name": [
        RunCreated(RUN, "digits", "first", EXPERIMENT, "keep", {"by": "ada"}, PARENT, 9)
    ],
    "run that shares its name": [RunCreated(RUN, "digits", "first", EXPERIMENT, "share")],
    "run deleted": [RunDeleted(RUN)],
    "started": [RunStarted("digits", "first", host="forge", pid=4711)],
    "started under another policy": [
        RunStarted("digits", "first", Limits(5, 6, 7, 8, 9, 10), 1, "forge", 1)
    ],
    "resumed": [RunResumed("forge", 4712)],
    "joined": [RunJoined("forge-2", 4713)],
    "completed": [RunEnded("Completed")],
    "failed in a joined process": [RunEnded("Failed", "ValueError: boom", is_owner=False)],
    "parameters": [ParametersLogged(_EVERY_KIND_OF_VALUE)],
    "many parameters": [
        ParametersLogged({f"layer_{number}": number / 8 for number in range(60)}),
    ],
    "wide block": [MetricsLogged((_wide(("loss", "acc"), 3),))],
    "long block": [MetricsLogged((_long(("loss",), len(_BITS)),))],
    "blocks one after the other": [
        MetricsLogged((_wide(("train/loss", "train/acc", "µ"), 40), _long(("a", "b"), 20)))
    ],
    "file": [ArtifactLogged("plot", "file", "image/png", sha256="ab" * 32, size=5)],
    "input": [
        ArtifactLogged("data", "artifact", "text/csv", is_output=False, sha256="cd" * 32, size=0)
    ],
    "model": [
        ArtifactLogged(
            "net",
            "model",
            "application/x-model",
            uri="s3://bucket/net",
            model=ModelInfo("classifier", "torch", "2.9"),
        )
    ],
    "tags": [TagsSet({"stage": "done", "é": ""}, ("old", "older"))],
    "refused call": [CallRefused("param_limit", "parameter 'p' is one too many", "p", "1")],
    "refused calls": [
        CallRefused(
            "tag_limit", "tag 'k' is one too many", "k", "v", {"limit": 50, "calls": 8, "is": "x"}
        )
    ],
    "a whole run": [
        RunStarted("digits", "whole", host="forge", pid=1),
        ParametersLogged({"lr": 0.1}),
        MetricsLogged((_wide(("loss",), 30),)),
        ArtifactLogged("plot", "artifact", "application/json", sha256="ef" * 32, size=77),
        TagsSet({"stage": "done"}),
        CallRefused("artifact_limit", "artifact 'a' is one too many", "a"),
        RunEnded("Completed"),
    ],
    "two commands in one record": [
        ExperimentCreated(EXPERIMENT, "digits"),
        RunCreated(RUN, "digits", "first", EXPERIMENT),
    ],
}
"""By name; a case is kept in the file of its first event's type."""
