"""Searches of MLflow clients on a real Postgres, held against what MLflow itself makes of them.

MLflow's package evaluates filters and orders in Python, for its store of files: it shares no code
with the statements here and sees the same runs, each as the service tells it by its id.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.integration.api_service import open_api
from tests.integration.read_model_rows import START, RunRow, Series
from tests.integration.test_mlflow_reads import PREFIX, refused
from tests.services.mlflow_client import import_mlflow
from trialog_server.read.runs import PAGE_METRICS_MAX
from trialog_server.read.search_mlflow import PAGE_ROWS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2
    from mlflow.entities import Run

    from tests.integration.api_service import Api

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

MODELS = ("svm", "Forest", "forest 2", "", "svm%")
VALUES = (0.5, 0.25, math.nan, math.inf, -math.inf, 0.5)
STATUSES = ("Completed", "Failed", "InProgress", None)
RUNS = 24


@dataclass(frozen=True)
class Stored:
    """A service with runs in two experiments, beside one that no search names."""

    api: Api
    experiments: list[str]
    runs: list[Run]

    async def search(self, **asked: object) -> dict[str, Any]:
        """What a search of both experiments answers."""
        body = {"experiment_ids": self.experiments, **asked}
        response = await self.api.client.post(f"{PREFIX}/runs/search", json=body)
        assert response.status_code == 200, response.text
        content: dict[str, Any] = response.json()
        return content


def read(answer: httpx2.Response, call: str) -> Any:
    """The answer to a call as MLflow's client reads it."""
    message = getattr(import_mlflow("mlflow.protos.service_pb2"), call).Response()
    import_mlflow("mlflow.utils.proto_json_utils").parse_dict(answer.json(), message)
    return message


def expected_runs(runs: list[Run], text: str, orders: list[str]) -> list[Run]:
    """The runs that MLflow's own code finds, in its order."""
    evaluated = import_mlflow("mlflow.utils.search_utils").SearchUtils
    found: list[Run] = evaluated.sort(evaluated.filter(runs, text), orders)
    return found


def row(number: int) -> RunRow:
    """One of many runs: each lacks something that others have."""
    parameters: dict[str, object] = {"number": number, "flag": number % 2 == 0, "none": None}
    if number % 5:
        parameters["model"] = MODELS[number % len(MODELS)]
    metrics = {} if number % 7 == 0 else {"acc": Series([0.1, VALUES[number % len(VALUES)]])}
    if number % 3 == 0:
        metrics["val loss"] = Series([number / 10])
    return RunRow(
        f"run-{number}",
        minute=number,
        status=STATUSES[number % len(STATUSES)],
        parameters=parameters,
        metrics=metrics,
        tags={"team": "red"} if number % 2 else {"team": "Blue", "mlflow.user": f"u{number % 3}"},
        tags_set={"team": None} if number % 6 == 0 else {},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stored]:
    """The service, and its runs as MLflow's client reads each of them."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as api:
        homes = [await api.rows.experiment(name, minute=i) for i, name in enumerate("abc")]
        ids = [await api.rows.run(homes[number % 2], row(number)) for number in range(RUNS)]
        await api.rows.run(homes[2], RunRow("of another experiment", minute=3))
        await api.rows.run(homes[0], RunRow("gone", minute=4, is_deleted=True))
        runs, entities = [], import_mlflow("mlflow.entities")
        for run_id in ids:
            answer = await api.client.get(f"{PREFIX}/runs/get", params={"run_id": run_id.hex})
            runs.append(entities.Run.from_proto(read(answer, "GetRun").run))
        yield Stored(api, ["1", "2"], runs)


FILTERS = (
    "",
    "metrics.acc > 0.25",
    "metrics.acc >= 0.25 and metrics.acc < 1",
    "metrics.acc = 0.5",
    "metrics.acc != 0.5",
    "metrics.acc <= 0.5 AND params.model = 'svm'",
    "metrics.`val loss` > 1.2",
    'metrics."val loss" != 0.3',
    "params.model = 'svm'",
    "params.model != 'svm'",
    "params.model LIKE 'svm%'",
    "params.model LIKE '%orest_2'",
    "params.model ILIKE 'FOREST%'",
    "params.model = ''",
    "params.model IS NULL",
    "params.model IS NOT NULL and tags.team = 'red'",
    "params.number = '7'",
    "params.flag = 'True'",
    "params.none = 'None'",
    "params.absent != 'x'",
    "params.absent IS NULL",
    "tags.team = 'Blue'",
    "tags.team IS NULL",
    "tags.`mlflow.user` = 'u1'",
    "tags.mlflow.runName LIKE 'run-1%'",
    "attributes.status = 'RUNNING'",
    "status != 'FINISHED'",
    "status = 'SCHEDULED'",
    "run_name = 'run-3'",
    "attributes.run_name ILIKE 'RUN-_'",
    "user_id = 'ada'",
    f"start_time > {int(START.timestamp() * 1000) + 600_000}",
    f"attributes.end_time <= {int(START.timestamp() * 1000) + 630_000}",
    "artifact_uri LIKE 'mlflow-artifacts:/2/%'",
)

ORDERS: tuple[list[str], ...] = (
    [],
    ["metrics.acc"],
    ["metrics.acc DESC"],
    ["params.model ASC", "metrics.acc DESC"],
    ["params.number DESC"],
    ["tags.team", "attributes.run_name"],
    ["attributes.end_time DESC", "start_time ASC"],
    ["status", "metrics.`val loss`", "params.flag desc"],
    ["params.absent"],
)


# J2
async def test_search_finds_what_mlflow_finds_in_the_same_order(stored: Stored) -> None:
    """The same runs as MLflow's own evaluation, one after the other; every order has its turns."""
    counts = set()
    for number, text in enumerate(FILTERS):
        counts.add(len(expected_runs(stored.runs, text, [])))
        for orders in ORDERS if text == "" else ORDERS[number % 4 :: 4]:
            wanted = [run.info.run_id for run in expected_runs(stored.runs, text, orders)]
            answer = await stored.search(filter=text, order_by=orders)
            found = [run["info"]["run_id"] for run in answer["runs"]]
            assert found == wanted, (text, orders)
            assert "next_page_token" not in answer
    assert {0, RUNS} < counts  # the filters tell runs apart
    assert len(counts) > 10


# J2
async def test_search_by_ids_takes_those_and_no_others(stored: Stored) -> None:
    """A list of ids, or all but those; a hundred of them are no trouble."""
    ids = [run.info.run_id for run in stored.runs]
    others = ("0" * 30 + f"{number:02}" for number in range(97))
    listed = ", ".join(f"'{one}'" for one in (*ids[3:6], *others))
    inside = await stored.search(filter=f"attributes.run_id IN ({listed})")
    assert {run["info"]["run_id"] for run in inside["runs"]} == set(ids[3:6])
    outside = await stored.search(filter=f"run_id NOT IN ({listed})")
    assert {run["info"]["run_id"] for run in outside["runs"]} == set(ids) - set(ids[3:6])


# J2
async def test_pages_give_every_run_once_in_order(stored: Stored) -> None:
    """With equal keys, NaN and missing values at the ends of pages; a token fits its search."""
    for orders in ([], ["metrics.acc DESC"], ["params.flag", "metrics.acc"]):
        whole = [run["info"]["run_id"] for run in (await stored.search(order_by=orders))["runs"]]
        found, token = [], None
        while True:
            page = await stored.search(order_by=orders, max_results=5, page_token=token)
            found += [run["info"]["run_id"] for run in page["runs"]]
            token = page.get("next_page_token")
            if token is None:
                break
            assert len(page["runs"]) == 5
        assert found == whole
    first = await stored.search(max_results=5)
    other = await stored.api.client.post(
        f"{PREFIX}/runs/search",
        json={
            "experiment_ids": stored.experiments,
            "order_by": ["metrics.acc"],
            "page_token": first["next_page_token"],
        },
    )
    assert "start again" in refused(other, 400, "INVALID_PARAMETER_VALUE")


async def test_runs_that_come_and_go_between_two_pages_shift_none(stored: Stored) -> None:
    """Trials start while somebody turns pages; a script deletes, or marks, what it was shown."""
    home = await stored.api.rows.experiment("growing", minute=9)
    (number,) = [
        one["experiment_id"]
        for one in (await stored.api.client.get(f"{PREFIX}/experiments/search")).json()[
            "experiments"
        ]
        if one["name"] == "growing"
    ]
    ids = [await stored.api.rows.run(home, RunRow(f"r{i}", minute=i)) for i in range(6)]
    asked: dict[str, Any] = {"experiment_ids": [number], "max_results": 2}
    asked |= {"filter": "tags.done IS NULL"}
    pages = [await stored.search(**asked)]
    await stored.api.rows.run(home, RunRow("new", minute=60))
    gone = "UPDATE gen_1.runs SET deleted_at = now() WHERE run_id = ANY ($1)"
    await stored.api.pool.execute(gone, ids[4:])
    pages.append(await stored.search(**asked, page_token=pages[0]["next_page_token"]))
    done = "UPDATE gen_1.runs SET tags = jsonb_build_object('done', '1') WHERE run_id = ANY ($1)"
    await stored.api.pool.execute(done, ids[2:4])
    pages.append(await stored.search(**asked, page_token=pages[1]["next_page_token"]))
    shown = [run["info"]["run_name"] for page in pages for run in page["runs"]]
    assert shown == ["r5", "r4", "r3", "r2", "r1", "r0"]


async def test_page_ends_early_where_runs_have_very_many_names(stored: Stored) -> None:
    """What bounds an answer's bytes; the token says how to go on."""
    home = await stored.api.rows.experiment("wide", minute=10)
    found = (
        await stored.api.client.get(
            f"{PREFIX}/experiments/get-by-name", params={"experiment_name": "wide"}
        )
    ).json()["experiment"]["experiment_id"]
    ids = [await stored.api.rows.run(home, RunRow(f"w{i}", minute=i)) for i in range(2)]
    await stored.api.pool.execute(
        "INSERT INTO gen_1.parameters (run_id, name, value, at, log_offset)"
        " SELECT $1, 'p' || i, '1', now(), 0 FROM generate_series(1, $2::int) i",
        ids[1],
        PAGE_METRICS_MAX,
    )
    first = await stored.search(experiment_ids=[found])
    assert [run["info"]["run_name"] for run in first["runs"]] == ["w1"]
    second = await stored.search(experiment_ids=[found], page_token=first["next_page_token"])
    assert [run["info"]["run_name"] for run in second["runs"]] == ["w0"]


# J2
async def test_deleted_runs_are_in_the_views_that_ask_for_them(stored: Stored) -> None:
    """Views by name or, as protobuf may write them, by number."""
    gone = await stored.search(run_view_type="DELETED_ONLY")
    assert [run["info"]["run_name"] for run in gone["runs"]] == ["gone"]
    assert gone["runs"][0]["info"]["lifecycle_stage"] == "deleted"
    for view, count in (("ACTIVE_ONLY", RUNS), (1, RUNS), ("ALL", RUNS + 1), (3, RUNS + 1)):
        assert len((await stored.search(run_view_type=view))["runs"]) == count


# J2
async def test_experiments_are_found_as_mlflow_finds_them(stored: Stored) -> None:
    """The same filters and orders evaluated by MLflow's own code over the same experiments."""
    client = stored.api.client
    answer = await client.post(f"{PREFIX}/experiments/search", json={})
    read_one = import_mlflow("mlflow.entities").Experiment.from_proto
    experiments = [read_one(one) for one in read(answer, "SearchExperiments").experiments]
    evaluated = import_mlflow("mlflow.utils.search_utils").SearchExperimentsUtils
    assert {one.name for one in experiments} >= set("abc")
    for text in (
        "name = 'a'", "name LIKE '_'", "name ILIKE 'B'", "name != 'a'", "tags.team = 'red'",
        "tags.team IS NULL", "tags.absent IS NULL", "experiment_id IN ('1', '3')",
        f"creation_time > {int(START.timestamp() * 1000)}", "attribute.name != 'b' and name != 'a'",
    ):  # fmt: skip
        for orders in ([], ["name"], ["name DESC"], ["creation_time ASC"], ["last_update_time"]):
            kept = evaluated.filter(experiments, text)
            wanted = evaluated.sort(kept, orders or ["creation_time DESC"])
            answer = await client.post(
                f"{PREFIX}/experiments/search", json={"filter": text, "order_by": orders}
            )
            found = [one["name"] for one in answer.json()["experiments"]]
            assert found == [one.name for one in wanted], (text, orders)
    by_number = await client.get(
        f"{PREFIX}/experiments/search", params={"order_by": "experiment_id desc", "max_results": 2}
    )
    assert by_number.json()["experiments"][0]["experiment_id"] == str(len(experiments))
    rest = await client.get(
        f"{PREFIX}/experiments/search",
        params={
            "order_by": "experiment_id desc",
            "page_token": by_number.json()["next_page_token"],
        },
    )
    assert len(rest.json()["experiments"]) == len(experiments) - 2


async def test_search_that_cannot_be_right_is_refused_in_mlflows_shape(stored: Stored) -> None:
    """Wrong types, sizes, views, ids, tokens and filters: 400, with the value and the limit."""
    for body, says in (
        ({"max_results": 0}, "1 to 50000"),
        ({"max_results": -5}, "1 to 50000"),
        ({"max_results": 50_001}, "1 to 50000"),
        ({"max_results": 2**63}, "max_results"),
        ({"max_results": True}, "truth value"),
        ({"max_results": "many"}, "max_results"),
        ({"max_results": 1.5}, "max_results"),
        ({"experiment_ids": "1"}, "experiment_ids"),
        ({"experiment_ids": [1]}, "experiment_ids"),
        ({"experiment_ids": ["a"]}, "no id of an experiment"),
        ({"experiment_ids": ["1"] * 5_001}, "too many"),
        ({"run_view_type": "SOME"}, "ACTIVE_ONLY"),
        ({"run_view_type": 4}, "ACTIVE_ONLY"),
        ({"run_view_type": True}, "ACTIVE_ONLY"),
        ({"page_token": "x"}, "was not given by this list"),
        ({"page_token": "\ud7ff"}, "was not given by this list"),
        ({"page_token": "e" * 5000}, "was not given by this list"),
        ({"filter": "metrics.acc >"}, "at its end"),
        ({"filter": 5}, "filter"),
        ({"order_by": "metrics.acc"}, "order_by"),
        ({"order_by": ["metrics.acc down"]}, "'asc' or 'desc'"),
        ({"order_by": [None]}, "order_by"),
    ):
        answer = await stored.api.client.post(f"{PREFIX}/runs/search", json=body)
        assert says in refused(answer, 400, "INVALID_PARAMETER_VALUE"), body
    nothing = await stored.api.client.post(f"{PREFIX}/runs/search", json={"filter": None})
    assert nothing.json() == {"runs": []}
    unknown = await stored.search(experiment_ids=["999"], max_results=PAGE_ROWS_MAX + 1)
    assert unknown == {"runs": []}
