"""Private names of SageMaker's SDK: they are there, they warn, and nothing else is promised."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.unit.producer.memory_runs import memory_runs
from trialog.run_context import current_run

if TYPE_CHECKING:
    from pathlib import Path

SITES = """
import trialog

def ported():
    from trialog import _Trial
    return _Trial

first, again = ported(), ported()
assert first is again is trialog.Run
trialog._TrialComponent
"""


# H1 H2
@pytest.mark.parametrize("name", ["_Trial", "_TrialComponent"])
def test_legacy_name_is_an_alias_of_run_and_warns(name: str) -> None:
    """At the line of the program that uses it; the surface that is promised does not have it."""
    with pytest.warns(DeprecationWarning, match=f"trialog.{name} is .* use Run") as caught:
        meant = getattr(trialog, name)
    assert meant is trialog.Run
    assert [warning.filename for warning in caught] == [__file__]
    assert name not in trialog.__all__
    assert name not in dir(trialog)


# H1 H2
def test_legacy_name_warns_once_at_each_place_that_imports_it() -> None:
    """A loop that imports it says it once, as usual with warnings; another place says it again."""
    command = [sys.executable, "-W", "default", "-c", SITES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr.count("DeprecationWarning") == 2, done.stderr
    assert "trialog._Trial is a private name" in done.stderr
    assert "trialog._TrialComponent is a private name" in done.stderr


# H3
def test_run_context_is_the_stack_of_current_runs(tmp_path: Path) -> None:
    """SageMaker's three calls: taking a run out makes the one around it the current one."""
    with pytest.warns(DeprecationWarning, match="use load_run"):
        context = trialog._RunContext
    assert context.get_current_run() is None
    assert context.drop_current_run() is None
    with memory_runs(tmp_path) as runs, trialog.Run("e", "outer", runs.session) as outer:
        with trialog.Run("e", "inner", runs.session) as inner:
            assert context.get_current_run() is inner
            assert context.drop_current_run() is inner
            assert context.get_current_run() is current_run() is outer
            context.add_run_object(inner)
            assert trialog.load_run().run_name == "inner"
        assert context.get_current_run() is outer
    assert context.get_current_run() is None


def test_name_that_is_no_name_is_an_attribute_error_with_a_hint() -> None:
    """As any module says it; Python itself adds the name that was meant."""
    with pytest.raises(
        AttributeError, match="module 'trialog' has no attribute 'lod_run'"
    ) as caught:
        getattr(trialog, "lod_run")  # noqa: B009  what a program does
    assert (caught.value.name, caught.value.obj) == ("lod_run", trialog)
    with pytest.raises(ImportError, match="cannot import name 'Trial'"):
        exec("from trialog import Trial")
    assert importlib.import_module("trialog.run").Run is trialog.Run
