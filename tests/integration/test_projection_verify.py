"""Verification: whatever was changed in the tables or in the log behind our back is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.integration.projection_cases import project, projection_pool
from tests.integration.test_projection_rebuild import many_records, unheard
from tests.integration.test_projection_rows import mixed_records
from tests.unit.consumer.project_writers import (
    RUN,
    Writer,
    catalog_writer,
    metrics,
    run_created,
)
from trialog_schemas.events import ExperimentCreated, RunDeleted
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import topic_partitions
from trialog_server.log.embedded import EmbeddedLog
from trialog_server.log.memory import MemoryLog
from trialog_server.postgres.migrate import migrate
from trialog_server.project.generations import read_generations
from trialog_server.project.verify import differences, verify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialog_server.postgres.pool import Pool
    from trialog_server.project.verify import Verification

pytestmark = pytest.mark.postgres


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    """Connections to an empty read model, as a worker has them."""
    async with projection_pool(postgres_url) as opened:
        yield opened


async def verified(url: str, log: MemoryLog | EmbeddedLog) -> Verification:
    """Verify and see that nothing of it stays behind."""
    found = await verify(url, log, unheard)
    connection = await asyncpg.connect(url)
    try:
        assert [one.status for one in await read_generations(connection)] == ["live"]
        schemas = await connection.fetch(
            "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'gen_')"
        )
        assert [row["nspname"] for row in schemas] == ["gen_1"]
    finally:
        await connection.close()
    return found


def wrong_tables(found: Verification) -> list[str]:
    """Return the tables that differ."""
    return [one.table for one in found.tables if not one.is_equal]


# K6
async def test_verification_of_untouched_data_is_clean(pool: Pool, postgres_url: str) -> None:
    """Nothing is found where nothing was done; records that came later are not counted.

    The server may end sessions that are silent in a transaction: a snapshot waits for the replay.
    """
    database = await pool.fetchval("SELECT current_database()")
    await pool.execute(
        f"ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '50ms'"
    )
    log = await EmbeddedLog.open(pool)
    await log.append([*mixed_records(), *many_records()])
    await project(pool, log)
    await log.append(many_records(runs=1))
    found = await verified(postgres_url, log)
    assert found.is_clean
    assert sum(one.records for one in found.partitions) == len([*mixed_records(), *many_records()])
    assert {one.table: one.live.lines for one in found.tables}["parameters"] == 2 + 12
    await log.close()


# K6
async def test_verification_of_tables_from_before_a_migration_is_clean(
    pool: Pool, postgres_url: str
) -> None:
    """What a migration adds to old rows is what a replay writes, also of a record about many."""
    log, catalog = MemoryLog(), catalog_writer()
    runs = [f"0195{number:028x}" for number in range(6)]
    await log.append(
        [
            catalog.record(run_created(runs[0], "first")),
            catalog.record(
                ExperimentCreated("0195" + "ee" * 14, "empty"),
                run_created(runs[4], "second"),
                run_created(runs[3], "second"),
                run_created(runs[2], "third"),
                run_created(runs[1], "fourth"),
            ),
            catalog.record(RunDeleted(runs[4])),
            catalog.record(run_created(runs[5], "fifth")),
        ]
    )
    await project(pool, log)
    before = await pool.fetch("SELECT run_id, seq FROM gen_1.runs ORDER BY seq")
    assert [row["seq"] for row in before] == [1, 3, 5, 6, 8]
    await pool.execute(BEFORE_0002)
    assert await migrate(postgres_url) == ["gen_1/0002_order_of_creation"]
    assert await pool.fetch("SELECT run_id, seq FROM gen_1.runs ORDER BY seq") == before
    assert (await verified(postgres_url, log)).is_clean


BEFORE_0002 = """
DROP VIEW live.runs;
ALTER TABLE gen_1.runs DROP COLUMN seq;
CREATE INDEX runs_created ON gen_1.runs (experiment_id, created_at, run_id)
    WHERE deleted_at IS NULL;
CREATE INDEX runs_named ON gen_1.runs (experiment_id, name, run_id) WHERE deleted_at IS NULL;
DELETE FROM trialog.migrations WHERE scope = 'gen_1' AND name LIKE '0002%';
"""

EDITS = {
    "parameters": "UPDATE gen_1.parameters SET value = '0.2' WHERE name = 'lr'",
    "metric_summaries": "UPDATE gen_1.metric_summaries SET max = max + 1e-9 WHERE name = 'loss'",
    "metric_chunks": (
        "UPDATE gen_1.metric_chunks SET data = set_byte(data, length(data) - 1, 65) "
        f"WHERE name = 'loss' AND run_id = '{RUN}' AND first_index = 0"
    ),
    "run_states": "UPDATE gen_1.run_states SET status = 'Completed' WHERE status = 'Failed'",
    "rejections": "DELETE FROM gen_1.rejections WHERE code = 'param_immutable'",
    "runs": "UPDATE gen_1.runs SET created_at = created_at - interval '1 microsecond'",
    "artifacts": "UPDATE gen_1.artifacts SET sha256 = decode(repeat('cd', 32), 'hex')",
    "record_index": "DELETE FROM gen_1.record_index WHERE log_offset = 1",
    "gaps": (
        "INSERT INTO gen_1.gaps "
        "SELECT run_id, writer_id, 7, 8, 't', 0, 3 FROM gen_1.writers LIMIT 1"
    ),
}
"""Ways to edit rows that were projected, each in one table."""


# K6
async def test_verification_finds_every_edited_row_and_its_table(
    pool: Pool, postgres_url: str
) -> None:
    """A row that was changed, removed or added is found as a line on one side only."""
    log = MemoryLog()
    await log.append(mixed_records())
    await project(pool, log)
    for statement in EDITS.values():
        status = await pool.execute(statement)
        assert int(status.rpartition(" ")[2]) >= 1, statement
    found = await verified(postgres_url, log)
    assert set(wrong_tables(found)) == set(EDITS)
    assert all(one.is_equal for one in found.partitions)
    (check,) = [one for one in found.tables if one.table == "parameters"]
    assert check.findings_count == 2
    assert {side for side, _ in check.findings} == {"live", "replay"}
    assert all(RUN[:8] in line and "lr" in line for _, line in check.findings)


def edited(value: bytes) -> bytes:
    """Return a record with one bit of its payload changed."""
    return value[:-9] + bytes([value[-9] ^ 1]) + value[-8:]


# K6
@pytest.mark.parametrize("how", ["edited", "deleted", "swapped", "replaced"])
async def test_verification_finds_what_was_done_to_the_log(
    pool: Pool, postgres_url: str, how: str
) -> None:
    """Another record, none, or two in the wrong order: the chain says so, and rows say where."""
    log = MemoryLog()
    await log.append([*mixed_records(), *many_records(runs=3)])
    await project(pool, log)
    partition = max(topic_partitions(log), key=lambda one: len(log.stored(one)))
    assert partition.topic == EVENTS_TOPIC
    stored = log.stored(partition)
    if how == "edited":
        stored[3] = stored[3]._replace(value=edited(stored[3].value))
    elif how == "deleted":
        stored[3] = stored[3]._replace(value=b"")
    elif how == "swapped":
        stored[3], stored[4] = (
            stored[4]._replace(offset=3, at_us=stored[3].at_us),
            stored[3]._replace(offset=4, at_us=stored[4].at_us),
        )
    else:
        stored[3] = stored[2]._replace(offset=3, at_us=stored[3].at_us)
    found = await verified(postgres_url, log)
    assert [one.partition for one in found.partitions if not one.is_equal] == [partition]
    lines = [line for one in found.tables for _, line in one.findings]
    assert any(f"{EVENTS_TOPIC},{partition.number},3" in line for line in lines), lines


# K6
async def test_verification_finds_a_forged_record_by_the_chain_of_its_writer(
    pool: Pool, postgres_url: str
) -> None:
    """A whole and readable record with another value does not fit the record after it."""
    writer, forger = Writer(), Writer()
    for one in (writer, forger):
        assert one.run_id == RUN
    records = [writer.record(metrics([[float(turn)]])) for turn in range(4)]
    forged = [forger.record(metrics([[turn + 0.5 * (turn == 1)]])) for turn in range(2)][1]
    log = MemoryLog()
    await log.append(records)
    await project(pool, log)
    partition = next(one for one in topic_partitions(log) if log.stored(one))
    log.stored(partition)[1] = log.stored(partition)[1]._replace(value=forged.value)
    found = await verified(postgres_url, log)
    assert wrong_tables(found) == ["gaps", "metric_summaries", "metric_chunks"]
    (gap,) = next(one.findings for one in found.tables if one.table == "gaps")
    # A hole of no length: the event with seq 3 does not follow the one before it.
    assert gap[0] == "replay"
    assert gap[1].endswith(f",3,2,{partition.topic},{partition.number},2)")


async def _each(lines: Sequence[str]) -> AsyncIterator[str]:
    for line in lines:
        yield line


@pytest.mark.parametrize(
    ("live", "replay", "expected"),
    [
        ([], [], []),
        (["a"], ["a"], []),
        (["a", "b"], ["b"], [("live", "a")]),
        (["b"], ["a", "b", "c"], [("replay", "a"), ("replay", "c")]),
        (["a", "a"], ["a"], [("live", "a")]),
        (["é"], ["z"], [("replay", "z"), ("live", "é")]),
    ],
)
async def test_differences_are_the_lines_of_one_side_only(
    live: list[str], replay: list[str], expected: list[tuple[str, str]]
) -> None:
    """Two ordered sides are compared in one pass, duplicates included."""
    assert [one async for one in differences(_each(live), _each(replay))] == expected
