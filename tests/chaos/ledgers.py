"""What the ledger of a training program says: which calls began, which returned, and how soon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
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


def parse_ledger(lines: Iterable[str]) -> Ledger:
    """Read the lines of a ledger."""
    ledger = Ledger()
    for line in lines:
        first, *rest = line.split(" ")
        if first == "part":
            ledger.run_name, ledger.mark = rest[0], "" if rest[1] == "-" else rest[1]
        elif first == "run":
            ledger.run_id = rest[0]
        elif first == "call":
            ledger.begun.append(Call(rest[0], int(rest[1]), ledger.mark))
        elif first == "refused":
            ledger.refused.add(Call(rest[0], int(rest[1]), ledger.mark))
        elif first == "raised":
            ledger.raised.append(line)
        elif first == "memory":
            ledger.memory_bytes = int(rest[0])
        elif first == "applied":
            ledger.is_applied = True
        else:
            ledger.returned[Call(first, int(rest[0]), ledger.mark)] = float(rest[1])
    return ledger


def read_ledger(path: Path) -> Ledger:
    """Read the file of a ledger, as far as its lines are whole."""
    text = path.read_text(encoding="utf-8")
    return parse_ledger(text[: text.rfind("\n") + 1].splitlines())
