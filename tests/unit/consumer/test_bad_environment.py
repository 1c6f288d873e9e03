"""Bad input through the variables of the service's commands: they are named, nothing starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from trialog_server.commands import service

if TYPE_CHECKING:
    from pathlib import Path

BROKER, DATABASE = "127.0.0.1:1", "postgresql://u@127.0.0.1:1/d"

GARBAGE = [
    ("TRIALOG_POSTGRES", " ", "begins with"),
    ("TRIALOG_POSTGRES", "garbage", "begins with 'garbage'"),
    ("TRIALOG_POSTGRES", "mysql://u:s3cret@h/d", "begins with 'mysql'"),
    ("TRIALOG_POSTGRES", "postgresql://u:s3cret@h:0/d", "port '0'"),
    ("TRIALOG_POSTGRES", "postgresql://u:s3cret@h:99999/d", "port '99999'"),
    ("TRIALOG_POSTGRES", "postgresql://u:s3cret@h:x/d", "port 'x'"),
    ("TRIALOG_POSTGRES", "postgresql://u:s3cret@h:1,i:x/d", "port 'x'"),
    ("TRIALOG_POSTGRES", "postgresql://u:s3cret@h/d?port=x", "port 'x'"),
    ("TRIALOG_POSTGRES", "postgresql://u:s3cret@[::1/d", "port"),
    ("TRIALOG_POSTGRES", "postgresql://u:s3cret@h/d\n", "a control character"),
    ("TRIALOG_KAFKA", " ", "HOST:PORT"),
    ("TRIALOG_KAFKA", "garbage", "HOST:PORT"),
    ("TRIALOG_KAFKA", "h:0", "HOST:PORT"),
    ("TRIALOG_KAFKA", "h:99999", "HOST:PORT"),
    ("TRIALOG_ARCHIVE", " ", "is no address; give a folder"),
    ("TRIALOG_API_KEY", "s3cret\n", "a line break"),
    ("TRIALOG_API_KEY", " s3cret", "a blank"),
    ("TRIALOG_EVENTS_PARTITIONS", "x", "'x' is not a valid integer"),
    ("TRIALOG_EVENTS_PARTITIONS", "0", "1<=x<=1024"),
    ("TRIALOG_EVENTS_PARTITIONS", "9" * 5000, "valid"),
]


@pytest.mark.parametrize(
    ("variable", "value", "says"), GARBAGE, ids=[f"{one[0]}={one[1][:40]!r}" for one in GARBAGE]
)
def test_variable_that_cannot_be_is_named(
    variable: str, value: str, says: str, tmp_path: Path
) -> None:
    """What is wrong and where it comes from is said before anything is started or made."""
    known = {"TRIALOG_KAFKA": BROKER, "TRIALOG_POSTGRES": DATABASE, variable: value}
    command = "api" if variable == "TRIALOG_API_KEY" else "worker"
    result = CliRunner().invoke(service, [command], env=known)

    assert result.exit_code in {1, 2}
    assert isinstance(result.exception, SystemExit)
    line = result.output.rstrip("\n").rpartition("\n")[2]
    assert line.startswith("Error: ")
    assert variable in line
    assert says in line
    assert "s3cret" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_data_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A file in its place, and a place that nobody can make one in."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        result = CliRunner().invoke(service, ["up"], env={"TRIALOG_DATA_DIR": str(folder)})
        assert result.exit_code in {1, 2}
        assert isinstance(result.exception, SystemExit)
        line = result.output.rstrip("\n").rpartition("\n")[2]
        assert str(folder) in line.replace("\n", "")
        assert "TRIALOG_DATA_DIR" in line
