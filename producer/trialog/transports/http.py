"""Records to the service's gateway over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trialog.client import Client
from trialog.transports.base import RefusedRecord
from trialog_schemas.limits import REQUEST_BYTES_MAX
from trialog_schemas.wire import FRAME_LENGTH, Position, frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trialog.settings import Endpoint
    from trialog.transports.base import OutRecord, Receipt


class HttpTransport:
    """Posts framed records; as many in one request as fit it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._client = Client(endpoint)

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Append the records durably; return a receipt for each.

        Raises:
            UnavailableError: not all are known to be in the log; send them all again.
        """
        receipts: list[Receipt] = []
        for request in _requests(records):
            answers = await asyncio.to_thread(self._client.send_records, frame(request))
            receipts += [_receipt(answer) for answer in answers]
        return receipts

    async def close(self) -> None:
        """Nothing is held: connections belong to the process."""


def _requests(records: Sequence[OutRecord]) -> Iterator[list[bytes]]:
    request: list[bytes] = []
    filled = 0
    for record in records:
        size = len(record.value) + FRAME_LENGTH.size
        if request and filled + size > REQUEST_BYTES_MAX:
            yield request
            request, filled = [], 0
        request.append(record.value)
        filled += size
    if request:
        yield request


def _receipt(answer: dict[str, str]) -> Receipt:
    if "position" in answer:
        return Position.parse(answer["position"])
    return RefusedRecord(answer["code"], answer["message"])
