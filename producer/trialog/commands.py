"""Commands: events of the catalog whose verdict the caller waits for. Blocks; never logs a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.client import Client
from trialog.ids import new_id, now_us
from trialog.refusals import refusal_error, rejection_of

if TYPE_CHECKING:
    from trialog.answers import CommandAnswer
    from trialog.settings import Endpoint
    from trialog_schemas.events import CatalogBody


def send_command(endpoint: Endpoint, body: CatalogBody) -> CommandAnswer:
    """Append an event of the catalog, wait for its verdict and raise what was refused.

    Each command has a writer of its own, so that a process that dies between two of them leaves
    no hole in a sequence.
    """
    answer = Client(endpoint).command(new_id(), now_us(), body)
    if answer["rejections"]:
        raise refusal_error(rejection_of(answer["rejections"][0]))
    return answer
