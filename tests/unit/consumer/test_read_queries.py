"""The statements of reads as texts: what several of them share is the same in all."""

from __future__ import annotations

from trialog_server.postgres.queries import load_query

MARK = "-- run rows:"


def test_queries_of_runs_share_one_shape_of_a_run() -> None:
    """A list, a search and a single run read a run's parts by the same words."""
    names = ("list_runs", "search_runs", "search_mlflow_runs", "get_run")
    parts = {load_query(name).partition(MARK)[2] for name in names}

    assert len(parts) == 1
    assert len(parts.pop().splitlines()) > 40
