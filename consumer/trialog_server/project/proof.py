"""Proofs that a run's records are exactly those that a checkpoint covers; to be checked offline.

A proof holds the signed checkpoint, the run's records as they are in the log, and the hashes that
lead from them to the root that was signed of their partition (`run_tree.py`). Whoever has it and
the public key needs no service, no log and no other run. What it does not say: what the rules made
of the events, and what the catalog has of the run.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import orjson

from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import (
    ResourceNotFoundError,
    UnavailableError,
    ValidationError,
    WireError,
)
from trialog_schemas.events import Event, MetricsLogged, RunStarted
from trialog_schemas.wire import EVENTS_TOPIC, HASH_BYTES, first_hash, partition_of
from trialog_server.log.base import Partition
from trialog_server.project.checkpoint import checkpoint_of, records_until
from trialog_server.project.decode import extend_chain
from trialog_server.project.run_tree import (
    RunChain,
    add_records,
    path_of,
    root_of,
    run_of,
    tree_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trialog_schemas.decode import AnyEvent
    from trialog_schemas.wire import RecordHeader
    from trialog_server.log.base import Log
    from trialog_server.project.checkpoint import Checkpoint, SignedCheckpoint

VERSION: Final = 1

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class NotProvenError(Exception):
    """The first thing that is wrong with a proof, as a sentence."""


class ProofRecord(NamedTuple):
    """One record of the run: its offset in its partition, and its bytes."""

    offset: int
    value: bytes


@dataclass(slots=True)
class Proven:
    """What a proof that holds shows of its run.

    Args:
        run_id: 32 hex digits.
        signed: what the signature is under.
        records: how many records the run had.
        partition: where all of them are.
        users: who wrote them.
        name: experiment and run as `run_started` has them; None without one.
        events: how many there are of each type, and "unreadable" ones.
        points: of metrics, accepted or not.
        first_at_us, last_at_us: the writers' times of the first and the last event that is read.
    """

    run_id: str
    signed: SignedCheckpoint
    records: int
    partition: Partition
    users: set[str] = field(default_factory=set)
    name: tuple[str, str] | None = None
    events: Counter[str] = field(default_factory=Counter)
    points: int = 0
    first_at_us: int | None = None
    last_at_us: int | None = None


async def make_proof(
    log: Log, run_id: str, signed: bytes, on_progress: Callable[[int, int], None]
) -> bytes:
    """Return the file that proves a run's records.

    Args:
        log: where they are.
        run_id: 32 hex digits.
        signed: content of a checkpoint's file whose signature was found right.
        on_progress: told how many records of the run's partition were read, of how many.

    Raises:
        ResourceNotFoundError: the checkpoint covers no record of the run.
        ValidationError: it covers no runs at all, being older.
        UnavailableError: the log does not answer, or is not the one that was signed.
    """
    checkpoint = checkpoint_of(signed, "checkpoint").checkpoint
    partition = _home_of(run_id, checkpoint)
    tree = checkpoint.trees.get(partition)
    if tree is None:
        raise ValidationError(
            "the checkpoint was made by a release that signed no runs; make a new one with "
            "`trialog checkpoint`",
            field="checkpoint",
            limit="version 2",
        )
    count, signed_chain = checkpoint.chains[partition]
    runs, chain, own = dict[str, RunChain](), b"", list[ProofRecord]()
    if count:
        async for _, records in records_until(log, {partition: count}, on_progress):
            chain = extend_chain(chain, records)
            add_records(runs, records)
            own += [
                ProofRecord(one.offset, one.value) for one in records if run_of(one.value) == run_id
            ]
    if (chain.hex(), tree_of(runs)) != (signed_chain, tree):
        raise UnavailableError(
            f"the log's first {count} records of {partition.topic} partition {partition.number} "
            "are not those that were signed; give the address of the right log, or look with "
            "`trialog verify --checkpoint`"
        )
    if not own:
        raise ResourceNotFoundError(
            f"the checkpoint covers no record of a run {run_id}; give the id of a run that logged "
            "before it was made",
            field="run_id",
            value=run_id,
        )
    return _file(run_id, path_of(runs, run_id), own, signed)


def _file(
    run_id: str, way: tuple[int, list[bytes]], records: Sequence[ProofRecord], signed: bytes
) -> bytes:
    place, path = way
    return orjson.dumps(
        {
            "version": VERSION,
            "run_id": run_id,
            "place": place,
            "path": [one.hex() for one in path],
            "records": [
                {"offset": one.offset, "value": base64.b64encode(one.value).decode()}
                for one in records
            ],
            "checkpoint": orjson.Fragment(signed),
        }
    )


def check_proof(content: bytes, public_key: str) -> Proven:
    """Return what a proof shows, if everything in it is right for the key (hex digits).

    Raises:
        NotProvenError: something is wrong; the first thing is said.
    """
    stored, records = _read(content)
    try:
        signed = checkpoint_of(orjson.dumps(stored["checkpoint"]), "in the proof")
    except ValidationError as exc:
        raise NotProvenError(exc.message) from exc
    if signed.public_key != public_key:
        raise NotProvenError(f"it is signed by key {signed.public_key}, not by {public_key}")
    run_id, place = cast("str", stored["run_id"]), cast("int", stored["place"])
    partition = _home_of(run_id, signed.checkpoint)
    tree = signed.checkpoint.trees.get(partition)
    if tree is None:
        raise NotProvenError("its checkpoint covers no runs")
    _check_records(run_id, records, signed.checkpoint.chains[partition][0])
    chain = RunChain()
    for one in records:
        chain.add(*one)
    path = [bytes.fromhex(one) for one in cast("list[str]", stored["path"])]
    if root_of(chain.leaf(run_id), place, tree.runs, path) != tree.root:
        raise NotProvenError(
            f"the {len(records)} records of run {run_id} are not those that were signed: "
            f"{_first_break(records)}"
        )
    proven = Proven(run_id, signed, len(records), partition)
    for one in records:
        _tell(proven, one)
    return proven


def _read(content: bytes) -> tuple[dict[str, object], list[ProofRecord]]:
    try:
        stored = orjson.loads(content)
        _check_shape(stored)
        records = [
            ProofRecord(_whole(one["offset"]), base64.b64decode(one["value"], validate=True))
            for one in stored["records"]
        ]
    except (ValueError, TypeError, KeyError) as exc:
        raise NotProvenError(
            f"it is no whole proof of version {VERSION} ({type(exc).__name__}: {exc})"
        ) from exc
    return stored, records


def _check_shape(stored: dict[str, object]) -> None:
    if stored["version"] != VERSION:
        raise ValueError(f"version {stored['version']!r}")
    if not is_run_id(stored["run_id"]):
        raise ValueError(f"run_id {stored['run_id']!r}")
    for text in cast("list[str]", stored["path"]):
        if len(bytes.fromhex(text)) != HASH_BYTES:
            raise ValueError(f"hash {text!r}")
    _whole(stored["place"])
    if not isinstance(stored["checkpoint"], dict):
        raise TypeError(f"checkpoint {stored['checkpoint']!r}")


def is_run_id(value: object) -> bool:
    """Tell whether a value is the id of a run, in the form that records have."""
    return isinstance(value, str) and _RUN_ID.fullmatch(value) is not None


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _home_of(run_id: str, checkpoint: Checkpoint) -> Partition:
    """Return the partition of a run in the log that a checkpoint is of."""
    partitions = sum(one.topic == EVENTS_TOPIC for one in checkpoint.chains)
    return Partition(EVENTS_TOPIC, partition_of(run_id, max(partitions, 1)))


def _check_records(run_id: str, records: Sequence[ProofRecord], count: int) -> None:
    """Refuse what the chain would refuse as well, and say which record it is."""
    before = -1
    for offset, value in records:
        if run_of(value) != run_id:
            raise NotProvenError(
                f"the record at offset {offset} is of run {run_of(value)}, not of {run_id}"
            )
        if offset <= before:
            raise NotProvenError(f"the record at offset {offset} stands behind that at {before}")
        if offset >= count:
            raise NotProvenError(
                f"the record at offset {offset} came after the {count} records that were signed"
            )
        before = offset


def _first_break(records: Sequence[ProofRecord]) -> str:
    """Say where the writers' own chains break: each record has the hash of what was before it."""
    writers: dict[str, tuple[int, bytes]] = {}
    for offset, value in records:
        try:
            header, events = unpack_record(value)
        except WireError as exc:
            return f"the record at offset {offset} cannot be read ({exc.reason})"
        writer = header.writer_id
        last_seq, expected = writers.get(writer, (0, _start_of(header)))
        if header.first_seq > last_seq + 1:
            return (
                f"before the record at offset {offset} events {last_seq + 1} to "
                f"{header.first_seq - 1} of writer {writer} are missing"
            )
        if header.first_seq == last_seq + 1 and header.prev_hash != expected:
            return (
                f"the record at offset {offset} does not follow what is before it of writer "
                f"{writer}: one of the two was changed"
            )
        if events and events[-1].seq > last_seq:
            writers[writer] = events[-1].seq, events[-1].digest
    return (
        "each writer's chain is whole, so that a writer's last record was changed, added or left "
        "out, or all of a writer's, or records have other offsets"
    )


def _start_of(header: RecordHeader) -> bytes:
    return first_hash(header.account, header.user, header.run_id, header.writer_id)


def _tell(proven: Proven, record: ProofRecord) -> None:
    """Add what a record says to the summary."""
    try:
        header, events = unpack_record(record.value)
    except WireError:
        proven.events["unreadable"] += 1
        return
    proven.users.add(header.user)
    for event in events:
        _tell_event(proven, event)


def _tell_event(proven: Proven, event: AnyEvent) -> None:
    if not isinstance(event, Event):
        proven.events["unreadable"] += 1
        return
    proven.events[event.type] += 1
    if isinstance(event.body, MetricsLogged):
        proven.points += event.body.points
    if isinstance(event.body, RunStarted):
        proven.name = (event.body.experiment_name, event.body.run_name)
    if proven.first_at_us is None or event.at_us < proven.first_at_us:
        proven.first_at_us = event.at_us
    if proven.last_at_us is None or event.at_us > proven.last_at_us:
        proven.last_at_us = event.at_us
