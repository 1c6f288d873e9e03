"""Moments as callers give them, and a client that asks as of one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.producer.answers import Answering, endpoint_in, run_answer
from trialog.as_of import as_of_text
from trialog.client import Client
from trialog_schemas.errors import ValidationError, WrongTypeError

if TYPE_CHECKING:
    from pathlib import Path

EXACT = "catalog:0:3,events:2:7@2026-03-01T00:00:00.000000Z"
PENDING = {"error": {"code": "SnapshotPending", "message": "12 % is done"}}


@pytest.mark.parametrize(
    ("as_of", "text"),
    [
        (None, None),
        ("events:3:17", "events:3:17"),
        ("  2026-03-01 ", "2026-03-01"),
        (datetime(2026, 3, 1, 12, 30, tzinfo=UTC), "2026-03-01T12:30:00+00:00"),
        (datetime(2026, 3, 1, 12, 30), "2026-03-01T12:30:00+00:00"),  # noqa: DTZ001  the case
        (datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T00:00:00+02:00"),
    ],
)
def test_moment_is_a_text_or_a_datetime_that_is_utc_without_a_zone(
    as_of: object, text: str | None
) -> None:
    """What a text says the service knows; a time keeps its zone."""
    assert as_of_text(as_of) == text


@pytest.mark.parametrize(
    ("as_of", "kind"),
    [
        ("", ValidationError),
        (" \n", ValidationError),
        (0, WrongTypeError),
        (1.5, WrongTypeError),
        (True, WrongTypeError),
        (date(2026, 3, 1), WrongTypeError),
        (b"2026-03-01", WrongTypeError),
        (["events:3:17"], WrongTypeError),
    ],
)
def test_what_is_no_moment_is_refused_before_anything_is_asked(
    as_of: object, kind: type[ValidationError]
) -> None:
    """The error names the field and the value."""
    with pytest.raises(kind) as caught:
        as_of_text(as_of)
    assert type(caught.value) is kind
    assert caught.value.field == "as_of"


def test_client_waits_for_tables_and_asks_every_further_page_as_of_the_first(
    tmp_path: Path,
) -> None:
    """Asked again while they are made; then the moment is the one that the first answer named."""
    page = {"runs": [run_answer()], "next_token": None, "total": 1, "as_of": EXACT}
    service = Answering([(503, PENDING), (503, PENDING), (200, page), (200, page)])
    client = Client(endpoint_in(tmp_path), service.request, as_of="2026-03-01")
    assert client.as_of == "2026-03-01"
    for _ in range(2):
        assert client.runs("e", {"max_results": 1})["total"] == 1
        assert client.as_of == EXACT
    asked = [parse_qs(urlsplit(url).query)["as_of"] for url in (one.url for one in service.asked)]
    assert asked == [["2026-03-01"]] * 3 + [[EXACT]]
