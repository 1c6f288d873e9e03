"""Bad input through the command line: each command says how it is called, and does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from trialog.__main__ import cli

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = sorted(cli.list_commands(click.Context(cli)))


def misuse(*arguments: str) -> str:
    """Return the sentence of a call that is none; its status is 2 and there is no trace."""
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.stderr.rstrip("\n").rpartition("\n")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_called_wrongly_says_how_it_is_called(command: str) -> None:
    """An option that there is none of, one too many arguments, a value for a switch."""
    assert "--no-such-option" in misuse(command, "--no-such-option")
    wanted = [one for one in parameters(command) if isinstance(one, click.Argument)]
    for count in range(sum(one.required for one in wanted)):
        assert "Missing" in misuse(command, *["a"] * count)
    assert "unexpected extra argument" in misuse(
        command, *["a"] * (len(wanted) + 1), *given(command)
    )


def parameters(command: str) -> list[click.Parameter]:
    """The parameters of a command."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return found.params


def given(command: str) -> list[str]:
    """What a command cannot do without: a file for each option that it must have."""
    needed = [one for one in parameters(command) if isinstance(one, click.Option) and one.required]
    return [word for one in needed for word in (one.opts[0], "out.csv")]


TYPED = [
    (command, one.opts[0])
    for command in COMMANDS
    for one in parameters(command)
    if isinstance(one, click.Option)
    if isinstance(
        one.type, click.types.IntParamType | click.types.FloatParamType | click.types.Choice
    )
]
"""Options that take a number, or one of several words."""


def test_option_with_a_value_of_another_kind_is_named() -> None:
    """No command takes a word for a number."""
    assert len(TYPED) > 5
    for command, option in TYPED:
        for value in ("x", "1e400x", "\uff11\u0430"):
            assert option in misuse(command, option, value)


def test_word_that_is_nearly_a_command_is_answered_with_it() -> None:
    """Of commands and of options; a word like none is refused alone."""
    assert "did you mean 'compare'?" in misuse("compar")
    assert "--max-results" in misuse("list", "--max-result", "5")
    assert misuse("xyzzy") == "Error: No such command 'xyzzy'"


@pytest.mark.parametrize("name", ["", "a/b", "../x"])
@pytest.mark.parametrize("command", ["compare", "show", "events", "export"])
def test_name_that_is_no_part_of_an_address_is_refused(
    command: str, name: str, tmp_path: Path
) -> None:
    """Nothing is asked, and no file is made."""
    more = {"show": ["r"], "events": ["r"], "export": ["--output", str(tmp_path / "o.csv")]}
    assert "is no name" in misuse(command, name, *more.get(command, []))
    assert list(tmp_path.iterdir()) == []


def test_export_without_a_place_leaves_nothing(tmp_path: Path) -> None:
    """A folder in the file's place, no folder for it, another ending: said before it asks."""
    (tmp_path / "dir.csv").mkdir()
    (tmp_path / "file").write_text("kept")
    for output in (
        tmp_path / "dir.csv",
        tmp_path / "no" / "o.csv",
        tmp_path / "file" / "o.csv",
        tmp_path / "o.xls",
    ):
        result = CliRunner().invoke(
            cli, ["export", "e", "--output", str(output)], env={"TRIALOG_URL": "http://127.0.0.1:9"}
        )
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        assert "reached" not in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dir.csv", "file"]
    assert (tmp_path / "file").read_text() == "kept"
