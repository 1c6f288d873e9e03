"""Names of artifacts, whatever they look like: kept as they are or refused, and never a path."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
import urllib3

import trialog

if TYPE_CHECKING:
    from tests.services.trialog import TrialogService

COMPOSED = unicodedata.normalize("NFC", "caf\u00e9")
LEGAL = [
    "Model.pt", "model.pt", "MODEL.PT", "CON", "nul.txt", "a..b", "...", "a.", ".hidden", "-rf",
    "a b", " a", "a ", "a/b/c", "%2e%2e%2fx", "a?b#c", 'a"b\'; filename=x', "x" * 255,
    COMPOSED, unicodedata.normalize("NFD", COMPOSED), "\u0430.txt", "a.txt",
]  # fmt: skip
"""Two of these differ in case only, two in how an accent is written, two in a letter's script."""

REFUSED = [
    "../x", "..", ".", "a/../b", "a/./b", "/etc/passwd", "//x", "a//b", "a/", "C:\\x", "C:x",
    "c:/x", "\\\\host\\x", "a\\b", "a\nb", "a\r\nSet-Cookie: x", "a\0b", "\ud800", "", "x" * 256,
    "\u202egnp.exe", "a\u200bb", "a\u00a0b", "\u2028",
]  # fmt: skip


# E1 E2
def test_artifact_of_any_name_is_kept_as_it_is_and_nowhere_else(
    service: TrialogService, session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Each legal name has its own bytes; none of them, and no refused one, is a place on a disk."""
    (tmp_path / "file").write_bytes(b"of a file")
    with trialog.Run(experiment_name, "one", session) as run:
        for number, name in enumerate(LEGAL):
            run.log_artifact(name, f"content {number}")
            bad = REFUSED[number % len(REFUSED)]
            with pytest.raises(trialog.ValidationError, match="artifact name"):
                run.log_artifact(bad, "lost")
            with pytest.raises(trialog.ValidationError, match="artifact name"):
                run.log_file(tmp_path / "file", name=bad)
        for bad in REFUSED[len(LEGAL) :]:
            with pytest.raises(trialog.ValidationError, match="artifact name"):
                run.log_artifact(bad, "lost")
        run.log_file(bytes(tmp_path / "file"))
    run.wait()
    assert run.rejections == []
    assert {one.name: one.version for one in run.artifacts} == dict.fromkeys([*LEGAL, "file"], 1)
    for number, name in enumerate(LEGAL):
        assert run.read_artifact(name) == f"content {number}".encode()
        assert_download_stays_in_its_folder(session, run, name)
    stored = [path for path in (service.data_dir / "artifacts").rglob("*") if path.is_file()]
    assert all(
        len(path.name) == 64 and set(path.name) <= set("0123456789abcdef") for path in stored
    )
    assert [path.name for path in tmp_path.rglob("*") if path.name in {"x", "b", "passwd"}] == []


def assert_download_stays_in_its_folder(
    session: trialog.Session, run: trialog.Run, name: str
) -> None:
    """Hold the name under which a browser saves an artifact against its own last part."""
    answer = urllib3.request(
        "GET",
        f"{session.url}/api/v1/runs/{run.run_id}/artifacts/content",
        fields={"name": name},
    )
    kind, _, saved = answer.headers["Content-Disposition"].partition("; filename*=UTF-8''")
    assert kind in {"inline", "attachment"}
    assert not set(saved) & set("/\\\"'; \r\n")
    assert unquote(saved) == name.rpartition("/")[2]
    assert "Set-Cookie" not in answer.headers
