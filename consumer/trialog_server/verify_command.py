"""What `trialog verify` shows and says; the verification itself is in `project/verify.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from trialog.output import echo
from trialog_server.processes import beside_service
from trialog_server.project.verify import verify
from trialog_server.rebuild_command import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialog_server.project.verify import Verification
    from trialog_server.settings import ServerSettings


async def run_verify(settings: ServerSettings, *, as_json: bool) -> bool:
    """Verify the read model of a service and say what was found; tell whether that is nothing.

    Args:
        settings: where its data is.
        as_json: print one JSON object instead of lines.
    """
    async with beside_service(settings) as (dsn, log):
        with progress("records") as tell:
            found = await verify(dsn, log, tell)
    status = 0 if found.is_clean else 1
    if as_json:
        echo(orjson.dumps(_json(found)), status=status)
    else:
        for line in _lines(found):
            echo(line, status=status)
    return found.is_clean


def _lines(found: Verification) -> Iterator[str]:
    for part in found.partitions:
        if not part.is_equal:
            yield (
                f"{part.partition.topic} partition {part.partition.number}: the log does not hold "
                f"the {part.records} records that were applied; their chain is "
                f"{part.replay_chain} and was {part.live_chain}"
            )
    for table in found.tables:
        if not table.is_equal:
            yield f"table {table.table}: {table.findings_count} lines are on one side only"
        for side, line in table.findings:
            yield f"  only {side}: {line}"
        if table.findings_count > len(table.findings):
            yield f"  and {table.findings_count - len(table.findings)} more"
    lines = sum(table.live.lines for table in found.tables)
    tables = f"{lines} lines of {len(found.tables)} tables"
    records = f"{sum(part.records for part in found.partitions)} records of the log"
    if found.is_clean:
        yield f"verified: {tables} are what {records} say"
    else:
        yield f"not verified: {tables} are not what {records} say"


def _json(found: Verification) -> dict[str, object]:
    return {
        "is_clean": found.is_clean,
        "partitions": [
            {
                "topic": part.partition.topic,
                "partition": part.partition.number,
                "records": part.records,
                "live_chain": part.live_chain,
                "replay_chain": part.replay_chain,
            }
            for part in found.partitions
        ],
        "tables": [
            {
                "table": table.table,
                "lines": table.live.lines,
                "live_digest": table.live.digest,
                "replay_digest": table.replay.digest,
                "findings_count": table.findings_count,
                "findings": [{"side": side, "line": line} for side, line in table.findings],
            }
            for table in found.tables
        ],
    }
