"""Records to the service's gateway over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialog.call_aside import call_aside
from trialog.client import Client
from trialog.transports.base import RefusedRecord, refusal_of
from trialog_schemas.limits import REQUEST_BYTES_MAX
from trialog_schemas.wire import FRAME_LENGTH, Position, frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trialog.settings import Endpoint
    from trialog.transports.base import OutRecord, Receipt


class HttpTransport:
    """Posts framed records; as many in one request as fit it.

    Args:
        endpoint: the service, and as whom.
        client: asks the service; None is the one of the endpoint.
    """

    def __init__(self, endpoint: Endpoint, client: Client | None = None) -> None:
        self._client = client or Client(endpoint)

    async def send(self, records: Sequence[OutRecord]) -> list[Receipt]:
        """Append the records durably; return a receipt for each.

        Raises:
            UnavailableError: not all are known to be in the log; send them all again.
            AccessRefusedError: the service does not know our key; likewise, once it does.
        """
        receipts: dict[int, Receipt] = {}
        for request in _requests(records):
            framed = frame(records[index].value for index in request)
            answers = await call_aside(self._client.send_records, framed)
            receipts.update(zip(request, map(_receipt, answers), strict=True))
        for index, record in enumerate(records):
            refusal = refusal_of(record)
            if refusal is not None:
                receipts[index] = refusal
        return [receipts[index] for index in range(len(records))]

    async def close(self) -> None:
        """Nothing is held: connections belong to the process."""


def _requests(records: Sequence[OutRecord]) -> Iterator[list[int]]:
    """Yield the indexes of the records of each request, without those no log takes."""
    request: list[int] = []
    filled = 0
    for index, record in enumerate(records):
        if refusal_of(record) is not None:
            continue
        size = len(record.value) + FRAME_LENGTH.size
        if request and filled + size > REQUEST_BYTES_MAX:
            yield request
            request, filled = [], 0
        request.append(index)
        filled += size
    if request:
        yield request


def _receipt(answer: dict[str, str]) -> Receipt:
    if "position" in answer:
        return Position.parse(answer["position"])
    return RefusedRecord(answer["code"], answer["message"])
