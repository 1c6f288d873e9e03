"""Moments: where every partition ended at a time or at given positions. Must not know tables.

A moment's text names the newest position of each partition and its time, so that the same question
can be asked again exactly: `catalog:0:12,events:3:17@2026-03-01T12:30:00.000000Z`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from trialog_schemas.errors import UnavailableError, ValidationError, shown
from trialog_schemas.wire import Position
from trialog_server.log.base import OffsetMissing, Partition, topic_partitions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialog_server.log.base import Log

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

LIKE = "'2026-03-01T12:30:00+01:00', '2026-03-01' (UTC) or events:3:17"


@dataclass(frozen=True, slots=True)
class Moment:
    """What the log had taken: of each partition the offset it ended before, and when that was."""

    ends: Mapping[Partition, int]
    at_us: int

    @property
    def positions(self) -> str:
        """The newest position of each partition, joined by commas; an empty one has none."""
        return ",".join(position.token() for position in self.newest)

    @property
    def newest(self) -> list[Position]:
        """The newest position of each partition that had one, in order."""
        return [Position(*place, end - 1) for place, end in sorted(self.ends.items()) if end]

    @property
    def text(self) -> str:
        """The moment as it can be asked for again, exactly."""
        return "@".join(filter(None, (self.positions, text_of(self.at_us))))


@dataclass(frozen=True, slots=True)
class AskedMoment:
    """What was asked for: a time, or positions with or without one."""

    text: str
    positions: Sequence[Position]
    at_us: int | None


def parse_moment(text: str, now_us: int) -> AskedMoment:
    """Read a time, or positions that may be followed by `@` and a time.

    Args:
        text: what was asked for.
        now_us: the service's clock, which no time may be ahead of.

    Raises:
        ValidationError: it is neither, names a partition twice, or lies in the future.
    """
    if ":" in text and text.partition(":")[0].isalpha():
        named, at, time = text.partition("@")
        try:
            positions = [Position.parse(token.strip()) for token in named.split(",")]
        except ValidationError as exc:
            raise _illegal(text, f"is neither a time nor positions; write one like {LIKE}") from exc
        places = [(one.topic, one.partition) for one in positions]
        if len(set(places)) < len(places):
            twice = next(one for one in positions if places.count((one.topic, one.partition)) > 1)
            raise _illegal(text, f"names the partition of {twice.token()} twice; name it once")
        return AskedMoment(text, positions, _time_us(text, time, now_us) if at else None)
    return AskedMoment(text, (), _time_us(text, text, now_us))


async def find_moment(log: Log, asked: AskedMoment) -> Moment:
    """Return where every partition ended then.

    Positions say it exactly for the partitions that they name. The others ended where they were at
    the time, or without one at the time of the newest record that is named.

    Raises:
        ValidationError: a position is in no log of this service, or not yet.
        UnavailableError: the log does not answer, or has lost what would tell it.
    """
    partitions = topic_partitions(log)
    named = {Partition(one.topic, one.partition): one.offset for one in asked.positions}
    at_us = asked.at_us
    try:
        await _check_there(log, asked, named)
        if at_us is None:
            records = [(await log.read_at(place, [offset]))[0] for place, offset in named.items()]
            at_us = max(record.at_us for record in records)
        ends = await log.ends_at([one for one in partitions if one not in named], at_us)
    except OffsetMissing as exc:
        raise UnavailableError(exc.message, field="log", value=exc.offset) from exc
    return Moment({**ends, **{one: offset + 1 for one, offset in named.items()}}, at_us)


async def _check_there(log: Log, asked: AskedMoment, named: Mapping[Partition, int]) -> None:
    known = set(topic_partitions(log))
    for place, offset in named.items():
        if place not in known:
            raise _illegal(
                asked.text,
                f"names partition {place.number} of {place.topic}, which has "
                f"{log.partition_count(place.topic)}; give a position of this service",
            )
        start, end = (await log.bounds([place]))[place]
        if offset < start:  # it was there once, and its archive has it
            raise OffsetMissing(place, offset, start, end)
        if offset >= end:
            there = f"{start} to {end - 1} are there" if end > start else "none is there"
            raise _illegal(
                asked.text,
                f"names offset {offset} of {place.topic} partition {place.number}, of which "
                f"{there}; give a position that is in the log",
                limit=f"{start}..{end - 1}" if end > start else None,
            )


def text_of(at_us: int) -> str:
    """Return a time as ISO-8601 in UTC with microseconds and Z."""
    at = _EPOCH + at_us * _MICROSECOND
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _time_us(text: str, time: str, now_us: int) -> int:
    refusal = _illegal(text, f"is neither a time nor positions; write one like {LIKE}")
    if not time.isprintable():  # Python itself reads a time over a NUL at its end
        raise refusal
    try:
        at = datetime.fromisoformat(time.strip())
        # In UTC, where the years 1 and 9999 end elsewhere: each moment is shown as a time of there.
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise refusal from exc
    at_us = (at - _EPOCH) // _MICROSECOND
    if at_us > now_us:
        raise _illegal(
            text,
            f"is ahead of the service's clock, {text_of(now_us)}; ask without as_of for the "
            "present",
            limit=text_of(now_us),
        )
    return at_us


def _illegal(text: str, why: str, limit: str | None = "a time or positions") -> ValidationError:
    return ValidationError(f"as_of {shown(text)} {why}", field="as_of", value=text, limit=limit)
