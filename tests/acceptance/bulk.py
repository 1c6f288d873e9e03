"""Many catalog events in one record: a thousand runs for the price of one round trip.

What the service does with them is what it does with the SDK's own commands; only the envelope is
fuller. All events of one record share the log's time, so that their creation times are equal.
"""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING, TypedDict, cast

import orjson
import urllib3

from trialog_schemas.events import NIL_ID, RunCreated
from trialog_schemas.wire import (
    RecordHeader,
    encode_event,
    event_id_for,
    first_hash,
    frame,
    pack_record,
    uuid7,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trialog
    from trialog_schemas.events import CatalogBody

USER = "bulk@host"


class Refusal(TypedDict):
    """A refusal as the service answers it."""

    code: str
    name: str | None
    message: str


def run_commands(session: trialog.Session, bodies: Sequence[CatalogBody]) -> list[Refusal]:
    """Append the bodies as one record of the catalog, wait for the verdicts, return refusals."""
    endpoint = session.resolve()
    at_us = time.time_ns() // 1000
    writer_id = uuid7(at_us // 1000, os.urandom(10))
    start = first_hash(endpoint.account, USER, NIL_ID, writer_id)
    events = [
        encode_event(seq, event_id_for(writer_id, seq, at_us), at_us, body)
        for seq, body in enumerate(bodies, start=1)
    ]
    header = RecordHeader(endpoint.account, USER, NIL_ID, writer_id, 1, len(events), start)
    answer = urllib3.request(
        "POST",
        f"{endpoint.url}/api/v1/commands",
        body=frame([pack_record(header, events)]),
        headers={"Content-Type": "application/x-trialog-records"},
        timeout=60,
    )
    assert answer.status == 200, answer.data
    told = orjson.loads(answer.data)
    if not told["applied"]:  # the machine is busy, and one answer waits no longer
        told = _applied(session, told["position"])
    return cast("list[Refusal]", told["rejections"])


def _applied(session: trialog.Session, position: str) -> dict[str, object]:
    for _ in range(6):
        answer = urllib3.request(
            "GET",
            f"{session.url}/api/v1/applied",
            fields={"position": position, "wait_s": "10"},
            timeout=60,
        )
        told: dict[str, object] = orjson.loads(answer.data)
        if told["applied"]:
            return told
    raise AssertionError(f"{position} is not applied after a minute")


def runs_created(experiment_name: str, run_names: Sequence[str]) -> list[RunCreated]:
    """Return the events that create runs of these names in one experiment."""
    experiment_id = uuid.uuid4().hex
    return [
        RunCreated(uuid.uuid4().hex, experiment_name, name, experiment_id) for name in run_names
    ]


def requests_counted(session: trialog.Session) -> dict[str, float]:
    """How many requests the service has answered so far, by method and route."""
    counted: dict[str, float] = {}
    text = urllib3.request("GET", f"{session.url}/metrics").data.decode()
    for line in text.splitlines():
        if line.startswith("trialog_http_requests_total{") and 'route="/metrics"' not in line:
            labels, number = line.rsplit(" ", 1)
            counted[labels] = float(number)
    return counted
