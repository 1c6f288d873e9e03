"""Which index serves which question, on tables large enough for the planner to mean it."""

from __future__ import annotations

import asyncio
import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from trialog_server.postgres.pool import PoolSettings
from trialog_server.postgres.queries import load_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trialog_server.postgres.pool import Connection

pytestmark = pytest.mark.postgres

EXPERIMENTS = 5_000
RUNS_EACH = 10_000
PAGE = 11
RUN = UUID(int=2)
EXPERIMENT = UUID(int=1)

_FILL = f"""
INSERT INTO gen_1.experiments (experiment_id, account, number, name, created_at, log_offset)
SELECT lpad(to_hex(g), 32, '0')::uuid, 'default', g, 'e' || g, now() + g * interval '1 s', g
FROM generate_series(1, {EXPERIMENTS}) g;
INSERT INTO gen_1.runs
    (run_id, account, experiment_id, name, name_is_unique, created_at, log_offset)
SELECT lpad(to_hex(g), 32, '0')::uuid, 'default', '{EXPERIMENT}', 'r' || g, true,
       now() + g * interval '1 s', g
FROM generate_series(1, {RUNS_EACH}) g;
UPDATE gen_1.runs SET parent_run_id = '{RUN}' WHERE name LIKE 'r770_';
INSERT INTO gen_1.record_index
SELECT 'trialog.events.v1', 0, g, '{RUN}', '{RUN}', g, 1, '{{}}', now()
FROM generate_series(1, {RUNS_EACH}) g;
INSERT INTO gen_1.rejections
SELECT '{RUN}', '{RUN}', g, 0, 'code', 'no', null, null, '{{}}', now(), 'trialog.events.v1', 0, g
FROM generate_series(1, {RUNS_EACH}) g;
INSERT INTO gen_1.metric_summaries
SELECT lpad(to_hex(g), 32, '0')::uuid, 'm' || m, 1, 0, 0, 0, null, null, 0, 1, now(), now(), g
FROM generate_series(1, {RUNS_EACH}) g, generate_series(1, 5) m;
INSERT INTO gen_1.artifacts (run_id, name, version, kind, is_output, at, log_offset)
SELECT lpad(to_hex(g), 32, '0')::uuid, 'notes', 1, 'model', true, now(), g
FROM generate_series(1, {RUNS_EACH}) g;
ANALYZE
"""


@pytest.fixture(scope="module")
def filled_url(module_postgres_url: str) -> str:
    """A migrated database with many rows; the tests of this module only read it."""

    async def fill() -> None:
        opened = await asyncpg.connect(module_postgres_url)
        await opened.execute(_FILL)
        await opened.close()

    asyncio.run(fill())
    return module_postgres_url


@pytest.fixture
async def connection(filled_url: str) -> AsyncIterator[Connection]:
    """A session that plans as a service does that has run for a while: without the arguments."""
    opened = await asyncpg.connect(
        filled_url,
        server_settings={
            "search_path": PoolSettings().search_path,
            "plan_cache_mode": "force_generic_plan",
            "jit": "off",
        },
    )
    yield opened
    await opened.close()


def executed(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step of a plan that was really taken."""
    if node["Actual Loops"]:
        yield node
        for inner in node.get("Plans", ()):
            yield from executed(inner)


async def steps(connection: Connection, name: str, *arguments: object) -> list[dict[str, Any]]:
    """The steps that Postgres took to answer a question."""
    query = load_query(name).rstrip().rstrip(";")
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {query}"
    (plan,) = json.loads(await connection.fetchval(explained, *arguments))
    return list(executed(plan["Plan"]))


FROM_THE_START = {
    "list_runs": (*(None,) * 4, PAGE, 20_000),
    "list_experiments": (*(None,) * 3, PAGE),
}
LISTS = [
    ("list_runs", ("default", "e1"), "CreationTime Descending", "runs_created"),
    ("list_runs", ("default", "e1"), "CreationTime Ascending", "runs_created"),
    ("list_runs", ("default", "e1"), "Name Descending", "runs_named"),
    ("list_runs", ("default", "e1"), "Name Ascending", "runs_named"),
    ("list_experiments", ("default",), "CreationTime Descending", "experiments_created"),
    ("list_experiments", ("default",), "CreationTime Ascending", "experiments_created"),
    ("list_experiments", ("default",), "Name Descending", "experiments_live_name"),
    ("list_experiments", ("default",), "Name Ascending", "experiments_live_name"),
]


# F3 A7
@pytest.mark.parametrize(("query", "of", "order", "index"), LISTS)
async def test_list_page_reads_no_more_rows_than_it_shows(
    connection: Connection, query: str, of: tuple[str, ...], order: str, index: str
) -> None:
    """Each order of a list is the order of an index: a page of it ends the reading."""
    taken = await steps(connection, query, *of, order, *FROM_THE_START[query])

    read = [step for step in taken if step.get("Index Name") == index]
    # A sort of ties looks at 32 rows at once.
    assert any(step["Actual Rows"] <= PAGE + 32 for step in read), taken


QUESTIONS: list[tuple[str, tuple[object, ...], str]] = [
    ("get_run", ("default", RUN, None, None, False), "runs_pkey"),
    ("get_run", ("default", None, "e1", "r77", False), "runs_named"),
    ("run_events", ("default", RUN, None, None, PAGE), "record_index_run"),
    ("run_events", ("default", RUN, "trialog.events.v1", 5000, PAGE), "record_index_run"),
    ("list_rejections", ("default", RUN, *(None,) * 5, PAGE), "rejections_run"),
    ("list_rejections", ("default", RUN, "trialog.events.v1", 5000, RUN, 5000, 0, PAGE),
     "rejections_run"),
    ("record_rejections", (RUN, ["trialog.events.v1"], [77]), "rejections_run"),
    ("list_children", ("default", RUN, None, None, None, PAGE), "runs_parent"),
    ("near_run_names", (EXPERIMENT, PAGE), "runs_created"),
    ("near_metric_names", (RUN, "m3x", PAGE), "metric_summaries_pkey"),
    ("near_artifact_names", (RUN, PAGE), "artifacts_pkey"),
    ("near_names", ("default", PAGE), "experiments_created"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "arguments", "index"), QUESTIONS)
async def test_question_is_served_by_the_index_its_file_names(
    connection: Connection, query: str, arguments: tuple[object, ...], index: str
) -> None:
    """What the first line of a statement promises is what the planner does, row for row."""
    assert index in load_query(query).splitlines()[0]

    taken = await steps(connection, query, *arguments)

    large = {"runs", "record_index", "rejections", "metric_summaries", "artifacts"}
    assert any(step.get("Index Name") == index for step in taken), taken
    assert not [step for step in taken if step.get("Relation Name") in large
                and step["Node Type"] == "Seq Scan"]  # fmt: skip
    assert max(step["Actual Rows"] * step["Actual Loops"] for step in taken) <= 2 * PAGE


async def test_every_index_that_a_statement_names_exists(connection: Connection) -> None:
    """A first line that speaks of an index speaks of one that the migrations made."""
    rows = await connection.fetch("SELECT indexname FROM pg_indexes")
    known = {row["indexname"] for row in rows}
    folder = resources.files("trialog_server.postgres") / "queries"
    files = (*folder.iterdir(), *(folder / "parts").iterdir())
    heads = [item.read_text(encoding="utf-8").splitlines()[0] for item in files if item.is_file()]
    named = {
        name for head in heads for name in re.findall(r"(?<=served by )\w+_\w+|\w+_pkey", head)
    }

    assert len(named) > 10
    assert named - known == set()
