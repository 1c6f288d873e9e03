"""The bytes of an artifact as an answer, under headers by which no browser runs them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from trialog_schemas.errors import ResourceNotFoundError

if TYPE_CHECKING:
    from trialog_server.artifacts import ArtifactStore
    from trialog_server.read.runs import ArtifactView

INLINE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Media types a browser may show in place: pictures that cannot hold a script."""

_MEDIA_TYPE = re.compile(
    r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(; ?[a-z0-9-]+=[a-z0-9_.+-]+)*",
    re.IGNORECASE | re.ASCII,
)


async def artifact_response(store: ArtifactStore, artifact: ArtifactView) -> Response:
    """Return the answer that streams an artifact's bytes.

    Raises:
        ResourceNotFoundError: it is a model whose bytes are elsewhere.
    """
    if artifact.sha256 is None:
        raise ResourceNotFoundError(
            f"artifact {artifact.name!r} is a model at {artifact.uri!r} whose bytes are not kept "
            "here; get them from that address",
            field="name",
            value=artifact.name,
        )
    size = await store.has(artifact.sha256)
    parts = await store.get_stream(artifact.sha256)
    return StreamingResponse(
        parts, headers=_content_headers(artifact, size), media_type=_media_type(artifact)
    )


def _media_type(artifact: ArtifactView) -> str:
    """Return the artifact's media type if it is one; a client gave it."""
    given = artifact.media_type or ""
    return given if _MEDIA_TYPE.fullmatch(given) else "application/octet-stream"


def _content_headers(artifact: ArtifactView, size: int | None) -> dict[str, str]:
    """Return headers under which a browser never runs what somebody uploaded."""
    is_inline = _media_type(artifact).lower() in INLINE_TYPES
    file_name = quote(artifact.name.rpartition("/")[2], safe="")
    headers = {
        "Content-Disposition": f"{'inline' if is_inline else 'attachment'}; "
        f"filename*=UTF-8''{file_name}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
        "ETag": f'"{artifact.sha256}"',
    }
    if size is not None:
        headers["Content-Length"] = str(size)
    return headers
