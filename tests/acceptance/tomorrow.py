"""A release of tomorrow: this one, in which `tags_set` is of version 2 and says why.

Put on the path of a process, the folder changes what the schemas and the spool say before anything
else is loaded, as another release would; the program logs with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.services.trialog import TrialogService

_RELEASE = '''
from dataclasses import dataclass, field

from trialog_schemas import events, versions


@dataclass(frozen=True, slots=True)
class TagsSet:
    """Tags of the run that are set or removed, and why."""

    tags: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    reason: str = "not told"


events.TYPE_NAMES[TagsSet] = "tags_set"
events.EVENT_TYPES["tags_set"] = events.RUN_TYPES["tags_set"] = events.TagsSet = TagsSet
versions.EVENT_VERSIONS["tags_set"] = 2
versions.UPGRADES["tags_set", 1] = lambda body: {**body, "reason": "before there were reasons"}

from trialog import spool_format, stream  # they are loaded with the new events

stream.EVENT_SHAPES = spool_format.EVENT_SHAPES = (*spool_format.EVENT_SHAPES, ("tags_set", 2))
'''

_PROGRAM = """
import sys
import trialog

url, spool, experiment = sys.argv[1:]
with trialog.Run(experiment, "of-tomorrow", trialog.Session(url=url, spool_dir=spool)) as run:
    run.log_parameter("lr", 0.1)
    run.set_tags({"stage": "done"})
    run.log_metric("loss", 0.5)
run.wait(30)
print(run.run_id)
"""


def release_of_tomorrow(folder: Path) -> Mapping[str, str]:
    """Write the release into a folder; return the variables that give it to a process."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_RELEASE, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path}


def log_with(
    release: Mapping[str, str], service: TrialogService, spool: Path, experiment: str
) -> str:
    """Log a run with a release: a parameter, a tag, a point; return its id."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, service.url, str(spool), experiment],
        env={**os.environ, **release},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
