"""Each acceptance row that this release promises is named by a test on the real services.

A row is named in a comment of row ids alone, directly above the test (or its decorators) that shows
it: `# A3 B5`. Unit tests may name rows as well, but a row is proven end to end or it is not proven.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROWS_OF_A_GROUP = {
    "A": 15,
    "B": 24,
    "C": 13,
    "D": 15,
    "E": 11,
    "F": 9,
    "G": 9,
    "H": 3,
    "I": 6,
    "J": 6,
    "K": 10,
    "L": 5,
}
"""How many rows each group of acceptance sentences has; ids count from 1."""

KNOWN = {
    f"{group}{number + 1}" for group, rows in ROWS_OF_A_GROUP.items() for number in range(rows)
}

PROMISED_OF_A_GROUP = {
    "A": range(1, 16),
    "B": range(1, 25),
    "C": range(1, 14),
    "D": range(1, 16),
    "E": range(1, 12),
    "F": range(1, 10),
    "G": range(1, 10),
    "H": range(1, 4),
    "I": range(1, 7),
    "J": (1, 2, 4, 5),
    "K": range(1, 11),
    "L": (1, 2),
}
PROMISED = [f"{group}{row}" for group, rows in PROMISED_OF_A_GROUP.items() for row in rows]
"""The rows of this release."""

_COMMENT = re.compile(r"# *(?P<rows>[A-L][0-9]+(?: [A-L][0-9]+)*) *$")


@cache
def rows_named(path: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return of each test in a file the rows above it, and the comments of rows above no test."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    named: dict[str, list[str]] = {}
    seen: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            match = _COMMENT.fullmatch(lines[first - 2].strip())
            if match is not None:
                named[node.name] = match["rows"].split()
                seen.add(first - 2)
    stray = [
        f"{path.relative_to(ROOT)}:{number + 1}"
        for number, line in enumerate(lines)
        if _COMMENT.search(line) and number not in seen
    ]
    return named, stray


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / "tests" / folder).rglob("*.py"))]


@pytest.mark.parametrize("row", PROMISED)
def test_promised_row_is_named_by_a_test_on_real_services(row: str) -> None:
    """At least one acceptance or integration test names the row as what it shows."""
    proofs = [
        f"{path.name}::{test}"
        for path in _files("acceptance", "integration")
        for test, rows in rows_named(path)[0].items()
        if row in rows
    ]
    assert proofs


def test_no_comment_names_a_row_that_is_not_there() -> None:
    """A slip of a digit would be a proof of nothing."""
    unknown = [
        f"{path.relative_to(ROOT)}::{test}: {row}"
        for path in _files(".")
        for test, rows in rows_named(path)[0].items()
        for row in rows
        if row not in KNOWN
    ]
    assert unknown == []


def test_every_comment_of_rows_stands_above_a_test() -> None:
    """A row named anywhere else, as behind a docstring, would look like a proof and be none."""
    assert [stray for path in _files(".") for stray in rows_named(path)[1]] == []


def test_promised_rows_are_known() -> None:
    """The list of this release names rows that there are, none twice."""
    assert set(PROMISED) <= KNOWN
    assert len(set(PROMISED)) == len(PROMISED)
