"""The sender of a session in the process of the tests: it ends with the test that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.sender import Sender

if TYPE_CHECKING:
    import trialog


def end_sender(session: trialog.Session) -> None:
    """End the sender of a session, if there is one.

    Left alone it asks on what became of its events, and sends again what a later test has taken out
    of the tables.
    """
    sender = Sender._senders.pop(session.resolve(), None)
    if sender is not None:
        sender.end()
