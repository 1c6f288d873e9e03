"""A wrong name that resembles a right one: every call that takes a name or a choice tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG

if TYPE_CHECKING:
    from collections.abc import Callable


# A6 A8 B7 D15 E1
@ON_ONE_LOG
def test_near_miss_of_every_name_and_choice_is_told(
    session: trialog.Session, experiment_name: str
) -> None:
    """Experiments, runs, metrics, artifacts, sort fields, orders, and the words of filters."""
    with trialog.Run(experiment_name, "baseline", session) as run:
        run.log_metrics({"validation:accuracy": 0.5} | {f"layer/{n}": 0.0 for n in range(300)})
        run.log_artifact("confusion-matrix", "text")
    run.wait(30)
    (listed,) = trialog.Run.list(experiment_name, session=session)
    cut = experiment_name[:-1]
    calls: dict[str, list[Callable[[], object]]] = {
        experiment_name: [
            lambda: trialog.Experiment.load(cut, session),
            lambda: trialog.Run.list(cut, session=session),
            lambda: trialog.list_runs(cut, session=session),
            lambda: trialog.compare(cut, session=session),
            lambda: trialog.load_run(cut, "baseline", session),
        ],
        "baseline": [
            lambda: trialog.load_run(experiment_name, "base-line", session),
            lambda: trialog.load_run(experiment_name, "BASELINE", session),
        ],
        "validation:accuracy": [
            lambda: run.metric_series("validation:acuracy"),
            lambda: listed.metric_series("validation:Accuracy"),
        ],
        "layer/299": [lambda: listed.metric_series("layer/2999")],
        "confusion-matrix": [
            lambda: run.read_artifact("confusion_matrix"),
            lambda: listed.read_artifact("confusion-matrx"),
        ],
        "CreationTime": [
            lambda: trialog.Run.list(experiment_name, "creation_time", session=session),
            lambda: trialog.Run.iterate(experiment_name, "CREATIONTIME", session=session),
            lambda: trialog.Experiment.list("CreatonTime", session=session),
        ],
        "Ascending": [
            lambda: trialog.Run.list(experiment_name, "Name", "ascending", session=session),
            lambda: trialog.Experiment.list("Name", "Asending", session=session),
        ],
        "status": [lambda: trialog.compare(experiment_name, "statis = 'Failed'", session=session)],
        "Failed": [lambda: trialog.compare(experiment_name, "status = 'failed'", session=session)],
        "metric": [
            lambda: trialog.compare(experiment_name, order_by="metrik.loss", session=session)
        ],
        "mean": [lambda: trialog.compare(experiment_name, "metrics.`a`.meen > 1", session=session)],
    }
    for name, wrong in calls.items():
        for call in wrong:
            with pytest.raises(trialog.ClientError) as caught:
                call()
            assert caught.value.message.endswith(f"; did you mean {name!r}?"), caught.value.message
            assert caught.value.field
            assert caught.value.value
    with pytest.raises(trialog.ResourceNotFoundError, match="has no metric 'zzz'; the metrics it"):
        run.metric_series("zzz")
    with pytest.raises(
        trialog.ResourceNotFoundError, match="no artifact 'zzz'; list its artifacts"
    ):
        run.read_artifact("zzz")
