"""Real programs for the tests: several processes that do one thing at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trialog

# The children are forked before the SDK has a thread, and wait on a pipe that their parent closes:
# the end of the pipe reaches all of them at once.
_TOGETHER = """
import json, os, sys
import trialog

def main():
    task = json.loads(sys.argv[1])
    session = trialog.Session(**task["session"])
    scope = {"trialog": trialog}
    exec(task["work"], scope)
    gate_read, gate_write = os.pipe()
    children = []
    for index in range(task["count"]):
        child = os.fork()
        if child == 0:
            os.close(gate_write)
            os.read(gate_read, 1)
            try:
                answer = scope["work"](session, index, *task["arguments"])
            except trialog.ClientError as exc:
                answer = "error " + exc.response["Error"]["Code"]
            os.write(1, ("answer " + json.dumps([index, answer]) + "\\n").encode())
            raise SystemExit(0)
        children.append(child)
    os.close(gate_write)
    for child in children:
        os.waitpid(child, 0)

main()
"""


def run_together(session: trialog.Session, count: int, work: str, *arguments: str) -> list[object]:
    """Run `work(session, index, *arguments)` in processes that begin together.

    Args:
        session: what each process logs with.
        count: how many processes.
        work: source text that defines the function; what it returns must be JSON.
        arguments: further arguments of the function.

    Returns:
        What each process returned, by its index; `error CODE` for a ClientError.
    """
    fields = {"url": session.url, "kafka": session.kafka, "spool_dir": str(session.spool_dir)}
    task = {"session": fields, "work": work, "count": count, "arguments": arguments}
    command = [sys.executable, "-c", _TOGETHER, json.dumps(task)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("answer ")]
    answers = dict(json.loads(line.removeprefix("answer ")) for line in lines)
    assert sorted(answers) == list(range(count)), ended.stderr
    return [answers[index] for index in range(count)]
