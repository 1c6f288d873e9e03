"""Lists, searches and single runs from a real Postgres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.integration.read_model_rows import ACCOUNT, RunRow, Series, open_rows
from trialog_schemas.errors import ResourceNotFoundError, ValidationError
from trialog_server.read.experiments import get_experiment, list_experiments
from trialog_server.read.list_runs import get_run, get_run_by_name, list_runs
from trialog_server.read.pages import PageRequest
from trialog_server.read.runs import PAGE_METRICS_MAX
from trialog_server.read.search_runs import RunSearch, search_runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.read_model_rows import Rows
    from trialog_server.postgres.pool import Pool
    from trialog_server.read.runs import RunPage

pytestmark = pytest.mark.postgres


@pytest.fixture
async def read(postgres_url: str) -> AsyncIterator[tuple[Pool, Rows]]:
    """A pool on an empty read model, and a writer of its rows."""
    async with open_rows(postgres_url) as opened:
        yield opened


class CountedPool:
    """A pool that counts the questions: each takes a connection of its own for one statement."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.questions = 0

    def acquire(self, *, timeout: float) -> object:
        """Give a connection of the real pool."""
        self.questions += 1
        return self._pool.acquire(timeout=timeout)


def names(page: RunPage) -> list[str]:
    """The run names of a page, in its order."""
    return [run.run_name for run in page.runs]


async def test_list_runs_by_default_gives_newest_first(read: tuple[Pool, Rows]) -> None:
    """Without a wish the newest run comes first, and the total counts all."""
    pool, rows = read
    experiment = await rows.experiment("e")
    for minute, name in enumerate(["a", "c", "b"]):
        await rows.run(experiment, RunRow(name, minute))

    page = await list_runs(pool, ACCOUNT, "e", PageRequest())

    assert names(page) == ["b", "c", "a"]
    assert (page.total, page.next_token) == (3, None)


# F3
@pytest.mark.parametrize("sort_by", ["CreationTime", "Name"])
async def test_list_runs_ascending_is_the_exact_reverse(
    read: tuple[Pool, Rows], sort_by: str
) -> None:
    """Runs of equal keys come as they were created, or exactly the other way round."""
    pool, rows = read
    experiment = await rows.experiment("e")
    made = [
        (await rows.run(experiment, RunRow(f"r{index % 5}", minute=index % 3))).hex
        for index in range(23)
    ]
    keys = 5 if sort_by == "Name" else 3

    found = {}
    for order in ("Ascending", "Descending"):
        ids: list[str] = []
        token = None
        while True:
            page = await list_runs(pool, ACCOUNT, "e", PageRequest(sort_by, order, 4, token))
            ids += [run.run_id for run in page.runs]
            token = page.next_token
            if token is None:
                break
        found[order] = ids

    assert found["Ascending"] == found["Descending"][::-1]
    assert found["Ascending"] == [made[i] for key in range(keys) for i in range(key, 23, keys)]


# A7
async def test_list_runs_by_name_sorts_by_code_point(read: tuple[Pool, Rows]) -> None:
    """Capital letters stand before small ones, digits before both, underscore between."""
    pool, rows = read
    experiment = await rows.experiment("e")
    for name in ["b", "_", "B", "a", "0", "-"]:
        await rows.run(experiment, RunRow(name))

    page = await list_runs(pool, ACCOUNT, "e", PageRequest("Name", "Ascending"))

    assert names(page) == sorted(["b", "_", "B", "a", "0", "-"])


# F1 F6
async def test_list_runs_carries_parameters_metrics_and_artifacts(read: tuple[Pool, Rows]) -> None:
    """A listed run has all that is compared, types and NaN included, by one query for the page."""
    pool, rows = read
    experiment = await rows.experiment("e")
    parameters = {"flag": True, "n": 1, "x": 1.0, "s": "a\nb", "none": None, "list": [1, "b"]}
    series = Series([3.0, math.nan, 1.0, 2.0])
    run_id = await rows.run(
        experiment,
        RunRow(
            parameters=parameters,
            metrics={"m:1": series},
            tags={"a": "1", "b": "2"},
            tags_set={"b": None, "c": "3"},
        ),
    )
    await rows.artifact(run_id, "notes", version=1)
    await rows.artifact(run_id, "notes", version=2, sha256="cd" * 32)
    await rows.run(experiment, RunRow("older", -1, parameters=parameters, metrics={"a": series}))

    counted = CountedPool(pool)
    run, _ = (await list_runs(counted, ACCOUNT, "e", PageRequest())).runs  # type: ignore[arg-type]
    assert counted.questions == 1

    assert run.parameters == parameters
    assert [type(value) for _, value in sorted(run.parameters.items())] == [
        type(value) for _, value in sorted(parameters.items())
    ]
    summary = run.metrics["m:1"]
    assert (summary.last, summary.min, summary.max, summary.mean) == (2.0, 1.0, 3.0, 2.0)
    assert (summary.count, summary.last_step) == (4, 3)
    assert [(a.name, a.version, a.sha256) for a in run.artifacts] == [("notes", 2, "cd" * 32)]
    assert run.tags == {"a": "1", "c": "3"}
    assert (run.points, run.arn) == (4, f"arn:trialog:run/default/{run_id.hex}")


async def test_list_runs_without_a_state_row_is_in_progress(read: tuple[Pool, Rows]) -> None:
    """A run whose events have not come yet is in progress since it was created."""
    pool, rows = read
    await rows.run(await rows.experiment("e"), RunRow(status=None))

    (run,) = (await list_runs(pool, ACCOUNT, "e", PageRequest())).runs

    assert (run.status, run.ended_at) == ("InProgress", None)
    assert run.started_at == run.created_at


# F2
async def test_list_runs_of_an_empty_experiment_is_empty(read: tuple[Pool, Rows]) -> None:
    """An experiment without runs gives an empty page, an unknown one an error."""
    pool, rows = read
    await rows.experiment("empty")

    page = await list_runs(pool, ACCOUNT, "empty", PageRequest())

    assert (page.runs, page.total, page.next_token) == ((), 0, None)
    with pytest.raises(ResourceNotFoundError, match="did you mean 'empty'"):
        await list_runs(pool, ACCOUNT, "emptyy", PageRequest())


# B21
async def test_deleted_runs_and_experiments_are_hidden(read: tuple[Pool, Rows]) -> None:
    """What was deleted is neither listed nor found nor counted."""
    pool, rows = read
    experiment = await rows.experiment("e")
    await rows.experiment("gone", is_deleted=True)
    gone = await rows.run(experiment, RunRow("gone", is_deleted=True))
    await rows.run(experiment, RunRow("here"))

    page = await list_runs(pool, ACCOUNT, "e", PageRequest())

    assert (names(page), page.total) == (["here"], 1)
    assert [e.name for e in (await list_experiments(pool, ACCOUNT, PageRequest())).experiments] == [
        "e"
    ]
    assert (await get_experiment(pool, ACCOUNT, "e")).run_count == 1
    for question in (
        get_run(pool, ACCOUNT, gone),
        get_run_by_name(pool, ACCOUNT, "e", "gone"),
        get_experiment(pool, ACCOUNT, "gone"),
    ):
        with pytest.raises(ResourceNotFoundError):
            await question


# B16
async def test_get_run_by_id_and_by_name_is_the_same_run(read: tuple[Pool, Rows]) -> None:
    """Both ways lead to one run, which names its parent, if that is live and of the account."""
    pool, rows = read
    experiment = await rows.experiment("e")
    parent = await rows.run(experiment, RunRow("parent"))
    child = await rows.run(experiment, RunRow("child", parent_run_id=parent))

    run = await get_run(pool, ACCOUNT, child)

    assert run == await get_run_by_name(pool, ACCOUNT, "e", "child")
    assert (run.parent_run_name, run.parent_run_id) == ("parent", parent.hex)
    await pool.execute("UPDATE gen_1.runs SET deleted_at = now() WHERE run_id = $1", parent)
    orphan = await get_run(pool, ACCOUNT, child)
    assert (orphan.parent_run_name, orphan.parent_run_id) == (None, parent.hex)
    await pool.execute(
        "UPDATE gen_1.runs SET deleted_at = NULL, account = 'other' WHERE run_id = $1", parent
    )
    assert (await get_run(pool, ACCOUNT, child)).parent_run_name is None
    with pytest.raises(ResourceNotFoundError):
        await get_run(pool, ACCOUNT, uuid4())


async def test_get_run_by_a_shared_name_is_the_one_that_does_not_share_it(
    read: tuple[Pool, Rows],
) -> None:
    """MLflow's clients may use one name again: of their runs the newest is given."""
    pool, rows = read
    experiment = await rows.experiment("e")
    native, _, newest = [
        await rows.run(experiment, RunRow("r", minute=minute)) for minute in (1, 2, 3)
    ]
    assert (await get_run_by_name(pool, ACCOUNT, "e", "r")).run_id == newest.hex
    await pool.execute("UPDATE gen_1.runs SET name_is_unique = true WHERE run_id = $1", native)
    assert (await get_run_by_name(pool, ACCOUNT, "e", "r")).run_id == native.hex


# B7
async def test_get_run_by_an_unknown_name_names_a_near_live_one(read: tuple[Pool, Rows]) -> None:
    """A slip of the pen gets a hint; a deleted run is none."""
    pool, rows = read
    experiment = await rows.experiment("e")
    await rows.run(experiment, RunRow("first-try"))
    gone = await rows.run(experiment, RunRow("other"))
    await pool.execute("UPDATE gen_1.runs SET deleted_at = now() WHERE run_id = $1", gone)

    with pytest.raises(ResourceNotFoundError, match="no run 'first-tyr'; did you mean 'first-try'"):
        await get_run_by_name(pool, ACCOUNT, "e", "first-tyr")
    with pytest.raises(ResourceNotFoundError, match="no run 'othe'; list its runs"):
        await get_run_by_name(pool, ACCOUNT, "e", "othe")


# A7 A9 A10
async def test_list_experiments_pages_in_either_order(read: tuple[Pool, Rows]) -> None:
    """Pages of experiments meet without gap or overlap; each has its description."""
    pool, rows = read
    for index in range(25):
        await rows.experiment(f"e{index:02}", minute=index // 2)

    first = await list_experiments(pool, ACCOUNT, PageRequest(max_results=20))
    rest = await list_experiments(
        pool, ACCOUNT, PageRequest(max_results=20, next_token=first.next_token)
    )
    by_name = await list_experiments(pool, ACCOUNT, PageRequest("Name", "Ascending"))

    assert (len(first.experiments), len(rest.experiments), first.total) == (20, 5, 25)
    seen = [experiment.name for experiment in first.experiments + rest.experiments]
    assert seen == [f"e{index:02}" for index in reversed(range(25))]
    assert sorted(seen) == [experiment.name for experiment in by_name.experiments]
    assert all(e.description == f"about {e.name}" for e in first.experiments)


@pytest.fixture
async def searched(read: tuple[Pool, Rows]) -> Pool:
    """Six runs with different parameters, metrics and states."""
    pool, rows = read
    experiment = await rows.experiment("e")
    kinds = [
        RunRow("a", 0, "Completed", {"lr": 0.1, "opt": "adam"}, {"acc": Series([0.5, 0.9])}),
        RunRow("b", 1, "Completed", {"lr": 0.2, "opt": "sgd"}, {"acc": Series([0.7, 0.6])}),
        RunRow("c", 2, "Failed", {"lr": "0.1", "opt": "adam_w"}, {"acc": Series([math.nan])}),
        RunRow("d", 3, "InProgress", {"flag": True}, {"acc.x": Series([math.inf])}),
        RunRow("e", 4, None, {"lr": 1, "odd name": 3}),
        RunRow("f", 5, "Completed", {"lr": 1e-5}, {"acc": Series([0.9, -math.inf])}),
    ]
    for kind in kinds:
        await rows.run(experiment, kind)
    return pool


# F9
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "fedcba"),
        ("params.lr = 0.1", "a"),
        ("params.lr = '0.1'", "c"),
        ("params.lr != 0.1", "fecb"),
        ("params.lr > 0.1", "eb"),
        ("params.lr >= 0.1 and params.lr <= 0.2", "ba"),
        ("params.lr < 1e-4", "f"),
        ("params.flag = true", "d"),
        ("params.flag = 1", ""),
        ("params.flag != false", "d"),
        ("params.`odd name` = 3", "e"),
        ("params.opt like 'adam%'", "ca"),
        ("params.opt like 'adam_w'", "c"),
        ("params.opt != 'sgd'", "ca"),
        ("params.opt > 'adam'", "cb"),
        ("metrics.acc > 0.6", "a"),
        ("metrics.acc >= 0.6", "ba"),
        ("metrics.acc.max > 0.6", "fba"),
        ("metrics.acc.min < 0.6", "fa"),
        ("metrics.acc.mean > 0.69 AND metrics.acc.count = 2", "a"),
        ("metrics.acc != 0.9", "fcb"),
        ('metrics."acc.x" > 1e308', "d"),
        ("status = 'InProgress'", "ed"),
        ("status != 'Completed' and params.lr > 0", "e"),
        ("run_name like 'a%'", "a"),
        ("run_name = 'nobody'", ""),
    ],
)
async def test_search_runs_filter_finds_exactly_the_matching_runs(
    searched: Pool, text: str | None, expected: str
) -> None:
    """A filter gives the runs that meet every condition, newest first, and counts them."""
    page = await search_runs(searched, ACCOUNT, "e", RunSearch(filter=text))

    assert "".join(names(page)) == expected
    assert page.total == len(expected)


# F9
@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("metrics.acc DESC", "abfced"),
        ("metrics.acc", "fbacde"),
        ("metrics.acc.max desc", "fabedc"),
        ("params.lr", "fabecd"),
        ("params.lr desc", "ebafcd"),
        ("params.opt desc", "bcafed"),
        ("run_name asc", "abcdef"),
        ("creation_time", "abcdef"),
        ("start_time desc", "fedcba"),
        ("end_time desc", "fcbaed"),
        ("status", "abfcde"),
        ("status desc", "edcfba"),
    ],
)
async def test_search_runs_order_puts_missing_values_last(
    searched: Pool, order_by: str, expected: str
) -> None:
    """Numbers first, then texts, NaN, runs without a value; equal keys as they were created."""
    page = await search_runs(searched, ACCOUNT, "e", RunSearch(order_by=order_by))

    assert "".join(names(page)) == expected


@pytest.mark.parametrize("order_by", ["metrics.acc DESC", "params.lr", "status", "end_time desc"])
async def test_search_runs_pages_meet_without_gap_or_overlap(searched: Pool, order_by: str) -> None:
    """One run a page gives the same as all at once, across numbers, texts, NaN and missing."""
    whole = await search_runs(searched, ACCOUNT, "e", RunSearch(order_by=order_by))
    paged: list[str] = []
    token = None
    for _ in range(6):
        page = await search_runs(
            searched, ACCOUNT, "e", RunSearch(order_by=order_by, max_results=1, next_token=token)
        )
        paged += names(page)
        token = page.next_token

    assert paged == names(whole)
    assert token is None


@pytest.mark.parametrize("other", ["status", "run_name desc", "params.b", "metrics.a"])
async def test_search_runs_token_of_another_order_is_refused(searched: Pool, other: str) -> None:
    """A token belongs to the order it was given for: field, name and direction."""
    order_by = "run_name" if other.startswith(("status", "run_name")) else "params.a"
    first = await search_runs(searched, ACCOUNT, "e", RunSearch(order_by=order_by, max_results=1))

    with pytest.raises(ValidationError, match="next_token"):
        await search_runs(
            searched, ACCOUNT, "e", RunSearch(order_by=other, next_token=first.next_token)
        )


# F2
async def test_search_runs_of_an_unknown_experiment_is_not_found(searched: Pool) -> None:
    """A search in an experiment that is not there says so."""
    with pytest.raises(ResourceNotFoundError):
        await search_runs(searched, ACCOUNT, "nothing", RunSearch())


# F4
async def test_page_of_runs_with_very_many_metrics_ends_early(read: tuple[Pool, Rows]) -> None:
    """A page is bounded by metric names, too, has one run at least, and says how to go on."""
    pool, rows = read
    experiment = await rows.experiment("e")
    counts = (PAGE_METRICS_MAX - 1, 1, 1, PAGE_METRICS_MAX + 1, 0, 3)
    for name, count in zip("abcdef", counts, strict=True):
        run_id = await rows.run(experiment, RunRow(name, ord(name)))
        await pool.execute(
            "INSERT INTO gen_1.metric_summaries SELECT $1, 'm' || g, 1, 0, 0, 0, 0, 0, 0, 1,"
            " now(), now(), 0 FROM generate_series(1, $2) g",
            run_id,
            count,
        )

    async def listed(token: str | None) -> RunPage:
        return await list_runs(pool, ACCOUNT, "e", PageRequest("Name", "Ascending", 4, token))

    async def searched(token: str | None) -> RunPage:
        search = RunSearch("run_name >= 'a'", "end_time", 4, token)
        return await search_runs(pool, ACCOUNT, "e", search)

    for ask_page in (listed, searched):
        pages = [await ask_page(None)]
        while pages[-1].next_token is not None:
            pages.append(await ask_page(pages[-1].next_token))
        assert ["".join(names(page)) for page in pages] == ["ab", "cd", "ef"]
        assert {page.total for page in pages} == {6}
