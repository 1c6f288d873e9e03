"""What the disk is asked for beside reading and writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def sync_names(folder: Path) -> None:
    """Bring the names in a folder to the disk; systems that have no such call do it themselves."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
