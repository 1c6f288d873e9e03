"""Runs from entering to their end, on each log: created once, ended as the block ended."""

from __future__ import annotations

import os
import resource
import socket
import threading
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.acceptance.programs import run_together
from trialog.client import Client
from trialog_schemas.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RESUME = """
def work(session, index, experiment_name):
    yield
    with trialog.Run(experiment_name, "shared", session, resume=True) as run:
        run.log_parameter(f"p{index}", index)
    run.wait(30)
    return run.run_id
"""


def event_types(session: trialog.Session, run: trialog.Run) -> list[str]:
    """Return the types of a run's events as the log has them, metrics left out."""
    found = [event["type"] for event in Client(session.resolve()).events(run.run_id)]
    return [one for one in found if one != "metrics_logged"]


# B4
def test_run_constructed_and_not_entered_leaves_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """No experiment, no run and no spool come of a constructor, nor of one of a taken name."""
    with trialog.Run(experiment_name, "one", session) as first:
        first.log_parameter("lr", 1)
    first.wait(30)
    before = trialog.Run.list(experiment_name, session=session)[0]
    events = list(Client(session.resolve()).events(first.run_id))
    spools = sorted(session.resolve().spool_dir.rglob("*"))
    trialog.Run(experiment_name, "one", session)
    trialog.Run(experiment_name, "one", session, resume=True)
    trialog.Run(f"{experiment_name}-other", "two", session)
    (after,) = trialog.Run.list(experiment_name, session=session)
    assert (after.status, after.start_time, after.end_time) == (
        before.status,
        before.start_time,
        before.end_time,
    )
    with pytest.raises(trialog.ResourceNotFoundError):
        trialog.Experiment.load(f"{experiment_name}-other", session)
    assert list(Client(session.resolve()).events(first.run_id)) == events
    assert set(session.resolve().spool_dir.rglob("*")) <= set(spools)


# B13 B19
def test_run_without_a_name_gets_one_and_is_described_alike_everywhere(
    session: trialog.Session, experiment_name: str
) -> None:
    """Names, resource name, status and times are equal on the live, loaded and listed run."""
    with trialog.Run(experiment_name, session=session, tags={"stage": "try"}) as live:
        inside = (live.status, live.end_time, live.run_arn)
    live.wait(30)
    loaded = trialog.load_run(experiment_name, live.run_name, session)
    (listed,) = trialog.Run.list(experiment_name, session=session)
    told = [
        (
            run.run_name,
            run.experiment_name,
            run.run_arn,
            run.run_id,
            run.status,
            run.creation_time,
            run.start_time,
            run.end_time,
            run.tags,
        )
        for run in (live, loaded, listed)
    ]
    assert told[0] == told[1] == told[2]
    assert inside == ("InProgress", None, live.run_arn)
    assert live.creation_time is not None
    assert live.tags == {"stage": "try"}


# B19
def test_resource_names_of_runs_are_unique_and_stay_when_a_name_is_used_again(
    session: trialog.Session, experiment_name: str
) -> None:
    """A deleted run's name is free; the run that gets it is another one."""
    arns = []
    for _ in range(2):
        with trialog.Run(experiment_name, "one", session) as run:
            arns.append(run.run_arn)
        run.wait(30)
        assert run.run_arn == arns[-1]
        run.delete()
    assert len(set(arns)) == 2


# B5 I6
def test_entering_a_taken_name_is_refused_and_the_first_run_is_untouched(
    session: trialog.Session, experiment_name: str
) -> None:
    """The error has the code ResourceInUse, also while the first run is in progress."""
    with trialog.Run(experiment_name, "one", session) as first:
        first.log_parameter("lr", 1)
        second = trialog.Run(experiment_name, "one", session)
        with pytest.raises(trialog.ClientError) as caught, second:
            second.log_parameter("lr", 2)
        assert caught.value.response["Error"]["Code"] == "ResourceInUse"
        assert second.status is None
    first.wait(30)
    (only,) = trialog.Run.list(experiment_name, session=session)
    assert (only.run_id, only.status, only.parameters) == (first.run_id, "Completed", {"lr": 1})


# B9 B20
def test_run_left_cleanly_is_completed_with_everything_in_it(
    session: trialog.Session, experiment_name: str
) -> None:
    """The end is not before the start, and all of 1,000 points are there."""
    with trialog.Run(experiment_name, "one", session) as run:
        for step in range(1000):
            run.log_metric("loss", 1.0 / (step + 1), step)
    assert run.flush(0)
    run.wait(30)
    assert run.status == "Completed"
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.start_time <= run.end_time
    assert (run.metrics["loss"].count, run.metrics["loss"].last_step) == (1000, 999)


# B10 B12
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ZeroDivisionError("division by zero"), "division by zero"),
        (ValueError(), "ValueError"),
        (RuntimeError("é" * 3000), "é" * 1024),
        (KeyboardInterrupt(), "KeyboardInterrupt: stopped by SIGINT"),
        (SystemExit(143), "SystemExit: 143, stopped by SIGTERM"),
    ],
)
def test_exception_in_the_block_fails_the_run_and_goes_on_unchanged(
    error: BaseException, message: str, session: trialog.Session, experiment_name: str
) -> None:
    """The program sees its own exception; the run says why it failed in 1024 characters."""
    run = trialog.Run(experiment_name, "one", session)
    with pytest.raises(type(error)) as caught, run:
        raise error
    assert caught.value is error
    run.wait(30)
    assert (run.status, run.failure_message) == ("Failed", message)


# B10 B11
def test_exception_in_the_block_goes_on_when_no_service_is_there(tmp_path: Path) -> None:
    """Neither a missing service nor an error without a text replaces the program's exception."""

    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    run = trialog.Run("e", "r", trialog.Session(url=nobody, spool_dir=tmp_path))
    error = UnspeakableError()
    with pytest.raises(UnspeakableError) as caught, run:
        raise error
    assert caught.value is error
    assert run.status == "Failed"
    with pytest.raises(trialog.UnavailableError, match="kept in the spool"):
        print(run.parameters)  # noqa: T201  whatever a program does with it


# B13 I2
def test_log_calls_outside_the_block_raise_and_names_can_be_read(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """What comes too early or too late is an error and nothing of it is recorded."""
    file = tmp_path / "file.txt"
    file.write_text("text")
    run = trialog.Run(experiment_name, "one", session)
    calls: list[Callable[[], None]] = [
        lambda: run.log_parameter("p", 1),
        lambda: run.log_parameters({"p": 1}),
        lambda: run.log_metric("m", 1.0),
        lambda: run.log_metrics({"m": 1.0}),
        lambda: run.log_artifact("a", "text"),
        lambda: run.log_file(file),
        lambda: run.log_model("s3://models/m"),
        lambda: run.set_tags({"a": "b"}),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="not entered"):
            call()
    told = (run.run_name, run.experiment_name, run.status)
    assert (told, bool(run.run_arn)) == (("one", experiment_name, None), True)
    with run:
        pass
    for call in calls:
        with pytest.raises(RuntimeError, match="left; log inside its `with` block"):
            call()
    run.wait(30)
    assert (run.run_name, run.experiment_name, run.status) == ("one", experiment_name, "Completed")
    assert (run.parameters, run.metrics, run.artifacts, run.tags) == ({}, {}, [], {})


def test_run_cannot_be_entered_twice(session: trialog.Session, experiment_name: str) -> None:
    """A handle is for one block; the error says what to do."""
    with trialog.Run(experiment_name, "one", session) as run:
        pass
    with pytest.raises(RuntimeError, match="entered already; make another Run"):
        run.__enter__()


# B6 C7
def test_run_that_ended_is_resumed_with_its_start_and_both_endings(
    session: trialog.Session, experiment_name: str
) -> None:
    """Both ways of resuming go on with what is there; parameters stay as they are."""
    with trialog.Run(experiment_name, "one", session) as first:
        first.log_parameter("lr", 1)
        first.log_metric("loss", 0.5, 0)
    with trialog.load_run(experiment_name, "one", session) as second:
        assert second.status == "InProgress"
        with pytest.raises(trialog.ParameterImmutableError, match="already 1"):
            second.log_parameter("lr", 2)
        second.log_metric("loss", 0.4, 1)
    with trialog.Run(experiment_name, "one", session, resume=True, tags={"n": "3"}) as third:
        third.log_metric("loss", 0.3, 2)
    third.wait(30)
    assert third.run_arn == second.run_arn == first.run_arn
    assert (third.status, third.start_time) == ("Completed", first.start_time)
    assert (third.parameters, third.tags) == ({"lr": 1}, {"n": "3"})
    assert third.metric_series("loss")["value"] == [0.5, 0.4, 0.3]
    types = event_types(session, third)
    assert types.count("run_ended") == 3
    assert types.count("run_resumed") == 2
    assert types.count("run_started") == 1


# B6
def test_resume_of_a_run_that_is_not_there_creates_it(
    session: trialog.Session, experiment_name: str
) -> None:
    """A program that is started again by its scheduler needs no other first start."""
    run = trialog.Run(experiment_name, "one", session, resume=True)
    assert run.status is None
    with run:
        run.log_parameter("lr", 1)
    run.wait(30)
    again = trialog.Run(experiment_name, "one", session, resume=True)
    assert (again.status, again.run_arn) == ("Completed", run.run_arn)
    assert again.parameters == {"lr": 1}


# B6
@ON_ONE_LOG
def test_resume_by_8_processes_at_once_gives_one_run(
    session: trialog.Session, experiment_name: str
) -> None:
    """Whoever is first creates it, the others go on with it; nobody is refused."""
    ids = run_together(session, 8, RESUME, experiment_name)
    assert len(set(ids)) == 1, ids
    (only,) = trialog.Run.list(experiment_name, session=session)
    only.wait(30)
    assert only.parameters == {f"p{index}": index for index in range(8)}


# B6
def test_run_that_failed_can_be_resumed_and_completed(
    session: trialog.Session, experiment_name: str
) -> None:
    """The failure of the owner is not for good."""
    with pytest.raises(ValueError, match="once"), trialog.Run(experiment_name, "one", session):
        raise ValueError("once")
    with trialog.load_run(experiment_name, "one", session) as again:
        pass
    again.wait(30)
    assert (again.status, again.failure_message) == ("Completed", None)


# B7
def test_load_run_of_an_unknown_run_raises_and_creates_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """A near name is told; neither run nor experiment come into being."""
    with trialog.Run(experiment_name, "first-try", session) as run:
        run.wait(30)
        with pytest.raises(trialog.ClientError, match="did you mean 'first-try'") as caught:
            trialog.load_run(experiment_name, "first-tri", session)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    with pytest.raises(trialog.ResourceNotFoundError):
        trialog.load_run(f"{experiment_name}-x", "first-try", session)
    assert len(trialog.Run.list(experiment_name, session=session)) == 1
    with pytest.raises(trialog.ResourceNotFoundError):
        trialog.Experiment.load(f"{experiment_name}-x", session)


# B20
def test_wait_inside_the_block_returns_when_everything_is_applied(
    session: trialog.Session, experiment_name: str
) -> None:
    """What was logged before can be read at once, and the run goes on."""
    with trialog.Run(experiment_name, "one", session) as run:
        for step in range(3):
            run.log_metric("loss", float(step), step)
            run.wait(30)
            listed = trialog.Run.list(experiment_name, session=session)[0]
            assert (listed.metrics["loss"].count, listed.status) == (step + 1, "InProgress")


# B20
def test_wait_outside_the_block_ends_with_the_run_or_the_time(
    session: trialog.Session, experiment_name: str
) -> None:
    """A run in progress gives TimeoutError; one that ends meanwhile lets the waiter go."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.wait(30)
        (listed,) = trialog.Run.list(experiment_name, session=session)
        with pytest.raises(TimeoutError, match=r"has not ended after 0\.1 s"):
            listed.wait(0.1)
        with pytest.raises(TimeoutError, match="has not ended after 0 s"):
            trialog.load_run(experiment_name, "one", session).wait(0)
        waiter = threading.Thread(target=listed.wait, args=(30,))
        waiter.start()
    waiter.join(30)
    assert not waiter.is_alive()
    assert (listed.status, listed.end_time) == ("Completed", run.end_time)


# B4
@ON_ONE_LOG
@pytest.mark.parametrize(
    ("limit", "few"), [(resource.RLIMIT_FSIZE, 8192), (resource.RLIMIT_NOFILE, None)]
)
def test_run_whose_spool_has_no_room_is_not_created(
    session: trialog.Session, experiment_name: str, limit: int, few: int | None
) -> None:
    """A full disk or too many open files refuse the entering; its name is free afterwards."""
    with trialog.Run(experiment_name, "there", session):
        pass
    refused = trialog.Run(experiment_name, "one", session)
    soft, hard = resource.getrlimit(limit)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    # So many files that some of the spool's can be opened and not all, as the last of many runs.
    resource.setrlimit(limit, (few or taken[0] + 3, hard))
    try:
        with pytest.raises(SpoolError, match=r"cannot be made: (File too|Too many)"):
            refused.__enter__()
    finally:
        resource.setrlimit(limit, (soft, hard))
        os.close(taken[0])
    assert [one.run_name for one in trialog.Run.list(experiment_name, session=session)] == ["there"]
    spool_dir = session.resolve().spool_dir
    assert [path for path in spool_dir.iterdir() if path.name.startswith(".")] == []
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_metric("loss", 1.0)
    run.wait(30)
    assert run.status == "Completed"


# B20 C4
def test_wait_raises_all_refusals_of_its_own_handle(
    session: trialog.Session, experiment_name: str
) -> None:
    """What only the projection can know is refused there, kept and told; leaving only warns."""
    with trialog.Run(experiment_name, "one", session) as first:
        other = trialog.load_run().__enter__()
        first.log_parameter("lr", 1)
        first.wait(30)
        other.log_parameter("lr", 2)
        with pytest.warns(UserWarning, match="1 refusal in run 'one'"):
            other.__exit__(None, None, None)
        first.wait(30)
    with pytest.raises(trialog.RunRejectedError) as caught:
        other.wait(30)
    (rejection,) = caught.value.rejections
    assert (rejection.code, rejection.name, rejection.value) == ("param_immutable", "lr", "2")
    assert [one.code for one in first.rejections] == ["param_immutable"]
    assert first.parameters == {"lr": 1}


# B21
def test_deleted_run_is_gone_from_lists_and_its_events_stay(
    session: trialog.Session, experiment_name: str
) -> None:
    """Listed, live and loaded runs can be deleted; twice is an error."""
    for name in ("one", "two"):
        with trialog.Run(experiment_name, name, session) as run:
            run.log_metric("loss", 1.0)
    run.wait(30)
    run.delete()
    (left,) = trialog.Run.list(experiment_name, session=session)
    assert left.run_name == "one"
    assert trialog.compare(experiment_name, session=session)["run_name"].tolist() == ["one"]
    with pytest.raises(trialog.ResourceNotFoundError):
        trialog.load_run(experiment_name, "two", session)
    with pytest.raises(trialog.ResourceNotFoundError):
        run.delete()
    left.delete()
    assert trialog.Run.list(experiment_name, session=session) == []
    types = {event["type"] for event in Client(session.resolve()).events(run.run_id)}
    assert {"run_created", "metrics_logged", "run_ended", "run_deleted"} <= types
