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

if TYPE_CHECKING:
    from tests.services.trialog import TrialogService

README = Path(__file__).parents[2] / "README.md"
RUN_TIMEOUT_S = 50.0


# L1
@ON_ONE_LOG
def test_ten_lines_of_the_readme_run(service: TrialogService, tmp_path: Path) -> None:
    """Copied into a file, the example logs a run and prints it in a table."""
    (code,) = re.findall(
        r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
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
