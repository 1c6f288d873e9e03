"""What a process remembers of where its own runs ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trialog.newest_positions import newest_positions, note_positions
from trialog_schemas.wire import CATALOG_TOPIC, EVENTS_TOPIC, Position

URL = "http://127.0.0.1:1"


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """An experiment that no other test has written to: what is remembered is the process's."""
    return str(request.node.name)


def test_positions_of_an_experiment_nobody_has_left_are_none(experiment: str) -> None:
    """A question about it has nothing to wait for."""
    assert newest_positions(URL, experiment) == []


# B6
def test_positions_are_the_newest_of_each_partition(experiment: str) -> None:
    """Of many runs one position a partition is kept: the furthest, in whatever order they come."""
    noted = [(0, 5), (1, 9), (0, 7), (1, 2), (0, 6)]
    for partition, offset in noted:
        note_positions(URL, experiment, [Position(EVENTS_TOPIC, partition, offset)])
    note_positions(URL, experiment, [Position(CATALOG_TOPIC, 0, 1)])
    tokens = newest_positions(URL, experiment)
    assert {Position.parse(token) for token in tokens} == {
        Position(EVENTS_TOPIC, 0, 7),
        Position(EVENTS_TOPIC, 1, 9),
        Position(CATALOG_TOPIC, 0, 1),
    }


def test_positions_of_other_services_and_experiments_are_kept_apart(experiment: str) -> None:
    """Two services have logs of their own; a run of one experiment does not hold up another."""
    note_positions(URL, experiment, [Position(EVENTS_TOPIC, 0, 1)])
    assert newest_positions("http://127.0.0.1:2", experiment) == []
    assert newest_positions(URL, f"{experiment}-other") == []


FORKED = """
import os
from trialog.newest_positions import newest_positions, note_positions
from trialog_schemas.wire import EVENTS_TOPIC, Position

def forking():
    # `note_positions` goes through this with its lock held.
    if os.fork() == 0:
        print(newest_positions("url", "e"), flush=True)
        os._exit(0)
    yield from ()

note_positions("url", "e", [Position(EVENTS_TOPIC, 0, 3)])
note_positions("url", "e", forking())
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_positions_can_be_read_in_a_child_forked_while_some_were_noted() -> None:
    """The lock that a thread of the parent held at that moment does not bind the child."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.strip() == str([Position(EVENTS_TOPIC, 0, 3).token()])
