"""Runs whose events go to a log in memory; the service itself is not there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trialog
from tests.unit.producer.spools import events_in
from trialog.run_lifecycle import Opening, unborn_run
from trialog.sender import Sender
from trialog.testing import MemoryService, MemoryTransport
from trialog_schemas.events import RunStarted
from trialog_schemas.limits import DEFAULT_LIMITS, Limits
from trialog_schemas.rules import RunState
from trialog_schemas.wire import EVENTS_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trialog.answers import RunAnswer
    from trialog.settings import Endpoint
    from trialog_schemas.events import Event

NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class MemoryRuns:
    """A session whose sender has log and store in memory."""

    session: trialog.Session
    log: MemoryTransport
    store: MemoryService

    @property
    def endpoint(self) -> Endpoint:
        """The session, resolved."""
        return self.session.resolve()

    def run_answer(self, name: str = "r") -> RunAnswer:
        """Return the description of a run that nobody has created."""
        return unborn_run(self.endpoint, "e", name)

    def opening(self, limits: Limits = DEFAULT_LIMITS) -> Opening:
        """Return how an owner enters, as if the service had answered."""
        return Opening(RunStarted("e", "r", limits, host="h", pid=1), RunState(limits=limits), True)

    def events(self) -> list[Event]:
        """Return the events that are in the log."""
        return events_in(self.log.values(EVENTS_TOPIC))

    def types(self) -> list[str]:
        """Return the types of the events that are in the log."""
        return [event.type for event in self.events()]


@contextlib.contextmanager
def memory_runs(spool_dir: Path) -> Iterator[MemoryRuns]:
    """Give a session in memory; its sender ends with the block."""
    session = trialog.Session(url=NOBODY, spool_dir=spool_dir)
    made = MemoryRuns(session, MemoryTransport(), MemoryService())
    endpoint = session.resolve()
    Sender._senders[endpoint] = Sender(endpoint, made.store, lambda _endpoint: made.log)
    try:
        yield made
    finally:
        Sender._senders.pop(endpoint).end()
