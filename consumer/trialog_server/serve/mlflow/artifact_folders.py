"""The folders that a run's artifacts seem to be in: a slash in a name is one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialog_server.read.runs import ArtifactView


@dataclass(frozen=True, slots=True)
class Entry:
    """An artifact, or a folder, which has no size; `name` is the last part of its path."""

    name: str
    is_folder: bool
    size: int | None


def folder_entries(artifacts: Iterable[ArtifactView], folder: str) -> list[Entry]:
    """Return what is directly in a folder, in order of names; "" is the run's root.

    A model whose bytes are elsewhere is left out: whoever downloads a folder could not have it.
    Nothing is in a folder that does not exist, and nothing in an artifact.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    found: dict[tuple[str, bool], Entry] = {}
    for artifact in artifacts:
        if artifact.sha256 is None or not artifact.name.startswith(prefix):
            continue
        name, slash, _ = artifact.name.removeprefix(prefix).partition("/")
        is_folder = slash != ""
        found[name, is_folder] = Entry(name, is_folder, None if is_folder else artifact.size)
    return [found[key] for key in sorted(found)]
