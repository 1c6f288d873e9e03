"""Experiments end to end: created, refused, loaded, listed, deleted."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import urllib3

import trialog
from tests.acceptance.bulk import run_commands
from tests.acceptance.programs import run_together
from trialog.client import Client
from trialog.commands import send_command
from trialog_schemas.events import ExperimentCreated, RunDeleted

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialog.answers import ExperimentAnswer

ATTRIBUTES = (
    "experiment_name",
    "experiment_arn",
    "experiment_id",
    "description",
    "tags",
    "creation_time",
    "created_by",
    "last_modified_time",
    "last_modified_by",
)

CREATE = """
def work(session, index, name):
    yield
    return trialog.Experiment.create(name, session=session).experiment_arn
"""


def everything(session: trialog.Session, sort_by: str, order: str) -> list[ExperimentAnswer]:
    """Every experiment of the service, page by page, in an order."""
    client, token, found = Client(session.resolve()), None, []
    while True:
        question = {"sort_by": sort_by, "sort_order": order, "next_token": token}
        page = client.experiments(question)
        found += page["experiments"]
        token = page["next_token"]
        if token is None:
            assert len(found) == page["total"]
            return found


def names_of(experiments: list[ExperimentAnswer], prefix: str) -> list[str]:
    """The names that begin so, in their order."""
    names = [experiment["experiment_name"] for experiment in experiments]
    return [name for name in names if name.startswith(prefix)]


# A1 A6 A13
def test_experiment_created_has_every_attribute_and_loads_equal(
    session: trialog.Session, experiment_name: str
) -> None:
    """What create returns is complete, and load gives the same values, in another process too."""
    before = datetime.now(UTC)
    made = trialog.Experiment.create(experiment_name, "what we try", {"team": "red"}, session)
    after = datetime.now(UTC)
    loaded = trialog.Experiment.load(experiment_name, session)
    assert made.experiment_name == experiment_name
    assert made.experiment_arn == f"arn:trialog:experiment/default/{made.experiment_id}"
    assert (made.description, made.tags) == ("what we try", {"team": "red"})
    assert before - timedelta(seconds=1) <= made.creation_time <= after + timedelta(seconds=1)
    assert made.creation_time.utcoffset() == timedelta(0)
    assert made.last_modified_time == made.creation_time
    user, host = session.resolve().user.split("@")
    assert made.created_by == made.last_modified_by == {"user": user, "host": host}
    assert loaded == made
    assert [getattr(loaded, name) for name in ATTRIBUTES] == [
        getattr(made, name) for name in ATTRIBUTES
    ]


# A1 A5
def test_experiment_without_description_and_tags_has_none(
    session: trialog.Session, experiment_name: str
) -> None:
    """A description that was not given is None, and not an empty text; tags are empty."""
    made = trialog.Experiment.create(experiment_name, session=session)
    assert (made.description, made.tags, made.run_count) == (None, {}, 0)
    empty = trialog.Experiment.create(f"{experiment_name}-empty", "", session=session)
    assert trialog.Experiment.load(f"{experiment_name}-empty", session).description == ""
    assert empty.experiment_arn != made.experiment_arn


ILLEGAL_NAMES = {
    "empty": ("", "1..120", "has 0 characters"),
    "121 characters": ("x" * 121, "1..120", "has 121 characters"),
    "space": ("a b", "A-Z a-z 0-9 - _", "'a b'"),
    "slash": ("a/b", "A-Z a-z 0-9 - _", "'a/b'"),
    "dot": ("a.b", "A-Z a-z 0-9 - _", "'a.b'"),
    "accent": ("café", "A-Z a-z 0-9 - _", "'café'"),
    "newline": ("name\n", "A-Z a-z 0-9 - _", r"'name\n'"),
}


# A2
@pytest.mark.parametrize(("name", "limit", "shown"), ILLEGAL_NAMES.values(), ids=ILLEGAL_NAMES)
def test_experiment_of_an_illegal_name_raises_before_anything_is_sent(
    name: str, limit: str, shown: str
) -> None:
    """The error is a ValueError of the validation code, although no service is there to ask."""
    nowhere = trialog.Session(url="http://127.0.0.1:9")
    for attempt in (
        lambda: trialog.Experiment.create(name, session=nowhere),
        lambda: trialog.Run(name, "run", nowhere),
        lambda: trialog.Run("exp", name, nowhere),
    ):
        with pytest.raises(ValueError, match="name") as caught:
            attempt()
        error = caught.value
        assert type(error) is trialog.ValidationError
        assert error.response["Error"]["Code"] == "ValidationException"
        assert error.response["Error"]["Message"] == str(error)
        assert error.field in {"experiment_name", "run_name"}
        assert error.limit == limit
        assert shown in str(error)


# A2
@pytest.mark.parametrize("length", [1, 120])
def test_experiment_of_the_shortest_and_longest_name_is_created(
    session: trialog.Session, length: int
) -> None:
    """1 and 120 characters pass, `_` and `-` among them, and case is significant."""
    if length == 1:
        taken = names_of(everything(session, "Name", "Ascending"), "")
        name = next(letter for letter in "_-abcdefghij" if letter not in taken)
    else:
        name = f"Max_{uuid.uuid4().hex}-".ljust(length, "Z")
    made = trialog.Experiment.create(name, session=session)
    assert trialog.Experiment.load(name, session) == made
    if length == 120:
        other = trialog.Experiment.create(name.lower(), session=session)
        assert other.experiment_id != made.experiment_id


# A3 I1
def test_experiment_of_a_taken_name_is_refused_and_the_first_stays(
    session: trialog.Session, experiment_name: str
) -> None:
    """The second create raises ResourceInUse, by exactly that path, and changes nothing."""
    first = trialog.Experiment.create(experiment_name, "first", session=session)
    with pytest.raises(trialog.ClientError) as caught:
        trialog.Experiment.create(experiment_name, "second", {"a": "b"}, session)
    assert type(caught.value) is trialog.ResourceInUseError
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    assert repr(experiment_name) in caught.value.response["Error"]["Message"]
    assert trialog.Experiment.load(experiment_name, session) == first


# A3 I1
def test_experiment_created_by_two_processes_at_once_is_created_by_one(
    session: trialog.Session, experiment_name: str
) -> None:
    """In each of three races exactly one of two processes wins, and its experiment is the one."""
    for race in range(3):
        name = f"{experiment_name}-{race}"
        answers = run_together(session, 2, CREATE, name)
        winners = [answer for answer in answers if answer != "error ResourceInUse"]
        assert winners == [trialog.Experiment.load(name, session).experiment_arn]


# A4
def test_description_of_3072_characters_is_kept_and_3073_refused(
    session: trialog.Session, experiment_name: str
) -> None:
    """The limit counts characters, not bytes, and what is over it creates nothing."""
    text = "é🙂" * 1536
    with pytest.raises(trialog.ValidationError, match="3073 characters") as caught:
        trialog.Experiment.create(experiment_name, text + "x", session=session)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.field, caught.value.limit) == ("description", "0..3072")
    trialog.Experiment.create(experiment_name, text, session=session)
    assert trialog.Experiment.load(experiment_name, session).description == text


ILLEGAL_TAGS: dict[str, tuple[object, str, str]] = {
    "51": ({f"k{index}": "v" for index in range(51)}, "50", "51 tags"),
    "key empty": ({"": "v"}, "1..128", "0 characters"),
    "key 129": ({"k" * 129: "v"}, "1..128", "129 characters"),
    "value 257": ({"k": "v" * 257}, "0..256", "257 characters"),
    "value a number": ({"k": 1}, "text", "1 of type int"),
    "key twice": ([{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}], "unique keys", "'k'"),
    "other keys": ([{"key": "k", "value": "v"}], "Key and Value", "'key'"),
    "a text": ("k=v", "dict or a list of {'Key': …, 'Value': …}", "'k=v'"),
}


# A5
@pytest.mark.parametrize(("tags", "limit", "shown"), ILLEGAL_TAGS.values(), ids=ILLEGAL_TAGS)
def test_tags_that_are_illegal_raise_and_create_nothing(
    tags: dict[str, str], limit: str, shown: str
) -> None:
    """Each mistake is a ValueError that names limit and value, before anything is sent."""
    nowhere = trialog.Session(url="http://127.0.0.1:9")
    with pytest.raises(ValueError, match="tag") as caught:
        trialog.Experiment.create("exp", tags=tags, session=nowhere)
    error = caught.value
    assert isinstance(error, trialog.ValidationError)
    assert error.limit == limit
    assert shown in str(error)


# A5
def test_tags_of_both_forms_are_stored_alike_up_to_50(
    session: trialog.Session, experiment_name: str
) -> None:
    """A dict and SageMaker's list give the same 50 tags, the longest ones too, after a load."""
    expected = {f"key {index}": f"välue {index}" for index in range(48)}
    expected |= {"k" * 128: "v" * 256, "empty": ""}
    as_list = [{"Key": key, "Value": value} for key, value in expected.items()]
    trialog.Experiment.create(f"{experiment_name}-d", tags=expected, session=session)
    trialog.Experiment.create(f"{experiment_name}-l", tags=as_list, session=session)
    for form in "dl":
        assert trialog.Experiment.load(f"{experiment_name}-{form}", session).tags == expected


# A6
def test_experiment_that_is_unknown_is_not_found(
    session: trialog.Session, experiment_name: str
) -> None:
    """Loading creates nothing; the code is ResourceNotFound, and a near miss is named."""
    trialog.Experiment.create(experiment_name, session=session)
    for _ in range(2):
        with pytest.raises(trialog.ClientError) as caught:
            trialog.Experiment.load(f"{experiment_name}x", session)
        assert type(caught.value) is trialog.ResourceNotFoundError
        assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
        assert f"did you mean '{experiment_name}'" in str(caught.value)


# A7 A10
def test_experiments_are_listed_newest_first_with_descriptions(
    session: trialog.Session, experiment_name: str
) -> None:
    """The default is newest first, 100 at most; every item is complete in the one answer."""
    made = [
        trialog.Experiment.create(f"{experiment_name}-{letter}", f"text {letter}", session=session)
        for letter in "bca"
    ]
    listed = trialog.Experiment.list(session=session)
    assert listed[:3] == made[::-1]
    assert [item.description for item in listed[:3]] == ["text a", "text c", "text b"]
    times = [item.creation_time for item in listed]
    assert times == sorted(times, reverse=True)
    assert trialog.Experiment.list("CreationTime", "Descending", 100, session) == listed


# A7
def test_experiments_sort_by_code_point_and_ascending_is_the_exact_reverse(
    session: trialog.Session,
) -> None:
    """Names sort `-`, digits, capitals, `_`, small letters; the two orders mirror each other."""
    mark = f"--{uuid.uuid4().hex[:8]}"
    tails = ["a", "_", "Z", "0", "-", "z", "A", "9", "aa", "a-", "a_", "aA"]
    bodies = [ExperimentCreated(uuid.uuid4().hex, mark + tail) for tail in tails]
    assert run_commands(session, bodies) == []
    for field in ("Name", "CreationTime"):
        ascending = everything(session, field, "Ascending")
        assert everything(session, field, "Descending") == ascending[::-1]
        first_page = trialog.Experiment.list(field, "Ascending", session=session)
        assert [item.experiment_name for item in first_page] == names_of(ascending, "")[:100]
    by_name = names_of(everything(session, "Name", "Ascending"), mark)
    assert by_name == [mark + tail for tail in sorted(tails)]


# A7
def test_experiments_of_one_creation_time_keep_a_stable_order(
    session: trialog.Session, experiment_name: str
) -> None:
    """Ten made by one record have equal times; pages of 3 give each of them exactly once."""
    names = [f"{experiment_name}-{index}" for index in range(10)]
    run_commands(session, [ExperimentCreated(uuid.uuid4().hex, name) for name in names])
    client, token = Client(session.resolve()), None
    seen: list[ExperimentAnswer] = []
    while len(seen) < 10:
        page = client.experiments({"max_results": 3, "next_token": token})
        seen += page["experiments"]
        token = page["next_token"]
    ten = seen[:10]
    assert len({item["creation_time"] for item in ten}) == 1
    assert sorted(item["experiment_name"] for item in ten) == names
    again = trialog.Experiment.list(max_results=10, session=session)
    assert [item.experiment_name for item in again] == [item["experiment_name"] for item in ten]


Listing = dict[str, object]
ILLEGAL_PAGES: dict[str, tuple[Listing, str, str]] = {
    "field": ({"sort_by": "Status"}, "CreationTime, Name", "'Status'"),
    "field of other case": ({"sort_by": "name"}, "CreationTime, Name", "did you mean 'Name'"),
    "field None": ({"sort_by": None}, "CreationTime, Name", "None"),
    "order": ({"sort_order": "Random"}, "Ascending, Descending", "'Random'"),
    "order short": ({"sort_order": "Desc"}, "Ascending, Descending", "'Desc'"),
    "order empty": ({"sort_order": ""}, "Ascending, Descending", "''"),
    "0": ({"max_results": 0}, "1..100", "0"),
    "101": ({"max_results": 101}, "1..100", "101"),
    "-1": ({"max_results": -1}, "1..100", "-1"),
    "a text": ({"max_results": "5"}, "1..100", "'5'"),
    "a fraction": ({"max_results": 5.0}, "1..100", "5.0"),
    "a truth value": ({"max_results": True}, "1..100", "True"),
    "None": ({"max_results": None}, "1..100", "None"),
}


# A8 A9 F3
@pytest.mark.parametrize(("asked", "limit", "shown"), ILLEGAL_PAGES.values(), ids=ILLEGAL_PAGES)
def test_page_that_cannot_be_raises_value_error(asked: Listing, limit: str, shown: str) -> None:
    """Field, order and size are checked alike for experiments and runs, before anything is sent."""
    nowhere = trialog.Session(url="http://127.0.0.1:9")
    calls: list[Callable[..., object]] = [
        trialog.Experiment.list,
        lambda **asked: trialog.Run.list("exp", **asked),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=next(iter(asked))) as caught:
            call(**asked, session=nowhere)
        error = caught.value
        assert type(error) is trialog.ValidationError
        assert error.response["Error"]["Code"] == "ValidationException"
        assert (error.field, error.limit) == (next(iter(asked)), limit)
        assert shown in str(error)


# A9
@pytest.mark.parametrize("size", [1, 20, 100])
def test_page_has_exactly_its_size(session: trialog.Session, size: int) -> None:
    """Of 25 and more experiments a page of 20 holds 20; of 105 one of 100 holds 100."""
    wanted = 105 if size == 100 else 25
    there = len(everything(session, "Name", "Ascending"))
    mark = uuid.uuid4().hex[:8]
    missing = [f"{mark}-{index}" for index in range(max(1, wanted - there))]
    run_commands(session, [ExperimentCreated(uuid.uuid4().hex, name) for name in missing])
    assert len(trialog.Experiment.list(max_results=size, session=session)) == size


# A11
def test_experiment_with_a_run_is_not_deleted_and_nothing_changes(
    session: trialog.Session, experiment_name: str
) -> None:
    """Deleting is refused with ResourceInUse and says how many runs there are."""
    made = trialog.Experiment.create(experiment_name, session=session)
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("lr", 0.1)
    run.wait()
    before = trialog.Experiment.load(experiment_name, session)
    with pytest.raises(trialog.ClientError, match="1 runs") as caught:
        made.delete()
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    assert trialog.Experiment.load(experiment_name, session) == before
    assert run.parameters == {"lr": 0.1}


# A11
def test_experiment_that_is_empty_is_deleted_and_frees_its_name(
    session: trialog.Session, experiment_name: str
) -> None:
    """It is gone from load and list, cannot be deleted twice, and its name begins anew."""
    first = trialog.Experiment.create(experiment_name, "first", session=session)
    first.delete()
    with pytest.raises(trialog.ResourceNotFoundError):
        trialog.Experiment.load(experiment_name, session)
    assert experiment_name not in names_of(everything(session, "Name", "Ascending"), "")
    with pytest.raises(trialog.ResourceNotFoundError) as caught:
        first.delete()
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    second = trialog.Experiment.create(experiment_name, session=session)
    assert second.experiment_id != first.experiment_id
    assert second.description is None


# A11 B21
def test_experiment_can_be_deleted_after_its_runs_and_their_events_stay(
    session: trialog.Session, experiment_name: str
) -> None:
    """With the last run gone the experiment goes, and the run's history is still there to read."""
    made = trialog.Experiment.create(experiment_name, session=session)
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_parameter("lr", 0.1)
    run.wait()
    send_command(session.resolve(), RunDeleted(run.run_id))
    made.delete()
    with pytest.raises(trialog.ResourceNotFoundError):
        trialog.Run.list(experiment_name, session=session)
    history = [event["type"] for event in Client(session.resolve()).events(run.run_id)]
    assert history[:2] == ["run_created", "run_deleted"]  # the catalog's events come first
    assert history[2:] == ["run_started", "parameters_logged", "run_ended"]


# A12
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_experiment_cannot_be_changed_by_setting_an_attribute(
    session: trialog.Session, experiment_name: str, name: str
) -> None:
    """No attribute can be set, the name first of all."""
    made = trialog.Experiment.create(experiment_name, session=session)
    value = getattr(made, name)
    with pytest.raises(AttributeError):
        setattr(made, name, "other")
    assert getattr(made, name) == value


# A12
def test_no_path_of_the_api_renames(session: trialog.Session, experiment_name: str) -> None:
    """An experiment's address takes reading methods only, and no event says "renamed"."""
    made = trialog.Experiment.create(experiment_name, session=session)
    address = f"{session.url}/api/v1/experiments/{experiment_name}"
    for method in ("PUT", "PATCH", "POST"):
        answer = urllib3.request(method, address, json={"experiment_name": "other"})
        assert answer.status == 405
    operations = urllib3.request("GET", f"{session.url}/api/openapi.json").json()["paths"]
    experiments = {path for path in operations if path.startswith("/api/v1/experiments")}
    assert all(set(operations[path]) <= {"get"} for path in experiments if "search" not in path)
    assert trialog.Experiment.load(experiment_name, session) == made


# A15
def test_last_modified_time_moves_forward_when_a_run_is_added_or_deleted(
    session: trialog.Session, experiment_name: str
) -> None:
    """Each changes the experiment's time and count, and not its creation."""
    made = trialog.Experiment.create(experiment_name, session=session)
    with trialog.Run(experiment_name, "one", session) as run:
        pass
    later = trialog.Experiment.load(experiment_name, session)
    assert later.last_modified_time > made.last_modified_time
    assert later.creation_time == made.creation_time
    assert later.run_count == 1
    run.wait()
    run.delete()
    last = trialog.Experiment.load(experiment_name, session)
    assert last.last_modified_time > later.last_modified_time
    assert last.run_count == 0
