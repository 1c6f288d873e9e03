"""How real programs end, and what their runs then say; runs that are sent to other processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.conftest import ON_ONE_LOG

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS = """
import json, signal, sys
import trialog

def rows(session, name):
    with trialog.Run(sys.argv[2], name, session) as run:
        for step in range(100):
            run.log_metric("loss", 1.0, step)
            yield step

session = trialog.Session(**json.loads(sys.argv[1]))
name = sys.argv[3]
if name == "break":
    for step in rows(session, name):
        if step == 2:
            break
    raise SystemExit
with trialog.Run(sys.argv[2], name, session) as run:
    run.log_metric("loss", 1.0)
    if name == "sigterm":
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        print("ready", flush=True)
        signal.pause()
    sys.exit({"exit-0": 0, "exit": None, "exit-3": 3}[name])
"""

SPAWNED = """
import json, multiprocessing, pickle, sys
import trialog

def work(session, names, index):
    with trialog.load_run(*names, session) as run:
        run.log_parameter(f"worker-{index}", index)

if __name__ == "__main__":
    session = trialog.Session(**json.loads(sys.argv[1]))
    context = multiprocessing.get_context("spawn")
    with trialog.Run(sys.argv[2], "spawned", session) as run:
        try:
            context.Process(target=work, args=(session, run, 0)).start()
        except TypeError as exc:
            print(exc)
        run.flush()
        sent = (run.experiment_name, run.run_name)
        workers = [context.Process(target=work, args=(session, sent, n)) for n in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print([worker.exitcode for worker in workers])
"""


def command_of(session: trialog.Session, *arguments: str) -> list[str]:
    """Return how a program is called."""
    fields = {"url": session.url, "kafka": session.kafka, "spool_dir": str(session.spool_dir)}
    return [sys.executable, arguments[0], json.dumps(fields), *arguments[1:]]


# B10
@ON_ONE_LOG
def test_run_says_how_its_program_ended(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """A clean exit and a loop that was left are no failure; a stop signal is named."""
    script = tmp_path / "endings.py"
    script.write_text(ENDINGS, encoding="utf-8")
    expected = {
        "exit-0": (0, "Completed", None),
        "exit": (0, "Completed", None),
        "exit-3": (3, "Failed", "SystemExit: 3"),
        "break": (0, "Completed", None),
        "sigterm": (143, "Failed", "SystemExit: 143, stopped by SIGTERM"),
    }
    programs = {
        name: subprocess.Popen(
            command_of(session, str(script), experiment_name, name), stdout=subprocess.PIPE
        )
        for name in expected
    }
    for name, program in programs.items():
        with program:
            if name == "sigterm":
                assert program.stdout is not None
                assert program.stdout.readline() == b"ready\n"
                program.send_signal(signal.SIGTERM)
            code = program.wait(50)
        run = trialog.load_run(experiment_name, name, session)
        run.wait(30)
        assert (code, run.status, run.failure_message) == expected[name]
        assert run.metrics["loss"].count == (3 if name == "break" else 1)


# B18
@ON_ONE_LOG
def test_run_is_sent_to_spawned_workers_by_its_names(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """The handle itself is refused with what to send instead, and the run goes on."""
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED, encoding="utf-8")
    command = command_of(session, str(script), experiment_name)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=55)
    refused, codes = done.stdout.splitlines()
    assert refused == (
        "run 'spawned' cannot be pickled or copied: its handle writes to this process's spool; "
        "send the experiment's and the run's name and use load_run there"
    )
    assert codes == "[0, 0]"
    run = trialog.load_run(experiment_name, "spawned", session)
    run.wait(30)
    assert (run.status, run.parameters) == ("Completed", {"worker-0": 0, "worker-1": 1})


# H1 H2
@pytest.mark.parametrize("name", ["_Trial", "_TrialComponent"])
def test_legacy_name_works_as_a_run(
    name: str, session: trialog.Session, experiment_name: str
) -> None:
    """It is created, logged to, loaded and listed as any other."""
    with pytest.warns(DeprecationWarning, match=f"trialog.{name} is a private name"):
        kind: type[trialog.Run] = getattr(trialog, name)
    with kind(experiment_name, "one", sagemaker_session=session) as run:
        run.log_parameter("lr", 0.1)
        run.log_metric("loss", 0.5, step=1)
    run.wait(30)
    (listed,) = kind.list(experiment_name, session=session)
    assert (listed.run_name, listed.status, listed.parameters) == ("one", "Completed", {"lr": 0.1})
    assert isinstance(trialog.load_run(experiment_name, "one", session), kind)
