"""Events of the catalog to rows: loads the slice they name, asks the rules, collects rows.

The catalog is one stream whose events concern each other, so they are folded one after the other;
nothing of it is remembered between batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from trialog_schemas.catalog_rules import (
    CatalogState,
    ExperimentEntry,
    RunEntry,
    decide_catalog,
    evolve_catalog,
    kept_names,
)
from trialog_schemas.events import (
    NIL_ID,
    Event,
    ExperimentCreated,
    ExperimentDeleted,
    RunCreated,
    RunDeleted,
    UnknownEvent,
)
from trialog_server.postgres.queries import load_query
from trialog_server.project.fold_runs import (
    Folded,
    dead_row,
    gap_row,
    hole_before,
    index_row,
    quarantining,
    rejection_rows,
    writer_row,
)
from trialog_server.project.rows import time_of
from trialog_server.project.runs import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from trialog_server.log.base import Partition
    from trialog_server.postgres.pool import Connection
    from trialog_server.project.decode import Decoded
    from trialog_server.project.rows import Row

Name: TypeAlias = tuple[str, str]
"""An account and a name in it."""


@dataclass(slots=True)
class Account:
    """One account's slice of the catalog."""

    state: CatalogState = field(default_factory=CatalogState)
    last_number: int = 0


@dataclass(slots=True)
class NewExperiment:
    """An experiment that this batch creates."""

    account: str
    number: int
    body: ExperimentCreated
    at_us: int
    user: str
    log_offset: int


@dataclass(slots=True)
class NewRun:
    """A run that this batch creates."""

    account: str
    body: RunCreated
    at_us: int
    user: str
    log_offset: int
    seq: int


class Deletion(NamedTuple):
    """When the log took an event that deletes something, and where it is."""

    at_us: int
    log_offset: int


@dataclass(slots=True)
class Catalog:
    """The slice of the catalog that a batch names, and what the batch changes in it."""

    accounts: dict[str, Account] = field(default_factory=dict)
    writers: dict[str, Writer] = field(default_factory=dict)
    new_experiments: dict[str, NewExperiment] = field(default_factory=dict)
    new_runs: dict[str, NewRun] = field(default_factory=dict)
    deleted_experiments: dict[str, Deletion] = field(default_factory=dict)
    deleted_runs: dict[str, Deletion] = field(default_factory=dict)
    touched: dict[str, tuple[int, str]] = field(default_factory=dict)


async def load_catalog(connection: Connection, records: Sequence[Decoded]) -> Catalog:
    """Read by one query the slice that the events of a batch name."""
    named = _Named()
    for record in records:
        named.writers.add(record.header.writer_id)
        named.accounts.add(record.header.account)
        for event in record.events:
            if isinstance(event, Event):
                named.take(event)
    row = await connection.fetchrow(load_query("load_catalog"), *named.columns())
    if row is None:
        raise LookupError("a query without FROM gave no row")
    catalog = Catalog()
    for account, live_experiments, last_number in row["accounts"]:
        catalog.accounts[account] = Account(CatalogState(live_experiments), last_number)
    for account, slice_of in catalog.accounts.items():
        slice_of.state = CatalogState(
            slice_of.state.live_experiments,
            dict(_experiment(account, *stored) for stored in row["experiments"]),
            dict(_run(account, *stored) for stored in row["runs"]),
        )
    for writer_id, last_seq, chain in row["writers"]:
        catalog.writers[writer_id.hex] = Writer(last_seq, chain)
    return catalog


def _experiment(
    account: str, owner: str, experiment_id: UUID, name: str, live_runs: int, is_deleted: bool
) -> tuple[str, ExperimentEntry]:
    """Return an entry; what belongs to another account only says that its id is in use."""
    is_foreign = owner != account
    entry = ExperimentEntry(experiment_id.hex, name, live_runs, is_deleted or is_foreign)
    return entry.experiment_id, entry


def _run(
    account: str, owner: str, run_id: UUID, experiment_id: UUID, name: str, is_deleted: bool
) -> tuple[str, RunEntry]:
    is_foreign = owner != account
    entry = RunEntry(run_id.hex, experiment_id.hex, name, is_deleted or is_foreign)
    return entry.run_id, entry


@dataclass(slots=True)
class _Named:
    """Everything that the events of a batch name."""

    accounts: set[str] = field(default_factory=set)
    writers: set[str] = field(default_factory=set)
    experiments: set[Name] = field(default_factory=set)
    experiment_ids: set[str] = field(default_factory=set)
    emptied_ids: set[str] = field(default_factory=set)
    run_ids: set[str] = field(default_factory=set)
    run_names: set[tuple[str, str, str]] = field(default_factory=set)

    def take(self, event: Event) -> None:
        body, account = event.body, event.account
        if isinstance(body, ExperimentCreated):
            self.experiments.add((account, body.name))
            self.experiment_ids.add(body.experiment_id)
        elif isinstance(body, RunCreated):
            self.experiments.add((account, body.experiment_name))
            self.experiment_ids.add(body.experiment_id)
            self.run_ids.add(body.run_id)
            if body.if_taken != "share":
                for name in (body.run_name, *kept_names(body.run_name, body.run_id)):
                    self.run_names.add((account, body.experiment_name, name))
        elif isinstance(body, ExperimentDeleted):
            self.experiment_ids.add(body.experiment_id)
            self.emptied_ids.add(body.experiment_id)
        elif isinstance(body, RunDeleted):
            self.run_ids.add(body.run_id)

    def columns(self) -> list[list[str]]:
        return [
            sorted(self.accounts),
            sorted(self.writers),
            *_columns(self.experiments, 2),
            sorted(self.experiment_ids),
            sorted(self.emptied_ids),
            sorted(self.run_ids),
            *_columns(self.run_names, 3),
        ]


def _columns(rows: Iterable[tuple[str, ...]], width: int) -> list[list[str]]:
    ordered = sorted(rows)
    return [[row[number] for row in ordered] for number in range(width)]


def fold_catalog(catalog: Catalog, records: Sequence[Decoded], partition: Partition) -> Folded:
    """Fold the records of a batch, in order, into rows; changes `catalog` in place.

    Raises:
        FoldError: a defect of ours; the batch must be folded again without that record.
    """
    folded = Folded()
    for record in records:
        with quarantining(NIL_ID, record.log_offset):
            _fold_record(catalog, record, partition, folded)
    _add_rows(catalog, folded)
    return folded


def _fold_record(catalog: Catalog, record: Decoded, partition: Partition, folded: Folded) -> None:
    header = record.header
    writer = catalog.writers.setdefault(header.writer_id, Writer())
    fresh = [event for event in record.events if event.seq > writer.last_seq]
    folded.duplicates += len(record.events) - len(fresh)
    if not fresh:
        return
    hole = hole_before(writer, record, fresh[0])
    if hole is not None:
        folded.gaps += 1
        folded.rows.add("gaps", gap_row((header.run_id, header.writer_id), hole, partition))
    for event in fresh:
        if isinstance(event, UnknownEvent):
            folded.rows.add("insert_dead", dead_row(partition, record, event.reason))
            folded.dead += 1
        else:
            _fold_event(catalog, record, event, partition, folded)
    writer.move_to(record.log_offset, fresh[-1])
    folded.touched_writers.add(header.writer_id)
    folded.events += len(fresh)
    runs = {run_id: None for run_id in map(_run_of, fresh) if run_id != NIL_ID} or {NIL_ID: None}
    folded.rows.extend("record_index", (index_row(partition, record, run_id) for run_id in runs))


def _run_of(event: Event | UnknownEvent) -> str:
    """Return the run that an event of the catalog is about, if any."""
    if isinstance(event, Event) and isinstance(event.body, RunCreated | RunDeleted):
        return event.body.run_id
    return NIL_ID


def _fold_event(
    catalog: Catalog, record: Decoded, event: Event, partition: Partition, folded: Folded
) -> None:
    account = catalog.accounts.setdefault(event.account, Account())
    verdict = decide_catalog(account.state, event)
    if verdict.rejections:
        folded.rejections += len(verdict.rejections)
        folded.rows.extend(
            "rejections",
            rejection_rows(event, verdict, _run_of(event), (partition, record.log_offset)),
        )
    body = verdict.accepted
    if isinstance(body, ExperimentCreated):
        _create_experiment(catalog, account, record, event, body)
    elif isinstance(body, RunCreated):
        if body.experiment_id not in account.state.experiments:
            created = ExperimentCreated(body.experiment_id, body.experiment_name)
            _create_experiment(catalog, account, record, event, created)
        catalog.new_runs[body.run_id] = NewRun(
            event.account, body, event.at_us, event.user, record.log_offset, event.seq
        )
        _touch(catalog, body.experiment_id, record.at_us, event.user)
    elif isinstance(body, ExperimentDeleted):
        catalog.deleted_experiments[body.experiment_id] = Deletion(record.at_us, record.log_offset)
    elif isinstance(body, RunDeleted):
        catalog.deleted_runs[body.run_id] = Deletion(record.at_us, record.log_offset)
        home = account.state.runs[body.run_id].experiment_id
        _touch(catalog, home, record.at_us, event.user)
    account.state = evolve_catalog(account.state, verdict)


def _create_experiment(
    catalog: Catalog, account: Account, record: Decoded, event: Event, body: ExperimentCreated
) -> None:
    # Numbers count from 1: 0 is kept for MLflow's default experiment.
    account.last_number += 1
    catalog.new_experiments[body.experiment_id] = NewExperiment(
        event.account, account.last_number, body, event.at_us, event.user, record.log_offset
    )


def _touch(catalog: Catalog, experiment_id: str, at_us: int, user: str) -> None:
    """Note that an experiment's set of runs changed; the latest change stays."""
    known = catalog.touched.get(experiment_id)
    if known is None or at_us > known[0]:
        catalog.touched[experiment_id] = (at_us, user)


def _add_rows(catalog: Catalog, folded: Folded) -> None:
    rows = folded.rows
    for experiment_id, deletion in catalog.deleted_experiments.items():
        if experiment_id not in catalog.new_experiments:
            row = (experiment_id, time_of(deletion.at_us), deletion.log_offset)
            rows.add("delete_experiments", row)
    for run_id, deletion in catalog.deleted_runs.items():
        if run_id not in catalog.new_runs:
            rows.add("delete_runs", (run_id, time_of(deletion.at_us), deletion.log_offset))
    for new_experiment in catalog.new_experiments.values():
        rows.add("insert_experiments", _experiment_row(catalog, new_experiment))
    for new_run in catalog.new_runs.values():
        rows.add("insert_runs", _run_row(catalog, new_run))
    for experiment_id, (at_us, user) in catalog.touched.items():
        rows.add("touch_experiments", (experiment_id, time_of(at_us), whom(user)))
    for writer_id in folded.touched_writers:
        writer = catalog.writers[writer_id]
        rows.add("upsert_writers", writer_row(NIL_ID, writer_id, writer))


def _experiment_row(catalog: Catalog, new: NewExperiment) -> Row:
    body, created_at = new.body, time_of(new.at_us)
    deletion = catalog.deleted_experiments.get(body.experiment_id)
    return (
        body.experiment_id,
        new.account,
        new.number,
        body.name,
        body.description,
        body.tags,
        created_at,
        whom(new.user),
        created_at,
        whom(new.user),
        None if deletion is None else time_of(deletion.at_us),
        new.log_offset,
        None if deletion is None else deletion.log_offset,
    )


def _run_row(catalog: Catalog, new: NewRun) -> Row:
    body = new.body
    deletion = catalog.deleted_runs.get(body.run_id)
    return (
        body.run_id,
        new.account,
        body.experiment_id,
        body.run_name,
        body.if_taken != "share",
        body.tags,
        body.parent_run_id,
        time_of(new.at_us),
        whom(new.user),
        None if deletion is None else time_of(deletion.at_us),
        new.log_offset,
        None if deletion is None else deletion.log_offset,
        new.seq,
    )


def whom(user: str) -> dict[str, str]:
    """Split `user@host` into what is shown of who acted."""
    name, _, host = user.rpartition("@")
    return {"user": name or host, "host": host if name else ""}
