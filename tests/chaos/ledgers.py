"""What the ledger of a training program says: which calls began, which returned, and how soon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


class Call(NamedTuple):
    """One call of a program; `mark` tells the programs of a run apart."""

    kind: str
    number: int
    mark: str


@dataclass
class Ledger:
    """The ledger of one program, in the order of its lines.

    Args:
        run_name, mark: which program it is.
        run_id: the run that was entered, or None.
        begun: calls that began.
        returned: calls that came back, each with its seconds.
        refused: calls that the process itself refused: they have no effect.
        raised: what calls raised otherwise, in words.
        memory_bytes: how much the program had grown when it had filled its run.
        is_applied: the program has left its run, and was told that everything is applied.
        promised: by stage how many of the calls that returned have come there, as was promised.
        sealed: by writer how many of its events are sealed, as was promised.
        lacks: calls that damage to the program's spool has cost.
        is_lost: the program's machine is lost, and its spool with it.
    """

    run_name: str = ""
    mark: str = ""
    run_id: str | None = None
    begun: list[Call] = field(default_factory=list)
    returned: dict[Call, float] = field(default_factory=dict)
    refused: set[Call] = field(default_factory=set)
    raised: list[str] = field(default_factory=list)
    memory_bytes: int = 0
    is_applied: bool = False
    promised: dict[str, int] = field(default_factory=dict)
    sealed: dict[str, int] = field(default_factory=dict)
    lacks: set[Call] = field(default_factory=set)
    is_lost: bool = False

    def promised_calls(self, stage: str) -> list[Call]:
        """Return the calls of which it was promised that they have come to a stage."""
        return list(self.returned)[: self.promised.get(stage, 0)]


def parse_ledger(lines: Iterable[str]) -> Ledger:
    """Read the lines of a ledger."""
    ledger = Ledger()
    for line in lines:
        first, *rest = line.split(" ")
        if first in _NOTES:
            _NOTES[first](ledger, line, rest)
        else:
            ledger.returned[Call(first, int(rest[0]), ledger.mark)] = float(rest[1])
    return ledger


def _call(ledger: Ledger, rest: list[str]) -> Call:
    return Call(rest[0], int(rest[1]), ledger.mark)


def _part(ledger: Ledger, _line: str, rest: list[str]) -> None:
    ledger.run_name, ledger.mark = rest[0], "" if rest[1] == "-" else rest[1]


def _run(ledger: Ledger, _line: str, rest: list[str]) -> None:
    ledger.run_id = rest[0]


def _memory(ledger: Ledger, _line: str, rest: list[str]) -> None:
    ledger.memory_bytes = max(ledger.memory_bytes, int(rest[0]))


def _applied(ledger: Ledger, _line: str, _rest: list[str]) -> None:
    ledger.is_applied = True


def _promised(ledger: Ledger, _line: str, rest: list[str]) -> None:
    if rest[0] == "sealed":
        ledger.sealed[rest[2]] = int(rest[1])
    else:
        ledger.promised[rest[0]] = int(rest[1])


def _lost(ledger: Ledger, _line: str, _rest: list[str]) -> None:
    ledger.is_lost = True


_NOTES: dict[str, Callable[[Ledger, str, list[str]], None]] = {
    "part": _part,
    "run": _run,
    "call": lambda ledger, _line, rest: ledger.begun.append(_call(ledger, rest)),
    "refused": lambda ledger, _line, rest: ledger.refused.add(_call(ledger, rest)),
    "raised": lambda ledger, line, _rest: ledger.raised.append(line),
    "memory": _memory,
    "applied": _applied,
    "promised": _promised,
    "lacks": lambda ledger, _line, rest: ledger.lacks.add(_call(ledger, rest)),
    "lost": _lost,
}
"""What the lines of each kind but those of calls that returned say."""


def read_ledger(path: Path) -> Ledger:
    """Read the file of a ledger, as far as its lines are whole."""
    text = path.read_text(encoding="utf-8")
    return parse_ledger(text[: text.rfind("\n") + 1].splitlines())
