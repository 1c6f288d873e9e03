"""Every benchmark of this folder in turn, each in a process of its own; no figures of its own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from tests.bench import (
    bench_end_to_end,
    bench_log_calls,
    bench_projection,
    bench_reads,
    bench_rebuild,
)
from tests.bench.table import Line

if TYPE_CHECKING:
    from collections.abc import Callable


def measure_log_calls(*, is_small: bool) -> list[Line]:
    """Return the lines about single log calls."""
    usual = bench_log_calls.Load()
    return bench_log_calls.measure(bench_log_calls.Load(rounds=1, calls=500) if is_small else usual)


def measure_end_to_end(*, is_small: bool) -> list[Line]:
    """Return the lines about the whole path; without Kafka where it is small."""
    if is_small:
        load = bench_end_to_end.Load(rounds=1, processes=2, runs=1, calls=100)
        return bench_end_to_end.measure(load, ("embedded",))
    return bench_end_to_end.measure(bench_end_to_end.Load())


def measure_projection(*, is_small: bool) -> list[Line]:
    """Return the lines about the worker alone."""
    usual = bench_projection.Load()
    return bench_projection.measure(bench_projection.Load(runs=1) if is_small else usual)


def measure_rebuild(*, is_small: bool) -> list[Line]:
    """Return the lines about a rebuild; without Kafka where it is small."""
    if is_small:
        load = bench_rebuild.Load(rounds=1, runs=1, small_runs=20)
        return bench_rebuild.measure(load, ("embedded",))
    return bench_rebuild.measure(bench_rebuild.Load())


def measure_reads(*, is_small: bool) -> list[Line]:
    """Return the lines about questions."""
    usual = bench_reads.Load()
    return bench_reads.measure(bench_reads.Load(runs=20, repeats=5) if is_small else usual)


BENCHES: tuple[Callable[..., list[Line]], ...] = (
    measure_log_calls,
    measure_end_to_end,
    measure_projection,
    measure_rebuild,
    measure_reads,
)


def measure_all(*, is_small: bool) -> list[Line]:
    """Return the lines of every benchmark."""
    lines: list[Line] = []
    for bench in BENCHES:
        print(f"== {bench.__name__}", flush=True)
        # A process that has logged keeps a sender thread, which the next measurement must not meet.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            lines += process.submit(bench, is_small=is_small).result()
    return lines
