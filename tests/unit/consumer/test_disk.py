"""A new file is whole, or it is not there."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.services.disks import small_disk
from trialog_server.disk import expect_new, write_new
from trialog_server.project.checkpoint import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of four pages."""
    with small_disk(tmp_path, 16_384) as folder:
        yield folder


def test_file_for_which_there_is_no_room_is_named_and_not_left_behind(disk: Path) -> None:
    """A part of a proof would prove nothing, and stand in the way of the next one."""
    path = disk / "proof.json"
    with pytest.raises(OSError, match="No space left") as caught:
        write_new(path, b"x" * 100_000)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(disk.iterdir()) == []


def test_key_without_room_for_its_public_half_is_not_made(disk: Path) -> None:
    """Nobody could check what it signs; the next attempt finds the place free."""
    filling = disk / "filling"
    filling.write_bytes(b"x" * 12_288)
    with pytest.raises(OSError, match="No space left"):
        make_key(disk / "key.pem")
    assert list(disk.iterdir()) == [filling]


def test_place_for_a_new_file_is_free_and_in_a_folder(tmp_path: Path) -> None:
    """Both are asked for before the work for its content, a link to nowhere included."""
    expect_new(tmp_path / "new")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        expect_new(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        expect_new(tmp_path / "none" / "new")
