"""Programs that were written for SageMaker Experiments: its names and positions, on each log."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.bulk import run_commands, runs_created

if TYPE_CHECKING:
    from collections.abc import Callable


# B1
def test_snippet_with_sagemakers_names_runs_as_it_is(
    session: trialog.Session, experiment_name: str
) -> None:
    """`sagemaker_session` is taken wherever a session is, by position or by keyword."""
    made = trialog.Experiment.create(experiment_name, "ported", sagemaker_session=session)
    assert trialog.Experiment.load(experiment_name, sagemaker_session=session) == made
    listed = trialog.Experiment.list(max_results=1, sagemaker_session=session)
    assert [one.experiment_name for one in listed] == [experiment_name]

    with trialog.Run(
        experiment_name=experiment_name,
        run_name="by-keyword",
        sagemaker_session=session,
        tags=[{"Key": "a", "Value": "b"}],
    ) as run:
        run.log_parameter("optimizer", "adam")
        assert trialog.load_run(sagemaker_session=session).run_name == "by-keyword"
    with trialog.Run(experiment_name, "by-position", session) as other:
        other.log_metric(name="loss", value=0.5, step=1)
    for one in (run, other):
        one.wait(30)
    with trialog.load_run(
        experiment_name=experiment_name, run_name="by-position", sagemaker_session=session
    ) as again:
        again.log_metric("loss", 0.25, 2)
    again.wait(30)

    runs = trialog.Run.list(
        experiment_name, sort_by="Name", sort_order="Ascending", sagemaker_session=session
    )
    assert [(one.run_name, one.status) for one in runs] == [
        ("by-keyword", "Completed"),
        ("by-position", "Completed"),
    ]
    assert (runs[0].parameters, runs[0].tags) == ({"optimizer": "adam"}, {"a": "b"})
    frame = trialog.compare(experiment_name, sagemaker_session=session)
    assert sorted(frame["run_name"]) == ["by-keyword", "by-position"]
    assert runs[1].metrics["loss"].last == 0.25


TAKING_A_SESSION: list[Callable[..., object]] = [
    trialog.Run,
    trialog.load_run,
    trialog.Experiment.create,
    trialog.Experiment.load,
    trialog.Experiment.list,
    trialog.Run.list,
    trialog.Run.iterate,
    trialog.list_runs,
    trialog.compare,
]


# B1
@pytest.mark.parametrize("call", TAKING_A_SESSION, ids=lambda call: call.__qualname__)
def test_keyword_that_is_not_known_raises_type_error(call: Callable[..., object]) -> None:
    """A slip in a keyword is never taken for something else; both sessions are one too many."""
    names = {"experiment_name", "run_name"} & set(inspect.signature(call).parameters)
    given = dict.fromkeys(names, "e")
    nowhere = trialog.Session(url="http://127.0.0.1:9")
    with pytest.raises(TypeError, match="sagemaker_sesion"):
        call(**given, sagemaker_sesion=nowhere)
    with pytest.raises(TypeError, match="both given"):
        call(**given, session=nowhere, sagemaker_session=nowhere)


# A8 F1 F4
def test_list_runs_gives_all_of_an_experiment_in_the_order_of_its_enums(
    session: trialog.Session, experiment_name: str
) -> None:
    """SageMaker's function and enums: no page is asked for by hand; a number of runs is a cap."""
    names = [f"run-{number:03}" for number in range(101)]
    assert run_commands(session, runs_created(experiment_name, names)) == []
    ascending = trialog.list_runs(
        experiment_name=experiment_name,
        sort_by=trialog.SortByType.NAME,
        sort_order=trialog.SortOrderType.ASCENDING,
        sagemaker_session=session,
    )
    assert [one.run_name for one in ascending] == names
    newest = trialog.list_runs(experiment_name, session=session)
    assert sorted(one.run_name for one in newest) == names
    assert len(trialog.list_runs(experiment_name, max_results=3, session=session)) == 3
    by_name = trialog.Run.list(experiment_name, trialog.SortByType.NAME, session=session)
    assert by_name[0].run_name == names[-1]
    for wrong in (0, -1, True, "5"):
        with pytest.raises(trialog.ValidationError, match="whole numbers from 1 on"):
            trialog.list_runs(experiment_name, max_results=wrong, session=session)  # type: ignore[arg-type]
    with pytest.raises(trialog.ValidationError, match="allowed are CreationTime, Name"):
        trialog.list_runs(experiment_name, "Status", session=session)


# B2
def test_runs_without_a_name_have_10_000_different_ones_with_the_time() -> None:
    """Each is a legal name that has the UTC time of its making, however many a second has."""
    nowhere = trialog.Session(url="http://127.0.0.1:9")
    before = datetime.now(UTC).replace(microsecond=0)
    made = [trialog.Run("exp", session=nowhere).run_name for _ in range(10_000)]
    after = datetime.now(UTC)
    assert len(set(made)) == 10_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,120}", name) for name in made)
    for name in (made[0], made[-1]):
        told = re.search(r"\d{8}-\d{6}", name)
        assert told is not None
        at = datetime.strptime(told[0], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        assert before <= at <= after


# B2
def test_run_without_a_name_is_entered_under_its_generated_one(
    session: trialog.Session, experiment_name: str
) -> None:
    """The name that the constructor made is the one that the service has."""
    run = trialog.Run(experiment_name, session=session)
    made = run.run_name
    with run:
        pass
    run.wait(30)
    (listed,) = trialog.Run.list(experiment_name, session=session)
    assert listed.run_name == run.run_name == made
    assert listed.creation_time is not None
    told = re.search(r"\d{8}-\d{6}", made)
    assert told is not None
    at = datetime.strptime(told[0], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert abs(listed.creation_time - at) < timedelta(seconds=30)
