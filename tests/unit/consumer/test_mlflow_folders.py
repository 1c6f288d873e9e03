"""Artifacts' names as the files and folders that MLflow clients list."""

from __future__ import annotations

from trialog_server.read.runs import ArtifactView
from trialog_server.serve.mlflow.artifact_folders import Entry, folder_entries


def file(name: str) -> Entry:
    """An artifact of a folder."""
    return Entry(name, is_folder=False, size=5)


def folder(name: str) -> Entry:
    """A folder of a folder."""
    return Entry(name, is_folder=True, size=None)


def stored(*names: str) -> list[ArtifactView]:
    """Artifacts of five bytes each."""
    return [
        ArtifactView(name, 1, "artifact", "text/plain", 5, "ab" * 32, True, None, None)
        for name in names
    ]


def test_folder_has_what_is_directly_in_it() -> None:
    """Each folder once, artifacts with their size, in order of names; the rest is further down."""
    artifacts = stored("plots/b/c.png", "plots/a.png", "notes.txt", "plots/b/d.png", "plotsx")
    assert folder_entries(artifacts, "") == [file("notes.txt"), folder("plots"), file("plotsx")]
    for spelling in ("plots", "plots/", "/plots/"):
        assert folder_entries(artifacts, spelling) == [file("a.png"), folder("b")]
    assert folder_entries(artifacts, "plots/b") == [file("c.png"), file("d.png")]


def test_what_is_no_folder_has_nothing_in_it() -> None:
    """An artifact, a folder that does not exist, a way out: MLflow's clients expect no error."""
    artifacts = stored("plots/a.png")
    for path in ("plots/a.png", "plot", "nope", "..", "plots/../plots", "plots//a.png"):
        assert folder_entries(artifacts, path) == []


def test_artifact_and_folder_of_one_name_are_both_there() -> None:
    """Here both may exist; whoever lists them must see that they do."""
    found = folder_entries(stored("a", "a/b"), "")
    assert [(entry.name, entry.is_folder) for entry in found] == [("a", False), ("a", True)]


def test_model_without_bytes_is_not_listed() -> None:
    """A download of the whole folder could not have it."""
    model = ArtifactView("m", 1, "model", None, None, None, True, "s3://b/m", None)
    assert folder_entries([model, *stored("n")], "") == [file("n")]
