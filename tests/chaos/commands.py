"""What a user and an operator do by hand on a stage: sync, verify, checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.chaos.stage import ClusterService

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.stage import Stage


def sync(stage: Stage) -> str:
    """Send what dead programs left, as a user does; return what is said if it comes to that."""
    done = sync_folder(stage, stage.session.spool_dir)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def sync_folder(
    stage: Stage, spool_dir: str | Path | None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Send what dead programs left in a folder."""
    environment = {
        "TRIALOG_URL": str(stage.session.url),
        "TRIALOG_SPOOL_DIR": str(spool_dir),
    }
    if stage.service.kafka is not None:
        environment["TRIALOG_KAFKA"] = stage.service.kafka
    return subprocess.run(
        [sys.executable, "-m", "trialog", "sync", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def verify(stage: Stage) -> str:
    """Replay the log beside the live tables; return what is said if they are not equal."""
    done = _command(stage, "verify")
    return "" if done.returncode == 0 else done.stdout + done.stderr


def seal(stage: Stage, checkpoint: Path) -> None:
    """Sign where the log stands, into a file."""
    key = stage.folder / "key"
    new = [] if key.exists() else ["--new-key"]
    done = _command(stage, "checkpoint", "--key", str(key), *new, "--output", str(checkpoint))
    assert done.returncode == 0, done.stdout + done.stderr


def _command(stage: Stage, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the service's operator on what the service has."""
    if isinstance(stage.service, ClusterService):
        where = ["--postgres", stage.service.postgres_url, "--kafka", str(stage.service.kafka)]
    else:
        where = ["--data-dir", str(stage.service.data_dir)]
    return subprocess.run(
        [sys.executable, "-m", "trialog_server", name, *arguments, "--json", *where],
        capture_output=True,
        text=True,
        check=False,
    )
