"""Opens the object stores that addresses name: a folder, or a bucket. Knows not what is kept there.

The keys of an object storage are taken from the environment by obstore itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from obstore.exceptions import BaseError as StoreError
from obstore.store import from_url

from trialog_schemas.errors import ValidationError, shown

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from obstore.store import ObjectStore


class Use(NamedTuple):
    """What a store is for, in the words of its errors."""

    field: str
    things: str
    store: str


ARTIFACTS = Use("artifacts", "artifacts", "an artifact store")
ARCHIVE = Use("archive", "an archive", "an archive")


def store_at(url: str, use: Use) -> ObjectStore | Path:
    """Return what an address such as `s3://bucket/prefix` or `file:///folder` names.

    A folder is returned as its path and is not made.

    Raises:
        ValidationError: it is no address of a store.
    """
    try:
        parts = urlsplit(url)
        return _folder_of(parts, use) if parts.scheme == "file" else from_url(url)
    except ValidationError:
        raise
    except (ValueError, StoreError) as exc:
        # Only its beginning is repeated: what follows may hold a key.
        scheme = url.partition(":")[0]
        raise ValidationError(
            f"{shown(scheme)} begins no address of {use.store}; give one like "
            "s3://BUCKET/PREFIX, gs://BUCKET or file:///FOLDER",
            field=use.field,
            value=scheme,
            limit="s3://…, gs://…, az://…, file:///…",
        ) from exc


def _folder_of(address: SplitResult, use: Use) -> Path:
    """Return the folder of a `file:` address, which is on this machine."""
    if address.netloc not in {"", "localhost"} or not address.path:
        raise ValidationError(
            f"the address of {use.things} names the machine {shown(address.netloc)}, and a folder "
            "is on this one; write it like file:///FOLDER",
            field=use.field,
            value=address.netloc,
            limit="file:///FOLDER",
        )
    return Path(url2pathname(address.path))
