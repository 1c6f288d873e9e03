"""Real programs for the tests, and several processes that do one thing at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import trialog

_HEAD = """
import json, multiprocessing, os, sys, threading, warnings
import trialog
warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: what is tested here
fields, experiment_name = json.loads(sys.argv[1]), sys.argv[2]
session = trialog.Session(**fields)
"""

# The children are forked before the SDK has a thread. Each tells by a pipe that it is at its
# `yield`; when all are, their parent closes another pipe, whose end reaches all of them at once.
_TOGETHER = """
import json, os, sys
import trialog

def child(session, index, task, work, ready, gate):
    try:
        steps = work(session, index, *task["arguments"])
        next(steps)
        os.write(ready, b"r")
        os.close(ready)
        os.read(gate, 1)
        next(steps)
        answer = "error two yields"
    except StopIteration as end:
        answer = end.value
    except trialog.ClientError as exc:
        answer = "error " + exc.response["Error"]["Code"]
    os.write(1, ("answer " + json.dumps([index, answer]) + "\\n").encode())

def main():
    task = json.loads(sys.argv[1])
    session = trialog.Session(**task["session"])
    scope = {"trialog": trialog}
    exec(task["work"], scope)
    (ready_read, ready_write), (gate_read, gate_write) = os.pipe(), os.pipe()
    children = []
    for index in range(task["count"]):
        pid = os.fork()
        if pid == 0:
            os.close(gate_write)
            child(session, index, task, scope["work"], ready_write, gate_read)
            raise SystemExit(0)
        children.append(pid)
    os.close(ready_write)
    for _ in children:
        os.read(ready_read, 1)  # nothing, at once, from a child that ended too early
    os.close(gate_write)
    for pid in children:
        os.waitpid(pid, 0)

main()
"""


def fields_of(session: trialog.Session) -> dict[str, str | None]:
    """Return what another process needs to make the same session."""
    return {"url": session.url, "kafka": session.kafka, "spool_dir": str(session.spool_dir)}


def environment_of(session: trialog.Session) -> dict[str, str]:
    """Return an environment in which a program finds the session by itself."""
    own = {"TRIALOG_URL": str(session.url), "TRIALOG_SPOOL_DIR": str(session.spool_dir)}
    if session.kafka is not None:
        own["TRIALOG_KAFKA"] = session.kafka
    return {**os.environ, **own}


def run_program(
    session: trialog.Session, experiment_name: str, code: str, timeout_s: float = 50.0
) -> str:
    """Run a program to its end in a process of its own; return what it printed."""
    command = [sys.executable, "-c", _HEAD + code, json.dumps(fields_of(session)), experiment_name]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def ended_run(session: trialog.Session, experiment_name: str, run_name: str) -> trialog.Run:
    """Return a run of a program that has ended, once it has ended for its readers too."""
    run = trialog.load_run(experiment_name, run_name, session)
    run.wait(30)
    return run


def run_together(session: trialog.Session, count: int, work: str, *arguments: str) -> list[object]:
    """Run the generator `work(session, index, *arguments)` in processes of their own.

    What stands before its one `yield` is done by all of them before any of them goes on; then all
    go on at the same moment.

    Args:
        session: what each process logs with.
        count: how many processes.
        work: source text that defines the function; what it returns must be JSON.
        arguments: further arguments of the function.

    Returns:
        What each one returned, by its index; `error CODE` for a ClientError.
    """
    task = {"session": fields_of(session), "work": work, "count": count, "arguments": arguments}
    command = [sys.executable, "-c", _TOGETHER, json.dumps(task)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("answer ")]
    answers = dict(json.loads(line.removeprefix("answer ")) for line in lines)
    assert sorted(answers) == list(range(count)), ended.stderr
    return [answers[index] for index in range(count)]
