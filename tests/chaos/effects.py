"""Which calls of the training programs the log holds, told from its plain records alone."""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.acceptance.trainer_program import loss_at, odd_at
from tests.chaos.ledgers import Call
from tests.chaos.plain_log import EVENTS, Entry, PlainEvent, PlainRecord, Row, read_record
from tests.unit.schemas.run_model import DROPPED_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAMED = re.compile(r"(?P<kind>[pat])(?P<number>[0-9]+)(?P<mark>(?:\.[a-z0-9]+)*)")
_KINDS = {"p": "parameter", "a": "artifact", "t": "tag"}


@dataclass
class RunEffects:
    """What the log holds of a run that has an effect: of each writer what was not there before.

    Args:
        calls: in the order of the log, each time it is there.
        wrong: what was logged with another value than the program gave, in words.
        told: by writer the number of calls that it has said a full disk has cost it so far, and how
            many of its own calls are in the log before that.
        by_writer: the calls of each writer, in the order of the log.
        endings: how often an owner ended it.
    """

    calls: list[Call] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    told: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    by_writer: dict[str, list[Call]] = field(default_factory=dict)
    endings: int = 0

    @property
    def dropped(self) -> int:
        """How many calls a full disk has cost, as the writers of the run tell at last."""
        return sum(told[-1][0] for told in self.told.values())


def readable(entries: Iterable[Entry]) -> Iterator[tuple[Entry, PlainRecord | None]]:
    """Yield the entries of the events topic in their order, with what they say."""
    ordered = sorted(one for one in entries if one.topic == EVENTS)
    for entry in ordered:
        yield entry, read_record(entry.value)


def effects_of(records: Iterable[PlainRecord]) -> dict[str, RunEffects]:
    """Return by run what its records say, each event the first time."""
    runs: dict[str, RunEffects] = {}
    seen: set[tuple[str, str, int]] = set()
    for record in records:
        effects = runs.setdefault(record.run_id, RunEffects())
        for event in record.events:
            key = (record.run_id, record.writer_id, event.seq)
            if key not in seen:
                seen.add(key)
                _take(effects, record.writer_id, event)
    return runs


def places_of(
    read: Iterable[tuple[Entry, PlainRecord | None]],
) -> dict[str, dict[int, tuple[int, int]]]:
    """Return by writer and seq where each event stands the first time: partition and offset."""
    places: dict[str, dict[int, tuple[int, int]]] = {}
    for entry, record in read:
        if record is not None:
            own = places.setdefault(record.writer_id, {})
            for event in record.events:
                own.setdefault(event.seq, (entry.partition, entry.offset))
    return places


def _take(effects: RunEffects, writer: str, event: PlainEvent) -> None:
    own = effects.by_writer.setdefault(writer, [])
    if event.kind == "run_ended" and event.body["is_owner"]:
        effects.endings += 1
    if event.kind == "tags_set" and DROPPED_TAG in _mapping(event.body["tags"]):
        count = int(str(_mapping(event.body["tags"])[DROPPED_TAG]))
        told = effects.told.setdefault(writer, [(0, 0)])
        told.append((told[-1][0] + count, len(own)))
        return
    for call, is_right in calls_of(event):
        effects.calls.append(call)
        own.append(call)
        if not is_right:
            effects.wrong.append(f"{call}: {event}"[:500])


def calls_of(event: PlainEvent) -> Iterator[tuple[Call, bool]]:
    """Yield the calls that an event tells of, and whether the values are the program's."""
    for row in event.rows:
        yield _call_of_row(row)
    if event.kind == "parameters_logged":
        for name, value in _mapping(event.body["parameters"]).items():
            if name == "contested":
                yield Call("contested", 0, str(value).removeprefix("by ")), True
            else:
                call = _named(name)
                yield call, value == call.number / 3
    elif event.kind == "artifact_logged":
        call = _named(str(event.body["name"]))
        digest = hashlib.sha256(f"text {call.number}".encode()).hexdigest()
        yield call, event.body["sha256"] == digest
    elif event.kind == "tags_set":
        for name, value in _mapping(event.body["tags"]).items():
            call = _named(name)
            yield call, value == str(call.number)


def _call_of_row(row: Row) -> tuple[Call, bool]:
    first = row.names[0]
    if first.startswith("tick"):
        call = Call("tick", int(row.values[0]), first.removeprefix("tick"))
        return call, row.step == -1
    if first.startswith("loss"):
        call = Call("step", row.step, first.removeprefix("loss"))
        expected = (loss_at(row.step), row.step / 7, odd_at(row.step))
        return call, _bits(row.values) == _bits(expected)
    call = Call("row", row.step, first.removeprefix("m0"))
    return call, set(row.values) == {float(row.step)}


def _bits(values: tuple[float, ...]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def _named(name: str) -> Call:
    match = _NAMED.fullmatch(name)
    if match is None:
        return Call(f"foreign {name}", 0, "")
    return Call(_KINDS[match["kind"]], int(match["number"]), match["mark"])


def _mapping(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value
