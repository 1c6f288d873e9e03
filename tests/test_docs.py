"""What the documents say is there, is there: a map that no test checks goes stale."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Rows of the path table, "| 3 it is safe | `path`, `more` | in → out | I/O |".
_PATH_ROW = re.compile(r"^\| *\d+ [^|]*\|(?P<files>[^|]+)\|", re.MULTILINE)
_CODE_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
_MAKE_TARGETS = re.compile(r"\bmake((?: +[a-z]+\b)+)")


def _path_rows() -> list[list[str]]:
    """The paths of every row; a path without a folder stands in the folder of the one before."""
    rows = []
    for row in _PATH_ROW.finditer(README):
        first, *others = re.findall(r"`([^`]+)`", row["files"])
        folder = first.rstrip("/").rpartition("/")[0]
        rows.append(
            [first, *(name if _is_from_root(name) else f"{folder}/{name}" for name in others)]
        )
    return rows


def _is_from_root(name: str) -> bool:
    return name.split("/", maxsplit=1)[0] in {"producer", "consumer", "schemas"}


def _code_blocks(language: str) -> list[str]:
    return [
        block["code"] for block in _CODE_BLOCK.finditer(README) if block["language"] == language
    ]


def _make_targets() -> set[str]:
    """Every target named after a `make` in the README's code, inline or in blocks."""
    code = re.findall(r"`(make [^`]+)`", README) + _code_blocks("sh") + _code_blocks("bash")
    lines = [line.partition("#")[0] for text in code for line in text.splitlines()]
    return {
        target
        for line in lines
        for targets in _MAKE_TARGETS.findall(line)
        for target in targets.split()
    }


def test_readme_path_table_has_every_step() -> None:
    """The README shows the nine steps of an event's path."""
    assert len(_path_rows()) == 9


@pytest.mark.parametrize("paths", _path_rows(), ids=lambda paths: paths[0])
def test_readme_path_table_names_what_exists(paths: list[str]) -> None:
    """Every file and folder on an event's path exists, and folders are written with a slash."""
    for path in paths:
        place = ROOT / path
        assert place.is_dir() if path.endswith("/") else place.is_file(), path


def test_readme_python_blocks_compile() -> None:
    """Every Python example of the README is at least well-formed Python."""
    for code in _code_blocks("python"):
        ast.parse(code)


def test_readme_make_targets_exist() -> None:
    """Every make target that the README names is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    there = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert _make_targets() - there == set()
    assert {"up", "test"} <= _make_targets()
