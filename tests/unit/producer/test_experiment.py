"""An experiment as a value, and what is refused before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.unit.producer.answers import endpoint_in, experiment_answer
from trialog.experiment import check_page

if TYPE_CHECKING:
    from pathlib import Path

    from trialog.settings import Endpoint


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    """An endpoint whose service is not there."""
    return endpoint_in(tmp_path)


@pytest.fixture
def nobody(tmp_path: Path) -> trialog.Session:
    """A session on which nobody listens: what is refused here was not sent."""
    return trialog.Session(url="http://127.0.0.1:9", spool_dir=tmp_path)


# A1 A13
def test_experiment_has_what_the_service_said(endpoint: Endpoint) -> None:
    """Every attribute, with times in UTC."""
    made = trialog.Experiment(experiment_answer(description="what for"), endpoint)
    at = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
    assert (made.experiment_name, made.description, made.run_count) == ("e", "what for", 3)
    assert made.experiment_arn.endswith(made.experiment_id)
    assert (made.creation_time, made.last_modified_time) == (at, at)
    assert made.created_by == {"user": "me", "host": "here"}
    assert made.last_modified_by == {"user": "you", "host": "there"}
    assert made.tags == {"team": "red"}
    assert repr(made) == "Experiment('e', runs=3)"


# A12
@pytest.mark.parametrize("name", ["experiment_name", "description", "tags", "run_count"])
def test_attribute_of_an_experiment_cannot_be_set(endpoint: Endpoint, name: str) -> None:
    """There is no renaming."""
    made = trialog.Experiment(experiment_answer(), endpoint)
    with pytest.raises(AttributeError):
        setattr(made, name, "other")


def test_dicts_of_an_experiment_are_the_callers_own(endpoint: Endpoint) -> None:
    """Changing one changes nothing of the experiment."""
    made = trialog.Experiment(experiment_answer(), endpoint)
    for told in (made.tags, made.created_by, made.last_modified_by):
        told.clear()
    assert made.tags == {"team": "red"}
    assert made.created_by
    assert made.last_modified_by


# A6
def test_experiments_are_equal_when_the_service_said_the_same(endpoint: Endpoint) -> None:
    """Equal ones hash alike; one that has changed since is another value of the same thing."""
    one, same = (trialog.Experiment(experiment_answer(), endpoint) for _ in range(2))
    grown = trialog.Experiment(experiment_answer(run_count=4), endpoint)
    assert one == same
    assert hash(one) == hash(same) == hash(grown)
    assert one != grown
    assert one != "e"
    assert len({one, same}) == 1


# A2
@pytest.mark.parametrize("name", ["", "x" * 121, "a b", "a/b", "a.b", "é", "e\n", None, 7])
def test_illegal_name_is_refused_before_anything_is_sent(
    nobody: trialog.Session, name: object
) -> None:
    """In each question that has a name."""
    for ask in (trialog.Experiment.create, trialog.Experiment.load):
        with pytest.raises(ValueError, match="experiment"):
            ask(name, session=nobody)  # type: ignore[arg-type]


# A4 A5
def test_illegal_description_and_tags_are_refused_before_anything_is_sent(
    nobody: trialog.Session,
) -> None:
    """Nothing of such a call is recorded."""
    many = {str(number): "" for number in range(51)}
    twice = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    for wrong in ({"description": "x" * 3073}, {"tags": many}, {"tags": twice}):
        with pytest.raises(trialog.ValidationError):
            trialog.Experiment.create("e", session=nobody, **wrong)


# A2 A4 A5
def test_legal_call_reaches_for_the_service(nobody: trialog.Session) -> None:
    """At the limits themselves nothing is refused here; that nobody answers is said."""
    tags = {str(number): "" for number in range(50)}
    for name in ("x" * 120, "_", "-", "0"):
        with pytest.raises(trialog.UnavailableError, match=r"127\.0\.0\.1:9"):
            trialog.Experiment.create(name, "x" * 3072, tags, nobody)


# A8 A9
@pytest.mark.parametrize(
    ("sort_by", "sort_order", "max_results", "field"),
    [
        ("name", "Descending", 10, "sort_by"),
        ("", "Descending", 10, "sort_by"),
        (None, "Descending", 10, "sort_by"),
        ("Name", "descending", 10, "sort_order"),
        ("Name", "Up", 10, "sort_order"),
        ("Name", "Ascending", 0, "max_results"),
        ("Name", "Ascending", 101, "max_results"),
        ("Name", "Ascending", -1, "max_results"),
        ("Name", "Ascending", "5", "max_results"),
        ("Name", "Ascending", True, "max_results"),
    ],
)
def test_page_that_there_is_not_is_refused_with_its_field(
    sort_by: object, sort_order: object, max_results: object, field: str
) -> None:
    """One rule for lists of experiments and of runs."""
    with pytest.raises(trialog.ValidationError) as caught:
        check_page(sort_by, sort_order, max_results)
    assert caught.value.field == field
    assert caught.value.limit is not None


# A8 A9
@pytest.mark.parametrize("max_results", [1, 100])
def test_page_that_there_is_becomes_the_question(max_results: int) -> None:
    """Its words are those of the service."""
    assert check_page("CreationTime", "Ascending", max_results) == {
        "sort_by": "CreationTime",
        "sort_order": "Ascending",
        "max_results": max_results,
    }


# B1
def test_session_may_be_given_by_either_name_and_not_by_both(nobody: trialog.Session) -> None:
    """Ported programs say `sagemaker_session`; a foreign session is told what is wanted."""
    with pytest.raises(trialog.UnavailableError):
        trialog.Experiment.load("e", sagemaker_session=nobody)
    with pytest.raises(TypeError, match="both given; give one"):
        trialog.Experiment.load("e", nobody, sagemaker_session=nobody)
    with pytest.raises(TypeError, match=r"of type object; give a trialog\.Session"):
        trialog.Experiment.load("e", object())  # type: ignore[arg-type]
