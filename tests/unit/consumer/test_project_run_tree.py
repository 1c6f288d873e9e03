"""The tree over a partition's runs: a way to one root from each run, and from nothing else."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from tests.unit.consumer.project_writers import RUN, Writer, catalog_writer, metrics, run_created
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import LogRecord, Partition
from trialog_server.project.run_tree import (
    RunChain,
    Tree,
    add_records,
    path_of,
    root_of,
    run_of,
    tree_of,
)

PLACE = Partition(EVENTS_TOPIC, 0)


def runs_of(count: int) -> dict[str, RunChain]:
    """Return runs with a record each, made in no order."""
    runs = {}
    for number in reversed(range(count)):
        run = runs[f"{number:032x}"] = RunChain()
        run.add(number, b"record %d" % number)
    return runs


def root_by_halves(leaves: list[bytes]) -> bytes:
    """Work the root out from above: the left part has the largest power of two below all."""
    if len(leaves) == 1:
        return leaves[0]
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    halves = root_by_halves(leaves[:cut]) + root_by_halves(leaves[cut:])
    return blake2b(b"\x01" + halves, digest_size=32).digest()


@pytest.mark.parametrize("count", range(1, 18))
def test_every_run_leads_to_the_root_and_no_other_leaf_or_place_does(count: int) -> None:
    """For any number of runs, also where some have no neighbour on their way up."""
    runs = runs_of(count)
    tree = tree_of(runs)
    leaves = [runs[run_id].leaf(run_id) for run_id in sorted(runs)]
    assert tree == Tree(count, root_by_halves(leaves).hex())
    for at, run_id in enumerate(sorted(runs)):
        place, path = path_of(runs, run_id)
        assert place == at
        assert len(path) <= (count - 1).bit_length()
        assert root_of(leaves[at], at, count, path) == tree.root
        assert root_of(bytes(32), at, count, path) != tree.root
        for wrong in {-1, at - 1, at + 1, count}:
            assert root_of(leaves[at], wrong, count, path) != tree.root
        assert root_of(leaves[at], at, count, [*path, bytes(32)]) is None
        for cut in range(len(path)):
            other = [*path[:cut], bytes(32), *path[cut + 1 :]]
            assert root_of(leaves[at], at, count, other) != tree.root
            assert root_of(leaves[at], at, count, path[:cut]) is None


def test_tree_of_nothing_has_no_root() -> None:
    """A partition without a run is signed as that."""
    assert tree_of({}) == Tree(0, "")
    assert root_of(bytes(32), 0, 0, []) is None


def test_chain_of_a_run_tells_bytes_offsets_and_order() -> None:
    """Whatever is another record, at another place or in another order is another leaf."""
    histories = ([(1, b"a"), (2, b"b")], [(2, b"b"), (1, b"a")], [(1, b"a"), (3, b"b")],
                 [(1, b"ab"), (2, b"")], [(1, b"a")], [(1, b"a"), (2, b"b"), (3, b"")])  # fmt: skip
    leaves = set()
    for history in histories:
        run = RunChain()
        for record in history:
            run.add(*record)
        leaves |= {run.leaf("ab" * 16), run.leaf("cd" * 16)}
    assert len(leaves) == 2 * len(histories)


def test_records_belong_to_the_run_of_their_header() -> None:
    """Also one whose payload nobody can read; rubbish and the catalog's belong to none."""
    good = Writer().record(metrics([[1.0]])).value
    torn = good[:-1]
    command = catalog_writer().record(run_created()).value
    runs: dict[str, RunChain] = {}
    values = [good, b"rubbish", torn, command, b""]
    add_records(runs, [LogRecord(PLACE, at, 1, "", value) for at, value in enumerate(values)])
    assert [run_of(value) for value in values] == [
        RUN,
        None,
        RUN,
        None,
        None,
    ]
    assert {run_id: run.records for run_id, run in runs.items()} == {RUN: 2}
