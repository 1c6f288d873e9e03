"""What a log call costs the thread that makes it, with the sender idle and with it at work.

    python -m tests.bench.bench_log_calls [--rounds 3] [--calls 100000]

Every call is timed alone, so each figure includes one reading of the clock (some 0.05 us). First
nobody serves: the sender has nothing to talk to and sleeps. Then a real `trialog up` serves, and
the sender thread of the same process packs, compresses and sends what is logged meanwhile; once as
fast as the thread can call, once at an even 100,000 calls a second. The floor is `os.write` of as
many bytes as the record has, to a file of the same folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trialog
from tests.bench.table import Line, median_of, percentile, print_table
from tests.services.ports import free_port
from tests.services.trialog import TrialogService
from trialog.spool_format import POINT_BYTES, row_struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P50_US_MAX, P99_US_MAX = 2.0, 20.0
METRICS = 20
ROW_BYTES = row_struct(METRICS).size + 4
EVEN_CALLS_PER_S = 100_000
POINTS_PER_RUN_MAX = 500_000


class Times(NamedTuple):
    """Microseconds of single calls."""

    p50: float
    p99: float
    p999: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How often everything is called; all rounds of a line are one run, which has a limit."""

    rounds: int = 3
    calls: int = 100_000

    @property
    def point_calls(self) -> int:
        """Calls of log_metric in a round."""
        return min(self.calls, POINTS_PER_RUN_MAX // self.rounds)

    @property
    def row_calls(self) -> int:
        """Calls of log_metrics in a round."""
        return min(self.calls, POINTS_PER_RUN_MAX // METRICS // self.rounds)


def time_calls(call: Callable[[int], object], calls: int, calls_per_s: int | None = None) -> Times:
    """Call with 0, 1, 2 …, at an even pace or without a pause, and time each."""
    took_ns = [0] * calls
    clock = time.perf_counter_ns
    gap_ns = 1_000_000_000 // calls_per_s if calls_per_s else 0
    due_ns = clock()
    for number in range(calls):
        while clock() < due_ns:
            pass
        due_ns += gap_ns
        began_ns = clock()
        call(number)
        took_ns[number] = clock() - began_ns
    took_ns.sort()
    return Times(
        percentile(took_ns, 50) / 1000,
        percentile(took_ns, 99) / 1000,
        percentile(took_ns, 99.9) / 1000,
        took_ns[-1] / 1000,
    )


def point_call(run: trialog.Run) -> Callable[[int], object]:
    """Return a call of one point; the lambda around it costs some 0.05 us more."""
    log_metric = run.log_metric
    return lambda step: log_metric("train/loss", 0.25, step)


def row_call(run: trialog.Run) -> Callable[[int], object]:
    """Return a call of 20 points."""
    log_metrics = run.log_metrics
    metrics = {f"train/metric_{number:02d}": 0.5 + number for number in range(METRICS)}
    return lambda step: log_metrics(metrics, step)


def write_times(folder: Path, size: int, calls: int) -> Times:
    """Time os.write of so many bytes."""
    file = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    data = bytes(size)
    try:
        return time_calls(lambda _: os.write(file, data), calls)
    finally:
        os.close(file)


@contextlib.contextmanager
def nobody_serving(folder: Path) -> Iterator[trialog.Session]:
    """Give a session on an address where nobody listens."""
    url = f"http://127.0.0.1:{free_port()}"
    yield trialog.Session(url=url, spool_dir=folder / "nobody")


class Bench:
    """Times the calls and makes the lines."""

    def __init__(self, folder: Path, load: Load) -> None:
        self._folder = folder
        self._load = load

    def idle_lines(self) -> Iterator[Line]:
        """Yield the lines with nobody to send to; leaving a run's block waits 5 s for the log."""
        floor, row_floor = self._floors()
        with nobody_serving(self._folder) as session:
            times = self._rounds(session, point_call, self._load.point_calls)
            yield _line("log_metric, sender idle", times, floor, is_promised=True)
            times = self._rounds(session, row_call, self._load.row_calls)
            yield _line(f"log_metrics({METRICS}), sender idle", times, row_floor)

    def sending_lines(self, session: trialog.Session) -> Iterator[Line]:
        """Yield the lines with the sender at work; a service has to serve the session."""
        floor, row_floor = self._floors()
        calls = self._load.point_calls
        times = self._rounds(session, point_call, calls)
        yield _line("log_metric, sending", times, floor, is_promised=True)
        times = self._rounds(session, point_call, calls, EVEN_CALLS_PER_S)
        what = f"log_metric, sending, {EVEN_CALLS_PER_S:,} calls/s"
        yield _line(what, times, floor, is_promised=True)
        times = self._rounds(session, row_call, self._load.row_calls)
        yield _line(f"log_metrics({METRICS}), sending", times, row_floor)

    def _floors(self) -> tuple[Times, Times]:
        """Time the writing of a point's and of a row's bytes."""
        calls, row_calls = self._load.point_calls, self._load.row_calls
        floor = self._middle(lambda: write_times(self._folder, POINT_BYTES, calls))
        _print_tail(f"floor of {POINT_BYTES} bytes", floor)
        return floor, self._middle(lambda: write_times(self._folder, ROW_BYTES, row_calls))

    def _rounds(
        self,
        session: trialog.Session,
        call_of: Callable[[trialog.Run], Callable[[int], object]],
        calls: int,
        calls_per_s: int | None = None,
    ) -> Times:
        """Time one run's calls, round after round."""
        with trialog.Run("bench-log-calls", session=session) as run:
            call = call_of(run)
            return self._middle(lambda: time_calls(call, calls, calls_per_s))

    def _middle(self, measured: Callable[[], Times]) -> Times:
        """Return the medians over the rounds."""
        rounds = [measured() for _ in range(self._load.rounds)]
        return Times(*(median_of(column) for column in zip(*rounds, strict=True)))


def _line(what: str, times: Times, floor: Times, *, is_promised: bool = False) -> Line:
    _print_tail(what, times)
    is_kept = times.p50 <= P50_US_MAX and times.p99 <= P99_US_MAX
    return Line(
        what=what,
        unit="us",
        median=times.p50,
        p99=times.p99,
        floor=floor.p50,
        floor_is="os.write",
        target=f"<= {P50_US_MAX:g}, p99 <= {P99_US_MAX:g}" if is_promised else "",
        is_kept=is_kept if is_promised else None,
    )


def _print_tail(what: str, times: Times) -> None:
    print(f"{what}: p99.9 {times.p999:.1f} us, longest {times.longest:.0f} us", flush=True)


def measure(load: Load) -> list[Line]:
    """Return all lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder, load)
        lines = list(bench.idle_lines())
        with TrialogService(folder) as service:
            session = trialog.Session(url=service.url, spool_dir=folder / "spool")
            lines += bench.sending_lines(session)
    return lines


def main() -> None:
    """Measure what the arguments say and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = Load()
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--calls", type=int, default=usual.calls)
    chosen = parser.parse_args()
    print_table(measure(Load(rounds=chosen.rounds, calls=chosen.calls)))


if __name__ == "__main__":
    main()
