"""The service's own measurements: what is counted, under which names, and with how many labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trialog_server.serve.telemetry import UNMATCHED, RequestTelemetry, Telemetry

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def answer(_request: Request) -> Response:
    """Answer, whatever is asked."""
    return PlainTextResponse("done", 201)


async def break_down(_request: Request) -> Response:
    """Fail before anything was sent."""
    raise RuntimeError("a defect")


async def asked(*requests: tuple[str, str]) -> Telemetry:
    """The telemetry of an application after some requests."""
    telemetry = Telemetry()
    routes = [
        Route("/plain", answer, methods=["GET", "POST"]),
        Route("/things/{thing}", answer),
        Route("/broken", break_down),
    ]
    app = RequestTelemetry(Starlette(routes=routes), telemetry)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for method, path in requests:
            await client.request(method, path)
    return telemetry


def counted(telemetry: Telemetry, method: str, route: str, status: int) -> float | None:
    """How many such requests there were."""
    labels = {"method": method, "route": route, "status": str(status)}
    return telemetry.registry.get_sample_value("trialog_http_requests_total", labels)


# L5
async def test_request_is_counted_by_method_route_and_status() -> None:
    """Each request is one, and is timed."""
    telemetry = await asked(("GET", "/plain"), ("GET", "/plain"), ("POST", "/plain"))

    assert counted(telemetry, "GET", "/plain", 201) == 2
    assert counted(telemetry, "POST", "/plain", 201) == 1
    seconds = telemetry.registry.get_sample_value(
        "trialog_http_request_seconds_count", {"route": "/plain"}
    )
    assert seconds == 3


async def test_request_that_broke_is_a_500() -> None:
    """A defect is counted although the application never answered it."""
    assert counted(await asked(("GET", "/broken")), "GET", "/broken", 500) == 1


async def test_address_of_no_route_is_one_label() -> None:
    """Whoever tries a thousand addresses makes one line of telemetry, not a thousand."""
    telemetry = await asked(*(("GET", f"/try-{number}") for number in range(50)))

    assert counted(telemetry, "GET", UNMATCHED, 404) == 50
    assert "try-" not in telemetry.text().decode()


async def test_address_with_an_id_never_becomes_a_label() -> None:
    """Ids are without end: a route of a plain framework that leaves no template is unmatched."""
    telemetry = await asked(("GET", "/things/1"), ("GET", "/things/2"))
    assert "things/1" not in telemetry.text().decode()


@pytest.mark.parametrize(
    ("method", "label"), [("HEAD", "HEAD"), ("BREW", "other"), ("DELETE", "other")]
)
async def test_method_is_one_of_a_few_labels(method: str, label: str) -> None:
    """A method that somebody made up is no new label."""
    telemetry = await asked((method, "/nothing"))
    assert counted(telemetry, label, UNMATCHED, 404) == 1


async def test_lifespan_is_no_request() -> None:
    """Starting and stopping is passed on and counted nowhere."""
    seen: list[str] = []

    async def inner(scope: object, _receive: object, _send: object) -> None:
        seen.append(scope["type"])  # type: ignore[index]

    telemetry = Telemetry()
    await RequestTelemetry(inner, telemetry)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]

    assert seen == ["lifespan"]
    assert "trialog_http_requests_total{" not in telemetry.text().decode()


def test_two_services_measure_apart() -> None:
    """Each service of a process, as in tests, has its own registry."""
    one, two = Telemetry(), Telemetry()
    one.ingest_bytes.inc(5)

    assert "trialog_ingest_bytes_total 5.0" in one.text().decode()
    assert "trialog_ingest_bytes_total 0.0" in two.text().decode()


def test_every_measurement_says_what_to_do() -> None:
    """Help is a sentence about what is measured; all of ours begin with the product's name."""
    for family in Telemetry().registry.collect():
        assert family.name.startswith("trialog_")
        assert len(family.documentation.split()) >= 5
        assert family.documentation.endswith(".")
