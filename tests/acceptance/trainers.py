"""Training programs that a test controls, and the comparison of their ledgers with the service."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.acceptance import trainer_program
from tests.acceptance.trainer_program import Part, loss_at, odd_at
from tests.services.trialog import wait_until
from trialog.client import Client, number
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    import trialog
    from trialog.answers import RunAnswer

END_TIMEOUT_S = 90.0

EXPECTED: dict[str, Callable[[int], float]] = {
    "loss": loss_at,
    "accuracy": lambda step: step / 7,
    "odd": odd_at,
    "tick": float,
}
"""What the training program logs, by metric: the value of each step."""

UNANSWERED = (UnavailableError, ResourceNotFoundError)


@dataclass(frozen=True, slots=True)
class Noted:
    """What a ledger says has been logged: how many of each, counted from 0."""

    run_id: str | None
    steps: int
    ticks: int
    parameters: int
    artifacts: int
    is_applied: bool


class Trainer:
    """One training program; its run's name is its own.

    Args:
        session: where it logs; the spool lies in `folder`.
        folder: takes spool and ledger.
        names: of experiment and run.
        read: where the run is looked at, when that is another service.
        part: what it does, if that is more than to train a run of its own.
        under: stands before the command, and ends in being it.
    """

    def __init__(
        self,
        session: trialog.Session,
        folder: Path,
        names: tuple[str, str],
        *,
        read: trialog.Session | None = None,
        part: Part | None = None,
        under: Sequence[str] = (),
    ) -> None:
        self._under = under
        self.experiment_name, self.run_name = names
        self.part = part or Part(session.url or "", session.kafka, str(folder), *names)
        self._client = Client((read or session).resolve())
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [*self._under, sys.executable, trainer_program.__file__, self.part.to_json()]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def log_path(self) -> Path:
        """The file of what the program says."""
        return self.part.ledger_path.with_suffix(".log")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running program."""
        if self._process is None:
            raise RuntimeError(f"trainer {self.run_name} does not run")
        return self._process

    def noted(self) -> Noted:
        """Read the ledger as it is now."""
        path = self.part.ledger_path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kinds = Counter(line.split(" ")[0] for line in lines)
        ids = [line.split(" ")[1] for line in lines if line.startswith("run ")]
        return Noted(
            run_id=ids[0] if ids else None,
            steps=kinds["step"],
            ticks=kinds["tick"],
            parameters=kinds["parameter"],
            artifacts=kinds["artifact"],
            is_applied="applied" in kinds,
        )

    def kill(self) -> None:
        """SIGKILL the program, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self.tell_end()
            self._process.wait()
            self._process = None

    def tell_end(self) -> None:
        """Let the program leave its run; do not wait."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def wait_end(self) -> None:
        """Wait until the program has left its run, everything is applied, and it has ended."""
        process = self.process
        process.wait(END_TIMEOUT_S)
        self._process = None
        said = self.log_path.read_text(encoding="utf-8")
        assert process.returncode == 0, said
        assert self.noted().is_applied, said

    def run(self) -> RunAnswer:
        """Return the run as the service has it."""
        return self._client.run(self.experiment_name, self.run_name)

    def has_run(self) -> bool:
        """Tell whether the program has entered its run."""
        return self.noted().run_id is not None

    def has_filled(self) -> bool:
        """Tell whether a program that fills its run has done so."""
        return "\nmemory " in self.part.ledger_path.read_text(encoding="utf-8")

    def wait_progress(self) -> Noted:
        """Wait until the service has more than what the program has logged by now; return that."""
        wait_until(self.has_run, f"{self.run_name} is entered")
        noted = self.noted()
        goal = noted.ticks + 1
        wait_until(lambda: self.applied_ticks() > goal, f"{self.run_name} gets beyond {goal}")
        return noted

    def applied_ticks(self) -> int:
        """Return how many ticks of the run the service has; 0 while it does not answer."""
        try:
            summary = self.run()["metrics"].get("tick")
        except UNANSWERED:
            return 0
        return 0 if summary is None else summary["count"]

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Return steps and values of a metric as the service has them."""
        run_id = self.run()["run_id"]
        pages = list(self._client.series(run_id, name))
        return (
            [step for page in pages for step in page["steps"]],
            [number(value) for page in pages for value in page["values"]],
        )

    def check_so_far(self, least: Noted) -> None:
        """Hold the series of a run that goes on against the ledger: a prefix of it, without holes.

        Args:
            least: what the ledger had when the service was known to have at least as much.
        """
        counts = {name: self._check_values(name) for name in EXPECTED}
        most = self.noted()
        assert least.ticks <= counts["tick"] <= most.ticks + 1
        for name in ("loss", "accuracy", "odd"):
            assert least.steps <= counts[name] <= most.steps + 1

    def check_exact(self, *, spare: int = 0) -> None:
        """Hold everything of a run that has stopped against the ledger.

        Args:
            spare: calls that may be recorded beyond the ledger: 1 for a program that was killed
                between a call's work and its line in the ledger.
        """
        noted, run = self.noted(), self.run()
        counts = {name: self._check_values(name) for name in EXPECTED}
        assert counts["loss"] == counts["accuracy"] == counts["odd"]
        parameters, artifacts = len(run["parameters"]), len(run["artifacts"])
        assert run["parameters"] == {f"p{count}": count / 3 for count in range(parameters)}
        texts = {one["name"]: self._text(run, one["name"]) for one in run["artifacts"]}
        assert texts == {f"a{count}": f"text {count}" for count in range(artifacts)}
        logged = (noted.ticks, noted.steps, noted.parameters, noted.artifacts)
        recorded = (counts["tick"], counts["loss"], parameters, artifacts)
        beyond = [have - had for have, had in zip(recorded, logged, strict=True)]
        assert min(beyond) >= 0, f"lost: {logged} logged, {recorded} recorded"
        assert sum(beyond) <= spare, f"doubled: {logged} logged, {recorded} recorded"
        assert run["points"] == counts["tick"] + 3 * counts["loss"]
        assert run["rejected_count"] == 0

    def _check_values(self, name: str) -> int:
        """Return how many points a series has; they are the expected ones, in order, once each."""
        steps, values = self.series(name)
        count = len(values)
        assert steps == ([-1] * count if name == "tick" else list(range(count))), name
        expected = [EXPECTED[name](step) for step in range(count)]
        assert list(map(repr, values)) == list(map(repr, expected)), name  # NaN is no equal of NaN
        return count

    def _text(self, run: RunAnswer, name: str) -> str:
        return self._client.read_artifact(run["run_id"], name, None).decode()
