"""Records through a real worker into real PostgreSQL: exactly these rows, once."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import pytest

from tests.integration.projection_cases import (
    LOGS,
    append_again,
    count,
    digests,
    opened_log,
    project,
    projection_pool,
    series,
)
from tests.unit.consumer.project_writers import (
    AT_US,
    EXPERIMENT,
    RUN,
    Writer,
    catalog_writer,
    long,
    metrics,
    run_created,
)
from trialog_schemas.events import (
    ArtifactLogged,
    ExperimentCreated,
    ExperimentDeleted,
    MetricsLogged,
    ModelInfo,
    ParametersLogged,
    RunDeleted,
    RunEnded,
    RunStarted,
    TagsSet,
)
from trialog_schemas.limits import Limits
from trialog_server.log.base import topic_partitions
from trialog_server.log.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialog_server.log.base import Log, NewRecord
    from trialog_server.postgres.pool import Pool

OTHER = "0191" + "ab" * 14
NAN, INF = math.nan, math.inf


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    """A pool on a migrated database of this test's own."""
    async with projection_pool(postgres_url) as opened:
        yield opened


@pytest.fixture(params=LOGS)
async def log(request: pytest.FixtureRequest, pool: Pool) -> AsyncIterator[Log]:
    """An empty log of each kind that needs no broker."""
    async with opened_log(request.param, pool) as opened:
        yield opened


def mixed_records() -> list[NewRecord]:
    """Return one of nearly everything: two runs, refusals, an artifact, tags, a failure."""
    catalog, one, two = catalog_writer(), Writer(), Writer(OTHER, "0191" + "cc" * 14)
    picture = ArtifactLogged("plot", "file", "image/png", sha256="ab" * 32, size=12)
    model = ArtifactLogged("m", "model", "x/y", uri="s3://m", model=ModelInfo("a", "b", "c"))
    return [
        catalog.record(run_created(tags={"k": "v"})),
        catalog.record(run_created(OTHER, "second", parent_run_id=RUN)),
        catalog.record(run_created("0192" + "ab" * 14, "second")),
        one.record(RunStarted("digits", "first"), ParametersLogged({"lr": 0.1, "on": True})),
        two.record(RunStarted("digits", "second"), metrics([[1.0, 2.0]], names=("a", "b"))),
        one.record(metrics([[5.0], [NAN], [3.0]]), ParametersLogged({"lr": 0.2})),
        one.record(MetricsLogged((long([("loss", -1, 9.0), ("acc:x/y", 0, 0.5)]),))),
        one.record(picture, model, TagsSet({"stage": "dev"}, ("k",))),
        one.record(RunEnded("Failed", "out of memory")),
        two.record(metrics([[2.0, INF]], step=1, names=("a", "b")), RunEnded("Completed")),
    ]


async def test_projection_of_a_mixed_batch_gives_exactly_these_rows(pool: Pool, log: Log) -> None:
    """Runs, states, parameters and refusals are what the events say.  # B9 C1 F6 K1."""
    await log.append(mixed_records())
    await project(pool, log)
    runs = await pool.fetch("SELECT name, parent_run_id, tags FROM runs ORDER BY name")
    assert [(row["name"], row["tags"]) for row in runs] == [("first", {"k": "v"}), ("second", {})]
    assert runs[1]["parent_run_id"].hex == RUN
    states = await pool.fetch(
        "SELECT status, failure_message, points, rejected, tags FROM run_states ORDER BY run_id"
    )
    assert [tuple(row) for row in states] == [
        ("Failed", "out of memory", 5, 1, {"stage": "dev", "k": None}),
        ("Completed", None, 4, 0, {}),
    ]
    parameters = await pool.fetch("SELECT name, value, value_number FROM parameters ORDER BY name")
    assert [tuple(row) for row in parameters] == [("lr", "0.1", 0.1), ("on", "true", None)]
    refused = await pool.fetch("SELECT code FROM rejections ORDER BY topic")
    assert [row["code"] for row in refused] == ["run_name_in_use", "param_immutable"]
    artifacts = await pool.fetch("SELECT name, version, model FROM artifacts ORDER BY name")
    assert [(row["name"], row["version"]) for row in artifacts] == [("m", 1), ("plot", 1)]


async def test_projection_summaries_equal_the_series(pool: Pool, log: Log) -> None:
    """Last, least, largest, mean and count follow from the points.  # D5 D13 D14."""
    await log.append(mixed_records())
    await project(pool, log)
    rows = await pool.fetch(
        "SELECT name, points, last, last_step, last_index, min, max, total, counted "
        "FROM metric_summaries WHERE run_id = $1 ORDER BY name",
        RUN,
    )
    assert [tuple(row) for row in rows] == [
        ("acc:x/y", 1, 0.5, 0, 0, 0.5, 0.5, 0.5, 1),
        ("loss", 4, 9.0, -1, 3, 3.0, 9.0, 17.0, 3),
    ]


async def test_projection_keeps_nan_and_infinities_bit_for_bit(pool: Pool, log: Log) -> None:
    """NaN, its payload, both infinities and −0.0 come back as they went in.  # D7."""
    payload = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_1234))[0]
    values = [NAN, payload, INF, -INF, -0.0, 5e-324]
    await log.append([Writer().record(metrics([[value] for value in values]))])
    await project(pool, log)
    stored = [value for _, _, value in await series(pool, "loss")]
    assert stored == [struct.pack("<d", value) for value in values]
    summary = await pool.fetchrow("SELECT min, max, counted FROM metric_summaries")
    assert tuple(summary or ()) == (-INF, INF, 4)


async def test_projection_whole_log_twice_changes_no_row(pool: Pool, log: Log) -> None:
    """Appended again in full, the same events have no second effect.  # D12 K3."""
    await log.append(mixed_records())
    await project(pool, log)
    before = await digests(pool)
    await append_again(log)
    worker = await project(pool, log)
    assert await digests(pool) == before
    assert (worker.telemetry.events, worker.telemetry.duplicates) == (0, 16)


async def test_projection_read_again_from_the_start_changes_no_row(pool: Pool, log: Log) -> None:
    """With the positions set back to zero, everything is read again and nothing written.  # K3."""
    await log.append(mixed_records())
    await project(pool, log)
    before = await digests(pool)
    await pool.execute("UPDATE trialog.leases SET next_offset = 0, chain = NULL")
    await project(pool, log)
    assert await digests(pool) == before


async def test_projection_one_record_at_a_time_gives_the_same_tables(pool: Pool) -> None:
    """Whether records come singly or at once, every table but the chunks' cut is equal.  # K4."""
    log, again = MemoryLog(), MemoryLog()
    for record in mixed_records():
        await log.append([record])
        await project(pool, log)
    single = await digests(pool, without=("metric_chunks",))
    loss = await series(pool, "loss")
    for table in single:
        await pool.execute(f"TRUNCATE {table}")
    await pool.execute("TRUNCATE metric_chunks; DELETE FROM trialog.leases")
    for place in topic_partitions(log):
        again.stored(place).extend(log.stored(place))
    await project(pool, again)
    assert await digests(pool, without=("metric_chunks",)) == single
    assert await series(pool, "loss") == loss


# D10
async def test_projection_points_beyond_the_limit_keep_the_prefix(pool: Pool, log: Log) -> None:
    """With a lowered limit the first points stay, in a replay too, and the rest is a refusal."""
    writer = Writer()
    started = RunStarted("digits", "first", limits=Limits(points_max=5))
    await log.append([writer.record(started, metrics([[float(at)] for at in range(4)]))])
    await log.append([writer.record(metrics([[4.0], [5.0], [6.0]], step=4))])
    await project(pool, log)
    values = [struct.unpack("<d", value)[0] for _, _, value in await series(pool, "loss")]
    assert values == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert await pool.fetchval("SELECT facts FROM rejections") == {"limit": 5, "points": 2}

    tables = await digests(pool, without=("metric_chunks",))
    points = await series(pool, "loss")
    for table in (*tables, "metric_chunks", "trialog.leases"):
        await pool.execute(f"TRUNCATE {table}")
    await project(pool, log)
    assert await digests(pool, without=("metric_chunks",)) == tables
    assert await series(pool, "loss") == points


async def test_projection_limits_hold_across_a_restart(pool: Pool, log: Log) -> None:
    """A worker that knows nothing yet judges by what is stored.  # C7 C8 E8."""
    writer = Writer()
    policy = Limits(parameters_max=2, artifacts_max=1, points_max=3)
    picture = ArtifactLogged("plot", "file", "image/png", sha256="ab" * 32, size=12)
    await log.append([writer.record(RunStarted("d", "f", limits=policy), picture)])
    await log.append([writer.record(ParametersLogged({"a": 1, "b": [1]}), metrics([[1.0]] * 3))])
    await project(pool, log)
    more = ArtifactLogged("more", "file", "image/png", sha256="ac" * 32, size=12)
    late = ParametersLogged({"a": 1.0, "b": [1], "c": 3})
    await log.append([writer.record(picture, more, late, metrics([[2.0]], step=3))])
    await project(pool, log)
    refused = await pool.fetch("SELECT code FROM rejections ORDER BY seq")
    assert [row["code"] for row in refused] == ["artifact_limit", "param_limit", "point_limit"]
    assert (await count(pool, "parameters"), await count(pool, "artifacts")) == (2, 1)


async def test_projection_two_writers_one_name_has_the_same_winner_in_a_replay(
    pool: Pool, log: Log
) -> None:
    """The first value in the log wins, now and whenever the log is read again.  # C6."""
    one, two = Writer(), Writer(writer_id="0190" + "dd" * 14)
    await log.append([one.record(ParametersLogged({"lr": 1}))])
    await log.append([two.record(ParametersLogged({"lr": 2}))])
    await project(pool, log)
    first = await digests(pool, without=("record_index",))
    for table in first:
        await pool.execute(f"TRUNCATE {table}")
    await pool.execute("TRUNCATE record_index; UPDATE trialog.leases SET next_offset = 0")
    await project(pool, log)
    assert await digests(pool, without=("record_index",)) == first
    assert await pool.fetchval("SELECT value FROM parameters") == "1"
    assert await pool.fetchval("SELECT writer_id FROM rejections") is not None


async def test_projection_holes_are_recorded_with_exact_counts(pool: Pool, log: Log) -> None:
    """What a writer counted and the log does not have is listed by seq.  # K2."""
    writer = Writer()
    lost = [writer.record(metrics([[1.0]])) for _ in range(3)]
    await log.append([writer.record(metrics([[2.0]]), RunEnded("Completed"))])
    assert len(lost) == 3
    await project(pool, log)
    row = await pool.fetchrow("SELECT first_seq, last_seq FROM gaps")
    assert tuple(row or ()) == (1, 3)


async def test_projection_deleting_and_making_anew_across_batches(pool: Pool, log: Log) -> None:
    """A deleted run frees its name, an emptied experiment can go and be made anew.  # A11 B21."""
    writer, anew = catalog_writer(), "0199" + "ee" * 14
    await log.append([writer.record(run_created())])
    await project(pool, log)
    await log.append([writer.record(ExperimentDeleted(EXPERIMENT))])
    await log.append([writer.record(RunDeleted(RUN)), writer.record(run_created(OTHER))])
    await project(pool, log)
    await log.append([writer.record(RunDeleted(OTHER), ExperimentDeleted(EXPERIMENT))])
    await log.append([writer.record(ExperimentCreated(anew, "digits"))])
    await project(pool, log)
    rows = await pool.fetch("SELECT number, deleted_at IS NULL FROM experiments ORDER BY number")
    assert [tuple(row) for row in rows] == [(1, False), (2, True)]
    assert await pool.fetchval("SELECT code FROM rejections") == "experiment_not_empty"
    assert await pool.fetchval("SELECT count(*) FROM runs WHERE deleted_at IS NULL") == 0


async def test_projection_name_that_runs_share_is_taken_until_the_last_is_gone(
    pool: Pool, log: Log
) -> None:
    """However many share it and whatever one batch deletes, a name is free when nobody has it."""
    writer, shared = catalog_writer(), [f"0197{at:028x}" for at in range(5)]
    await log.append([writer.record(*(run_created(one, if_taken="share") for one in shared))])
    await project(pool, log)
    deleted = [RunDeleted(one) for one in shared]
    await log.append([writer.record(*deleted[:4], run_created(OTHER))])
    await project(pool, log)
    assert await pool.fetchval("SELECT code FROM rejections") == "run_name_in_use"
    await log.append([writer.record(deleted[4], run_created())])
    await log.append([writer.record(run_created(OTHER, if_taken="share"))])
    await project(pool, log)
    rows = await pool.fetch("SELECT run_id, name_is_unique FROM runs WHERE deleted_at IS NULL")
    assert {row["run_id"].hex: row["name_is_unique"] for row in rows} == {RUN: True, OTHER: False}
    assert await pool.fetchval("SELECT count(*) FROM rejections") == 1


async def test_projection_experiment_limit_counts_live_ones(pool: Pool, log: Log) -> None:
    """The limit counts live experiments; deleting one makes room.  # A14."""
    writer, made = catalog_writer(), [f"0195{at:028x}" for at in range(3)]
    bodies = [ExperimentCreated(one, f"e{one[-1]}", experiments_max=2) for one in made]
    await log.append([writer.record(*bodies)])
    await project(pool, log)
    again = ExperimentCreated("0196" + "0" * 28, "e2", experiments_max=2)
    await log.append([writer.record(ExperimentDeleted(made[0]), again)])
    await project(pool, log)
    assert await pool.fetchval("SELECT code FROM rejections") == "experiment_limit"
    live = await pool.fetch("SELECT name FROM experiments WHERE deleted_at IS NULL ORDER BY name")
    assert [row["name"] for row in live] == ["e1", "e2"]


async def test_projection_adding_a_run_moves_the_experiments_time_forward_only(
    pool: Pool, log: Log
) -> None:
    """The modification time follows the log's time and never goes back on replay.  # A15."""
    writer = catalog_writer()
    await log.append([writer.record(run_created(), at_us=AT_US)])
    await project(pool, log)
    first = await pool.fetchval("SELECT modified_at FROM experiments")
    await log.append([writer.record(run_created(OTHER, "second"), at_us=AT_US - 10**12)])
    await project(pool, log)
    second = await pool.fetchval("SELECT modified_at FROM experiments")
    await pool.execute("UPDATE trialog.leases SET next_offset = 0")
    await project(pool, log)
    assert first < second == await pool.fetchval("SELECT modified_at FROM experiments")


async def test_projection_accounts_do_not_see_each_other(pool: Pool, log: Log) -> None:
    """The same names in two accounts are two experiments; a foreign run cannot be deleted."""
    mine, theirs = catalog_writer(1), catalog_writer(2, "other")
    await log.append([mine.record(run_created())])
    await project(pool, log)
    await log.append([theirs.record(ExperimentCreated("0197" + "0" * 28, "digits"))])
    await log.append([theirs.record(RunDeleted(RUN))])
    await project(pool, log)
    assert await count(pool, "experiments") == 2
    assert await pool.fetchval("SELECT deleted_at FROM runs") is None
    assert await pool.fetchval("SELECT code FROM rejections") == "run_not_found"
