"""The commands `prove` and `verify-proof`, as they are typed; the rest is in `proof_command`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trialog_server.commands import (
    archive_option,
    data_dir_option,
    file_type,
    kafka_option,
    plain_errors,
    postgres_option,
    run_whole,
    settings_of,
    unverified,
)

if TYPE_CHECKING:
    from pathlib import Path


@click.command("prove")
@click.argument("run_id")
@data_dir_option
@kafka_option
@postgres_option
@archive_option
@click.option(
    "--checkpoint", "path", type=file_type, required=True, help="file that `checkpoint` wrote"
)
@click.option("--output", type=file_type, required=True, help="new file for the proof")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a sentence")
def prove(*, run_id: str, path: Path, output: Path, as_json: bool, **flags: object) -> None:
    """Write a file that proves, without this service, what a run logged before a checkpoint.

    It holds the run's events as they are in the log, and of other runs nothing but hashes.
    """
    with plain_errors():
        settings = settings_of(flags)
        from trialog_server.proof_command import (  # noqa: PLC0415
            read_signed_bytes,
            run_id_of,
            run_prove,
        )

        wanted, signed = run_id_of(run_id), read_signed_bytes(path)
        run_whole(
            lambda: run_prove(settings, wanted, signed, output, as_json=as_json),
            "nothing was written",
        )


@click.command("verify-proof")
@click.argument("path", metavar="FILE", type=file_type)
@click.option(
    "--public-key", type=file_type, required=True, help="PEM file of the key that must have signed"
)
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of lines")
def verify_proof(*, path: Path, public_key: Path, as_json: bool) -> None:
    """Check a proof of a run, and say what the run logged; needs no service, log or database.

    Exit status 0 says that everything in it is right, 1 that something is wrong, 2 that the command
    was not understood, and 3 that a file cannot be read.
    """
    with unverified(), plain_errors():
        from trialog_server.proof_command import run_verify_proof  # noqa: PLC0415

        status = run_verify_proof(path, public_key, as_json=as_json)
        if status:
            raise click.exceptions.Exit(status)
