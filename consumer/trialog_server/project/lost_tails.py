"""Logs that have lost records which are applied: which events those were, told to the event.

What was applied by then is in the tables and in no replay, unless its writers sent it again. By
whom it was recorded the tables know. Whether a log has lost any, `applied_tails.py` sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError
from trialog_schemas.wire import CATALOG_TOPIC
from trialog_server.log.base import Partition
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trialog_server.postgres.pool import Connection
    from trialog_server.project.generations import Generation


EVENTS_SHOWN_MAX = 50
"""Lines about lost events that are meant for people."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A partition whose log is not the applied one from an offset on.

    Args:
        partition: which.
        first_offset: the first record that is missing, or another one.
        applied: behind the last record that was applied.
        end: where the log ends.
    """

    partition: Partition
    first_offset: int
    applied: int
    end: int

    def __str__(self) -> str:
        where = f"{self.partition.topic} partition {self.partition.number}"
        count = self.applied - self.first_offset
        now = (
            f"the log ends at {self.end}"
            if self.end <= self.first_offset
            else f"the log has others from there on, to {self.end - 1}"
        )
        place = f"from offset {self.first_offset} on"
        if count == 1:
            return f"{where}: 1 record {place} was applied and is lost, {now}"
        return f"{where}: {count} records {place} were applied and are lost, {now}"


@dataclass(frozen=True, slots=True)
class LostEvents:
    """Consecutive events of a writer that tables hold and that are nowhere in the log.

    Args:
        run_id: whose; the catalog's own events have the run of all zeros.
        run_name: of that run, if there is one.
        experiment_name: of its experiment.
        is_catalog: what the catalog says of the run (that it was created, deleted).
        writer_id: who recorded them.
        first_seq: of the first one.
        last_seq: of the last one.
    """

    run_id: str
    run_name: str | None
    experiment_name: str | None
    is_catalog: bool
    writer_id: str
    first_seq: int
    last_seq: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last_seq - self.first_seq + 1

    def __str__(self) -> str:
        of_run = f"run {self.run_id}"
        if self.run_name is not None:
            of_run = f"{of_run} ({self.experiment_name}/{self.run_name})"
        if self.is_catalog:
            of_run = f"the catalog, about {of_run}" if self.run_name else "the catalog"
        seqs = f"{self.first_seq}"
        if self.count > 1:
            seqs = f"{self.first_seq} to {self.last_seq}"
        return f"{of_run}, writer {self.writer_id}: seq {seqs}"


@dataclass(frozen=True, slots=True)
class Loss:
    """What tables hold that the log does not have.

    Args:
        cuts: where the log is not the applied one.
        events: those that are nowhere in the log; none where all was sent again.
    """

    cuts: Sequence[Cut] = ()
    events: Sequence[LostEvents] = ()

    @property
    def count(self) -> int:
        """How many events are lost."""
        # An event of the catalog may be about many runs.
        told = {
            (None if one.is_catalog else one.run_id, one.writer_id, one.first_seq): one.count
            for one in self.events
        }
        return sum(told.values())

    @property
    def runs(self) -> int:
        """Of how many runs they are."""
        return len({one.run_id for one in self.events})

    def lines(self, *, is_back: bool = False) -> Iterator[str]:
        """Say it, of very many events the first ones.

        Args:
            is_back: the tables that lack them are the ones before, and the log may have them.
        """
        if not is_back:
            yield from map(str, self.cuts)
        where = "not in the tables before" if is_back else "nowhere in the log"
        for one in self.events[:EVENTS_SHOWN_MAX]:
            yield f"  {where}: {one}"
        more = len(self.events) - EVENTS_SHOWN_MAX
        if more > 0:
            yield f"  and {more} more; --json has all"
        if self.cuts and not self.events and not is_back:
            yield "  every event that was applied is in the log, at another place"

    def json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "cuts": [
                {
                    "topic": one.partition.topic,
                    "partition": one.partition.number,
                    "first_offset": one.first_offset,
                    "applied": one.applied,
                    "end": one.end,
                }
                for one in self.cuts
            ],
            "events_count": self.count,
            "events": [
                {
                    "run_id": one.run_id,
                    "run_name": one.run_name,
                    "experiment_name": one.experiment_name,
                    "is_catalog": one.is_catalog,
                    "writer_id": one.writer_id,
                    "first_seq": one.first_seq,
                    "last_seq": one.last_seq,
                }
                for one in self.events
            ],
        }


class EventsLostError(UnavailableError):
    """Tables that were to take over lack events that the live ones hold.

    Args:
        loss: which events.
        is_back: the tables are the ones that were live before; the log may have those events.
    """

    def __init__(self, loss: Loss, *, is_back: bool = False) -> None:
        what = f"{loss.count} events of {loss.runs} runs that the live tables hold"
        super().__init__(
            f"the tables before lack {what}: the log has others in the places of what they were "
            "made of; the live tables stay as they are; with --accept-lost-events those before are "
            "live again, and stand still there"
            if is_back
            else f"the log lacks {what}: it "
            "is another log, or has lost its end; the tables stay as they are: have the writers "
            "that still have those events send them (`trialog sync`), or give the log what only an "
            "archive has (`trialog archive --supersede`), and rebuild then; with "
            "--accept-lost-events the tables are made of what the log has",
            field="log",
            value=loss.count,
        )
        self.loss = loss


async def find_loss(
    connection: Connection,
    live: Generation,
    made: Generation,
    applied: Mapping[Partition, int],
    ends: Mapping[Partition, int],
) -> Loss:
    """Return what live tables hold that is not in tables made of the whole log.

    Args:
        connection: sees both.
        live: the ones that may hold more.
        made: those made of the log, at least up to where the live ones stand, or to its end.
        applied: how far the live ones were when that was decided; later records are left out.
        ends: where the log ends.
    """
    asked = (live.schema_name, made.schema_name, *_columns(applied))
    found = {
        Partition(row["topic"], row["partition"]): row["first_offset"]
        for row in await connection.fetch(load_query("other_records"), *asked)
    }
    cuts = []
    for partition, position in sorted(applied.items()):
        end = ends.get(partition, 0)
        first = min(found.get(partition, position), end)
        if first < position:
            cuts.append(Cut(partition, first, position, end))
    rows = await connection.fetch(load_query("lost_events"), *asked) if cuts else []
    return Loss(
        cuts,
        [
            LostEvents(
                row["run_id"].hex,
                row["run_name"],
                row["experiment_name"],
                row["topic"] == CATALOG_TOPIC,
                row["writer_id"].hex,
                row["first_seq"],
                row["last_seq"],
            )
            for row in rows
        ],
    )


def check_told(
    loss: Loss, applied: Mapping[Partition, int], reached: Mapping[Partition, int]
) -> None:
    """See that a log has lost no more of what is applied than was found, before that is given up.

    Args:
        loss: what was found.
        applied: how far the live tables are.
        reached: how far tables of the log can come.

    Raises:
        UnavailableError: it has lost more since.
    """
    ends = {one.partition: one.end for one in loss.cuts}
    for partition, position in applied.items():
        at_least = min(position, ends.get(partition, position))
        if reached.get(partition, 0) < at_least:
            raise UnavailableError(
                f"{partition.topic} partition {partition.number}: the log has lost its end while "
                f"the tables were made, it ends before {at_least}; the live tables stay as they "
                "are, give the command again: it tells what is lost",
                field="log",
                value=reached.get(partition, 0),
                limit=at_least,
            )


async def forget_seals(connection: Connection, cuts: Sequence[Cut]) -> None:
    """Forget how far partitions are sealed whose log has other records than were signed."""
    places = {one.partition: one.first_offset for one in cuts}
    await connection.execute(load_query("forget_seals"), *_columns(places))


def _columns(places: Mapping[Partition, int]) -> tuple[list[str], list[int], list[int]]:
    return (
        [one.topic for one in places],
        [one.number for one in places],
        list(places.values()),
    )
