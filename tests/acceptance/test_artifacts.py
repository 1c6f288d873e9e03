"""Artifacts, files and models end to end: the bytes of the call, versions, limits."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3

import trialog
from tests.acceptance.refusals import illegal, refusal
from trialog.client import Client

if TYPE_CHECKING:
    from trialog.answers import ArtifactAnswer

BYTES_MAX = 5_242_880
ARTIFACTS_MAX = 30


def read(session: trialog.Session, run: trialog.Run) -> dict[str, ArtifactAnswer]:
    """The newest version of each artifact as the service has it, by name."""
    answer = Client(session.resolve()).run(run.experiment_name, run.run_name)
    return {artifact["name"]: artifact for artifact in answer["artifacts"]}


def fetch(session: trialog.Session, run: trialog.Run, name: str) -> urllib3.BaseHTTPResponse:
    """The answer to a browser that asks for an artifact's bytes."""
    address = f"{session.url}/api/v1/runs/{run.run_id}/artifacts/content"
    return urllib3.request("GET", address, fields={"name": name})


def versions(session: trialog.Session, run: trialog.Run) -> list[tuple[str, int, str | None]]:
    """Every version of every artifact: name, number and digest."""
    address = f"{session.url}/api/v1/runs/{run.run_id}/artifacts"
    found = urllib3.request("GET", address).json()["artifacts"]
    return [(item["name"], item["version"], item["sha256"]) for item in found]


def sha256(content: bytes) -> str:
    """The digest of the bytes."""
    return hashlib.sha256(content).hexdigest()


# E1
def test_text_comes_back_exactly_with_its_media_type(
    session: trialog.Session, experiment_name: str
) -> None:
    """Unicode, NUL, line breaks and an empty text; the default type; a megabyte of JSON."""
    big = json.dumps({"rows": list(range(150_000))})
    texts = {
        "notes": ("a\r\nb\0c 学習 🙂", "text/plain"),
        "report.md": ("# report\n", "text/markdown"),
        "empty": ("", "text/plain"),
        "folder/big.json": (big, "application/json"),
    }
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_artifact("notes", texts["notes"][0])
        for name, (text, media_type) in list(texts.items())[1:]:
            run.log_artifact(name, text, media_type=media_type)
    run.wait()
    assert len(big) > 1_000_000
    told = read(session, run)
    assert told.keys() == texts.keys()
    for name, (text, media_type) in texts.items():
        content = text.encode()
        assert run.read_artifact(name) == content
        assert told[name]["media_type"] == media_type
        assert (told[name]["size"], told[name]["sha256"]) == (len(content), sha256(content))
        answer = fetch(session, run, name)
        assert answer.data == content
        assert answer.headers["Content-Type"].split(";")[0] == media_type


# E1
@pytest.mark.parametrize("value", [None, b"bytes", 1, ["a"], {"a": 1}])
def test_artifact_that_is_no_text_raises_and_records_nothing(
    session: trialog.Session, experiment_name: str, value: object
) -> None:
    """The error names artifact and value, and the run goes on."""
    with trialog.Run(experiment_name, "one", session) as run:
        with pytest.raises((TypeError, ValueError), match="'notes'"):
            run.log_artifact("notes", value)  # type: ignore[arg-type]
        run.log_artifact("kept", "text")
    run.wait()
    assert read(session, run).keys() == {"kept"}


# E2
def test_same_content_is_a_no_op_and_other_content_a_version(
    session: trialog.Session, experiment_name: str
) -> None:
    """The newest is shown, all stay in the history, and the name counts once."""
    with trialog.Run(experiment_name, "one", session) as run:
        for text in ("first", "first", "second", "first", "first"):
            run.log_artifact("notes", text)
        run.log_artifact("other", "first")
    run.wait()
    told = read(session, run)
    assert (told["notes"]["version"], told["other"]["version"]) == (3, 1)
    assert run.read_artifact("notes") == b"first"
    assert sorted(versions(session, run)) == [
        ("notes", 1, sha256(b"first")),
        ("notes", 2, sha256(b"second")),
        ("notes", 3, sha256(b"first")),
        ("other", 1, sha256(b"first")),
    ]
    second = Client(session.resolve()).read_artifact(run.run_id, "notes", 2)
    assert second == b"second"


# E3
def test_file_comes_back_with_equal_bytes_and_a_type_of_its_extension(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Every byte value; the base name is the default name; an unknown type is a byte stream."""
    content = bytes(range(256)) * 300
    names = {
        "weights.zzz": "application/octet-stream",
        "noextension": "application/octet-stream",
        "plot.png": "image/png",
        "table.csv": "text/csv",
        "data.json": "application/json",
        "größe 学.txt": "text/plain",
    }
    with trialog.Run(experiment_name, "one", session) as run:
        for name in names:
            (tmp_path / name).write_bytes(name.encode() + content)
            run.log_file(str(tmp_path / name))
        run.log_file(tmp_path / "plot.png", "figures/first", "image/x-own")
    run.wait()
    told = read(session, run)
    assert {name: artifact["media_type"] for name, artifact in told.items()} == names | {
        "figures/first": "image/x-own"
    }
    for name in names:
        found = run.read_artifact(name)
        assert sha256(found) == sha256(name.encode() + content) == told[name]["sha256"]
        assert told[name]["kind"] == "file"
    assert run.read_artifact("figures/first") == b"plot.png" + content


# E4 I4
def test_file_that_is_missing_or_a_folder_raises_and_records_nothing(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """FileNotFoundError and IsADirectoryError name the path; the run goes on."""
    missing = tmp_path / "missing.bin"
    with trialog.Run(experiment_name, "one", session) as run:
        for path in (missing, tmp_path / "no folder" / "x", Path("~/no-such-file-of-trialog")):
            with pytest.raises(FileNotFoundError, match=path.name):
                run.log_file(str(path))
        with pytest.raises((IsADirectoryError, ValueError), match=tmp_path.name):
            run.log_file(str(tmp_path))
        with pytest.raises(IsADirectoryError, match="log its files one by one"):
            run.log_file("~")
        run.log_artifact("kept", "text")
    run.wait()
    assert read(session, run).keys() == {"kept"}


# E4
def test_tilde_in_a_path_is_the_home_folder(
    session: trialog.Session,
    experiment_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`~/file` is found in the home folder of the process."""
    (tmp_path / "weights").write_bytes(b"content")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_file("~/weights")
    run.wait()
    assert run.read_artifact("weights") == b"content"


# E5
def test_files_of_one_base_name_keep_their_own_bytes(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Under different artifact names nothing is mixed, though the files are called alike."""
    with trialog.Run(experiment_name, "one", session) as run:
        for folder in ("train", "test"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "data.csv").write_text(folder)
            run.log_file(str(tmp_path / folder / "data.csv"), name=f"{folder}/data.csv")
    run.wait()
    assert run.read_artifact("train/data.csv") == b"train"
    assert run.read_artifact("test/data.csv") == b"test"


# E6
def test_direction_of_an_artifact_is_stored_and_lists_are_filtered_by_it(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """An input is told from an output, which is the default, for files and for texts."""
    (tmp_path / "in.csv").write_text("a")
    (tmp_path / "out.csv").write_text("b")
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_file(str(tmp_path / "in.csv"), is_output=False)
        run.log_file(str(tmp_path / "out.csv"))
        run.log_artifact("out", "c")
        run.log_artifact("in", "c", is_output=False)
    run.wait()
    directions = {artifact.name: artifact.is_output for artifact in run.artifacts}
    assert directions == {"in.csv": False, "out.csv": True, "in": False, "out": True}
    inputs = [name for name, told in read(session, run).items() if not told["is_output"]]
    assert sorted(inputs) == ["in", "in.csv"]
    address = f"{session.url}/api/v1/runs/{run.run_id}/artifacts"
    for asked, names in (("false", ["in", "in.csv"]), ("true", ["out", "out.csv"])):
        page = urllib3.request("GET", address, fields={"is_output": asked}).json()
        assert [one["name"] for one in page["artifacts"]] == names
    assert urllib3.request("GET", address, fields={"is_output": "maybe"}).status == 400


# E7
def test_model_keeps_its_four_values_and_fetches_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """Several models of a run come back as they were described; their bytes are elsewhere."""
    with trialog.Run(experiment_name, "one", session) as run:
        run.log_model("s3://nowhere.invalid/a/model.tar.gz", "classifier", "torch", "2.1")
        run.log_model("https://127.0.0.1:9/b/model.tar.gz", framework="sklearn")
        run.log_model("file:///no/such/model.pt")
    run.wait()
    found = {
        artifact.uri: (artifact.model_type, artifact.framework, artifact.framework_version)
        for artifact in run.artifacts
    }
    assert found == {
        "s3://nowhere.invalid/a/model.tar.gz": ("classifier", "torch", "2.1"),
        "https://127.0.0.1:9/b/model.tar.gz": (None, "sklearn", None),
        "file:///no/such/model.pt": (None, None, None),
    }
    assert {artifact.kind for artifact in run.artifacts} == {"model"}
    refusal(
        trialog.ResourceNotFoundError,
        "ResourceNotFound",
        run.read_artifact,
        run.artifacts[0].name,
    )


# E7
def test_model_without_a_scheme_raises_and_records_nothing(
    session: trialog.Session, experiment_name: str
) -> None:
    """A path is no address; the error names the argument and shows how to write it."""
    with trialog.Run(experiment_name, "one", session) as run:
        for uri in ("model.tar.gz", "/models/m", "", "://x", "1s3://x", "s3:", None, 3):
            error = illegal(run.log_model, uri)
            assert error.field == "model_data_uri"
            assert repr(uri) in str(error)
        run.log_artifact("kept", "text")
    run.wait()
    assert read(session, run).keys() == {"kept"}


# E8
def test_artifact_31_is_refused_and_nothing_of_it_stored(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Texts, files and models share 30 names; an old name still takes a new version."""
    file = tmp_path / "file.bin"
    file.write_bytes(b"thirty-first file")
    with trialog.Run(experiment_name, "one", session) as run:
        for index in range(10):
            run.log_artifact(f"text{index}", "same")
            run.log_file(str(file), name=f"file{index}")
            run.log_model(f"s3://bucket/model{index}")
        content = f"thirty-first of {experiment_name}"
        limit = (trialog.LimitExceededError, "ResourceLimitExceeded")
        error = refusal(*limit, run.log_artifact, "text10", content)
        assert isinstance(error, ValueError)
        assert (error.limit, "30" in str(error)) == ("30", True)
        refusal(*limit, run.log_file, str(file), "file10")
        refusal(*limit, run.log_model, "s3://bucket/model10")
        run.log_artifact("text0", "new version")
        run.log_artifact("text1", "same")
    run.wait()
    told = read(session, run)
    assert len(told) == ARTIFACTS_MAX
    assert not {"text10", "file10"} & told.keys()
    assert run.read_artifact("text0") == b"new version"
    assert [one.code for one in run.rejections] == ["artifact_limit"] * 3
    address = f"{session.url}/api/v1/artifacts/{sha256(content.encode())}"
    assert urllib3.request("HEAD", address).status == 404


# E9
def test_file_of_5_mib_is_kept_and_one_byte_more_refused_before_it_is_sent(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """5,242,880 bytes pass, 5,242,881 and a TiB do not and are nowhere; an empty file is a file."""
    file = tmp_path / "weights.bin"
    content = os.urandom(BYTES_MAX)
    with trialog.Run(experiment_name, "one", session) as run:
        file.write_bytes(content + b"x")
        limit = (trialog.LimitExceededError, "ResourceLimitExceeded")
        error = refusal(*limit, run.log_file, str(file), "weights")
        assert isinstance(error, ValueError)
        assert "5242881 bytes" in str(error)
        assert error.limit == "5242880"
        refusal(*limit, run.log_artifact, "text", "é" * (BYTES_MAX // 2) + "x")
        os.truncate(file, 2**40)  # of zeros that nobody has written
        error = refusal(*limit, run.log_file, str(file), "weights")
        assert f"{2**40} bytes" in str(error)
        file.write_bytes(content)
        run.log_file(str(file), "weights")
        file.write_bytes(b"")
        run.log_file(str(file), "empty")
    run.wait()
    assert read(session, run).keys() == {"weights", "empty"}
    assert run.read_artifact("weights") == content
    assert run.read_artifact("empty") == b""
    refused = f"{session.url}/api/v1/artifacts/{sha256(content + b'x')}"
    assert urllib3.request("HEAD", refused).status == 404


# E10
def test_file_that_changes_after_the_call_is_kept_as_it_was(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """The bytes are those of the moment of the call, also when the file is gone by then."""
    file = tmp_path / "checkpoint"
    with trialog.Run(experiment_name, "one", session) as run:
        for epoch in range(3):
            file.write_text(f"epoch {epoch}")
            run.log_file(str(file), name=f"epoch{epoch}")
        file.unlink()
    run.wait()
    for epoch in range(3):
        assert run.read_artifact(f"epoch{epoch}") == f"epoch {epoch}".encode()


WAYS_OUT = [
    "../x",
    "/etc/passwd",
    "a/../b",
    "a//b",
    ".",
    "..",
    "C:\\x",
    "a\\b",
    "",
    "a\nb",
    "x" * 256,
]


# E1 E3
def test_artifact_of_a_name_that_leads_out_of_its_folder_raises(
    session: trialog.Session, experiment_name: str, tmp_path: Path
) -> None:
    """Texts and files are checked alike; what is refused is not recorded."""
    (tmp_path / "file").write_bytes(b"content")
    with trialog.Run(experiment_name, "one", session) as run:
        for name in WAYS_OUT:
            assert illegal(run.log_artifact, name, "text").field == "artifact name"
            assert illegal(run.log_file, tmp_path / "file", name).field == "artifact name"
        illegal(run.log_artifact, "notes", "text", "no media type")
        run.log_artifact("kept", "text")
    run.wait()
    assert read(session, run).keys() == {"kept"}
