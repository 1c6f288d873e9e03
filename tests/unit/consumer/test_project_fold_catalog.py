"""Events of the catalog to rows, on a slice that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.consumer.project_writers import (
    AT_US,
    EXPERIMENT,
    RUN,
    Writer,
    catalog_writer,
    run_created,
)
from trialog_schemas.catalog_rules import CatalogState, ExperimentEntry, RunEntry
from trialog_schemas.events import (
    NIL_ID,
    ExperimentCreated,
    ExperimentDeleted,
    RunDeleted,
)
from trialog_server.log.base import LogRecord, NewRecord, Partition
from trialog_server.project.decode import Decoded, decode_record
from trialog_server.project.fold_catalog import Account, Catalog, fold_catalog, whom

if TYPE_CHECKING:
    from trialog_server.project.fold_runs import Folded

PLACE = Partition("trialog.catalog.v1", 0)
OTHER = "0191" + "ab" * 14


def fold(catalog: Catalog, *records: NewRecord, first: int = 0) -> Folded:
    """Fold records that stand one after the other, a microsecond apart in the log."""
    read = []
    for offset, record in enumerate(records, start=first):
        stored = LogRecord(PLACE, offset, AT_US + offset, record.key, record.value)
        one = decode_record(stored, 1)
        assert isinstance(one, Decoded)
        read.append(one)
    return fold_catalog(catalog, read, PLACE)


def known(*, live_runs: int = 1) -> Catalog:
    """Return a slice with experiment `digits` and its run `first`."""
    state = CatalogState(
        1,
        {EXPERIMENT: ExperimentEntry(EXPERIMENT, "digits", live_runs)},
        {RUN: RunEntry(RUN, EXPERIMENT, "first")},
    )
    return Catalog(accounts={"default": Account(state, last_number=4)})


def test_catalog_first_run_creates_its_experiment_with_number_one() -> None:
    """A missing experiment is made on entering a run; numbers count from 1.  # B3."""
    folded = fold(Catalog(), catalog_writer().record(run_created(tags={"a": "b"})))
    (experiment,) = folded.rows.of("insert_experiments")
    (run,) = folded.rows.of("insert_runs")
    assert experiment[:4] == (EXPERIMENT, "default", 1, "digits")
    assert run[:6] == (RUN, "default", EXPERIMENT, "first", True, {"a": "b"})


def test_catalog_numbers_go_on_per_account() -> None:
    """Each account counts its own experiments, deleted ones included."""
    catalog = known()
    one = catalog_writer(1).record(ExperimentCreated("0192" + "0" * 28, "new"))
    two = catalog_writer(2, "other").record(ExperimentCreated("0193" + "0" * 28, "new"))
    rows = fold(catalog, one, two).rows.of("insert_experiments")
    assert [(row[1], row[2]) for row in rows] == [("default", 5), ("other", 1)]


def test_catalog_taken_name_is_refused_on_the_run_it_was_for() -> None:
    """A taken run name is refused, and nothing is created.  # B5."""
    folded = fold(known(), catalog_writer().record(run_created(OTHER)))
    (refusal,) = folded.rows.of("rejections")
    assert refusal[:5] == (OTHER, catalog_writer().writer_id, 1, -1, "run_name_in_use")
    assert folded.rows.of("insert_runs") == []


def test_catalog_taken_name_of_a_late_run_keeps_it_under_another_name() -> None:
    """A run recorded offline is kept with a suffix, and the refusal is on it (decision 11)."""
    folded = fold(known(), catalog_writer().record(run_created(OTHER, if_taken="keep")))
    (run,) = folded.rows.of("insert_runs")
    (refusal,) = folded.rows.of("rejections")
    assert (run[0], run[3]) == (OTHER, f"first-{OTHER[:6]}")
    assert (refusal[0], refusal[4]) == (OTHER, "run_name_in_use")


def test_catalog_refusals_of_a_catalog_and_a_run_never_share_a_key() -> None:
    """One writer id may stand in both topics: the catalog's items are negative."""
    folded = fold(known(), Writer(NIL_ID).record(run_created(OTHER)))
    assert [row[3] for row in folded.rows.of("rejections")] == [-1]


def test_catalog_adding_a_run_touches_its_experiment() -> None:
    """The experiment's modification time becomes the log's time of the newest run.  # A15."""
    folded = fold(
        known(),
        catalog_writer(1).record(run_created(OTHER, "second")),
        catalog_writer(2).record(run_created("0192" + "ab" * 14, "third")),
        first=10,
    )
    ((experiment_id, at, who),) = folded.rows.of("touch_experiments")
    assert (experiment_id, at.microsecond) == (EXPERIMENT, 11)  # type: ignore[attr-defined]
    assert who == {"user": "ada", "host": "forge"}


def test_catalog_deleting_a_run_touches_its_experiment() -> None:
    """Its set of runs is another one from the log's time of the deletion on.  # A15."""
    folded = fold(known(), catalog_writer().record(RunDeleted(RUN)), first=10)
    ((experiment_id, at, who),) = folded.rows.of("touch_experiments")
    assert (experiment_id, at.microsecond) == (EXPERIMENT, 10)  # type: ignore[attr-defined]
    assert who == {"user": "ada", "host": "forge"}


def test_catalog_deleting_a_run_frees_its_name_in_the_same_batch() -> None:
    """A name can be taken again right after its run was deleted (decision 6).  # B21."""
    writer = catalog_writer()
    folded = fold(known(), writer.record(RunDeleted(RUN)), writer.record(run_created(OTHER)))
    assert [row[0] for row in folded.rows.of("delete_runs")] == [RUN]
    assert [row[0] for row in folded.rows.of("insert_runs")] == [OTHER]
    assert folded.rows.of("rejections") == []


def test_catalog_run_created_and_deleted_in_one_batch_is_inserted_as_deleted() -> None:
    """Only its final form is written."""
    writer = catalog_writer()
    folded = fold(Catalog(), writer.record(run_created(), RunDeleted(RUN)))
    (run,) = folded.rows.of("insert_runs")
    assert run[9] is not None
    assert folded.rows.of("delete_runs") == []


def test_catalog_experiment_with_runs_is_not_deleted() -> None:
    """Deleting is refused while a run lives, and accepted once it is deleted.  # A11."""
    writer = catalog_writer()
    catalog = known()
    folded = fold(
        catalog,
        writer.record(ExperimentDeleted(EXPERIMENT)),
        writer.record(RunDeleted(RUN), ExperimentDeleted(EXPERIMENT)),
    )
    assert [row[4] for row in folded.rows.of("rejections")] == ["experiment_not_empty"]
    assert [row[0] for row in folded.rows.of("delete_experiments")] == [EXPERIMENT]


def test_catalog_same_command_again_is_a_duplicate() -> None:
    """A command that is sent twice is applied once.  # D12."""
    catalog, record = Catalog(), catalog_writer().record(run_created())
    fold(catalog, record)
    fresh = Catalog(accounts=catalog.accounts, writers=catalog.writers)
    folded = fold(fresh, record, first=1)
    assert (folded.duplicates, folded.rows.of("record_index")) == (1, [])


def test_catalog_record_is_indexed_under_its_run() -> None:
    """The creation of a run belongs to the run's history.  # K7."""
    (row,) = fold(Catalog(), catalog_writer().record(run_created())).rows.of("record_index")
    assert row[3] == RUN


def test_catalog_record_of_several_runs_is_indexed_under_each() -> None:
    """No run's history lacks its creation because another run was created beside it.  # K7."""
    record = catalog_writer().record(run_created(), run_created(OTHER, "second"), RunDeleted(RUN))
    rows = fold(Catalog(), record, first=6).rows.of("record_index")
    assert [(row[2], row[3]) for row in rows] == [(6, RUN), (6, OTHER)]


def test_catalog_record_about_no_run_is_indexed_under_none() -> None:
    """An experiment's creation is findable in the log as well."""
    record = catalog_writer().record(ExperimentCreated("0192" + "0" * 28, "new"))
    assert [row[3] for row in fold(Catalog(), record).rows.of("record_index")] == [NIL_ID]


def test_catalog_deletions_keep_where_the_log_has_them() -> None:
    """What deleted a run or an experiment can be traced back to its event."""
    writer = catalog_writer()
    rows = fold(
        known(), writer.record(RunDeleted(RUN)), writer.record(ExperimentDeleted(EXPERIMENT)),
        first=20,
    ).rows  # fmt: skip
    assert [row[2] for row in rows.of("delete_runs")] == [20]
    assert [row[2] for row in rows.of("delete_experiments")] == [21]


def test_catalog_things_made_and_deleted_in_one_batch_keep_both_places() -> None:
    """The row of a short life names the offset of its beginning and of its end."""
    writer = catalog_writer()
    made = writer.record(run_created())
    gone = writer.record(RunDeleted(RUN), ExperimentDeleted(EXPERIMENT))
    rows = fold(Catalog(), made, gone, first=3).rows
    (run,) = rows.of("insert_runs")
    (experiment,) = rows.of("insert_experiments")
    assert run[-3:-1] == experiment[-2:] == (3, 4)


def test_catalog_writer_row_names_its_newest_event() -> None:
    """How far a writer is comes with the offset at which it got there."""
    writer = catalog_writer()
    first, second = writer.record(run_created()), writer.record(run_created(OTHER, "second"))
    (row,) = fold(Catalog(), first, second, first=8).rows.of("upsert_writers")
    assert row == (NIL_ID, writer.writer_id, 2, writer.chain, 9)


def test_whom_splits_user_and_host() -> None:
    """Both parts are shown apart; a user without host has an empty one.  # A13."""
    assert whom("ada@forge") == {"user": "ada", "host": "forge"}
    assert whom("a@b@forge") == {"user": "a@b", "host": "forge"}
    assert whom("ada") == {"user": "ada", "host": ""}
