"""One hash over the runs of a partition, from which a single run can be shown; must not do I/O.

A partition's chain runs over the bytes of its records: whoever shows one run by it has to show all
others. So a checkpoint signs a tree besides. A leaf is one run: how many records it has, and a
chain over their offsets and bytes. Leaves are in the order of their runs' ids; above them each pair
becomes one hash, and what has no neighbour goes up as it is. A leaf and its neighbours on the way
up, one hash each time the number of runs doubles, give the root, and no others do (a Merkle tree;
leaves and pairs begin with another byte, so that none can be taken for the other).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from trialog_schemas.decode import unpack_header
from trialog_schemas.errors import WireError
from trialog_schemas.wire import EVENTS_TOPIC, HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trialog_server.log.base import LogRecord

_LEAF, _PAIR = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class Tree:
    """What is signed of a partition's runs: how many there are, and the root as hex digits."""

    runs: int
    root: str


@dataclass(slots=True)
class RunChain:
    """The records of one run so far: how many, and the chain over their offsets and bytes."""

    records: int = 0
    chain: bytes = b""

    def add(self, offset: int, value: bytes) -> None:
        """Go on by one record."""
        digest = blake2b(self.chain, digest_size=HASH_BYTES)
        digest.update(offset.to_bytes(8, "big"))
        digest.update(value)
        self.records, self.chain = self.records + 1, digest.digest()

    def leaf(self, run_id: str) -> bytes:
        """Return the hash that stands for the run."""
        told = _LEAF + bytes.fromhex(run_id) + self.records.to_bytes(8, "big") + self.chain
        return blake2b(told, digest_size=HASH_BYTES).digest()


def run_of(value: bytes) -> str | None:
    """Return the run that a record of the events topic is of; None of what has no such header.

    Only the header is asked, so that a later release that can read more says the same.
    """
    try:
        header = unpack_header(value)
    except WireError:
        return None
    return header.run_id if header.topic == EVENTS_TOPIC else None


def add_records(runs: dict[str, RunChain], records: Iterable[LogRecord]) -> None:
    """Add records of a partition, in order, to the chains of their runs."""
    for record in records:
        run_id = run_of(record.value)
        if run_id is not None:
            runs.setdefault(run_id, RunChain()).add(record.offset, record.value)


def tree_of(runs: Mapping[str, RunChain]) -> Tree:
    """Return what is signed of the runs of a partition."""
    level = _leaves(runs)
    while len(level) > 1:
        level = _above(level)
    return Tree(len(runs), level[0].hex() if level else "")


def path_of(runs: Mapping[str, RunChain], run_id: str) -> tuple[int, list[bytes]]:
    """Return at which place a run's leaf is, and its neighbours on the way to the root."""
    place = at = sorted(runs).index(run_id)
    level, path = _leaves(runs), list[bytes]()
    while len(level) > 1:
        if at ^ 1 < len(level):
            path.append(level[at ^ 1])
        level, at = _above(level), at // 2
    return place, path


def root_of(leaf: bytes, place: int, runs: int, path: Sequence[bytes]) -> str | None:
    """Return the root that a leaf and its neighbours give; None if they are not as many as needed.

    Args:
        leaf: the run's.
        place: of the leaf among the runs, from 0.
        runs: how many runs the tree is said to have.
        path: the neighbours, from below.
    """
    if not 0 <= place < runs:
        return None
    found, left = leaf, list(path)
    while runs > 1:
        if place ^ 1 < runs:
            if not left:
                return None
            other = left.pop(0)
            found = _pair(found, other) if place % 2 == 0 else _pair(other, found)
        place, runs = place // 2, (runs + 1) // 2
    return None if left else found.hex()


def _leaves(runs: Mapping[str, RunChain]) -> list[bytes]:
    return [runs[run_id].leaf(run_id) for run_id in sorted(runs)]


def _above(level: Sequence[bytes]) -> list[bytes]:
    pairs = [_pair(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) % 2 else pairs


def _pair(left: bytes, right: bytes) -> bytes:
    return blake2b(_PAIR + left + right, digest_size=HASH_BYTES).digest()
