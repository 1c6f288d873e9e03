"""The statements of reads as texts: what several of them share is written once."""

from __future__ import annotations

from trialog_server.postgres.queries import load_query


def test_queries_of_runs_share_one_shape_of_a_run() -> None:
    """A list, a search and a single run read a run's parts by the same words."""
    rows = load_query("parts/run_rows")
    for name in ("list_runs", "search_runs", "search_mlflow_runs", "get_run"):
        statement = load_query(name)
        assert statement.endswith(f"\n{rows}"), name
        assert statement.count("FROM counted") == 1, name
        assert "-- then" not in statement, name
