"""`trialog archive` and `trialog restore` as they are typed: beside a service, killed, released."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

import trialog
from tests.acceptance.faulty import Faulty
from tests.integration.test_archive_replay import digests_of
from tests.services.blocking import run_blocking
from tests.services.trialog import ServiceProcess, TrialogService, wait_until
from tests.unit.consumer.archive_cases import unheard
from trialog.client import Client
from trialog_server.archive.check import check_archive
from trialog_server.archive.manifest import MANIFEST_NAME, Manifest
from trialog_server.archive.place import FolderPlace
from trialog_server.archive.reading import Archive
from trialog_server.postgres.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from pathlib import Path

END_TIMEOUT_S = 60.0
KILLS = 2


def log_runs(service: TrialogService, folder: Path) -> list[str]:
    """Log some runs, a record at a time; return their ids."""
    session = trialog.Session(url=service.url, spool_dir=folder / "spool")
    ids = []
    for number in range(3):
        with trialog.Run("archived", f"run-{number}", session) as run:
            run.log_parameters({"number": number, "text": f"ü{number}"})
            for step in range(8):
                run.log_metric("loss", 1 / step if step else float("nan"), step=step)
                run.flush()
            run.wait(30)
            ids.append(run.run_id)
        run.wait(30)
    return ids


def told(*arguments: str, status: int = 0) -> dict[str, object]:
    """Run a command with --json to its end and return its answer."""
    with ServiceProcess(*arguments, "--json") as running:
        ended = running.wait_ended(END_TIMEOUT_S)
        assert ended == status, "\n".join(running.output)
    answer: dict[str, object] = json.loads(
        next(line for line in running.output if line.startswith("{"))
    )
    return answer


def events_of(service: TrialogService, run_id: str) -> list[object]:
    """Return the audit view of a run."""
    return list(Client(trialog.Session(url=service.url).resolve()).events(run_id))


def checked_manifest(folder: Path) -> Manifest:
    """Return the manifest of an archive whose segments are all whole."""

    async def check() -> Manifest:
        archive = Archive(FolderPlace(folder))
        manifest = await archive.manifest()
        assert await check_archive(archive, manifest, unheard) == []
        return manifest

    return run_blocking(check())


def kill_archiver(arguments: tuple[str, ...], folder: Path, files: int) -> None:
    """Start an archiver and SIGKILL it once there are so many files, whole or not."""
    with ServiceProcess(*arguments, "--segment-records", "1") as archiver:
        wait_until(
            lambda: sum(1 for _ in folder.glob("segments/*/*/*")) >= files, "files are there"
        )
        archiver.kill()


# K2 K4 K6 L3
@pytest.mark.timeout(180)
def test_archive_that_is_killed_again_and_again_is_restored_and_released(tmp_path: Path) -> None:
    """SIGKILL at random moments beside a running service, which then keeps only its log's end."""
    folder, chance = tmp_path / "archive", random.Random(20261126)
    with TrialogService(tmp_path, "--archive", str(folder)) as service:
        ids = log_runs(service, tmp_path)
        archiving = ("archive", "--data-dir", str(service.data_dir), "--to", str(folder))
        total = sum(lease.next_offset for lease in Faulty(service, None).leases())
        files, known = 0, 0
        for _ in range(KILLS):
            files += chance.randint(1, total // (KILLS + 1))
            kill_archiver(archiving, folder, files)
            if (folder / MANIFEST_NAME).exists():
                records = checked_manifest(folder).records
                assert known <= records < total
                known = records
        assert known > 0
        events = [events_of(service, run_id) for run_id in ids]
        before = run_blocking(digests_of(service.postgres_url))

        done = told(*archiving, "--release")
        assert (done["records"], done["new_records"]) == (total, total - known)
        assert checked_manifest(folder).records == total
        assert [events_of(service, run_id) for run_id in ids] == events
        # Tables that are set back to before the log's start go on from the archive.
        Faulty(service, None).deliver_again(into_nothing=True)
        assert run_blocking(digests_of(service.postgres_url)) == before
        verified = told("verify", "--data-dir", str(service.data_dir), "--archive", str(folder))
        assert verified["is_clean"] is True
        assert verified["archive"]["records"] == total  # type: ignore[index]

    restored = tmp_path / "restored"
    restoring = ("restore", "--from", str(folder), "--data-dir", str(restored))
    with ServiceProcess(*restoring) as killed:
        left = restored / "restoring" / "postgres" / "postmaster.pid"
        wait_until(left.exists, "a restore is under way")
        killed.kill()
    assert not (restored / "postgres").exists()
    assert told(*restoring)["records"] == total
    assert not left.parents[1].exists()
    postgres = EmbeddedPostgres(restored / "postgres")
    try:
        assert run_blocking(digests_of(postgres.start())) == before
    finally:
        postgres.stop()
