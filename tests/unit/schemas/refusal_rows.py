"""The sentences that the rules' refusals have, each with what provokes it and its four parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.schemas.factories import SHA, artifact, event, long, wide
from tests.unit.schemas.message_rows import Row
from trialog_schemas.catalog_rules import CatalogState, decide_catalog, evolve_catalog
from trialog_schemas.events import (
    DROPPED_TAG,
    ArtifactLogged,
    Body,
    CallRefused,
    ExperimentCreated,
    ExperimentDeleted,
    MetricsLogged,
    ParametersLogged,
    Rejection,
    RunCreated,
    RunDeleted,
    TagsSet,
)
from trialog_schemas.limits import Limits
from trialog_schemas.rules import RunState, decide_body, evolve_body

if TYPE_CHECKING:
    from collections.abc import Callable

E1, E2, R1, R2 = "e1" * 16, "e2" * 16, "a1" * 16, "b2" * 16
FEW = RunState(limits=Limits(parameters_max=1, points_max=1, artifacts_max=1, artifact_bytes_max=9))


def refusal(*bodies: Body, state: RunState = FEW) -> Callable[[], Rejection]:
    """Return what the rules say of the last body after the others."""

    def judge() -> Rejection:
        now = state
        for body in bodies[:-1]:
            now = evolve_body(now, decide_body(now, body))
        (rejection,) = decide_body(now, bodies[-1]).rejections
        return rejection

    return judge


def catalog_refusal(*bodies: Body) -> Callable[[], Rejection]:
    """Return what the catalog says of the last body after the others."""

    def judge() -> Rejection:
        state = CatalogState()
        for body in bodies[:-1]:
            state = evolve_catalog(state, decide_catalog(state, event(body)))
        (rejection,) = decide_catalog(state, event(bodies[-1])).rejections
        return rejection

    return judge


REFUSALS = [
    Row(
        refusal(ParametersLogged({"lr": 0.1}), ParametersLogged({"lr": 0.2})),
        "param_immutable",
        "parameter 'lr'",
        "0.2",
        "already 0.1",
        "log it under another name",
    ),
    Row(
        refusal(ParametersLogged({"a": 1}), ParametersLogged({"b": 2})),
        "param_limit",
        "parameter 'b'",
        "2",
        "has 1 parameters and that is the limit",
        "put several values into one parameter or an artifact",
    ),
    Row(
        refusal(ParametersLogged({"a\n": 2})),
        "invalid",
        "parameter name",
        r"'a\n'",
        "letters, digits",
        "replace it",
    ),
    Row(
        refusal(MetricsLogged((long(3),))),
        "point_limit",
        "points are refused",
        "2 points",
        "reached 1 points and that is the limit",
        "log less often or start another run",
    ),
    Row(
        refusal(MetricsLogged((wide(1, step=-7),))),
        "invalid",
        "step",
        "-7",
        "0 to 2**63-1",
        "give such a number or None",
    ),
    Row(
        refusal(MetricsLogged((long(1, at_us=2**62),))),
        "invalid",
        "time",
        str(2**62),
        "the years 1 to 9999",
        "give microseconds since the epoch",
    ),
    Row(
        refusal(MetricsLogged((wide(1, ("a\n",)),))),
        "invalid",
        "metric name",
        r"'a\n'",
        "cannot be printed",
        "remove it",
    ),
    Row(
        refusal(artifact("a"), artifact("b")),
        "artifact_limit",
        "artifact 'b'",
        "'b'",
        "has 1 artifacts and that is the limit",
        "log a new version of one of them or put several into an archive",
    ),
    Row(
        refusal(artifact("a", size=10)),
        "artifact_size",
        "artifact 'a'",
        "10 bytes",
        "allowed are 9",
        "store it elsewhere and log its address",
    ),
    Row(
        refusal(artifact("a", "ff")),
        "invalid",
        "artifact 'a'",
        "'ff'",
        "no SHA-256 of 64 lower-case hex digits",
        "give the one of its bytes",
    ),
    Row(
        refusal(ArtifactLogged("a", "file", "a/b", sha256=SHA, size=None)),
        "invalid",
        "artifact 'a'",
        "the size None",
        "no number of bytes from 0 on",
        "give the length of its content",
    ),
    Row(
        refusal(ArtifactLogged("a", "model", "a/b", uri="m.pt")),
        "invalid",
        "model_data_uri",
        "'m.pt'",
        "no scheme",
        "write it like",
    ),
    Row(refusal(TagsSet({"": "v"})), "invalid", "tag key", "''", "1 to 128", "shorten or fill it"),
    Row(
        refusal(TagsSet({}, ("x" * 129,))),
        "invalid",
        "tag key",
        "has 129 characters",
        "1 to 128",
        "shorten or fill it",
    ),
    Row(
        refusal(TagsSet({f"k{at}": "v" for at in range(50)}), TagsSet({"one more": "v"})),
        "tag_limit",
        "tag 'one more'",
        "'v'",
        "has 50 tags and that is the limit",
        "remove one",
    ),
    Row(
        refusal(TagsSet({DROPPED_TAG: "many"})),
        "invalid",
        "tag trialog.dropped_calls",
        "'many'",
        "no number of up to 18 digits",
        "leave this tag to trialog",
    ),
    Row(
        refusal(CallRefused("of_my_own", "no")),
        "invalid",
        "refused call",
        "'of_my_own'",
        "allowed are artifact_limit, artifact_size, invalid, param_immutable, param_limit",
        "give one of them",
    ),
]

_R1 = RunCreated(R1, "exp", "r", E1)
CATALOG_REFUSALS = [
    Row(
        catalog_refusal(ExperimentCreated(E1, "a b")),
        "invalid",
        "experiment name",
        "'a b'",
        "A-Z a-z 0-9 - _",
        "replace it by one of these",
    ),
    Row(
        catalog_refusal(ExperimentCreated(E1, "exp"), ExperimentCreated(E2, "exp")),
        "experiment_name_in_use",
        "experiment",
        "'exp'",
        "exists already",
        "load it or choose another name",
    ),
    Row(
        catalog_refusal(ExperimentCreated(E1, "exp", experiments_max=0)),
        "experiment_limit",
        "experiment",
        "'exp'",
        "0 live experiments and that is the limit",
        "delete one",
    ),
    Row(
        catalog_refusal(_R1, RunCreated(R2, "exp", "r", E2)),
        "run_name_in_use",
        "run",
        "'r'",
        "exists already in experiment 'exp'",
        "resume it or choose another name",
    ),
    Row(
        catalog_refusal(_R1, RunCreated(R2, "exp", "r", E2, "keep")),
        "run_name_in_use",
        "run name",
        "'r'",
        "was taken when this run arrived",
        "it is kept as 'r-b2b2b2'",
    ),
    Row(
        catalog_refusal(_R1, RunCreated(R2, "other", "r", E1)),
        "invalid",
        "experiment id",
        repr(E1),
        "is in use",
        "make another id",
    ),
    Row(
        catalog_refusal(_R1, ExperimentDeleted(E1)),
        "experiment_not_empty",
        "experiment 'exp'",
        "1 runs",
        "has 1 runs",
        "delete them first",
    ),
    Row(
        catalog_refusal(ExperimentDeleted(E1)),
        "experiment_not_found",
        "experiment",
        repr(E1),
        "does not exist, or no more",
        "list the experiments there are",
    ),
    Row(
        catalog_refusal(RunDeleted(R1)),
        "run_not_found",
        "run",
        repr(R1),
        "does not exist, or no more",
        "list the runs there are",
    ),
    Row(
        catalog_refusal(TagsSet({"k": "v"})),
        "invalid",
        "event",
        "'tags_set'",
        "none of the catalog",
        "send it to its run's partition",
    ),
]
