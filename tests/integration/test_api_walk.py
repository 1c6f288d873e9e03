"""Every live route under input that cannot be right: a 4xx in the one shape of errors, each time.

The routes are those that the application really has, so that none is left out by whoever adds one.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import structlog

from tests.integration.api_service import open_api, open_socket
from tests.integration.test_api_access import live_routes
from tests.services.ports import LOOPBACK
from trialog_schemas.wire import EVENTS_TOPIC
from trialog_server.log.base import Partition
from trialog_server.serve.errors import OPENAPI_PATH
from trialog_server.serve.mlflow.error_shape import is_mlflow_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx2

    from tests.integration.api_service import Api

# One service for all: no question of this module changes what it holds.
pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

RECORDS = "application/x-trialog-records"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service with one experiment."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        await opened.rows.experiment("e")
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(api: Api) -> AsyncIterator[int]:
    """The port of a real server before that service."""
    async with open_socket(api.app) as number:
        yield number


def refused(response: httpx2.Response, what: object) -> dict[str, str]:
    """Return the error of an answer: one of the client's in the shape that its client reads."""
    assert 400 <= response.status_code < 500, (what, response.status_code, response.text)
    content = response.json()
    if is_mlflow_path(response.request.url.path):
        assert content.keys() == {"error_code", "message"}, what
        content = {"error": {"code": content["error_code"], "message": content["message"]}}
    error: dict[str, str] = content["error"]
    assert error["code"]
    assert error["message"]
    assert "Traceback" not in response.text
    assert 'File "' not in response.text
    return error


def described(api: Api) -> list[tuple[str, str]]:
    """Method and address of every route that the OpenAPI document describes."""
    paths = api.app.openapi()["paths"]  # type: ignore[attr-defined]  # FastAPI's
    templates = {
        (method.upper(), path): None for path, methods in paths.items() for method in methods
    }
    filled = {"{run_id}": "0" * 32, "{sha256}": "a" * 64, "{name}": "e", "{run_name}": "r"}
    routes = []
    for method, template in templates:
        address = template
        for part, value in filled.items():
            address = address.replace(part, value)
        routes.append((method, address))
    return routes


async def test_openapi_describes_every_route_but_the_page(api: Api) -> None:
    """The hot route is in the document as well, with the type of its body."""
    routes = set(described(api))
    live = {one for one in live_routes(api.app) if "page" not in one[1] and one[1] != "/"}
    assert live - routes - {("GET", OPENAPI_PATH), ("HEAD", OPENAPI_PATH)} == set()
    document = (await api.client.get(OPENAPI_PATH)).json()
    records = document["paths"]["/api/v1/records"]["post"]
    assert list(records["requestBody"]["content"]) == [RECORDS]
    assert records["responses"]["200"]["content"]["application/json"]["schema"]


async def test_query_field_that_a_route_does_not_have_is_refused_by_every_route(api: Api) -> None:
    """A slip of the pen is noticed wherever it is made, also where no field is taken at all.

    Not where MLflow clients ask: a newer one may send more, as to MLflow's own server.
    """
    for method, address in described(api):
        if is_mlflow_path(address):
            continue
        response = await api.client.request(method, f"{address}?colour=red&%ff=1")
        if method == "HEAD":
            assert response.status_code == 400
            continue
        error = refused(response, (method, address))
        assert (error["code"], error["field"]) == ("ValidationException", "colour"), address
        assert (error["value"], error["limit"]) == ("'red'", f"the fields of {OPENAPI_PATH}")


async def test_query_field_that_is_given_twice_is_refused_where_one_counts(api: Api) -> None:
    """Nobody can tell which was meant; positions are asked for together, and may be several."""
    run = f"/api/v1/runs/{'0' * 32}"
    for address, field in (
        ("/api/v1/experiments?max_results=1&max_results=1", "max_results"),
        ("/api/v1/experiments/e/runs?sort_by=Name&sort_by=CreationTime", "sort_by"),
        (f"{run}/series?name=a&name=b", "name"),
        (f"{run}/artifacts/content?name=a&version=1&version=2", "version"),
        (f"{run}/events?next_token=a&next_token=b", "next_token"),
        ("/api/v1/applied?position=events:0:1&wait_s=0&wait_s=60", "wait_s"),
    ):
        error = refused(await api.client.get(address), address)
        assert (error["field"], error["limit"]) == (field, "one value a field")
    several = await api.client.get("/api/v1/applied?position=events:0:1&position=events:1:1")
    assert several.status_code == 200


async def test_near_miss_of_a_query_field_is_asked_about(api: Api) -> None:
    """Who wrote it wrong is told how it is written."""
    response = await api.client.get("/api/v1/experiments?max_result=5")
    assert "did you mean 'max_results'?" in refused(response, "max_result")["message"]


PARTS = (
    "%00",
    "%FF",
    "%C0%AF",
    "%ED%A0%80",
    "..",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "a%2Fb",
    "%5C..%5C",
    "a" * 5000,
    "%0d%0aSet-Cookie:%20a=b",
    "%E2%80%AE",
    "{}",
    "*",
    "-1",
)
"""What stands where a name or an id should: NUL, illegal UTF-8, ways out of a folder, much."""


async def test_part_of_a_path_that_cannot_be_right_is_refused_by_every_route(api: Api) -> None:
    """Whatever stands in the place of a name or an id: not found, or not legal, never a fault."""
    paths = api.app.openapi()["paths"]  # type: ignore[attr-defined]  # FastAPI's
    asked = [
        (method.upper(), re.sub(r"{\w+}", bad, template))
        for template, methods in paths.items()
        for method in methods
        for bad in PARTS
        if "{" in template
    ]
    assert len(asked) > 10 * len(PARTS)
    with structlog.testing.capture_logs() as logged:
        for method, address in asked:
            response = await api.client.request(
                method, address, content=b"", headers={"Content-Type": "text/plain"}
            )
            if method == "HEAD":
                assert 400 <= response.status_code < 500, address
            else:
                refused(response, (method, address))
    assert logged == []


async def test_method_that_a_route_does_not_know_names_those_it_does(api: Api) -> None:
    """Every route tells by 405 which methods it has."""
    known: dict[str, set[str]] = {}
    for method, address in live_routes(api.app):
        known.setdefault(address, set()).add(method)
    for address, methods in known.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
            response = await api.client.request(method, address)
            if response.status_code == 405:  # another route may share the address
                code = "BAD_REQUEST" if is_mlflow_path(address) else "MethodNotAllowed"
                assert refused(response, (method, address))["code"] == code
                assert response.headers["allow"]
            else:
                refused(response, (method, address))


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, gzip"])
async def test_packed_body_is_refused_before_anything_is_unpacked(api: Api, encoding: str) -> None:
    """Small bytes that become gigabytes have no way in: records are compressed by themselves."""
    for method, address in described(api):
        if method in ("POST", "PUT"):
            response = await api.client.request(
                method, address, content=b"\x1f\x8b", headers={"Content-Encoding": encoding}
            )
            error = refused(response, (method, address))
            assert response.status_code == 415
            if is_mlflow_path(address):
                continue  # its clients read a code and a sentence
            assert error["field"] == "content-encoding"
            assert (error["value"], error["limit"]) == (f"'{encoding}'", "identity")


@asynccontextmanager
async def connected(
    port: int, first: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which some bytes were sent."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(first)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(port: int, *lines: str, first: str = "GET /healthz HTTP/1.1") -> bytes:
    """A request's head."""
    return "\r\n".join([first, f"Host: {LOOPBACK}:{port}", *lines, "", ""]).encode("latin-1")


async def wait_measured(api: Api, line: str) -> None:
    """Wait until the telemetry has a line that begins so."""
    async with asyncio.timeout(10):
        while True:
            if line in (await api.client.get("/metrics")).text:
                return
            await asyncio.sleep(0.01)


NO_HTTP: dict[str, Callable[[int], bytes]] = {
    "TLS": lambda _: b"\x16\x03\x01\x02\x00\x01",
    "words": lambda _: b"HELLO\r\n\r\n",
    "a path of other bytes": lambda port: head(port, first="GET /\xff HTTP/1.1"),
    "no host": lambda _: b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": lambda port: head(port, f"Host: {LOOPBACK}"),
    "a header with a space": lambda port: head(port, "Bad Header: x"),
    "a header without a name": lambda port: head(port, ": x"),
    "two lengths": lambda port: head(port, "Content-Length: 1", "Content-Length: 2"),
    "a head of a megabyte": lambda port: head(port, "X: " + "a" * 1_000_000),
    "a hundred thousand header lines": lambda port: head(port, *["X: a"] * 100_000),
    "a chunk of no size": lambda port: (
        head(
            port,
            "Transfer-Encoding: chunked",
            f"Content-Type: {RECORDS}",
            first="POST /api/v1/records HTTP/1.1",
        )
        + b"zz\r\n"
    ),
}


@pytest.mark.parametrize("case", NO_HTTP)
async def test_bytes_that_are_no_http_are_answered_in_the_one_shape(port: int, case: str) -> None:
    """A typed 400 and the end of the connection, in JSON like every other refusal."""
    async with connected(port, NO_HTTP[case](port)) as (reader, _):
        answer = await asyncio.wait_for(reader.read(), 20)
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 400 "), answer[:300]
    assert b"content-type: application/json" in top.lower()
    assert b'"code":"BadRequest"' in body
    assert b'"field":"request"' in body
    assert b"Traceback" not in body


async def test_client_that_leaves_in_the_middle_of_its_body_is_no_defect(
    api: Api, port: int
) -> None:
    """Nobody has to look at it: nothing is logged, and nothing of the body is in the log."""
    lines = (f"Content-Type: {RECORDS}", "Content-Length: 100")
    request = head(port, *lines, first="POST /api/v1/records HTTP/1.1") + b"abc"
    before = [len(api.log.stored(Partition(EVENTS_TOPIC, one))) for one in range(4)]
    with structlog.testing.capture_logs() as logged:
        async with connected(port, request) as (_, writer):
            await writer.drain()
        # Requests are counted when they have ended, this one as the client's fault.
        counted = 'trialog_http_requests_total{method="POST",route="/api/v1/records",status="400"}'
        await wait_measured(api, counted)
    assert logged == []
    assert before == [len(api.log.stored(Partition(EVENTS_TOPIC, one))) for one in range(4)]


async def test_hundred_slow_senders_hold_up_nobody(port: int) -> None:
    """Heads and bodies that drip keep their own connections only; others are answered at once."""
    lines = (f"Content-Type: {RECORDS}", "Content-Length: 100000")
    slow_body = head(port, *lines, first="POST /api/v1/records HTTP/1.1") + b"a"
    async with AsyncExitStack() as stack:
        writers = []
        for number in range(100):
            first = slow_body if number % 2 else b"GET /healthz HTTP/1.1\r\nX: "
            writers.append((await stack.enter_async_context(connected(port, first)))[1])
        started_s = time.monotonic()
        for _ in range(3):
            for writer in writers:
                writer.write(b"x")
            async with connected(port, head(port, "Connection: close")) as (reader, _):
                answer = await asyncio.wait_for(reader.read(), 10)
            assert answer.startswith(b"HTTP/1.1 200"), answer
        assert time.monotonic() - started_s < 10
