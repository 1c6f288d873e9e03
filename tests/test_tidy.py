"""The house numbers that ruff does not check, on the files of this checkout.

An exception to a bound is one line in `EXCEPTIONS`, with its reason. One that is no longer needed
is an error too.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = {
    "producer": "trialog",
    "consumer": "trialog_server",
    "schemas": "trialog_schemas",
}

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 500
CLASS_METHODS_MAX = 25
BLANKET_EXCEPTS_MAX = 2
MOCKING_TESTS_SHARE_MAX = 0.05
TEST_LINES_PER_SOURCE_LINE = 1.5
TRACKED_FILE_BYTES_MAX = 1_000_000

EXCEPTIONS: dict[str, str] = {
    # "path::name": "reason",
}

_NAMES_BANNED = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
_IN_SOURCE_ROOT = {"README.md"}
_ALSO_IN_SOURCE_ROOT = {"producer": {"examples"}}  # programs to read; no package, not installed
_MOCKING = re.compile(r"\b(mocker|MagicMock|AsyncMock|monkeypatch\.setattr|mock\.patch)\b")
# Paths of somebody's machine, and hosts that only a package manager's settings may name.
_HOME_PATH = re.compile(
    r"(?<![\w.$~/{}-])/(?:home|Users)/[a-z][\w.-]*/|(?<![\w.$~/{}-])/(?:root|work)/"
)
_REGISTRY_HOST = re.compile(
    r"\b(?:files\.pythonhosted|pypi|registry\.npmjs|repo1?\.maven|repo\.maven\.apache|"
    r"static\.crates|proxy\.golang)\.(?:org|io|com)\b"
    r"|--(?:extra-)?index-url|--find-links|--trusted-host"
)


@dataclass(frozen=True)
class Module:
    """A Python file of the checkout with its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @functools.cached_property
    def lines(self) -> list[str]:
        """The text by lines, as the tree counts them."""
        return self.text.split("\n")

    @property
    def is_test(self) -> bool:
        """Whether the file belongs to the tests, not to the product."""
        return self.path.startswith("tests/")


def _files() -> list[str]:
    """Every file that is or would be committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    paths = {path for path in listing.decode().split("\0") if path}
    return sorted(path for path in paths if (ROOT / path).is_file())


@functools.cache
def _modules() -> list[Module]:
    """Every Python file, read when the first test asks: collecting other tests need not wait."""
    found = []
    for path in FILES:
        if path.endswith(".py"):
            text = (ROOT / path).read_text(encoding="utf-8")
            found.append(Module(path, text, ast.parse(text, path)))
    return found


def _product() -> list[Module]:
    return [module for module in _modules() if module.path.split("/")[0] in SOURCE_ROOTS]


FILES = _files()

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(module: Module) -> list[_Function]:
    return [node for node in ast.walk(module.tree) if isinstance(node, _Function)]


def _tests() -> list[tuple[Module, _Function]]:
    return [
        (module, function)
        for module in _modules()
        if module.is_test
        for function in _functions(module)
        if function.name.startswith("test_")
    ]


def _is_mocking(module: Module, test: _Function) -> bool:
    return any(_MOCKING.search(line) for line in module.lines[test.lineno - 1 : test.end_lineno])


def _code_lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


def _length(node: _Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def _except_for(found: dict[str, int]) -> dict[str, int]:
    """What is over a bound and not in the list of exceptions."""
    return {place: number for place, number in found.items() if place not in EXCEPTIONS}


def _over_long_functions() -> dict[str, int]:
    return {
        f"{module.path}::{function.name}": _length(function)
        for module in _modules()
        for function in _functions(module)
        if _length(function) > FUNCTION_LINES_MAX
    }


def _over_long_modules() -> dict[str, int]:
    lengths = {module.path: len(module.text.splitlines()) for module in _modules()}
    return {path: lines for path, lines in lengths.items() if lines > MODULE_LINES_MAX}


def _over_full_classes() -> dict[str, int]:
    return {
        f"{module.path}::{node.name}": methods
        for module in _modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        if (methods := sum(isinstance(child, _Function) for child in node.body)) > CLASS_METHODS_MAX
    }


def _is_blanket(handler: ast.ExceptHandler) -> bool:
    """Whether a handler ends every kind of error; one that raises again, or chains it, does not."""
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and (last.exc is None or _is_chained(last, handler)):
        return False
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})
        for kind in kinds
    )


def _is_chained(last: ast.Raise, handler: ast.ExceptHandler) -> bool:
    """Whether an error is raised because of the one that is handled."""
    return isinstance(last.cause, ast.Name) and last.cause.id == handler.name


def test_functions_are_short() -> None:
    """No function has more than 60 lines, decorators not counted."""
    assert _except_for(_over_long_functions()) == {}


def test_modules_are_short() -> None:
    """No module has more than 500 lines."""
    assert _except_for(_over_long_modules()) == {}


def test_classes_are_small() -> None:
    """No class has more than 25 methods."""
    assert _except_for(_over_full_classes()) == {}


def test_exceptions_are_needed() -> None:
    """An exception that nothing needs any more is taken off the list, and each has a reason."""
    needed = {**_over_long_functions(), **_over_long_modules(), **_over_full_classes()}
    assert set(EXCEPTIONS) - set(needed) == set()
    assert all(reason.strip() for reason in EXCEPTIONS.values())


def test_product_has_two_blanket_excepts_at_most() -> None:
    """Only the two boundaries where the process must survive catch everything."""
    places = [
        f"{module.path}:{node.lineno}"
        for module in _product()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _is_blanket(node)
    ]
    assert len(places) <= BLANKET_EXCEPTS_MAX, places


def test_every_test_has_a_docstring() -> None:
    """Every test states the behaviour that it proves."""
    silent = [
        f"{module.path}::{test.name}" for module, test in _tests() if not ast.get_docstring(test)
    ]
    assert silent == []


def test_few_tests_mock() -> None:
    """Fewer than five tests in a hundred mock or patch: fakes stand behind ports instead."""
    tests = _tests()
    mocking = [f"{module.path}::{test.name}" for module, test in tests if _is_mocking(module, test)]
    assert len(mocking) < MOCKING_TESTS_SHARE_MAX * len(tests), mocking


def test_modules_have_telling_names() -> None:
    """No module or folder is a drawer for whatever had no place."""
    drawers = [
        module.path
        for module in _modules()
        if _NAMES_BANNED & set(Path(module.path).with_suffix("").parts)
    ]
    assert drawers == []


@pytest.mark.parametrize("source_root", SOURCE_ROOTS)
def test_source_root_holds_one_package_and_a_readme(source_root: str) -> None:
    """Nothing but its package, a README and the producer's examples stand in a source root."""
    inside = {path.split("/")[1] for path in FILES if path.startswith(f"{source_root}/")}
    also = _ALSO_IN_SOURCE_ROOT.get(source_root, set())
    assert inside == {SOURCE_ROOTS[source_root]} | _IN_SOURCE_ROOT | also


@pytest.mark.parametrize("path", [path for path in FILES if path != "tests/test_tidy.py"])
def test_file_names_no_machine_and_no_registry(path: str) -> None:
    """No committed file holds a path of somebody's machine or a package registry's address."""
    data = (ROOT / path).read_bytes()
    if b"\0" in data:
        return
    text = data.decode("utf-8")
    assert _HOME_PATH.findall(text) == []
    assert _REGISTRY_HOST.findall(text) == []


def test_files_are_small() -> None:
    """No committed file has more than a million bytes."""
    big = [path for path in FILES if (ROOT / path).stat().st_size > TRACKED_FILE_BYTES_MAX]
    assert big == []


@pytest.mark.parametrize("package", SOURCE_ROOTS.values())
def test_public_names_are_listed_and_there(package: str) -> None:
    """A package's `__all__` is sorted and is what is really there: no more, no less."""
    module = importlib.import_module(package)
    declared: list[str] = list(getattr(module, "__all__", []))
    there = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    } - {"annotations"}
    assert declared == sorted(declared)
    assert set(declared) - {"__version__"} == there


def test_tests_are_longer_than_what_they_test() -> None:
    """There should be 1.5 lines of tests for a line of source; reported, not yet required."""
    source = sum(_code_lines(module.text) for module in _product())
    tests = sum(_code_lines(module.text) for module in _modules() if module.is_test)
    if tests < TEST_LINES_PER_SOURCE_LINE * source:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn(f"{tests} test lines for {source} source lines", stacklevel=1)
