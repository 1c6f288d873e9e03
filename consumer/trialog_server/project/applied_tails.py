"""Sees that what was applied is still what the log has; must not say what else it has lost.

A log loses its end when a broker loses its disk's last writes, when somebody cuts a topic. Others'
records may stand there by the time that anybody looks. The last record that was applied tells: the
chain before it is kept, and while a worker works, it remembers what came before each pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trialog_schemas.errors import UnavailableError
from trialog_server.log.base import OffsetMissing, Partition
from trialog_server.project.decode import extend_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialog_server.log.base import Log, LogRecord
    from trialog_server.project.lease import Claim


PAUSE_S = 0.5
"""Without records for so long a log may have been away; no broker is killed and back sooner."""

PAUSES_MAX = 1_000
"""Pauses that are remembered until they are looked at, the newest ones; a worker of 33 partitions
looks at each every 165 s, and a run that logs once a second has a pause behind each record."""


class Seen(NamedTuple):
    """A record that was applied: its offset, and a digest of its bytes."""

    offset: int
    digest: bytes


class TailLost(OffsetMissing):
    """The log does not have the last record that was applied: it is missing, or is another one.

    Args:
        partition: where.
        position: behind the last record that was applied.
        end: where the log ends, if that is before the position.
    """

    def __init__(self, partition: Partition, position: int, end: int | None = None) -> None:
        super().__init__(partition, position - 1, 0, position if end is None else end)
        where = f"{partition.topic} partition {partition.number}"
        what = (
            f"record {position - 1} is another one in the log than was applied"
            if end is None
            else f"the log ends at {end} and its first {position} records are applied"
        )
        self.message = (
            f"{where}: {what}: its end was lost, or it is another log; nothing more of it is "
            "applied. `trialog verify` tells what the tables hold beyond it, and `trialog rebuild` "
            "makes them of what the log has"
        )
        self.args = (self.message,)


def check_applied(claim: Claim, record: LogRecord) -> None:
    """See that the last record that was applied is the one that the log has at its offset.

    Raises:
        TailLost: it is another one.
    """
    if claim.chain_before is None or extend_chain(claim.chain_before, [record]) == claim.chain:
        return
    raise TailLost(claim.partition, claim.next_offset)


async def check_made_of(log: Log, claims: Sequence[Claim]) -> None:
    """See that tables were made of the log's records; of each partition the last one tells.

    One that is beyond the log's end, or was dropped, cannot be looked at.

    Raises:
        TailLost: the log has another one.
        UnavailableError: the log does not answer.
    """
    bounds = await log.bounds([claim.partition for claim in claims]) if claims else {}
    for claim in claims:
        start, end = bounds[claim.partition]
        if start < claim.next_offset <= end:
            (record,) = await log.read_at(claim.partition, [claim.next_offset - 1])
            check_applied(claim, record)


class Pauses:
    """Which records of a partition were the last ones before nothing came for a while.

    A log that loses its end is away for a moment. If others' records take the places before this
    reader is there again, it goes on behind them and hears nothing; but the last record that it had
    applied before is another one then.
    """

    def __init__(self) -> None:
        self._last: Seen | None = None
        self._seen_at_s = 0.0
        self._before: list[Seen] = []

    def note(self, records: Sequence[LogRecord], now_s: float) -> None:
        """Note records that were applied at a time, in seconds of any clock."""
        if self._last is not None and now_s - self._seen_at_s > PAUSE_S:
            self._before = [*self._before, self._last][-PAUSES_MAX:]
        self._last, self._seen_at_s = Seen(records[-1].offset, _digest(records[-1])), now_s

    def to_look_at(self) -> list[Seen]:
        """Return those that were not found to be there yet, and behind them the newest record."""
        return self._before if self._last is None else [*self._before, self._last]

    def forget(self, seen: Sequence[Seen]) -> None:
        """Forget those that were found to be there; the newest stays, for the pause behind it."""
        self._before = [one for one in self._before if one not in seen[:-1]]


async def check_seen(log: Log, partition: Partition, pauses: Pauses) -> None:
    """Read records once more that were applied, and see that they are still those.

    A log that is away now is another matter, and said elsewhere; they wait for the next look.

    Raises:
        TailLost: one is another one, or is not there any more.
    """
    seen = pauses.to_look_at()
    digests = {one.offset: one.digest for one in seen}
    if not digests:
        return
    try:
        start, end = (await log.bounds([partition]))[partition]
        if end <= max(digests):
            raise TailLost(partition, max(digests) + 1, end)
        # What was dropped is in an archive.
        records = await log.read_at(partition, [one for one in digests if one >= start])
    except UnavailableError:
        return
    except OffsetMissing as exc:
        if isinstance(exc, TailLost):
            raise
        return  # dropped meanwhile; what else is missing the next look finds
    for record in records:
        if _digest(record) != digests[record.offset]:
            raise TailLost(partition, record.offset + 1)
    pauses.forget(seen)


def _digest(record: LogRecord) -> bytes:
    return extend_chain(b"", [record])
