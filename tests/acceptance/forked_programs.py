"""Programs of a training run as real processes, without each importing scikit-learn anew.

One Python imports what they all need and forks for each: what runs then is the file, from its first
line, as `__main__`, with its own arguments, environment and output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import trialog
from tests.acceptance.programs import environment_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAMS_TIMEOUT_S = 120.0

# A queue of programs is a process, too: its programs run one after the other, queues side by side.
_QUEUES = """
import json, os, runpy, sys, traceback
import matplotlib.figure, numpy, pandas, sklearn.linear_model, sklearn.model_selection
import sklearn.svm, sklearn.tree
import trialog

def program(path, arguments, place):
    os.dup2(os.open(place + ".out", os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(os.open(place + ".err", os.O_WRONLY | os.O_CREAT), 2)
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(path)
    runpy.run_path(path, run_name="__main__")

def queue(number, commands, folder):
    for index, (path, *arguments) in enumerate(commands):
        pid = os.fork()
        if pid == 0:
            program(path, arguments, f"{folder}/{number}-{index}")
            sys.exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with open(f"{folder}/{number}-{index}.status", "w") as file:
            file.write(str(status))

folder, queues = json.loads(sys.stdin.read())
pids = []
for number, commands in enumerate(queues):
    pid = os.fork()
    if pid == 0:
        queue(number, commands, folder)
        sys.exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
"""


def run_queues(
    session: trialog.Session, folder: Path, queues: Sequence[Sequence[Sequence[str]]]
) -> list[list[str]]:
    """Run queues of programs side by side, each command of a queue after the one before.

    Args:
        session: what the programs find in their environment.
        folder: takes what they say.
        queues: of commands, each a path with arguments.

    Returns:
        What every program said on its standard output; all of them ended well, silent otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # they share the machine
    done = subprocess.run(
        [sys.executable, "-c", _QUEUES],
        input=json.dumps([str(folder), queues]),
        env={**environment_of(session), **threads},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PROGRAMS_TIMEOUT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [
        [_output(folder / f"{number}-{index}", command) for index, command in enumerate(commands)]
        for number, commands in enumerate(queues)
    ]


def _output(place: Path, command: Sequence[str]) -> str:
    said, complained, status = (
        place.with_suffix(kind).read_text(encoding="utf-8") for kind in (".out", ".err", ".status")
    )
    assert (status, complained) == ("0", ""), command
    return said
