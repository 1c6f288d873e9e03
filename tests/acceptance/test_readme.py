"""The README's example does what the README says, in a program of its own, on a real service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trialog
from tests.acceptance.conftest import ON_ONE_LOG
from tests.services.mlflow_client import mlflow_at

if TYPE_CHECKING:
    import pytest

    from tests.services.trialog import TrialogService

README = Path(__file__).parents[2] / "README.md"
RUN_TIMEOUT_S = 50.0


def python_lines(title: str) -> str:
    """The Python under a title of the README."""
    section = README.read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(code)


# L1 G9
@ON_ONE_LOG
def test_lines_for_mlflow_clients_run(
    service: TrialogService, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they are but for the address, they print the runs that a search finds."""
    code = python_lines("MLflow clients")
    assert "http://127.0.0.1:7788" in code
    with mlflow_at(service.url) as mlflow:
        mlflow.set_experiment("digits")
        with mlflow.start_run(run_name="for the readme"):
            mlflow.log_metric("accuracy", 0.75)
        exec(code.replace("http://127.0.0.1:7788", service.url), {})
    assert "for the readme" in capsys.readouterr().out


# L1
@ON_ONE_LOG
def test_ten_lines_of_the_readme_run(service: TrialogService, tmp_path: Path) -> None:
    """Copied into a file, the example logs a run and prints it in a table."""
    code = python_lines("Ten lines")
    program = tmp_path / "example.py"
    program.write_text(code, encoding="utf-8")
    spool_dir = tmp_path / "spool"

    done = subprocess.run(
        [sys.executable, str(program)],
        env={
            **os.environ,
            "TRIALOG_URL": service.url,
            "TRIALOG_SPOOL_DIR": str(spool_dir),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "first-try" in done.stdout
    assert len(code.strip().splitlines()) <= 12
    frame = trialog.compare("digits", session=trialog.Session(service.url, spool_dir=spool_dir))
    (run,) = frame[frame["run_name"] == "first-try"].to_dict("records")
    assert (run["status"], run["learning_rate"], run["accuracy"]) == ("Completed", 0.01, 0.9)
