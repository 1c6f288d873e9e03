"""What a verification says of an archive, alone and before a service is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.consumer.archive_cases import archived, chains, filled_log, unheard
from trialog_schemas.errors import ResourceNotFoundError, UnavailableError, ValidationError
from trialog_server.archive.manifest import SEGMENTS_PREFIX
from trialog_server.archive.place import FolderPlace
from trialog_server.archive.write import archive_log
from trialog_server.settings import ServerSettings
from trialog_server.verify_archive import run_verify_alone
from trialog_server.verify_command import run_verify

if TYPE_CHECKING:
    from pathlib import Path

    from trialog_server.archive.manifest import Manifest


@pytest.fixture
async def manifest(tmp_path: Path) -> Manifest:
    """An archive in a folder."""
    return await archived(await filled_log(), FolderPlace(tmp_path / "archive"))


def settings(folder: Path) -> ServerSettings:
    """Return settings with an archive, and without a service."""
    return ServerSettings(data_dir=folder / "nothing", archive=str(folder / "archive"))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on standard output."""
    return capsys.readouterr().out.splitlines()


def damage(folder: Path, manifest: Manifest) -> str:
    """Cut the second file of a partition; return its name."""
    partition, segments = next(
        (one, found) for one, found in manifest.segments.items() if len(found) > 1
    )
    path = folder / "archive" / segments[1].name_in(partition)
    path.write_bytes(path.read_bytes()[:-1])
    return path.name


@pytest.mark.parametrize("as_json", [False, True])
async def test_whole_archive_is_said_to_be_that(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    """Status 0, how much there is, and who has signed it; as lines or as one object."""
    assert await run_verify_alone(settings(tmp_path), None, as_json=as_json) == 0
    (line,) = said(capsys)
    if as_json:
        answer = orjson.loads(line)
        assert answer["is_clean"] is True
        assert answer["archive"]["records"] == manifest.records == 41
        assert answer["archive"]["findings"] == []
    else:
        assert line.startswith("archive: 41 records in ")
        assert line.endswith("signed by nobody")


async def test_file_that_no_manifest_names_is_told_and_is_no_fault(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an archiver left that was killed is none of the archive, and does no harm."""
    assert manifest.records
    name = f"{SEGMENTS_PREFIX}trialog.events.v1/0/{0:020}-{'ab' * 16}.parquet"
    await FolderPlace(tmp_path / "archive").write(name, b"left")
    assert await run_verify_alone(settings(tmp_path), None, as_json=False) == 0
    assert said(capsys)[1:] == [
        f"archive: {name} is in no manifest: an archiver is at work, or has left it over"
    ]
    assert await run_verify_alone(settings(tmp_path), None, as_json=True) == 0
    assert orjson.loads(said(capsys)[0])["left_over"] == [name]


# K6 L3
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("is_alone", [True, False])
async def test_damaged_archive_is_status_1_and_names_the_file(
    manifest: Manifest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    is_alone: bool,
    as_json: bool,
) -> None:
    """Found before anything is replayed, which might need it: no service is looked for."""
    name = damage(tmp_path, manifest)
    if is_alone:
        assert await run_verify_alone(settings(tmp_path), None, as_json=as_json) == 1
    else:
        assert await run_verify(settings(tmp_path), None, None, as_json=as_json) == 1
    first, *rest = said(capsys)
    assert name in first
    if as_json:
        (found,) = orjson.loads(first)["archive"]["findings"]
        assert (found["start"], found["end"]) == (6, 12)
        assert orjson.loads(first)["is_clean"] is False
    else:
        assert "records 6 to 11: " in first
        assert rest == ["not verified: the archive is damaged, and nothing was compared with it"]


async def test_verification_with_a_whole_archive_goes_on_to_the_service(
    manifest: Manifest, tmp_path: Path
) -> None:
    """What is said of the service is what is said without an archive."""
    assert manifest.records
    with pytest.raises(UnavailableError, match="no service has kept data in"):
        await run_verify(settings(tmp_path), None, None, as_json=True)


async def test_archive_of_another_signer_is_refused(tmp_path: Path) -> None:
    """Nobody's signature, or another one, is not that of the key that is asked for."""
    log, place = await filled_log(), FolderPlace(tmp_path / "archive")
    signer, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = tmp_path / "key.pub"
    public.write_bytes(
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    await archive_log(log, place, chains(log), unheard)
    with pytest.raises(ValidationError, match="is signed by nobody, not by"):
        await run_verify_alone(settings(tmp_path), public, as_json=True)
    await archive_log(log, place, chains(log), unheard, key=signer)
    with pytest.raises(ValidationError, match=r"is signed by key [0-9a-f]{64}, not by"):
        await run_verify_alone(settings(tmp_path), public, as_json=True)


async def test_place_without_an_archive_is_no_clean_archive(tmp_path: Path) -> None:
    """A mistyped folder is said, and is not made."""
    with pytest.raises(ResourceNotFoundError, match="there is no archive at"):
        await run_verify_alone(settings(tmp_path), None, as_json=True)
    assert not (tmp_path / "archive").exists()
