"""What lets a broker start quickly, made once a machine and kept beside the jars.

A start is spent on reading and checking classes: from the archive of a broker that ran before, Java
has them at once, and passes over one that does not fit. To format a folder takes another Java; the
folder of a formatted broker is copied instead.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path


def class_archive(jars: Path) -> Path:
    """Return where the archive of this machine's Java is, or will be."""
    java = Path(shutil.which("java") or "java").resolve()
    made_ns = java.stat().st_mtime_ns if java.exists() else 0
    digest = hashlib.sha256(f"{java} {made_ns}".encode()).hexdigest()[:8]
    return jars / f"classes-{digest}.jsa"


def class_options(jars: Path) -> tuple[str, ...]:
    """Return what Java is told to use the archive, if it was made."""
    archive = class_archive(jars)
    return (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()


def formatted_folder(jars: Path) -> Path:
    """Return where the data of a broker that has never run is, or will be."""
    return jars / "formatted"
