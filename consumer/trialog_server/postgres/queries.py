"""Reads statements from `queries/*.sql`; must not build SQL and knows no table.

A file is named like the function that runs it. Its first line is a comment: what it does, and
which index serves it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

_FOLDER = resources.files("trialog_server.postgres") / "queries"


@cache
def load_query(name: str) -> str:
    """Return the statement of `queries/<name>.sql`; a file is read once per process."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
