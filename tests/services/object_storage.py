"""A small object storage that speaks S3's protocol on loopback: objects, conditions, a listing.

Enough of it for the real client: GET, HEAD, PUT with If-Match and If-None-Match, and ListObjectsV2
in one page. It checks no signature.
"""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.services.ports import LOOPBACK

if TYPE_CHECKING:
    from types import TracebackType

BUCKET = "bucket"
_TIME = "Thu, 01 Jan 2026 00:00:00 GMT"


class ObjectStorage:
    """A bucket in memory; `answers_lost` says for how many writes no answer is given."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.answers_lost = 0
        self.lock = threading.Lock()
        storage = self

        class Handler(_Handler):
            store = storage

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What the client takes its endpoint and its keys from."""
        return {
            "AWS_ENDPOINT": f"http://{LOOPBACK}:{self._server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-west-1",
        }

    def put(self, name: str, content: bytes, must_match: str | None, *, must_be_new: bool) -> bool:
        """Store an object unless its condition is not met."""
        with self.lock:
            found = self.objects.get(name)
            if must_be_new and found is not None:
                return False
            if must_match is not None and (found is None or tag(found) != must_match):
                return False
            self.objects[name] = content
            return True


def tag(content: bytes) -> str:
    """Return an object's ETag."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStorage

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Say nothing."""

    def do_PUT(self) -> None:
        """Store an object."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        is_stored = self.store.put(
            self._name(),
            content,
            self.headers["If-Match"],
            must_be_new=self.headers["If-None-Match"] == "*",
        )
        if is_stored and self.store.answers_lost:
            self.store.answers_lost -= 1
            self.close_connection = True
            return
        self._answer(200 if is_stored else 412, b"", tag(content))

    def do_GET(self) -> None:
        """Return an object, or the names of some."""
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._answer(200, self._listing(query.get("prefix", [""])[0]), "")
            return
        content = self.store.objects.get(self._name())
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "")
        else:
            self._answer(200, content, tag(content))

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")

    def _listing(self, prefix: str) -> bytes:
        items = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name, content in sorted(self.store.objects.items())
            if name.startswith(prefix)
        )
        listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
        return listing.encode()

    def _answer(self, status: int, content: bytes, etag: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", _TIME)
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(content)
