"""Reads statements from `queries/*.sql`; must not build SQL and knows no table.

A file is named like the function that runs it. Its first line is a comment: what it does, and
which index serves it. What several statements end with is in `queries/parts/`, and they name it in
their last line: `-- then parts/<name>`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

_CONTINUATION = "\n-- then "
_FOLDER = resources.files("trialog_server.postgres") / "queries"


@cache
def load_query(name: str) -> str:
    """Return the statement of `queries/<name>.sql`; a file is read once per process."""
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    before, is_continued, part = text.rpartition(_CONTINUATION)
    return f"{before}\n{load_query(part.strip())}" if is_continued else text
