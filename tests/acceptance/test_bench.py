"""The benchmarks run; small, so that nothing here depends on how fast anything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import bench_end_to_end, bench_log_calls, bench_projection, bench_rebuild

if TYPE_CHECKING:
    from pathlib import Path

    import trialog
    from tests.services.trialog import TrialogService


def test_bench_of_the_whole_path_runs(service: TrialogService, tmp_path: Path) -> None:
    """Two trainer processes log, and the bench finds every point in a row once."""
    load = bench_end_to_end.Load(rounds=1, processes=2, runs=1, calls=50)
    measured = bench_end_to_end.measure_round(service, tmp_path, load)
    assert measured.floor > measured.applied > 0


def test_bench_of_log_calls_runs(session: trialog.Session, tmp_path: Path) -> None:
    """Log calls are timed one by one while a real service takes what they log."""
    load = bench_log_calls.Load(rounds=1, calls=200)
    lines = list(bench_log_calls.Bench(tmp_path, load).sending_lines(session))
    assert [line.unit for line in lines] == ["us"] * 3
    assert all(line.p99 is not None and 0 < line.median <= line.p99 for line in lines)


def test_bench_of_the_worker_runs() -> None:
    """The worker applies all records of the bench, or the bench raises."""
    lines = bench_projection.measure(bench_projection.Load(runs=1))
    assert all(line.median > 0 and line.floor for line in lines)


def test_bench_of_a_rebuild_runs() -> None:
    """Every point of the bench is live once after each rebuild, or the bench raises."""
    load = bench_rebuild.Load(rounds=2, runs=1, small_runs=20)
    whole, cpu = bench_rebuild.measure(load, ("embedded",))
    assert whole.median > 0
    assert cpu.median > 0
    assert whole.floor
