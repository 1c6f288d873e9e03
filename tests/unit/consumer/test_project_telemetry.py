"""The projection's own measurements."""

from __future__ import annotations

from dataclasses import fields

from trialog_server.project.fold_runs import Folded
from trialog_server.project.telemetry import Telemetry

COUNTS = ("events", "duplicates", "points", "rejections", "dead", "parked", "gaps")


def test_count_in_adds_every_count_of_a_fold() -> None:
    """Each number of a fold goes to the number of the same name, on top of what was there."""
    folded, telemetry = Folded(), Telemetry()
    for at, name in enumerate(COUNTS, start=1):
        setattr(folded, name, at)
        setattr(telemetry, name, 100)

    folded.count_in(telemetry)
    folded.count_in(telemetry)

    assert {name: getattr(telemetry, name) for name in COUNTS} == {
        name: 100 + 2 * at for at, name in enumerate(COUNTS, start=1)
    }


def test_count_in_knows_every_count_that_a_fold_has() -> None:
    """A new count of the fold must not be forgotten on its way to the operator."""
    counts = {field.name for field in fields(Folded) if field.type == "int"}
    assert counts == set(COUNTS)
    assert counts <= {field.name for field in fields(Telemetry)}


def test_telemetry_of_two_workers_is_not_shared() -> None:
    """Each worker counts for itself, per partition too."""
    one, two = Telemetry(), Telemetry()
    one.next_offsets["events:0"] = 7
    one.lag_s["events:0"] = 0.5
    one.stopped["events:0"] = "lost"

    assert (two.next_offsets, two.lag_s, two.stopped) == ({}, {}, {})
