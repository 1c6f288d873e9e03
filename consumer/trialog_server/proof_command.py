"""What `prove` and `verify-proof` show and say; the work is in `project/proof.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from trialog.output import echo
from trialog_schemas.errors import ValidationError, shown
from trialog_server.disk import expect_new, write_new
from trialog_server.key_files import plain_files, public_key_of
from trialog_server.project.checkpoint import checkpoint_of
from trialog_server.project.proof import NotProvenError, check_proof, is_run_id, make_proof
from trialog_server.project.rows import time_of
from trialog_server.rebuild_command import progress
from trialog_server.stores import beside_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trialog_server.project.proof import Proven
    from trialog_server.settings import ServerSettings


def run_id_of(text: str) -> str:
    """Return a run's id as records have it, of what people give: with dashes, in capitals.

    Raises:
        ValidationError: it is none.
    """
    run_id = text.replace("-", "").lower()
    if not is_run_id(run_id):
        raise ValidationError(
            f"run id {shown(text)} is not 32 hex digits; `run.run_id` and the page show it",
            field="run_id",
            value=text,
            limit="32 hex digits",
        )
    return run_id


def read_signed_bytes(path: Path) -> bytes:
    """Return the content of a checkpoint's file whose signature is right.

    Raises:
        ValidationError: it is no checkpoint, or was changed.
    """
    with plain_files():
        content = path.read_bytes()
    checkpoint_of(content, str(path))
    return content


async def run_prove(
    settings: ServerSettings, run_id: str, signed: bytes, output: Path, *, as_json: bool
) -> None:
    """Write the proof of a run's records into a new file.

    Args:
        settings: where the service's data is.
        run_id: 32 hex digits.
        signed: what `read_signed_bytes` gave of a checkpoint that covers the run.
        output: the file; it must not be there yet.
        as_json: print one JSON object instead of a sentence.
    """
    with plain_files():
        expect_new(output)
    async with beside_service(settings) as (_dsn, log):
        with progress("records of the run's partition") as tell:
            proof = await make_proof(log, run_id, signed, tell)
    with plain_files():
        write_new(output, proof)
    if as_json:
        echo(orjson.dumps({"output": str(output), "run_id": run_id, "bytes": len(proof)}))
    else:
        echo(
            f"{output}: {len(proof)} bytes prove run {run_id}; `trialog verify-proof {output} "
            "--public-key KEY.pub` checks them anywhere"
        )


def run_verify_proof(path: Path, public_key: Path, *, as_json: bool) -> int:
    """Check a proof without any service, say what it shows or what is wrong; return the status."""
    key = public_key_of(public_key)
    with plain_files():
        content = path.read_bytes()
    try:
        proven = check_proof(content, key)
    except NotProvenError as exc:
        if as_json:
            echo(orjson.dumps({"is_proven": False, "reason": str(exc)}), status=1)
        else:
            echo(f"not proven: {exc}", status=1)
        return 1
    if as_json:
        echo(orjson.dumps(_json(proven)))
    else:
        for line in _lines(proven):
            echo(line)
    return 0


def _lines(proven: Proven) -> Iterator[str]:
    made_at = proven.signed.checkpoint.made_at.isoformat(timespec="seconds")
    name = "without a start" if proven.name is None else "/".join(proven.name)
    yield (
        f"proven: the {proven.records} records of run {proven.run_id} ({name}) are exactly those "
        f"that were signed at {made_at} by key {proven.signed.public_key}"
    )
    yield f"written by {', '.join(sorted(proven.users))}"
    for kind, count in sorted(proven.events.items()):
        points = f", {proven.points} points" if kind == "metrics_logged" else ""
        yield f"  {count} {kind}{points}"
    if proven.first_at_us is not None and proven.last_at_us is not None:
        first, last = (
            time_of(at).isoformat(timespec="seconds")
            for at in (proven.first_at_us, proven.last_at_us)
        )
        yield f"from {first} to {last} by the writers' clocks"


def _json(proven: Proven) -> dict[str, object]:
    return {
        "is_proven": True,
        "run_id": proven.run_id,
        "name": proven.name,
        "made_at": proven.signed.checkpoint.made_at,
        "public_key": proven.signed.public_key,
        "topic": proven.partition.topic,
        "partition": proven.partition.number,
        "records": proven.records,
        "users": sorted(proven.users),
        "events": dict(sorted(proven.events.items())),
        "points": proven.points,
        "first_at_us": proven.first_at_us,
        "last_at_us": proven.last_at_us,
    }
