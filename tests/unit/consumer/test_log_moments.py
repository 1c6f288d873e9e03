"""What may be asked for as a moment, and what is said where the log has dropped it."""

from __future__ import annotations

import pytest

from tests.unit.consumer.archive_cases import archived, bucket, filled_log
from trialog_schemas.errors import UnavailableError, ValidationError
from trialog_schemas.wire import CATALOG_TOPIC
from trialog_server.archive.archived_log import ArchivedLog
from trialog_server.archive.reading import Archive
from trialog_server.log.base import NewRecord, Partition
from trialog_server.log.moments import find_moment, parse_moment, text_of

NOW_US = 2**50


# K5
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "catalog:0:0@0001-01-01T00:00+01:00",
    ],
    ids=["before", "behind", "before, behind a position"],
)
def test_time_whose_year_has_no_number_in_utc_is_refused(text: str) -> None:
    """Every moment is shown as a time in UTC; what cannot be is no moment."""
    with pytest.raises(ValidationError, match="is neither a time nor positions"):
        parse_moment(text, NOW_US)


# K5
def test_first_moment_in_utc_is_one_whatever_its_zone() -> None:
    """The border itself may be asked for."""
    asked = parse_moment("0001-01-01T14:00:00+14:00", NOW_US)
    assert asked.at_us is not None
    assert text_of(asked.at_us) == "0001-01-01T00:00:00.000000Z"


# K5
async def test_position_that_the_log_has_dropped_is_not_refused_but_wants_the_archive() -> None:
    """Whoever kept a position made no mistake: it is said where the answer is."""
    log, place = await filled_log(), bucket()
    catalog = Partition(CATALOG_TOPIC, 0)
    await log.append([NewRecord(CATALOG_TOPIC, "default", b"another")])
    await archived(log, place)
    asked = parse_moment("catalog:0:0", NOW_US)
    kept = await find_moment(log, asked)
    await log.drop_before({catalog: 1})
    with pytest.raises(UnavailableError, match="give the archive that has it with --archive"):
        await find_moment(log, asked)
    assert await find_moment(ArchivedLog(log, Archive(place)), asked) == kept
    with pytest.raises(ValidationError, match="give a position that is in the log"):
        await find_moment(log, parse_moment("catalog:0:2", NOW_US))
