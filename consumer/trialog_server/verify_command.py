"""What `trialog verify` and `trialog checkpoint` show and say; the work is in `project`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from trialog.output import echo
from trialog_schemas.errors import ValidationError
from trialog_server.disk import expect_new, write_new
from trialog_server.key_files import plain_files, private_key_of, public_key_of
from trialog_server.project.checkpoint import (
    Checkpoint,
    broken_partitions,
    make_key,
    public_half,
    read_checkpoint,
    read_trees,
    sign,
)
from trialog_server.project.seals import record_seals
from trialog_server.project.verify import live_chains, verify
from trialog_server.rebuild_command import progress
from trialog_server.stores import beside_service
from trialog_server.verify_archive import (
    archive_json,
    archive_lines,
    is_whole,
    signed_archive,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trialog_server.archive.manifest import Manifest
    from trialog_server.archive.reading import Archive
    from trialog_server.log.base import Log, Partition
    from trialog_server.project.checkpoint import SignedCheckpoint
    from trialog_server.project.verify import Verification
    from trialog_server.settings import ServerSettings


OUTDATED = 4
"""Exit status where an older release could not read what this one can: no edit, but a rebuild."""


async def run_verify(
    settings: ServerSettings,
    signed: SignedCheckpoint | None,
    public_key: Path | None,
    *,
    as_json: bool,
) -> int:
    """Verify the read model of a service and say what was found; return the exit status.

    An archive comes first: while it is damaged, nothing is replayed, since that may need it.

    Args:
        settings: where its data is.
        signed: a checkpoint that the log must agree with as well.
        public_key: PEM file of the key that must have signed the archive, if there is one.
        as_json: print one JSON object instead of lines.
    """
    broken: list[Partition] = []
    archived = None
    if settings.archive is not None:
        archived = _Archived(*await signed_archive(settings, public_key))
        if not await is_whole(archived.archive, archived.manifest, as_json=as_json):
            return 1
    async with beside_service(settings) as (dsn, log):
        if signed is not None:
            with progress("records of the checkpoint") as tell:
                broken = await broken_partitions(log, signed.checkpoint, tell)
        if archived is not None:
            await archived.check(log)
        with progress("records") as tell:
            found = await verify(dsn, log, tell)
    is_sound = not broken and (archived is None or archived.is_clean)
    is_clean = found.is_clean and is_sound
    status = 0 if is_clean else OUTDATED if found.is_outdated and is_sound else 1
    if as_json:
        echo(
            orjson.dumps(
                {
                    **_json(found),
                    "is_clean": is_clean,
                    "checkpoint": _signed_json(signed, broken),
                    "archive": None if archived is None else archived.json(),
                }
            ),
            status=status,
        )
    else:
        lines = () if archived is None else archived.lines()
        for line in (*_signed_lines(signed, broken), *lines, *_lines(found)):
            echo(line, status=status)
    return status


class _Archived:
    """A whole archive that is held against the log, and what was found."""

    def __init__(self, archive: Archive, manifest: Manifest) -> None:
        self.archive = archive
        self.manifest = manifest
        self._strange: list[Partition] = []

    @property
    def is_clean(self) -> bool:
        """Tell whether the log has the archived records."""
        return not self._strange

    async def check(self, log: Log) -> None:
        """Hold it against the log."""
        chains = Checkpoint(self.manifest.made_at, self.manifest.chains())
        with progress("records held against the archive") as tell:
            self._strange = await broken_partitions(log, chains, tell)

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        return archive_lines(self.manifest, (), self._strange)

    def json(self) -> dict[str, object]:
        """Return the same as JSON."""
        return archive_json(self.manifest, (), self._strange)


async def run_checkpoint(
    settings: ServerSettings, key: Path, output: Path, *, is_new_key: bool, as_json: bool
) -> None:
    """Sign how far the live tables are and what the log has up to there, into a new file.

    Args:
        settings: where the service's data is.
        key: PEM file of the private key.
        output: the file; it must not be there yet.
        is_new_key: make the key first; it must not be there yet.
        as_json: print one JSON object instead of a sentence.
    """
    with plain_files():  # before the whole log is read
        for path in (output, *((key, public_half(key)) if is_new_key else ())):
            expect_new(path)
    known = None if is_new_key else private_key_of(key)
    async with beside_service(settings) as (dsn, log):
        chains = await live_chains(dsn)
        with progress("records") as tell:
            trees = await read_trees(log, chains, tell)
        with plain_files():
            if is_new_key:
                make_key(key)
            write_new(output, sign(chains, trees, known or private_key_of(key)))
            made = read_checkpoint(output).checkpoint
        await record_seals(dsn, made)
    records = sum(count for count, _ in chains.values())
    if as_json:
        told = {"output": str(output), "records": records, "partitions": len(chains)}
        echo(orjson.dumps(told))
    else:
        echo(f"{output}: {records} records in {len(chains)} partitions are signed")


def read_signed(path: Path, public_key: Path | None) -> SignedCheckpoint:
    """Return a checkpoint whose signature is right, by that key if one is given.

    Raises:
        ValidationError: it is no checkpoint, or another key has signed it.
    """
    with plain_files():
        signed = read_checkpoint(path)
    wanted = signed.public_key if public_key is None else public_key_of(public_key)
    if signed.public_key != wanted:
        raise ValidationError(
            f"checkpoint {str(path)!r} is signed by key {signed.public_key}, not by {wanted}; take "
            "one that this key has signed",
            field="checkpoint",
            value=signed.public_key,
            limit=wanted,
        )
    return signed


def _signed_lines(signed: SignedCheckpoint | None, broken: Sequence[Partition]) -> Iterator[str]:
    if signed is None:
        return
    made_at = signed.checkpoint.made_at.isoformat(timespec="seconds")
    for one in broken:
        records, _ = signed.checkpoint.chains[one]
        yield (
            f"{one.topic} partition {one.number}: its first {records} records are not those that "
            f"were signed at {made_at}"
        )
    if not broken:
        yield f"the log agrees with what was signed at {made_at} by key {signed.public_key}"


def _signed_json(
    signed: SignedCheckpoint | None, broken: Sequence[Partition]
) -> dict[str, object] | None:
    if signed is None:
        return None
    return {
        "made_at": signed.checkpoint.made_at,
        "public_key": signed.public_key,
        "broken": [{"topic": one.topic, "partition": one.number} for one in broken],
    }


def _lines(found: Verification) -> Iterator[str]:
    cut = {one.partition for one in found.loss.cuts}
    yield from found.loss.lines()
    for part in found.partitions:
        if not part.is_equal and part.partition not in cut:
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
    yield from _release_lines(found)
    lines = sum(table.live.lines for table in found.tables)
    tables = f"{lines} lines of {len(found.tables)} tables"
    records = f"{sum(part.records for part in found.partitions)} records of the log"
    if not found.tables:
        yield (
            "not verified: the log ends before what was applied of it, and no rows were compared; "
            "`trialog rebuild` makes tables of what the log has, and lists what it gives up"
        )
    elif found.is_clean:
        yield f"verified: {tables} are what {records} say"
    elif found.is_outdated:
        yield (
            f"not verified: {tables} are of an older release, which could not read all of "
            f"{records}; run `trialog rebuild`, then verify again"
        )
    else:
        yield f"not verified: {tables} are not what {records} say"


def _release_lines(found: Verification) -> Iterator[str]:
    """Say what another release has to do with it."""
    for reason, count in found.unapplied.items():
        yield f"{count} records are listed as {reason}, which this release can read"
    later = (line for table in found.tables for side, line in table.findings if side == "replay")
    if any("unknown_event" in line for line in later):
        yield (
            "the log has events that this release cannot read and the tables do not list: where a "
            "later release made the tables, verify them with that one"
        )


def _json(found: Verification) -> dict[str, object]:
    return {
        "is_clean": found.is_clean,
        "is_outdated": found.is_outdated,
        "unapplied": found.unapplied,
        "loss": found.loss.json(),
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
