"""The one table that all benchmarks print: a line per measurement, beside its floor or peer."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 140
"""Columns the table may take: it is kept in a file, so it must not depend on the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measurement: medians over the rounds of a run.

    Args:
        what: what was measured.
        unit: of all figures of the line.
        median: the usual figure.
        p99: the nearly worst one, where single calls were timed.
        floor: the same unit for something simpler, measured in the same run.
        floor_is: what that was.
        target: what must hold, in words; empty where nothing is promised.
        is_kept: whether it held; None without a target.
    """

    what: str
    unit: str
    median: float
    p99: float | None = None
    floor: float | None = None
    floor_is: str = ""
    target: str = ""
    is_kept: bool | None = None


def median_of(figures: Iterable[float]) -> float:
    """Return the middle one of some rounds' figures."""
    return statistics.median(figures)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the figure below which so many percent of the ordered ones lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def print_table(lines: Iterable[Line]) -> None:
    """Print the lines, and what the machine was doing beside."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("measured", "median", "p99", "unit", "floor", "x floor", "floor is", "target"):
        is_figure = title in {"median", "p99", "floor", "x floor"}
        table.add_column(title, justify="right" if is_figure else "left", no_wrap=True)
    for line in lines:
        ratio = line.median / line.floor if line.floor else None
        kept = {True: "kept", False: "MISSED", None: ""}[line.is_kept]
        table.add_row(
            line.what,
            _figure(line.median),
            _figure(line.p99),
            line.unit,
            _figure(line.floor),
            _figure(ratio),
            line.floor_is,
            f"{line.target} {kept}".strip(),
        )
    console = Console(width=WIDTH, highlight=False, soft_wrap=False)
    console.print(table)
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    console.print(f"{os.cpu_count()} cores, load over 1, 5 and 15 minutes: {load}")


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
