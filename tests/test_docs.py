"""What the documents say is there, is there: a map that no test checks goes stale."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from starlette.routing import Route

from trialog.refusals import ERRORS_BY_CODE
from trialog_schemas import catalog_rules, errors, rules
from trialog_schemas.errors import (
    ClientError,
    InternalError,
    RunRejectedError,
    WireError,
    error_from_code,
)
from trialog_schemas.limits import Limits
from trialog_server.archiving import archive, restore
from trialog_server.artifacts import ArtifactStore
from trialog_server.commands import api, checkpoint, rebuild_tables, up, verify_tables, worker
from trialog_server.log.memory import MemoryLog
from trialog_server.proving import prove
from trialog_server.serve.access import AccessPolicy
from trialog_server.serve.app import build_app
from trialog_server.serve.service import Terms

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSUMER_README = (ROOT / "consumer" / "README.md").read_text(encoding="utf-8")
SCHEMAS_README = (ROOT / "schemas" / "README.md").read_text(encoding="utf-8")

COMMANDS = (
    up, api, worker, rebuild_tables, verify_tables, checkpoint, archive, restore, prove,
)  # fmt: skip

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


def test_every_example_is_listed_and_run() -> None:
    """A program to read that no document names, or that no test starts, would go stale."""
    folder = ROOT / "producer" / "examples"
    listed = re.findall(
        r"^\| `(\w+\.py)` \|", (folder / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.py"))
    tests = "".join(
        path.read_text("utf-8") for path in (ROOT / "tests/acceptance").glob("test_*.py")
    )
    assert [name for name in listed if f'"{name}"' not in tests] == []
    assert "](producer/examples/README.md)" in README


def test_every_decision_is_a_paragraph_of_its_own() -> None:
    """One that runs into the end of another is a slip of two changes that met."""
    joined = [
        f"{path.relative_to(ROOT)}: {title}"
        for path in ROOT.glob("*/README.md")
        for title in re.findall(r"[^\n]\n(\*\*[A-Z][^*]+\*\*)", path.read_text("utf-8"))
    ]
    assert joined == []


def test_readme_make_targets_exist() -> None:
    """Every make target that the README names is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    there = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert _make_targets() - there == set()
    assert {"up", "test"} <= _make_targets()


def _table(document: str, title: str) -> list[list[str]]:
    """The rows of the table under a title, cell by cell, without the head."""
    section = document.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _named(document: str, title: str) -> list[str]:
    """The first column of the table under a title, without its backticks."""
    return [row[0].strip("`") for row in _table(document, title)]


def _texts(*folders: str) -> set[str]:
    """Every text that stands in the code of some folders."""
    return {
        node.value
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_consumer_readme_lists_the_variables_that_are_read() -> None:
    """Every TRIALOG_ variable of the code is in the table, and no other."""
    read = {
        text
        for text in _texts("producer/trialog", "consumer/trialog_server")
        if re.fullmatch(r"TRIALOG_[A-Z_]*[A-Z]", text)
    }
    listed = _named(CONSUMER_README, "Variables")
    assert listed == sorted(read)


def test_consumer_readme_says_which_commands_read_a_variable() -> None:
    """A command stands in a variable's row exactly if it has an option for it."""
    for name, _, readers in _table(CONSUMER_README, "Variables"):
        listed = set(readers.split(", ")) - {"SDK"}
        reading = {
            command.name
            for command in COMMANDS
            if any(name.strip("`") == parameter.envvar for parameter in command.params)
        }
        assert listed == reading, name


def _routes() -> set[str]:
    """Method and path of every route but the page's files; HEAD stands for GET where both are."""
    app = build_app(
        pool=None,  # type: ignore[arg-type]  # no question is asked
        dsn="",
        log=MemoryLog(),
        store=ArtifactStore.in_memory(),
        access=AccessPolicy(),
        terms=Terms(),
    )
    found = set()
    for route in app.routes:
        assert isinstance(route, Route)
        methods = set(route.methods or ())
        kept = methods - {"HEAD"} if "GET" in methods else methods
        found |= {f"{method} {route.path_format}" for method in kept}
    return {name for name in found if not name.startswith("GET /page/")}


def test_consumer_readme_lists_the_routes_there_are() -> None:
    """The table has every route of the application but the page's files, and no other."""
    listed = _named(CONSUMER_README, "Routes")
    assert set(listed) == _routes()
    assert len(set(listed)) == len(listed)


def test_consumer_readme_lists_the_limits_of_the_policy() -> None:
    """Every limit that an operator may change is in the table with its default."""
    told = {row[0].strip("`"): int(row[1]) for row in _table(CONSUMER_README, "Limits")}
    assert told == Limits().to_json()


def test_schemas_readme_lists_the_codes_of_refusals() -> None:
    """Every code of both laws is in the table, with the class that the SDK raises for it."""
    laws = f"{rules.__doc__}{catalog_rules.__doc__}"
    listed = {row[0].strip("`"): row[1].strip("`") for row in _table(SCHEMAS_README, "Refusals")}
    assert set(listed) <= set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", laws))
    raised = {code: kind.__name__ for code, kind in ERRORS_BY_CODE.items()}
    assert listed == raised


def test_consumer_readme_lists_the_codes_of_errors() -> None:
    """Every code that an answer can have is in the table, with the class that the SDK raises."""
    tree = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ClientError | WireError | InternalError)
    }
    # These two are raised by the SDK alone: one is only a base, the other an aggregate.
    never_answered = {ClientError.code, RunRejectedError.code}
    serve = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "consumer/trialog_server/serve").glob("*.py")
    )
    own = set(re.findall(r"code=\"(\w+)\"|NOT_\w+: \"(\w+)\"|, \"(BadRequest)\"", serve))
    answered = (tree - never_answered) | {code for found in own for code in found if code}

    rows = _table(CONSUMER_README, "Errors")
    assert {row[0].strip("`") for row in rows} == answered
    for code, _, kind in rows:
        raised = type(error_from_code(code.strip("`"), "")).__name__
        assert raised == kind.partition(";")[0].strip("`"), code
