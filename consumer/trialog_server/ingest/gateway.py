"""Takes records that came over HTTP into the log; must not know HTTP, rules or tables.

Only what a header says is checked here. Whether events are right is for the projection to judge,
in the order of the log; payloads are not even decompressed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from trialog_schemas.decode import unpack_header
from trialog_schemas.errors import AccessRefusedError, LimitExceededError, WireError, shown
from trialog_schemas.limits import PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX, REQUEST_BYTES_MAX
from trialog_schemas.wire import Position, unframe
from trialog_server.log.base import NewRecord

if TYPE_CHECKING:
    from trialog_server.log.base import Log

EVENT_BYTES_MIN = 64
"""No event is smaller: its lengths and a head with an id of 32 digits take more."""

SEQ_MAX = 2**63 - 1
"""The largest seq; Postgres stores it as a signed 64-bit integer."""

RECORD_BYTES_MIN = 200
"""No record is smaller: the ids, the hash and the names in its header alone take more."""

RECORDS_MAX = REQUEST_BYTES_MAX // RECORD_BYTES_MIN
"""Records of one request: each gets a receipt, so that rubbish of one byte each is too many."""

_RECORDS_A_TURN = 256
"""Headers that are read before other tasks get their turn: some 2 ms."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that was not taken, and never will be; `code` is one of the error tree's."""

    code: str
    message: str


Receipt: TypeAlias = Position | Refused
"""What became of one record of a request."""


class Gateway:
    """Checks records and appends the good ones together."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def accept(self, framed: bytes, *, account: str) -> list[Receipt]:
        """Append the records that are right; return what became of each, in the order given.

        A wrong record is refused by itself and does not keep the others out.

        Args:
            framed: records as `wire.frame` joins them, at most REQUEST_BYTES_MAX.
            account: whose data the sender may write; records of another account are refused.

        Raises:
            LimitExceededError: the request has too many bytes or records; nothing was appended.
            WireError: the framing is damaged; nothing was appended.
            UnavailableError: the log is away; send the same request again.
        """
        if len(framed) > REQUEST_BYTES_MAX:
            raise LimitExceededError(
                f"a request of {len(framed)} bytes is too large, allowed are {REQUEST_BYTES_MAX}; "
                "send fewer records in one request",
                field="request",
                value=len(framed),
                limit=REQUEST_BYTES_MAX,
            )
        records = unframe(framed)
        if len(records) > RECORDS_MAX:
            raise LimitExceededError(
                f"a request of {len(records)} records is too large, allowed are {RECORDS_MAX}; "
                "send fewer records in one request",
                field="request",
                value=len(records),
                limit=RECORDS_MAX,
            )
        checked: list[NewRecord | Refused] = []
        for number, record in enumerate(records, 1):
            checked.append(check_record(record, account))
            if number % _RECORDS_A_TURN == 0:
                await asyncio.sleep(0)
        good = [item for item in checked if isinstance(item, NewRecord)]
        positions = iter(await self._log.append(good) if good else [])
        return [item if isinstance(item, Refused) else next(positions) for item in checked]


def check_record(record: bytes, account: str) -> NewRecord | Refused:
    """Return the record as the log takes it, or why it is refused."""
    if len(record) > RECORD_BYTES_MAX:
        return Refused(
            LimitExceededError.code,
            f"a record of {len(record)} bytes is too large, allowed are {RECORD_BYTES_MAX}",
        )
    try:
        header = unpack_header(record)
    except WireError as exc:
        return Refused(exc.code, exc.reason)
    if header.account != account:
        return Refused(
            AccessRefusedError.code,
            f"a record of account {shown(header.account)} cannot be written as {shown(account)}; "
            "use the key of that account",
        )
    if header.count > PAYLOAD_BYTES_MAX // EVENT_BYTES_MIN:
        return Refused(
            WireError.code, f"record of {header.count} events, which no payload can hold"
        )
    if header.first_seq + header.count - 1 > SEQ_MAX:
        return Refused(WireError.code, f"record with a seq above {SEQ_MAX}")
    return NewRecord(header.topic, header.key, record)
