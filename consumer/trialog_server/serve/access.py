"""The one place that decides access: which host names, origins and keys the service answers to.

Everything is refused that is not allowed here. A route added anywhere is behind this gate without
doing anything for it; only the paths in `OPEN_PATHS` are reachable without a configured key.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from trialog_schemas.errors import ValidationError, shown
from trialog_server.serve.errors import RequestRefusedError, error_response

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine that a request to a loopback address carries."""

WILDCARD_ADDRESSES = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104  named, not bound
"""Addresses that stand for all of this machine's: clients then come under names we cannot know."""

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
"""What answers without a key: that the process lives, and the page's own files (no data)."""

OPEN_PREFIX = "/page/"

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_CALLER_KEY = "trialog.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is known: the account whose data is read and written."""

    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """What the service answers to.

    Args:
        host: the address it is bound to. Requests may be addressed to it and to the names of this
            machine; when it stands for all addresses, to any name, because only the key counts.
        names: further host names, such as that of a proxy in front.
        api_key: the secret every request but those to OPEN_PATHS must carry; None: no secret,
            which is possible on this machine's own addresses only.
        account: the account of this service's data.
    """

    host: str = "127.0.0.1"
    names: frozenset[str] = frozenset()
    api_key: str | None = field(default=None, repr=False)
    account: str = "default"

    def __post_init__(self) -> None:
        if self.api_key == "":
            raise ValidationError(
                "api_key is empty, which would let everybody in; give a secret or none at all",
                field="api_key",
            )
        if self.api_key is None and _bracketed(self.host) not in LOOPBACK_HOSTS:
            raise ValidationError(
                f"host {self.host!r} can be reached from other machines and no API key is set; "
                "configure one or bind to 127.0.0.1",
                field="host",
                value=self.host,
                limit="an API key",
            )

    @property
    def hosts(self) -> frozenset[str]:
        """The names, without port, that a request may be addressed to."""
        names = {name.lower() for name in self.names}
        return LOOPBACK_HOSTS | {_bracketed(self.host)} | names

    def decide(self, method: str, path: str, headers: Headers) -> Caller:
        """Return who asks.

        Raises:
            RequestRefusedError: host, origin or key are not those of this policy.
        """
        host = self._check_host(headers.getlist("host"))
        if method not in READING_METHODS:
            _check_origin(headers.getlist("origin"), host)
        if self.api_key is not None and not _is_open(method, path):
            _check_key(headers.get("authorization"), self.api_key)
        return Caller(self.account)

    def _check_host(self, hosts: list[str]) -> str:
        host = hosts[0].lower() if len(hosts) == 1 else ""
        is_known = self.host in WILDCARD_ADDRESSES or _without_port(host) in self.hosts
        if not host or not is_known:
            raise RequestRefusedError(
                f"host {shown(', '.join(hosts))} is not a name of this service; "
                f"use one of {', '.join(sorted(self.hosts))}",
                code="AccessRefused",
                status=421,
                facts={
                    "field": "host",
                    "value": ", ".join(hosts),
                    "limit": ", ".join(sorted(self.hosts)),
                },
            )
        return host


class AccessGate:
    """Asks the policy before anything else sees a request."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with its caller, or answer with the refusal."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No route speaks WebSocket; whoever adds one must decide its access here.
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            caller = self._policy.decide(scope["method"], scope["path"], Headers(scope=scope))
        except RequestRefusedError as refusal:
            await error_response(refusal, scope["path"])(scope, receive, send)
            return
        scope[_CALLER_KEY] = caller
        await self._app(scope, receive, send)


def caller_of(request: HTTPConnection) -> Caller:
    """Return who asks; the gate has put it into the scope of every request."""
    caller = request.scope[_CALLER_KEY]
    if not isinstance(caller, Caller):
        raise TypeError(f"no caller but {caller!r} in the scope")
    return caller


def _is_open(method: str, path: str) -> bool:
    return method in READING_METHODS and (path in OPEN_PATHS or path.startswith(OPEN_PREFIX))


def _check_origin(origins: list[str], host: str) -> None:
    """Refuse a write that a page of another site started in somebody's browser."""
    if not origins:
        return  # not a browser
    if len(origins) > 1 or origins[0].lower() not in (f"http://{host}", f"https://{host}"):
        raise RequestRefusedError(
            f"origin {shown(', '.join(origins))} may not write here; "
            "only this service's own page and programs may",
            code="AccessRefused",
            status=403,
            facts={"field": "origin", "value": ", ".join(origins), "limit": f"http(s)://{host}"},
        )


def _check_key(authorization: str | None, api_key: str) -> None:
    scheme, _, given = (authorization or "").partition(" ")
    # compare_digest takes the same time wherever the difference is.
    is_right = hmac.compare_digest(given.strip().encode(), api_key.encode())
    if scheme.lower() != "bearer" or not is_right:
        raise RequestRefusedError(
            "the API key is missing or wrong; send it as 'Authorization: Bearer KEY' "
            "(TRIALOG_API_KEY for the SDK)",
            code="AccessRefused",
            status=401,
            facts={"field": "authorization", "limit": "Bearer KEY"},  # what was given is a secret
            headers={"WWW-Authenticate": "Bearer"},
        )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def _bracketed(host: str) -> str:
    """Return the host as a request names it: an IPv6 address stands in brackets."""
    name = host.lower()
    return f"[{name}]" if ":" in name and not name.startswith("[") else name
