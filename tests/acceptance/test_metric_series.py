"""Series end to end: whole, by pages, reduced and summed up; at the limit; through faults."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from typing import TYPE_CHECKING

import pytest
import urllib3

import trialog
from tests.acceptance.conftest import LEFT_WITH_REFUSALS
from tests.acceptance.programs import run_together
from tests.services.proxy import Direction, Proxy
from trialog.adoption import sync_spools
from trialog.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.services.trialog import TrialogService
    from trialog.answers import SummaryAnswer

POINTS_MAX = 500_000


def ask(session: trialog.Session, run: trialog.Run, **fields: str) -> dict[str, object]:
    """The answer of a run's series over HTTP."""
    address = f"{session.url}/api/v1/runs/{run.run_id}/series"
    answer = urllib3.request("GET", address, fields=fields)
    assert answer.status == 200, answer.data
    told: dict[str, object] = answer.json()
    return told


def told_number(value: float) -> float | str:
    """A number as the service's JSON has it."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


# D13
@pytest.mark.parametrize("seed", [1, 2])
def test_summaries_equal_what_the_raw_series_comes_to(
    session: trialog.Session, experiment_name: str, seed: int
) -> None:
    """For random series, in list, compare and search: last, min, max, mean, count, last step."""
    lot = random.Random(seed)
    with trialog.Run(experiment_name, "one", session) as run:
        for _ in range(600):
            names = lot.sample("abcd", lot.randint(1, 4))
            step = lot.choice([None, lot.randrange(400)])
            values = {
                name: lot.choice([lot.gauss(0, 10), lot.random(), math.nan]) for name in names
            }
            run.log_metrics(values, step)
            run.log_metric("e", lot.uniform(-1, 1), lot.randrange(1000))
    run.wait()
    client = Client(session.resolve())
    (listed,) = client.runs(experiment_name, {})["runs"]
    (found,) = client.search(experiment_name, {"filter": "status = 'Completed'"})["runs"]
    frame = trialog.compare(experiment_name, session=session)
    assert sorted(listed["metrics"]) == list("abcde")
    for name, summary in listed["metrics"].items():
        series = run.metric_series(name)
        last = series["value"][-1]
        assert expected_of(series) == pytest.approx(numbers_of(summary), nan_ok=True, rel=1e-12)
        assert summary["count"] == len(series["value"])
        assert str(frame[name].item()) == str(last)
        assert str(found["metrics"][name]) == str(summary)


def expected_of(series: Mapping[str, Sequence[float]]) -> list[float]:
    """Last, min, max, mean and last step of a series, from its columns alone."""
    counted = [value for value in series["value"] if not math.isnan(value)]
    return [
        series["value"][-1],
        min(counted),
        max(counted),
        statistics.fmean(counted),
        series["step"][-1],
    ]


def numbers_of(summary: SummaryAnswer) -> list[float]:
    """The same figures of a summary; no step is NaN."""
    figures = (summary["last"], summary["min"], summary["max"], summary["mean"])
    step = summary["last_step"]
    return [float(figure) for figure in figures if figure is not None] + [
        math.nan if step is None else step
    ]


# D15
def test_series_is_whole_in_pages_and_in_columns_of_pixels(
    session: trialog.Session, experiment_name: str
) -> None:
    """One of 5,000 points with gaps, NaN and unstepped ones: pages of 700 and 60 columns."""
    lot = random.Random(3)
    steps = sorted(lot.sample(range(100, 9000), 4990))
    values = [lot.choice([lot.gauss(0, 1), lot.gauss(0, 1), math.nan, math.inf]) for _ in steps]
    with trialog.Run(experiment_name, "one", session) as run:
        for index in lot.sample(range(4990), 4990):
            run.log_metric("m", values[index], steps[index])
        for value in range(10):
            run.log_metric("m", float(value))
    run.wait()
    whole = [*values, *map(float, range(10))]
    assert [str(value) for value in run.metric_series("m")["value"]] == list(map(str, whole))

    paged: list[object] = []
    token: str | None = ""
    while token is not None:
        fields = {"name": "m", "max_results": "700"} | ({"next_token": token} if token else {})
        page = ask(session, run, **fields)
        part = page["values"]
        assert isinstance(part, list)
        assert page["points"] == 5000
        assert len(part) == min(700, 5000 - len(paged))
        paged += part
        token = page["next_token"]  # type: ignore[assignment]
    assert paged == [told_number(value) for value in whole]

    # The unstepped ones stand after the last step, one apart.
    places = [*steps, *range(steps[-1] + 1, steps[-1] + 11)]
    points = list(zip(places, whole, strict=True))
    assert ask(session, run, name="m", buckets="60") == {
        "name": "m",
        "points": 5000,
        "buckets": expected_buckets(points, 60),
    }
    assert ask(session, run, name="m", buckets="10000")["buckets"] == expected_buckets(
        points, 10000
    )


def expected_buckets(points: list[tuple[int, float]], columns: int) -> dict[str, list[object]]:
    """Points in order of place, put one by one into columns of equal width."""
    first, span = points[0][0], points[-1][0] - points[0][0] + 1
    edges = [first + int(column * span / min(columns, span)) for column in range(columns)]
    buckets: dict[int, list[tuple[int, float]]] = {}
    column = 0
    for place, value in points:
        while column + 1 < len(edges) and edges[column + 1] <= place:
            column += 1
        buckets.setdefault(column, []).append((place, value))
    answer: dict[str, list[object]] = {
        key: [] for key in ("step_from", "step_to", "min", "max", "last", "count")
    }
    for inside in buckets.values():
        numbers = [value for _, value in inside if not math.isnan(value)]
        answer["step_from"].append(inside[0][0])
        answer["step_to"].append(inside[-1][0])
        answer["min"].append(told_number(min(numbers)) if numbers else None)
        answer["max"].append(told_number(max(numbers)) if numbers else None)
        answer["last"].append(told_number(inside[-1][1]))
        answer["count"].append(len(inside))
    return answer


def log_past_the_limit(run: trialog.Run) -> None:
    """Log 499,980 points, a row of 23 metrics across the limit, and what comes after it."""
    names = [f"m{index:02}" for index in range(20)]
    with run:
        for step in range(POINTS_MAX // 20 - 1):
            run.log_metrics(dict.fromkeys(names, float(step)), step)
        run.log_metrics({f"x{index:02}": 1.0 for index in range(23)}, 1)
        run.log_metric("late", 1.0)
        run.log_parameter("after", "still open")
        with pytest.raises(trialog.RunRejectedError, match="500000 points") as caught:
            run.wait(50)
    assert caught.value.response["Error"]["Code"] == "RunRejected"


# D10
@LEFT_WITH_REFUSALS
def test_point_above_500_000_is_refused_and_500_000_stay(
    session: trialog.Session, experiment_name: str
) -> None:
    """The row that crosses the limit is kept up to it; training goes on; the count is told."""
    run = trialog.Run(experiment_name, "full", session)
    log_past_the_limit(run)
    told = Client(session.resolve()).run(experiment_name, "full")
    assert told["points"] == POINTS_MAX
    counts = {name: summary["count"] for name, summary in told["metrics"].items()}
    assert sum(counts.values()) == POINTS_MAX
    assert sorted(name for name in counts if name[0] == "x") == [f"x{n:02}" for n in range(20)]
    assert "late" not in counts
    assert told["parameters"] == {"after": "still open"}
    assert (told["status"], told["rejected_count"]) == ("Completed", len(run.rejections))
    assert {rejection.code for rejection in run.rejections} == {"point_limit"}
    refused = [int(rejection.message.split()[0]) for rejection in run.rejections]
    assert sum(refused) == 4
    assert run.metric_series("m07")["value"] == [float(step) for step in range(24_999)]


UNREACHABLE = """
import sys, threading, time

def work(session, index, name):
    yield
    calls = []
    def see(event, arguments):
        if event.startswith("socket."):
            calls.append((threading.current_thread().name, event))
    run = trialog.Run(name, "one", session)
    run.__enter__()
    sys.addaudithook(see)
    slowest, rounds, started = 0.0, 0, time.perf_counter()
    while time.perf_counter() - started < 1.0 or not calls:
        before = time.perf_counter()
        run.log_metric("loss", float(rounds), rounds)
        run.log_metrics({"a": 1.0, "b": 2.0})
        run.log_parameter("lr", 1)
        run.log_artifact("text", "content")
        slowest = max(slowest, time.perf_counter() - before)
        rounds += 1
    threads = sorted({thread for thread, _ in calls})
    return {"threads": threads, "slowest": slowest, "rounds": rounds}
"""


# D11
def test_log_calls_without_a_log_touch_no_socket_return_at_once_and_are_kept(
    session: trialog.Session, experiment_name: str
) -> None:
    """A second of calls with neither service nor broker: the sockets are the sender's thread's.

    The process ends without them; all that it logged comes with the next one that can send it.
    """
    nobody = trialog.Session(
        url="http://127.0.0.1:9",
        kafka=None if session.kafka is None else "127.0.0.1:9",
        spool_dir=session.spool_dir,
    )
    (answer,) = run_together(nobody, 1, UNREACHABLE, experiment_name)
    assert isinstance(answer, dict)
    assert "MainThread" not in answer["threads"]
    assert answer["threads"] != []
    assert answer["slowest"] < 1.0  # seconds; the machine may be busy with other things
    reports = asyncio.run(sync_spools(session.resolve(), is_moved=True))
    assert [report.outcome for report in reports] == ["sent"]
    (found,) = trialog.Run.list(experiment_name, session=session)
    assert found.metric_series("loss")["value"] == [float(at) for at in range(answer["rounds"])]
    assert (found.metrics["a"].count, found.parameters) == (answer["rounds"], {"lr": 1})


def proxy_of(service: TrialogService) -> Proxy:
    """A proxy before the service's address."""
    host, port = service.url.removeprefix("http://").split(":")
    return Proxy((host, int(port)))


def through(proxy: Proxy, session: trialog.Session) -> trialog.Session:
    """A session whose every byte goes through the proxy, records too."""
    return trialog.Session(url=f"http://{proxy.address}", spool_dir=session.spool_dir)


# D11 D12
def test_log_calls_do_not_wait_for_a_service_that_stalls(
    service: TrialogService, session: trialog.Session, experiment_name: str
) -> None:
    """With every byte held back 20,000 calls take no longer, and arrive once when it goes on."""
    values = [float(step) for step in range(20_000)]
    with (
        proxy_of(service) as proxy,
        trialog.Run(experiment_name, "one", through(proxy, session)) as run,
    ):
        proxy.stall()
        started_s = time.perf_counter()
        for value in values:
            run.log_metric("m", value, int(value))
        assert time.perf_counter() - started_s < 10  # nothing goes on before it is resumed
        assert not run.flush(0.2)
        proxy.resume()
        run.wait()
        assert run.metric_series("m")["value"] == values


# D12
def test_points_are_there_exactly_once_after_answers_were_lost(
    service: TrialogService, session: trialog.Session, experiment_name: str
) -> None:
    """Connections break before an answer, within a request and between; nothing doubles."""
    faults: list[Callable[[Proxy], None]] = [
        lambda proxy: proxy.cut_after(1, Direction.TO_CLIENT),
        lambda proxy: proxy.cut_after(20, Direction.TO_SERVER),
        Proxy.reset,
    ]
    with (
        proxy_of(service) as proxy,
        trialog.Run(experiment_name, "one", through(proxy, session)) as run,
    ):
        for part, fault in enumerate(faults * 2):
            for step in range(1000 * part, 1000 * part + 1000):
                run.log_metrics({"m": float(step), "n": 1.0}, step)
            fault(proxy)
            assert run.flush(30)
        run.wait()
        assert run.metric_series("m")["value"] == [float(step) for step in range(6000)]
    told = Client(session.resolve()).run(experiment_name, "one")
    assert (told["points"], told["rejected_count"]) == (12_000, 0)
