"""Questions about then, over a real Postgres: what was said at a moment is said again as of it."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api_service import open_api
from tests.integration.projection_cases import QUICK, running
from tests.unit.consumer.project_writers import Writer, catalog_writer, long
from trialog_schemas.events import (
    ArtifactLogged,
    ExperimentCreated,
    ExperimentDeleted,
    MetricsLogged,
    ParametersLogged,
    RunCreated,
    RunDeleted,
    RunEnded,
    RunResumed,
    RunStarted,
    TagsSet,
)
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.log.moments import text_of
from trialog_server.postgres.pool import PoolSettings, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.api_service import Api
    from trialog_schemas.events import Body
    from trialog_server.log.base import NewRecord
    from trialog_server.log.memory import MemoryLog

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

EXPERIMENTS = {"digits": "0190" + "e1" * 14, "other": "0190" + "e2" * 14}
RUNS = [f"0190{number:028x}" for number in range(1, 5)]
NAMES = ("a", "b", "a", "c")
"""The third run wants a name that is taken, unless the first is deleted."""

PATHS = (
    "/experiments?sort_by=Name&sort_order=Ascending&max_results=1",
    "/experiments/digits",
    "/experiments/digits/runs",
    "/experiments/digits/runs?sort_by=Name&sort_order=Ascending&max_results=2",
    "/experiments/digits/runs/a",
    "/experiments/other/runs",
    f"/runs/{RUNS[0]}/children",
)
RUN_PATHS = ("", "/rejections", "/artifacts", "/series?name=loss", "/series?name=loss&buckets=2")
SEARCHES = (
    {"filter": "metrics.loss > 0.3", "order_by": "params.lr DESC"},
    {"filter": "tags.team = 'red' and status = 'InProgress'", "order_by": "metrics.loss.min"},
)

Answers = dict[str, tuple[int, Any]]


@dataclass(frozen=True)
class Said:
    """What was said when these positions were the newest, the last of them of this time."""

    positions: str
    at_us: int
    answers: Answers


@dataclass
class History:
    """A service with its worker, and what was said at each moment."""

    api: Api
    writers: dict[tuple[str, int], Writer] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    newest: dict[str, str] = field(default_factory=dict)
    start_us: int = field(default_factory=lambda: time.time_ns() // 1000 - 1_800_000_000)
    at_us: int = 0

    async def append(self, record: NewRecord, log_at_us: int | None) -> str:
        """Append a record at a time, a second after the last one; wait until it is applied."""
        self.at_us = log_at_us or max(self.at_us, self.start_us) + 1_000_000
        self.api.log.clock = lambda: self.at_us
        (position,) = await self.api.log.append([record])
        self.newest[f"{position.topic}:{position.partition}"] = position.token()
        params = {"position": position.token(), "wait_s": "10"}
        answer = await self.api.client.get("/api/v1/applied", params=params)
        assert answer.json()["applied"] is True
        return position.token()

    async def tell(
        self, run_id: str, writer: int, *bodies: Body, log_at_us: int | None = None
    ) -> str:
        """Append events of a run's writer."""
        known = self.writers.setdefault(
            (run_id, writer), Writer(run_id, f"0191{writer:012x}{run_id[-16:]}")
        )
        # The writers' clocks are years behind the log's, and differ.
        record = known.record(*bodies, at_us=1_700_000_000_000_000 - writer)
        return await self.append(record, log_at_us)

    async def command(self, *bodies: Body, log_at_us: int | None = None) -> str:
        """Append events of the catalog by a writer of their own."""
        self.writers[("", len(self.writers))] = writer = catalog_writer(900 + len(self.writers))
        return await self.append(writer.record(*bodies), log_at_us)

    async def remember(self) -> None:
        """Take down everything that is said now."""
        positions = ",".join(self.newest.values())
        self.said.append(Said(positions, self.at_us, await self.answers(None)))

    async def answers(self, as_of: str | None) -> Answers:
        """Ask everything."""
        paths = [*PATHS, *(f"/runs/{run}{path}" for run in RUNS for path in RUN_PATHS)]
        found = {path: await self.get(path, as_of) for path in paths}
        for search in SEARCHES:
            answer = await self.api.client.post(
                "/api/v1/experiments/digits/runs/search",
                json=search,
                params={} if as_of is None else {"as_of": as_of},
            )
            found[str(search)] = said(answer)
        return found

    async def get(self, path: str, as_of: str | None) -> tuple[int, Any]:
        """Ask one question."""
        bare, _, query = path.partition("?")
        params = dict(one.split("=") for one in query.split("&")) if query else {}
        if as_of is not None:
            params["as_of"] = as_of
        return said(await self.api.client.get(f"/api/v1{bare}", params=params))


def said(answer) -> tuple[int, Any]:  # type: ignore[no-untyped-def]
    """Return status and content, without the moment, which the sentence of a 404 tells as well."""
    content = answer.json()
    content.pop("as_of", None)
    if answer.status_code == 404:
        del content["error"]["message"]
    return answer.status_code, content


@asynccontextmanager
async def open_history(
    postgres_url: str, folder: Path, log: MemoryLog | None = None
) -> AsyncIterator[History]:
    """Give an empty service with its worker."""
    async with open_api(postgres_url, folder, log=log) as api:
        pool = await open_pool(postgres_url, PoolSettings(search_path=QUICK.search_path))
        try:
            async with running(pool, api.log):
                yield History(api)
        finally:
            await pool.close()


async def random_step(history: History, dice: random.Random) -> None:
    """Append a record of some kind; the rules may refuse any of it."""
    number = dice.randrange(len(RUNS))
    run, writer = RUNS[number], dice.choice((1, 2))
    home = "other" if number == 3 else "digits"
    values = [("loss", dice.randrange(9), dice.random()) for _ in range(dice.randint(1, 4))]
    parent = RUNS[0] if number else None
    step: tuple[Body, ...] = dice.choice(
        (
            (RunCreated(run, home, NAMES[number], EXPERIMENTS[home], parent_run_id=parent),),
            (RunStarted(home, NAMES[number]), ParametersLogged({"lr": dice.choice((0.1, 0.2))})),
            (MetricsLogged((long(values),)),),
            (MetricsLogged((long(values),)), MetricsLogged((long(values[:1]),))),
            (TagsSet({"team": dice.choice(("red", "blue"))}),),
            (TagsSet({}, removed=("team",)),),
            (
                ArtifactLogged(
                    "m", "file", "text/plain", sha256=f"{dice.randrange(3):064x}", size=3
                ),
            ),
            (RunEnded(dice.choice(("Completed", "Failed"))),),
            (RunResumed(),),
            (RunDeleted(run),),
            (ExperimentDeleted(EXPERIMENTS[home]),),
            (ExperimentCreated(EXPERIMENTS[home], home, "text", {"k": "v"}),),
        )
    )
    if isinstance(step[0], RunCreated | RunDeleted | ExperimentDeleted | ExperimentCreated):
        await history.command(*step)
    else:
        await history.tell(run, writer, *step)


def iso(at_us: int) -> str:
    """Return a time as a question has it."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).isoformat()


# K5
async def test_every_answer_as_of_a_moment_is_what_was_said_then(
    postgres_url: str, tmp_path: Path
) -> None:
    """A walk of 60 records: whatever was asked at each moment, by positions and by time."""
    dice = random.Random(11)
    async with open_history(postgres_url, tmp_path) as history:
        for run, name in zip(RUNS, NAMES, strict=True):
            await history.command(RunCreated(run, "digits", name, EXPERIMENTS["digits"]))
        for number in range(60):
            await random_step(history, dice)
            if number in (24, 25, 59):
                await history.remember()
        first, second, last = history.said
        moments = {
            # Of two records the later one's time is the first at which it is there.
            iso(second.at_us - 1): first,
            second.positions: second,
            iso(last.at_us): last,
        }
        for as_of, then in moments.items():
            assert await history.answers(as_of) == then.answers, as_of


# K5
async def test_answer_names_its_moment_and_is_given_again_for_that(
    postgres_url: str, tmp_path: Path
) -> None:
    """A time, and one position alone, become all positions and a time, which give the same."""
    async with open_history(postgres_url, tmp_path) as history:
        created = await history.command(RunCreated(RUNS[0], "digits", "a", EXPERIMENTS["digits"]))
        started = await history.tell(RUNS[0], 1, RunStarted("digits", "a"))
        await history.tell(RUNS[0], 1, ParametersLogged({"lr": 0.1}))
        get, path = history.api.client.get, f"/api/v1/runs/{RUNS[0]}"
        (stored,) = (await history.api.log.read_at(Partition(EVENTS_TOPIC, int(started[7])), [0]))[
            :1
        ]
        alone = (await get(path, params={"as_of": started})).json()
        assert alone["as_of"] == f"{created},{started}@{text_of(stored.at_us)}"
        assert (alone["parameters"], alone["last_event_time"]) == ({}, text_of(stored.at_us))
        assert (await get(path, params={"as_of": alone["as_of"]})).json() == alone
        assert (await get(path, params={"as_of": text_of(stored.at_us)})).json() == alone
        assert "as_of" not in (await get(path)).json()
        packed = await get(
            f"{path}/series",
            params={"name": "loss", "as_of": started},
            headers={"Accept": "application/x-trialog-series"},
        )
        assert packed.status_code == 404  # no point was there yet


# K5
async def test_before_the_first_record_lists_are_empty_and_nothing_is_found(
    postgres_url: str, tmp_path: Path
) -> None:
    """It is no error to ask for a time before everything: nothing was there, and it is said so."""
    async with open_history(postgres_url, tmp_path) as history:
        await history.command(RunCreated(RUNS[0], "digits", "a", EXPERIMENTS["digits"]))
        for early in ("2001-01-01", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999"):
            assert await history.get("/experiments", early) == (
                200,
                {"experiments": [], "next_token": None, "total": 0},
            )
            for path in (
                "/experiments/digits/runs",
                "/experiments/digits/runs/a",
                f"/runs/{RUNS[0]}",
            ):
                status, content = await history.get(path, early)
                assert (status, content["error"]["code"]) == (404, "ResourceNotFound")
        answer = await history.api.client.get("/api/v1/experiments?as_of=2001-01-01")
        assert answer.json()["as_of"] == "2001-01-01T00:00:00.000000Z"


# K5
async def test_what_was_not_there_then_is_said_with_its_time(
    postgres_url: str, tmp_path: Path
) -> None:
    """When it was created, if later; else that it is not there at that time, and what is."""
    async with open_history(postgres_url, tmp_path) as history:
        created = RunCreated(RUNS[0], "digits", "a", EXPERIMENTS["digits"])
        await history.command(created)
        early_us = history.at_us
        early, before = iso(early_us), iso(early_us - 1)
        await history.command(RunCreated(RUNS[1], "digits", "b", EXPERIMENTS["digits"]))
        later = text_of(history.at_us)
        await history.command(RunDeleted(RUNS[0]))
        last = text_of(history.at_us)
        # Tables of the experiment, by which questions about single runs are answered as well.
        for moment in (before, early):
            await history.get("/experiments/digits/runs", moment)
        for path, as_of, sentence in (
            ("experiments/digits", before, "experiment 'digits' did not exist at"),
            ("experiments/digits/runs", before, "experiment 'digits' did not exist at"),
            ("experiments/digits/runs/b", before, "experiment 'digits' did not exist at"),
            ("experiments/digits/runs/b", early, "run 'b' did not exist at"),
            (f"runs/{RUNS[1]}", early, f"run '{RUNS[1]}' did not exist at"),
            (f"runs/{RUNS[1]}", early, f"it was created at {later}; ask about a later moment"),
            (f"runs/{RUNS[0]}", last, f"at {last}, run '{RUNS[0]}' does not exist or was deleted"),
            (
                "experiments/digit",
                early,
                "experiment 'digit' does not exist; did you mean 'digits'",
            ),
            ("experiments/digits/runs/c", early, "experiment 'digits' has no run 'c'"),
            (f"runs/{RUNS[0]}/series", early, f"at {text_of(early_us)}, run"),
        ):
            params = {"as_of": as_of, **({"name": "loss"} if "series" in path else {})}
            answer = await history.api.client.get(f"/api/v1/{path}", params=params)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (404, "ResourceNotFound")
            assert sentence in error["message"], error


# K5
async def test_run_was_stale_then_by_the_moment_not_by_now(
    postgres_url: str, tmp_path: Path
) -> None:
    """An hour of silence makes it stale at that moment; an event after it makes it fresh again."""
    async with open_history(postgres_url, tmp_path) as history:
        hours = [history.start_us + (hour - 8) * 3_600_000_000 for hour in range(8)]
        await history.command(
            RunCreated(RUNS[0], "digits", "a", EXPERIMENTS["digits"]), log_at_us=hours[0]
        )
        await history.tell(RUNS[0], 1, RunStarted("digits", "a"), log_at_us=hours[0])
        await history.tell(RUNS[0], 1, ParametersLogged({"lr": 1}), log_at_us=hours[4])
        await history.tell(RUNS[0], 1, RunEnded("Completed"), log_at_us=hours[7])
        shown = {}
        for at_us in (hours[0], hours[1] - 1, hours[1] + 1, hours[4], hours[6], hours[7]):
            _, run = await history.get(f"/runs/{RUNS[0]}", iso(at_us))
            shown[(at_us - hours[0]) // 60_000_000] = (run["status"], run["is_stale"])
        fresh, stale = ("InProgress", False), ("InProgress", True)
        assert shown == {
            0: fresh,
            59: fresh,
            60: stale,
            240: fresh,
            360: stale,
            420: ("Completed", False),
        }


BAD = {
    "": "at least 1 character",
    "yesterday": "neither a time nor positions",
    "2026-13-01": "neither a time nor positions",
    "12:30": "neither a time nor positions",
    "2999-01-01": "ahead of the service's clock",
    "events:0": "neither a time nor positions",
    "events:0:-1": "neither a time nor positions",
    "other:0:0": "neither a time nor positions",
    "events:0:0": "names offset 0 of trialog.events.v1 partition 0, of which none is there",
    "catalog:0:0@": "neither a time nor positions",
    "catalog:0:0@soon": "neither a time nor positions",
    "catalog:0:0@2999-01-01": "ahead of the service's clock",
    "catalog:0:0,catalog:0:0": "names the partition of catalog:0:0 twice",
    "catalog:0:1": "partition 0, of which 0 to 0 are there",
    "catalog:0:9999999999": "partition 0, of which 0 to 0 are there",
    "catalog:0:99999999999999999999999": "neither a time nor positions",
    "catalog:1:0": "names partition 1 of trialog.catalog.v1, which has 1",
    "events:99:0": "names partition 99 of trialog.events.v1, which has 4",
    "catalog:0:0,": "neither a time nor positions",
    "catalog:0:0\0": "neither a time nor positions",
    "2026-01-01T00:00\0": "neither a time nor positions",
    "x" * 3000: "at most 2560 characters",
}
"""What is no moment, and what the refusal says."""


# K5
async def test_what_is_no_moment_is_refused_with_its_reason_on_every_route(
    postgres_url: str, tmp_path: Path
) -> None:
    """A typed refusal names the field and the value; nothing is made for it."""
    async with open_history(postgres_url, tmp_path) as history:
        await history.command(RunCreated(RUNS[0], "digits", "a", EXPERIMENTS["digits"]))
        for as_of, why in BAD.items():
            status, content = await history.get("/experiments/digits/runs", as_of)
            assert (status, content["error"]["code"]) == (400, "ValidationException"), as_of
            assert content["error"]["field"] == "as_of"
            assert why in content["error"]["message"], content
        for path in (*PATHS, *(f"/runs/{RUNS[0]}{path}" for path in RUN_PATHS)):
            status, content = await history.get(path, "yesterday")
            assert (status, content["error"]["field"]) == (400, "as_of"), path
        for path in (f"/runs/{RUNS[0]}/events", "/policy"):
            status, content = await history.get(path, "2026-01-01")
            assert (status, content["error"]["field"]) == (400, "as_of"), path
        assert await history.api.pool.fetchval("SELECT count(*) FROM trialog.snapshots") == 0
