"""Bad input through the SDK: every call that cannot be, in one run on the real service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import trialog
from tests.acceptance.bad_calls import LOG_CALLS, QUESTIONS, BadCall
from tests.unit.schemas.hostile_objects import Mapped, RaisingText, Tensor, Word

if TYPE_CHECKING:
    from collections.abc import Callable


def refuse(bad: BadCall, run: trialog.Run, session: trialog.Session) -> None:
    """Hold the error of one call against what every error of a call must be."""
    with pytest.raises(trialog.ClientError) as caught:
        bad.call(run, session)
    error = caught.value
    assert (type(error), error.field) == (bad.kind, bad.field)
    assert error.response["Error"] == {"Code": "ValidationException", "Message": str(error)}
    assert str(error).isprintable()
    assert len(str(error)) < 500
    assert error.limit
    assert len(error.value or "") <= 80


# C2 C3 D2 D6 D8 A2 A8 A9 E4
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element")
def test_calls_that_cannot_be_leave_the_run_as_the_good_ones_make_it(
    session: trialog.Session, experiment_name: str
) -> None:
    """Between a hundred refused calls every good one arrives, exactly once, and nothing else."""
    bad_calls = [*LOG_CALLS, *QUESTIONS]
    with trialog.Run(experiment_name, "one", session, tags={"good": "kept"}) as run:
        for number, bad in enumerate(bad_calls):
            run.log_metric("good", number, number)
            refuse(bad, run, session)
            run.log_metrics({"row": number / 2, "wide": -number}, step=number)
            run.log_parameter(f"p{number}", number)
        run.log_parameter("good", [1, "two"])
        run.log_artifact("notes", "the end")
    run.wait()
    count = len(bad_calls)
    assert run.status == "Completed"
    assert run.rejections == []
    assert run.tags == {"good": "kept"}
    assert run.parameters == {"good": [1, "two"], **{f"p{at}": at for at in range(count)}}
    assert {name: one.count for name, one in run.metrics.items()} == dict.fromkeys(
        ("good", "row", "wide"), count
    )
    assert run.metric_series("good")["value"] == list(range(count))
    assert run.metric_series("good")["step"] == list(range(count))
    assert run.metric_series("row")["value"] == [at / 2 for at in range(count)]
    assert [artifact.name for artifact in run.artifacts] == ["notes"]
    assert [one.run_name for one in trialog.Run.list(experiment_name, session=session)] == ["one"]


# C2 D6 D8
def test_values_of_other_libraries_arrive_as_plain_ones(
    session: trialog.Session, experiment_name: str
) -> None:
    """Subclasses of texts, numpy's and tensors' numbers, and mappings that can be read once."""
    once = iter([("once", Tensor(0.25)), (Word.RATE, np.float16(0.5))])
    calls: list[Callable[[Any], None]] = [
        lambda run: run.log_metric(Word.LOSS, Tensor(0.5), np.int8(1)),
        lambda run: run.log_metric(np.str_("loss"), np.array(0.25), Tensor(2, "torch.int64")),
        lambda run: run.log_metric(RaisingText("loss"), True, np.uint64(3)),
        lambda run: run.log_metrics(Mapped(lambda: once), np.array(4)),
        lambda run: run.log_parameters(Mapped(lambda: iter([(Word.RATE, np.int64(3))]))),
        lambda run: run.log_parameter(RaisingText("word"), RaisingText("text")),
        lambda run: run.set_tags({Word.LOSS: np.str_("v")}, removed=(key for key in ["old"])),
        lambda run: run.log_artifact(np.str_("a"), RaisingText("text"), RaisingText("text/plain")),
    ]
    with trialog.Run(experiment_name, "one", session, tags={"old": ""}) as run:
        for call in calls:
            call(run)
    run.wait()
    assert run.metric_series("loss")["value"] == [0.5, 0.25, 1.0]
    assert run.metric_series("loss")["step"] == [1, 2, 3]
    assert {name: one.last for name, one in run.metrics.items()} == {
        "loss": 1.0, "once": 0.25, "rate": 0.5,
    }  # fmt: skip
    assert run.parameters == {"rate": 3, "word": "text"}
    assert run.tags == {"loss": "v"}
    assert run.read_artifact("a") == b"text"
    assert run.rejections == []
