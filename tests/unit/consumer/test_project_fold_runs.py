"""Events of a run to rows, without any I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.consumer.project_writers import AT_US, RUN, Writer, long, metrics
from trialog_schemas.events import (
    ArtifactLogged,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    RunEnded,
    RunJoined,
    RunResumed,
    RunStarted,
    TagsSet,
)
from trialog_schemas.limits import Limits
from trialog_schemas.rules import RunState
from trialog_schemas.wire import partition_of
from trialog_server.log.base import LogRecord, NewRecord, Partition
from trialog_server.project.decode import Decoded, decode_record
from trialog_server.project.fold_runs import Folded, FoldError, fold_run
from trialog_server.project.runs import KnownRun

if TYPE_CHECKING:
    from trialog_server.project.rows import Row

PLACE = Partition("trialog.events.v1", partition_of(RUN, 4))
JOINED = "0190" + "dd" * 14


def decoded(record: NewRecord, offset: int = 0, log_time_us: int = AT_US + 50) -> Decoded:
    """Read a record as if it stood at an offset."""
    read = decode_record(LogRecord(PLACE, offset, log_time_us, record.key, record.value), 4)
    assert isinstance(read, Decoded)
    return read


def fold(run: KnownRun, *records: NewRecord, first: int = 0) -> Folded:
    """Fold records that stand one after the other."""
    read = [decoded(record, offset) for offset, record in enumerate(records, start=first)]
    return fold_run(run, read, PLACE, merge_chunks_min=32)


def column(rows: list[Row], place: int) -> list[object]:
    """Return one column of some rows."""
    return [row[place] for row in rows]


def test_fold_a_run_from_start_to_end_states_it_completed() -> None:
    """Start and end are the writer's times, the newest event's time is the log's.  # B9."""
    run, writer = KnownRun(RUN), Writer()
    folded = fold(
        run,
        writer.record(RunStarted("digits", "first"), at_us=AT_US),
        writer.record(RunEnded("Completed"), at_us=AT_US + 7),
    )
    assert (run.state.status, run.state.started_at_us, run.state.ended_at_us) == (
        "Completed",
        AT_US,
        AT_US + 7,
    )
    assert run.last_event_at_us == AT_US + 50
    assert len(folded.rows.of("upsert_run_states")) == 1


def test_fold_joined_handle_leaving_well_does_not_end_the_run() -> None:
    """Only the owner ends a run (decision 7).  # B22."""
    run, owner, other = KnownRun(RUN), Writer(), Writer(writer_id=JOINED)
    fold(run, owner.record(RunStarted("digits", "first")), other.record(RunJoined()))
    fold(run, other.record(RunEnded("Completed", is_owner=False)))
    assert run.state.status == "InProgress"


def test_fold_joined_handle_failing_fails_the_run_for_good() -> None:
    """A failure of a joined handle is final, whatever the owner says afterwards (decision 7)."""
    run, owner, other = KnownRun(RUN), Writer(), Writer(writer_id=JOINED)
    fold(
        run,
        owner.record(RunStarted("digits", "first")),
        other.record(RunJoined(), RunEnded("Failed", "boom", is_owner=False)),
        owner.record(RunEnded("Completed")),
    )
    assert (run.state.status, run.state.failure_message) == ("Failed", "boom")


def test_fold_events_after_the_end_are_still_applied() -> None:
    """What a joined handle logs after the owner's end counts (decision 7)."""
    run, owner, other = KnownRun(RUN), Writer(), Writer(writer_id=JOINED)
    fold(run, owner.record(RunStarted("digits", "first"), RunEnded("Completed")))
    fold(run, other.record(ParametersLogged({"late": 1}), metrics([[2.5]])), first=1)
    assert run.state.parameters == {"late": 1}
    assert (run.metrics["loss"].last, run.state.status) == (2.5, "Completed")


def test_fold_resuming_keeps_the_start_and_is_in_progress() -> None:
    """A resumed run keeps its start time and has no end until it ends again.  # B6."""
    run, writer, second = KnownRun(RUN), Writer(), Writer(writer_id=JOINED)
    fold(run, writer.record(RunStarted("digits", "first"), RunEnded("Completed"), at_us=AT_US))
    fold(run, second.record(RunResumed(), at_us=AT_US + 99), first=1)
    state = run.state
    assert (state.status, state.started_at_us, state.ended_at_us) == ("InProgress", AT_US, None)


def test_fold_same_events_again_changes_nothing() -> None:
    """Events up to a writer's last seq are silent duplicates.  # D12 K3."""
    run, writer = KnownRun(RUN), Writer()
    record = writer.record(ParametersLogged({"lr": 0.1}), metrics([[1.0]]))
    fold(run, record)
    before = (run.state, dict(run.metrics), run.log_offset)
    folded = fold(run, record, first=9)
    assert (run.state, dict(run.metrics), run.log_offset) == before
    assert (folded.duplicates, folded.events, folded.rows.of("record_index")) == (2, 0, [])


def test_fold_partly_known_record_applies_only_its_new_events() -> None:
    """A re-send that is cut differently gives each event once.  # D12."""
    first, again = Writer(), Writer()
    run = KnownRun(RUN)
    fold(run, first.record(metrics([[1.0]])))
    folded = fold(run, again.record(metrics([[1.0]]), metrics([[2.0]], step=1)), first=1)
    assert (folded.duplicates, folded.events, run.metrics["loss"].points) == (1, 1, 2)
    assert folded.rows.of("gaps") == []


def test_fold_missing_seqs_are_accepted_and_recorded_as_a_hole() -> None:
    """After a hole the events count, and exactly the missing seqs are named.  # K2."""
    run, writer = KnownRun(RUN), Writer()
    fold(run, writer.record(RunStarted("digits", "first")))
    writer.record(metrics([[1.0]]), metrics([[2.0]]))
    folded = fold(run, writer.record(metrics([[3.0]])), first=5)
    assert folded.rows.of("gaps") == [(RUN, writer.writer_id, 2, 3, *PLACE, 5)]
    assert run.metrics["loss"].last == 3.0


def test_fold_first_event_with_a_later_seq_is_a_hole_from_the_start() -> None:
    """A writer whose beginning is lost is accepted, the beginning is recorded as missing."""
    writer = Writer()
    writer.record(RunStarted("digits", "first"))
    folded = fold(KnownRun(RUN), writer.record(metrics([[3.0]])))
    assert folded.rows.of("gaps") == [(RUN, writer.writer_id, 1, 1, *PLACE, 0)]


# D12 K2
def test_fold_late_events_fill_their_hole_once() -> None:
    """What comes behind its successors counts, and what is still missing stays named exactly."""
    run, writer, again = KnownRun(RUN), Writer(), Writer()
    start = writer.record(RunStarted("digits", "first"))
    late = [writer.record(metrics([[float(at)]], at)) for at in range(4)]
    fold(run, start)
    assert fold(run, writer.record(metrics([[9.0]], 9)), first=5).gaps == 1

    folded = fold(run, late[1], first=6)
    assert folded.rows.of("delete_gaps") == [(RUN, writer.writer_id, 2)]
    assert [row[2:4] for row in folded.rows.of("gaps")] == [(2, 2), (4, 5)]
    assert {row[-1] for row in folded.rows.of("gaps")} == {5}  # where the hole was seen
    assert folded.rows.of("upsert_writers")[0][2] == 6

    whole = again.record(
        RunStarted("digits", "first"), *(metrics([[float(at)]], at) for at in range(4))
    )
    folded = fold(run, whole, late[0], first=7)
    assert (folded.duplicates, folded.events) == (3, 3)
    assert set(column(folded.rows.of("delete_gaps"), 2)) == {2, 4}
    assert folded.rows.of("gaps") == []
    assert (run.metrics["loss"].points, run.metrics["loss"].last) == (5, 9.0)


def test_fold_hole_that_is_filled_in_its_batch_is_never_a_row() -> None:
    """However records are cut into batches, the same holes are left."""
    run, writer = KnownRun(RUN), Writer()
    start, late, newest = (writer.record(metrics([[1.0]], at)) for at in range(3))
    folded = fold(run, start, newest, late)
    assert (folded.rows.of("gaps"), folded.rows.of("delete_gaps")) == ([], [])
    assert (folded.gaps, folded.events, folded.duplicates) == (1, 3, 0)


def test_fold_broken_chain_is_recorded_as_a_hole_of_no_length() -> None:
    """An event that does not follow the one before is applied, and the break is named.  # K6."""
    run, writer = KnownRun(RUN), Writer()
    fold(run, writer.record(RunStarted("digits", "first")))
    forged = replace(writer, chain=bytes(32))
    folded = fold(run, forged.record(metrics([[1.0]])), first=1)
    assert folded.rows.of("gaps") == [(RUN, writer.writer_id, 2, 1, *PLACE, 1)]
    assert run.metrics["loss"].points == 1


def test_fold_two_writers_one_parameter_the_first_in_the_log_wins() -> None:
    """Of two values for one name the first in log order stays, the other is refused.  # C4 C6."""
    run, one, two = KnownRun(RUN), Writer(), Writer(writer_id=JOINED)
    folded = fold(
        run, two.record(ParametersLogged({"lr": 2})), one.record(ParametersLogged({"lr": 1}))
    )
    assert column(folded.rows.of("parameters"), 2) == ["2"]
    (refusal,) = folded.rows.of("rejections")
    assert refusal[:5] == (RUN, one.writer_id, 1, 0, "param_immutable")
    assert run.rejected == 1


def test_fold_same_parameter_value_again_writes_no_row() -> None:
    """The same value again is no error and no second row.  # C5."""
    run, writer = KnownRun(RUN), Writer()
    fold(run, writer.record(ParametersLogged({"lr": 1})))
    folded = fold(run, writer.record(ParametersLogged({"lr": 1.0})), first=1)
    assert folded.rows.of("parameters") == folded.rows.of("rejections") == []


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, ("true", None, None)),
        (1, ("1", 1.0, None)),
        (1.0, ("1.0", 1.0, None)),
        ("a\n'é", ('"a\\n\'é"', None, "a\n'é")),
        (None, ("null", None, None)),
        ([1, {"a": 2}], ('[1,{"a":2}]', None, None)),
    ],
)
def test_fold_parameter_is_stored_typed_and_indexed(value: object, stored: Row) -> None:
    """The JSON form keeps the type; numbers and texts are indexed beside it.  # C1 C12."""
    body = ParametersLogged({"p": value})  # type: ignore[dict-item]
    (row,) = fold(KnownRun(RUN), Writer().record(body)).rows.of("parameters")
    assert row[2:5] == stored


@pytest.mark.parametrize(("limit", "kept"), [(4, 4), (5, 5), (6, 5)])
def test_fold_points_beyond_the_limit_keep_the_first_ones(limit: int, kept: int) -> None:
    """Of a batch the points up to the limit are kept, in the order of the calls.  # D10."""
    run, writer = KnownRun(RUN), Writer()
    started = RunStarted("digits", "first", limits=Limits(points_max=limit))
    points = [("a", 0, 0.0), ("b", 0, 1.0), ("a", 1, 2.0), ("b", 1, 3.0), ("a", 2, 4.0)]
    folded = fold(run, writer.record(started, MetricsLogged((long(points),))))
    assert run.state.points == folded.points == kept
    assert len(folded.rows.of("rejections")) == int(kept < 5)


def test_fold_artifact_with_new_content_is_a_new_version() -> None:
    """Same content is no row, other content the next version.  # E2."""
    run, writer = KnownRun(RUN), Writer()
    one = ArtifactLogged("plot", "artifact", "image/png", sha256="aa" * 32, size=3)
    other = replace(one, sha256="bb" * 32)
    folded = fold(run, writer.record(one), writer.record(one), writer.record(other))
    assert column(folded.rows.of("artifacts"), 2) == [1, 2]
    assert column(folded.rows.of("artifacts"), 4) == [b"\xaa" * 32, b"\xbb" * 32]


def test_fold_model_is_stored_with_its_address_and_facts() -> None:
    """All that log_model was given is in the row.  # E7."""
    model = ModelInfo("boosted", "xgboost", "3.1")
    body = ArtifactLogged("best", "model", "application/x-model", uri="s3://b/m", model=model)
    (row,) = fold(KnownRun(RUN), Writer().record(body)).rows.of("artifacts")
    assert row[8:10] == (
        "s3://b/m",
        {"model_type": "boosted", "framework": "xgboost", "framework_version": "3.1"},
    )


def test_fold_tags_set_and_removed_are_kept_as_overrides() -> None:
    """A removed tag is remembered as removed, so that it hides one set at the creation."""
    run, writer = KnownRun(RUN), Writer()
    fold(run, writer.record(TagsSet({"a": "1", "b": "2"})), writer.record(TagsSet({}, ("b", "c"))))
    assert run.state.tags == {"a": "1", "b": None, "c": None}


def test_fold_each_record_is_indexed_with_its_types() -> None:
    """The index says where a run's events are and of which types.  # K7."""
    writer = Writer()
    record = writer.record(RunStarted("d", "f"), metrics([[1.0]]), metrics([[2.0]]))
    (row,) = fold(KnownRun(RUN), record).rows.of("record_index")
    expected = (*PLACE, 0, RUN, writer.writer_id, 1, 3, ["run_started", "metrics_logged"])
    assert row[:8] == expected


def test_fold_writer_row_names_its_newest_event() -> None:
    """How far a writer is comes with the offset at which it got there; duplicates don't move it."""
    run, writer = KnownRun(RUN), Writer()
    first, second = writer.record(metrics([[1.0]])), writer.record(metrics([[2.0]]))
    (row,) = fold(run, first, second, first, first=5).rows.of("upsert_writers")
    assert row == (RUN, writer.writer_id, 2, writer.chain, 6)


def test_fold_own_defect_is_raised_with_the_place() -> None:
    """Whatever breaks inside the fold is reported with run and offset, nothing else escapes."""
    run = KnownRun(RUN, state=RunState(tags=None))  # type: ignore[arg-type]
    writer = Writer()
    with pytest.raises(FoldError) as caught:
        fold(run, writer.record(metrics([[1.0]])), writer.record(TagsSet({"a": "b"})), first=3)
    assert (caught.value.run_id, caught.value.log_offset) == (RUN, 4)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_fold_metric_with_many_small_chunks_is_named_ripe_once() -> None:
    """After enough small chunks a metric is named for merging, and then counted anew."""
    run, writer = KnownRun(RUN), Writer()
    ripe = [fold(run, writer.record(metrics([[1.0]])), first=at).ripe for at in range(40)]
    assert [at for at, names in enumerate(ripe) if names] == [31]
