"""Reads the files of keys for the commands, with one sentence for what a file system refuses."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from trialog_server.project.checkpoint import read_private_key, read_public_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@contextlib.contextmanager
def plain_files() -> Iterator[None]:
    """Turn what a file system refuses into one sentence."""
    try:
        yield
    except FileExistsError as exc:
        raise click.ClickException(
            f"{exc.filename} is there already and is not replaced; give another name"
        ) from exc
    except OSError as exc:
        raise click.ClickException(
            f"{exc.filename}: {exc.strerror}; give a file that can be used"
        ) from exc


def private_key_of(path: Path) -> Ed25519PrivateKey:
    """Return the private key of a PEM file."""
    with plain_files():
        return read_private_key(path)


def public_key_of(path: Path) -> str:
    """Return the public key of a PEM file as hex digits."""
    with plain_files():
        return read_public_key(path)
