"""Commands: events of the catalog whose verdict the caller waits for. Blocks; never logs a run."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from trialog.client import Client
from trialog.refusals import refusal_error, rejection_of
from trialog_schemas.wire import uuid7

if TYPE_CHECKING:
    from trialog.answers import CommandAnswer
    from trialog.settings import Endpoint
    from trialog_schemas.events import CatalogBody


def send_command(endpoint: Endpoint, body: CatalogBody) -> CommandAnswer:
    """Append an event of the catalog, wait for its verdict and raise what was refused.

    Each command has a writer of its own, so that a process that dies between two of them leaves
    no hole in a sequence.
    """
    at_us = time.time_ns() // 1000
    writer_id = uuid7(at_us // 1000, os.urandom(10))
    answer = Client(endpoint).command(writer_id, at_us, body)
    if answer["rejections"]:
        raise refusal_error(rejection_of(answer["rejections"][0]))
    return answer
