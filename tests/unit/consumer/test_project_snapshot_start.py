"""What a snapshot may take from an older one: runs that are there from their start, no others."""

from __future__ import annotations

from uuid import UUID

import pytest

from trialog_server.project.snapshot_start import RunRecords, begun

RUN = UUID(int=1)
WANTED = [RunRecords(RUN, 0, [3, 5, 8])]


@pytest.mark.parametrize(
    ("held", "counts"),
    [
        ((1, 3), {RUN: 1}),
        ((2, 5), {RUN: 2}),
        ((3, 8), {RUN: 3}),
        ((1, 5), {}),  # its first record is missing
        ((2, 8), {}),  # one in the middle is
        ((3, 9), {}),  # the last one is of after the moment
        ((4, 9), {}),
        ((1, 2), {}),  # one that is not wanted at all
    ],
)
def test_run_is_taken_where_the_first_of_its_records_are_there(
    held: tuple[int, int], counts: dict[UUID, int]
) -> None:
    """So many records, up to such an offset: all of them are the first ones, or none is taken."""
    assert begun(WANTED, {RUN: held}) == counts


def test_run_that_is_not_there_is_not_taken() -> None:
    """Others that are there do not matter, and a run without records has none to take."""
    assert begun(WANTED, {UUID(int=2): (3, 8)}) == {}
    assert begun([RunRecords(RUN, 0, [])], {}) == {}
