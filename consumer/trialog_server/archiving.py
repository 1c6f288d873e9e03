"""The commands `archive` and `restore`, as they are typed; what they do is in `archive_command`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from trialog_server.commands import (
    data_dir_option,
    file_type,
    hold_data_dir,
    kafka_option,
    plain_errors,
    postgres_option,
    run_whole,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Function = TypeVar("Function", bound="Callable[..., object]")


def archive_place(flag: str, what: str) -> Callable[[Function], Function]:
    """Return the option of a command that is about an archive."""
    return click.option(
        flag,
        "archive",
        envvar="TRIALOG_ARCHIVE",
        show_envvar=True,
        required=True,
        metavar="URL",
        help=what,
    )


@click.command("archive")
@data_dir_option
@kafka_option
@postgres_option
@archive_place("--to", "folder or store, such as s3://bucket/prefix, for the archive")
@click.option("--key", type=file_type, help="PEM file of an Ed25519 private key that signs it")
@click.option(
    "--segment-records",
    type=click.IntRange(1, 1_000_000),
    default=50_000,
    show_default=True,
    help="records of a file; it has 16 MiB at most",
)
@click.option(
    "--supersede",
    is_flag=True,
    help="the log has lost its end: give it what only the archive has, and end the archive where "
    "the two differ; archives nothing new",
)
@click.option("--release", is_flag=True, help="then remove from the log what the archive has")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of sentences")
def archive(
    *,
    key: Path | None,
    segment_records: int,
    supersede: bool,
    release: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Store the log's records that are not archived yet as Parquet, with a manifest.

    The service may run meanwhile, or not. With --release, records leave the log whose archived
    copy was read back and found the same, and which the tables have applied; whoever reads them
    later needs --archive. Artifacts' bytes are in the artifact store and no part of an archive.

    An archive that is not the log's any more, because the log has lost its end, is refused until
    --supersede has brought them together. Its files stay; the manifest names them as superseded.
    """
    if supersede and release:
        raise click.UsageError("--supersede changes the archive's end; give --release afterwards")
    with plain_errors():
        settings = settings_of(flags)
        from trialog_server.archive_command import (  # noqa: PLC0415
            ArchiveOrder,
            run_archive,
            run_supersede,
        )

        if supersede:
            run_whole(
                lambda: run_supersede(settings, key, as_json=as_json),
                "the archive is as it was; the next `trialog archive --supersede` begins again",
            )
            return
        order = ArchiveOrder(key, segment_records, release)
        run_whole(
            lambda: run_archive(settings, order, as_json=as_json),
            "the archive has whole segments; the next `trialog archive` goes on behind them",
        )


@click.command("restore")
@data_dir_option
@archive_place("--from", "folder or store, such as s3://bucket/prefix, of the archive")
@click.option("--public-key", type=file_type, help="PEM file of the key that must have signed it")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a sentence")
def restore(*, public_key: Path | None, as_json: bool, **flags: object) -> None:
    """Make an embedded service of an archive, in a folder that has none.

    A service on Kafka needs no restore: with --archive its workers read the archive, then the log.
    """
    with plain_errors():
        settings = settings_of(flags)
        with hold_data_dir(settings.data_dir):
            from trialog_server.archive_command import run_restore  # noqa: PLC0415

            run_whole(
                lambda: run_restore(settings, public_key, as_json=as_json),
                "nothing was restored; the next `trialog restore` begins anew",
            )
