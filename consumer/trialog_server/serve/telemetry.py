"""The service's own measurements: one list with kind, unit and what to do about them.

Users' metrics are something else; these are for who runs the service (Prometheus, `/metrics`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

UNMATCHED = "unmatched"
"""The route of requests that no route takes: one label, however many addresses are tried."""


class Telemetry:
    """The measurements of one service; each has its own registry, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trialog_http_requests",
            "Requests by method, route and status. Many of 5xx: see the log of the service.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "trialog_http_request_seconds",
            "Seconds from a request's head to its answer's end. Slow reads: look at Postgres.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.ingest_bytes = Counter(
            "trialog_ingest_bytes",
            "Bytes of records taken in over HTTP, those of MLflow's clients included.",
            registry=self.registry,
        )
        self.ingest_records = Counter(
            "trialog_ingest_records",
            "Records over HTTP by outcome, those made of MLflow's requests included. Refused ones: "
            "a client of another version, or damage.",
            ("outcome",),
            registry=self.registry,
        )
        self.lag_records = Gauge(
            "trialog_projection_lag_records",
            "Records of the log not applied yet, by partition. Growing: start more workers, or see "
            "in their words whether the partition stands still. Below 0: the log has lost what was "
            "applied, see `trialog verify`.",
            ("topic", "partition"),
            registry=self.registry,
        )
        self.unapplied_records = Gauge(
            "trialog_unapplied_records",
            "Records with events that an older release could not read and this one can. Not 0: run "
            "`trialog rebuild`.",
            registry=self.registry,
        )
        self.is_database_up = Gauge(
            "trialog_database_up",
            "1 if Postgres and the log answered when these measurements were taken, else 0.",
            registry=self.registry,
        )

    def count_made(self, size: int) -> None:
        """Count a record that was made of a client's request."""
        self.ingest_bytes.inc(size)
        self.ingest_records.labels("accepted").inc()

    def text(self) -> bytes:
        """Return all measurements in Prometheus' text form."""
        return generate_latest(self.registry)


class RequestTelemetry:
    """Counts and times every request, refused ones included."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and remember its route, status and duration."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started_s = time.perf_counter()

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        finally:
            route = _route_of(scope)
            self._telemetry.requests.labels(_method_of(scope), route, str(status)).inc()
            self._telemetry.request_seconds.labels(route).observe(time.perf_counter() - started_s)


def _route_of(scope: Scope) -> str:
    """Return the path template of the route that answered: addresses hold ids without end."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    # Starlette's own routes leave no template; without parameters the path is the template.
    is_plain = scope.get("endpoint") is not None and not scope.get("path_params")
    return str(scope["path"]) if is_plain else UNMATCHED


def _method_of(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in {"GET", "HEAD", "POST", "PUT", "OPTIONS"} else "other"
