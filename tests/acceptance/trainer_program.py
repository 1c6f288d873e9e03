"""A training program for the tests of faults: logs until its input ends, and keeps a ledger.

The ledger is a file to which one line is added before and one after each log call, straight into
the kernel. It is what a test compares the service with, and shares no code with what it proves.

    call step 17          the call begins
    step 17 0.000004      it has returned, after so many seconds
    raised step 17 …      it has raised
    promised applied 34 12  the first 34 calls that returned, 12 ticks with them, are in the tables

Lines on standard input: `fork` forks a child that joins the run and logs into it, `exit` ends the
program by `os._exit`, the end of the input lets it leave its run.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trialog

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS_PER_PAUSE = 3
PAUSE_S = 0.01
"""So many steps, then a pause: that leaves the processes that are tested their share."""

STEPS_MAX = 10_000
"""From here on it waits for its end: no run comes near to the limit of points by itself."""

PARAMETER_EVERY = 50
PARAMETERS_MAX = 40
ARTIFACT_EVERY = 400
ARTIFACTS_MAX = 6
TAG_EVERY = 200
TAGS_MAX = 8
CONTESTED_AT = 5

ROW_NAMES = 20
"""Metrics of a row of a program that fills its run."""

FORKED_TICKS = 20

ASK_S = 0.5
ASK_PAUSE_S = 0.2
"""A program that asks how safe its calls are waits so long for each answer, and then pauses."""

STEADY_AT = 500
"""From this step on a program's memory should stay as it is."""
EXIT_STATUS = 7


@dataclass(frozen=True)
class Part:
    """What a program is to do.

    Args:
        url, kafka, folder: where it logs, and the folder of its ledger and its spool.
        experiment_name, run_name: its run.
        spool_dir: where its spool is, if that is not in the folder.
        mark: stands behind every name that it logs; of several programs of a run each has another.
        rows: so many rows are logged at once, beyond the run's limit of points, and no steps.
        joins: the run is another program's.
        contests: it logs a parameter that all programs of the run log, each another value.
        asks: beside that it asks again and again how safe its calls are.
    """

    url: str
    kafka: str | None
    folder: str
    experiment_name: str
    run_name: str
    spool_dir: str | None = None
    mark: str = ""
    rows: int = 0
    joins: bool = False
    contests: bool = False
    asks: bool = False

    @property
    def ledger_path(self) -> Path:
        """The file of the ledger."""
        return Path(self.folder) / f"{self.run_name}{self.mark}.ledger"

    def session(self) -> trialog.Session:
        """Return where the program logs."""
        spool_dir = self.spool_dir or Path(self.folder) / "spool"
        return trialog.Session(url=self.url, kafka=self.kafka, spool_dir=spool_dir)

    def run(self) -> trialog.Run:
        """Return the run to enter."""
        if self.joins:
            return trialog.load_run(
                self.experiment_name, self.run_name, self.session(), timeout_s=60.0
            )
        return trialog.Run(self.experiment_name, self.run_name, self.session())

    def to_json(self) -> str:
        """Return it as an argument of the program."""
        return json.dumps(asdict(self))


class Ledger:
    """A file of calls.

    Args:
        part: whose.
    """

    def __init__(self, part: Part) -> None:
        self.returned = self.ticks = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(part.ledger_path, flags, 0o600)
        self.note(f"part {part.run_name} {part.mark or '-'}")

    def note(self, line: str) -> None:
        """Add a line; it survives the end of this process, however that comes."""
        os.write(self._file, f"{line}\n".encode())

    @contextlib.contextmanager
    def call(self, what: str) -> Iterator[None]:
        """Note a call before and after the block, or what it raised."""
        self.note(f"call {what}")
        begun_s = time.perf_counter()
        try:
            yield
        except Exception as exc:
            self.note(f"raised {what} {exc!r}")
            raise
        self.note_returned(what, time.perf_counter() - begun_s)

    def note_returned(self, what: str, seconds: float) -> None:
        """Note that a call came back."""
        self.note(f"{what} {seconds:.6f}")
        self.returned += 1
        self.ticks += what.startswith("tick ")


def loss_at(step: int) -> float:
    """Return the value of a step; every step has another one."""
    return 1000.0 / (step + 1)


def odd_at(step: int) -> float:
    """Return a value that is often no number, or none that JSON has."""
    return (math.nan, math.inf, -math.inf, -0.0, step / 3)[step % 5]


def log_step(run: trialog.Run, step: int, ledger: Ledger, part: Part) -> None:
    """Log what belongs to a step, one call after the other."""
    mark = part.mark
    values = {"loss": loss_at(step), "accuracy": step / 7, "odd": odd_at(step)}
    with ledger.call(f"step {step}"):
        run.log_metrics({f"{name}{mark}": value for name, value in values.items()}, step)
    with ledger.call(f"tick {step}"):
        run.log_metric(f"tick{mark}", float(step))
    number, rest = divmod(step, PARAMETER_EVERY)
    if rest == 0 and number < PARAMETERS_MAX:
        with ledger.call(f"parameter {number}"):
            run.log_parameter(f"p{number}{mark}", number / 3)
    number, rest = divmod(step, ARTIFACT_EVERY)
    if rest == 0 and number < ARTIFACTS_MAX:
        with ledger.call(f"artifact {number}"):
            run.log_artifact(f"a{number}{mark}", f"text {number}")
    number, rest = divmod(step, TAG_EVERY)
    if rest == 0 and number < TAGS_MAX:
        with ledger.call(f"tag {number}"):
            run.set_tags({f"t{number}{mark}": str(number)})
    if part.contests and step == CONTESTED_AT:
        contest(run, ledger, mark)


def contest(run: trialog.Run, ledger: Ledger, mark: str) -> None:
    """Log the parameter that others log as well; this process may know that it comes too late."""
    ledger.note("call contested 0")
    try:
        run.log_parameter("contested", f"by {mark}")
    except trialog.ParameterImmutableError:
        ledger.note("refused contested 0")
    else:
        ledger.note_returned("contested 0", 0.0)


def memory_bytes() -> int:
    """Return the memory that is this process's own, which no file backs; 0 where nobody tells."""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("RssAnon:")[1].split()[0])
    return 0


def log_rows(run: trialog.Run, ledger: Ledger, part: Part) -> None:
    """Log many points, without a pause; note how much memory that has cost."""
    before = memory_bytes()
    for row in range(part.rows):
        with ledger.call(f"row {row}"):
            run.log_metrics({f"m{name}{part.mark}": float(row) for name in range(ROW_NAMES)}, row)
    ledger.note(f"memory {memory_bytes() - before}")


def keep_asking(run: trialog.Run, ledger: Ledger) -> None:
    """Ask again and again how safe the calls are that have returned; note what was promised."""
    while True:
        try:
            ask(run, ledger)
        except Exception as exc:  # noqa: BLE001  to ask raises nothing, or that is a finding
            ledger.note(f"raised ask 0 {exc!r}")
            return
        time.sleep(ASK_PAUSE_S)


def ask(run: trialog.Run, ledger: Ledger) -> None:
    """Ask once: of the log, of the service, and of what is sealed."""
    returned = ledger.returned
    if run.flush(ASK_S):
        ledger.note(f"promised accepted {returned}")
    returned, ticks = ledger.returned, ledger.ticks
    with contextlib.suppress(TimeoutError):
        with contextlib.suppress(trialog.RunRejectedError):  # it is applied: some are refused
            run.wait(ASK_S, stage="applied")
        ledger.note(f"promised applied {returned} {ticks}")
    told = run.durability()
    if told.sealed.events:
        ledger.note(f"promised sealed {told.sealed.events} {told.writer_id}")


def fork(part: Part, mark: str) -> int:
    """Let a child log into the run, beside this process; return its id."""
    child = os.fork()
    if child == 0:
        try:
            log_beside(Part(**{**asdict(part), "mark": mark, "joins": True}))
        finally:
            os._exit(0)
    return child


def log_beside(part: Part) -> None:
    """Join a run, log a little and leave."""
    ledger = Ledger(part)
    with part.run() as run:
        ledger.note(f"run {run.run_id}")
        for step in range(FORKED_TICKS):
            with ledger.call(f"tick {step}"):
                run.log_metric(f"tick{part.mark}", float(step))


class Orders:
    """What standard input says; it is read by a thread."""

    def __init__(self) -> None:
        self.has_ended = threading.Event()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._children: list[int] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(line.strip())
        self.has_ended.set()

    def follow(self, part: Part) -> None:
        """Do what was said meanwhile."""
        while not self._lines.empty():
            if self._lines.get() == "exit":
                os._exit(EXIT_STATUS)
            self._children.append(fork(part, f"{part.mark}.f{len(self._children)}"))

    def wait_children(self) -> None:
        """Wait until every child has ended."""
        for child in self._children:
            os.waitpid(child, 0)


def train(part: Part, ledger: Ledger, orders: Orders) -> None:
    """Log inside the run's block until standard input ends."""
    run = part.run()
    with run:
        ledger.note(f"run {run.run_id}")
        if part.asks:
            threading.Thread(target=keep_asking, args=(run, ledger), daemon=True).start()
        if part.rows:
            log_rows(run, ledger, part)
        else:
            log_steps(run, ledger, part, orders)
        while not orders.has_ended.is_set():
            orders.follow(part)
            time.sleep(PAUSE_S)
        orders.wait_children()
        ledger.note("call left 0")
    ledger.note("left 0 0.0")
    with contextlib.suppress(trialog.RunRejectedError):
        run.wait(60.0)
    ledger.note("applied")


def log_steps(run: trialog.Run, ledger: Ledger, part: Part, orders: Orders) -> None:
    """Log step by step until standard input ends; note how much memory that has cost at last."""
    before = 0
    for step in range(STEPS_MAX):
        if orders.has_ended.is_set():
            break
        orders.follow(part)
        if step == STEADY_AT:
            before = memory_bytes()
        log_step(run, step, ledger, part)
        if (step + 1) % STEPS_PER_PAUSE == 0:
            time.sleep(PAUSE_S)
    if before:
        ledger.note(f"memory {memory_bytes() - before}")


def main() -> None:
    """Do the part that the command line says."""
    part = Part(**json.loads(sys.argv[1]))
    ledger = Ledger(part)
    train(part, ledger, Orders())


if __name__ == "__main__":
    main()
