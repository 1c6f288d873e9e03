"""Input that cannot be right: each is a 4xx with code, field, value and limit, never a trace."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.integration.api_service import open_api, record_of
from trialog_schemas.events import ExperimentCreated, ParametersLogged
from trialog_schemas.limits import RECORD_BYTES_MAX, REQUEST_BYTES_MAX
from trialog_schemas.wire import frame
from trialog_server.ingest.gateway import RECORDS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.integration.api_service import Api

# One service for all: no question of this module changes what it holds.
pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

RUN = f"/api/v1/runs/{'0' * 32}"
SEARCH = "/api/v1/experiments/e/runs/search"
RECORDS = {"Content-Type": "application/x-trialog-records"}
JSON = {"Content-Type": "application/json"}
INVALID = (400, "ValidationException")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A service with one experiment."""
    async with open_api(module_postgres_url, tmp_path_factory.mktemp("artifacts")) as opened:
        await opened.rows.experiment("e")
        yield opened


class Parts(NamedTuple):
    """What an error must name, each a piece of the text."""

    field: str
    value: str | None
    limit: str


def check(response: httpx2.Response, answer: tuple[int, str], parts: Parts) -> None:
    """The answer has that status and code, names the parts, and holds nothing of our insides."""
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == answer, error
    assert error["field"] == parts.field, error
    assert parts.limit in error["limit"], error
    if parts.value is None:
        assert "value" not in error
    else:
        assert parts.value in error["value"], error
    assert len(error["value"] if parts.value else "") <= 80
    for inside in ("Traceback", "site-packages", 'File "', "asyncpg", "sys."):
        assert inside not in response.text


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/api/v1/experiments?max_results=" + "9" * 5000, Parts("max_results", "'999", "integer")),
        ("/api/v1/experiments?max_results=1.5", Parts("max_results", "'1.5'", "integer")),
        ("/api/v1/experiments?max_results=%D9%A3", Parts("max_results", "'٣'", "integer")),
        ("/api/v1/experiments?max_results=%00", Parts("max_results", "x00", "integer")),
        ("/api/v1/experiments?sort_by=%ED%A0%80", Parts("sort_by", "�", "CreationTime")),
        ("/api/v1/experiments?next_token=%00", Parts("next_token", "x00", "token")),
        ("/api/v1/experiments?next_token=" + "a" * 5000, Parts("next_token", "'aaa", "4096")),
        ("/api/v1/experiments?nexttoken=a", Parts("nexttoken", "'a'", "openapi")),
        ("/api/v1/experiments/a%00", Parts("experiment_name", "x00", "1..256")),
        ("/api/v1/experiments/e/runs/" + "r" * 257, Parts("run_name", "'rrr", "1..256")),
        ("/api/v1/runs/0", Parts("run_id", "'0'", "32 hex digits")),
        (f"{RUN}/series", Parts("name", None, "required")),
        (f"{RUN}/series?name=a&buckets=1e3", Parts("buckets", "'1e3'", "integer")),
        (f"{RUN}/series?name=a&buckets=10001", Parts("buckets", "'10001'", "10000")),
        (f"{RUN}/series?name=a&max_results=100001", Parts("max_results", "'100001'", "100000")),
        (f"{RUN}/series?name=a&bucket=5", Parts("bucket", "'5'", "openapi")),
        (f"{RUN}/rejections?max_results=0", Parts("max_results", "'0'", "1")),
        (f"{RUN}/rejections?sort_by=Name", Parts("sort_by", "'Name'", "openapi")),
        (f"{RUN}/events?max_results=101", Parts("max_results", "'101'", "100")),
        (f"{RUN}/events?next_token=x", Parts("next_token", "'x'", "token")),
        (f"{RUN}/children?max_results=0", Parts("max_results", "'0'", "1")),
        (f"{RUN}/artifacts?max_results=101", Parts("max_results", "'101'", "100")),
        (f"{RUN}/artifacts?name=a", Parts("name", "'a'", "openapi")),
        (f"{RUN}/artifacts/content", Parts("name", None, "required")),
        (f"{RUN}/artifacts/content?name=%00", Parts("name", "x00", "1..256")),
        (f"{RUN}/artifacts/content?name=a&version=-1", Parts("version", "'-1'", "0")),
        (f"{RUN}/artifacts/content?name=a&version=2147483648", Parts("version", "'214", "214")),
        (f"{RUN}/artifacts/content?name=a&versions=1", Parts("versions", "'1'", "openapi")),
        ("/api/v1/applied", Parts("position", None, "required")),
        ("/api/v1/applied?position=events:0:%D9%A3", Parts("position", "٣", "partition")),
        ("/api/v1/applied?position=events:0:" + "9" * 40, Parts("position", "999", "partition")),
        ("/api/v1/applied?position=events:0:1&wait_s=1e400", Parts("wait_s", "1e400", "finite")),
        ("/api/v1/applied?position=events:0:1&wait_s=61", Parts("wait_s", "'61'", "60")),
        ("/api/v1/applied?" + "&position=events:0:1" * 65, Parts("position", "65", "64")),
    ],
)
async def test_query_that_cannot_be_right_names_its_parts(
    api: Api, path: str, parts: Parts
) -> None:
    """Types, NUL, surrogates, huge numbers, broken tokens and unknown fields of a query."""
    check(await api.client.get(path), INVALID, parts)


def forged(*content: object) -> str:
    """A token of any content."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


NEWEST = "CreationTime Descending"


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/api/v1/experiments", forged(NEWEST, 1e300, None, "0" * 32)),
        ("/api/v1/experiments", forged(NEWEST, -(10**17), None, "0" * 32)),
        ("/api/v1/experiments", forged(NEWEST, 1, None, "x\0")),
        ("/api/v1/experiments", forged(NEWEST, 1, None, None)),
        ("/api/v1/experiments/e/runs", forged("Name Descending", None, "a", "0" * 32)),
        (f"{RUN}/rejections", forged("rejections", "t", 1, "0" * 32, 1, 2**31)),
        (f"{RUN}/rejections", forged("rejections", "t", 2**63, "0" * 32, 1, 0)),
        (f"{RUN}/rejections", forged("rejections", "t\0", 1, "0" * 32, 1, 0)),
        (f"{RUN}/rejections", forged("rejections", "t", 1, "zz", 1, 0)),
        (f"{RUN}/events", forged("events", "t")),
        (f"{RUN}/events", forged("events", "t", "1")),
        (f"{RUN}/events", forged("rejections", "t", 1)),
        (f"{RUN}/children", forged("CreationTime Ascending", 2**62, None, "0")),
        (f"{RUN}/artifacts", forged("artifacts", "a", 2**31)),
        (f"{RUN}/artifacts", forged("artifacts", "a", -1)),
        (f"{RUN}/artifacts", forged("artifacts", "a\0", 1)),
        (f"{RUN}/series?name=a", forged("series", 5, 1)),
        (f"{RUN}/series?name=a", forged("series", -1, 1)),
        (f"{RUN}/series?name=a", forged("series", 0, 2**63)),
    ],
)
async def test_forged_token_is_a_validation_error(api: Api, path: str, token: str) -> None:
    """A token that a list did not give never reaches the database as a broken value."""
    separator = "&" if "?" in path else "?"
    response = await api.client.get(f"{path}{separator}next_token={token}")
    check(response, INVALID, Parts("next_token", "'", "token"))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", None),
        (b"null", Parts("body", None, "one JSON object")),
        (b'"x"', Parts("body", "'x'", "one JSON object")),
        (b"[1", Parts("body", None, "JSON object")),
        (b'{"max_results": 1}}', Parts("body", None, "JSON object")),
        (b"\xef\xbb\xbf{", Parts("body", None, "JSON object")),
        (b'{"max_results": true}', Parts("max_results", "True", "integer")),
        (b'{"max_results": null}', Parts("max_results", None, "integer")),
        (b'{"max_results": 5.0}', Parts("max_results", "5.0", "integer")),
        (b'{"max_results": 1e400}', Parts("max_results", "inf", "integer")),
        (b'{"max_results": 1' + b"0" * 30 + b"}", Parts("max_results", "1000", "100")),
        (b'{"max_results": ' + b"9" * 5000 + b"}", Parts("body", None, "JSON object")),
        (b'{"max_results": -Infinity}', Parts("body", None, "JSON object")),
        (b'{"filter": 5}', Parts("filter", "5", "string")),
        (b'{"filter": ["\\ud800"]}', Parts("filter", "ud800", "string")),
        (b'{"filter": "\\udfff"}', Parts("filter", "udfff", "string")),
        (b'{"filter": "' + b"a" * 4097 + b'"}', Parts("filter", "'aaa", "4096")),
        (b'{"filter": "params.a = "}', Parts("filter", "params.a", "expected")),
        (b'{"filter": "params.a = 1e999"}', Parts("filter", "1e999", "range")),
        (b'{"filter": "x = 1"}', Parts("filter", "x = 1", "field")),
        (b'{"order_by": "metrics.a up"}', Parts("order_by", "up", "asc")),
        (b'{"order_by": "\\u0000"}', Parts("order_by", "x00", "NUL")),
        (b'{"next_token": {}}', Parts("next_token", "{}", "string")),
        (b'{"next_token": "\\ud800"}', Parts("next_token", "ud800", "string")),
        (b'{"orderby": "a"}', Parts("orderby", "'a'", "openapi")),
        (b'{"filter": "a", "filter": "a"}', Parts("filter", None, "one value")),
        (b'{"\\ud800": 1}', Parts("body", "ud800", "Unicode")),
        (b'{"\\ud800": 1, "\\ud800": 2}', Parts("body", "ud800", "Unicode")),
        (b'{"filter": {"a\\u0000": 1}}', Parts("body", "x00", "Unicode")),
    ],
)
async def test_body_that_cannot_be_right_names_its_parts(
    api: Api, content: bytes, parts: Parts | None
) -> None:
    """Wrong types, broken JSON, numbers beyond any field and names beyond any text."""
    response = await api.client.post(SEARCH, content=content, headers=JSON)

    if parts is None:
        assert response.status_code == 200, "no body asks for the defaults"
    else:
        check(response, INVALID, parts)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/jsonx", "*/*"])
async def test_body_of_another_type_names_both_types(api: Api, kind: str | None) -> None:
    """A body is read as what it says it is, or not at all."""
    headers = {} if kind is None else {"Content-Type": kind}
    response = await api.client.post(SEARCH, content=b"{}", headers=headers)
    check(
        response,
        (415, "UnsupportedMediaType"),
        Parts("content-type", f"'{kind or ''}'", "application/json"),
    )


@pytest.mark.parametrize(
    ("method", "path", "bytes_max", "kind"),
    [
        ("POST", SEARCH, 65_536, "application/json"),
        ("POST", "/api/v1/records", REQUEST_BYTES_MAX, RECORDS["Content-Type"]),
        ("POST", "/api/v1/commands", RECORD_BYTES_MAX + 4, RECORDS["Content-Type"]),
        ("PUT", f"/api/v1/artifacts/{'0' * 64}", 5_242_880, "application/octet-stream"),
        ("GET", "/api/v1/experiments", 65_536, "application/json"),
        ("POST", "/nowhere", 65_536, "application/json"),
    ],
)
async def test_body_above_its_bound_names_the_bound(
    api: Api, method: str, path: str, bytes_max: int, kind: str
) -> None:
    """Each route has its bound, also one that does not exist or reads no body."""
    response = await api.client.request(
        method, path, content=b"x" * (bytes_max + 1), headers={"Content-Type": kind}
    )
    check(
        response,
        (413, "ResourceLimitExceeded"),
        Parts("body", f"announced: {bytes_max + 1}", str(bytes_max)),
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost:port", "[::1", "127.1"]
)
async def test_host_that_is_not_ours_names_those_that_are(api: Api, host: str) -> None:
    """A name that was made to point here is refused before any route is looked at."""
    response = await api.client.get("/healthz", headers={"Host": host})
    check(response, (421, "AccessRefused"), Parts("host", host[:40], "127.0.0.1"))


async def test_origin_that_is_not_ours_names_ours(api: Api) -> None:
    """A page of another site is told who may write."""
    response = await api.client.post(
        SEARCH, content=b"{}", headers={**JSON, "Origin": "http://evil.example"}
    )
    check(
        response,
        (403, "AccessRefused"),
        Parts("origin", "http://evil.example", "http(s)://127.0.0.1:7788"),
    )


@pytest.mark.parametrize(
    ("method", "path", "answer", "field", "value"),
    [
        ("GET", "/api/v1/nothing", (404, "RouteNotFound"), "path", "/api/v1/nothing"),
        ("GET", "/api/v1/experiments//runs", (404, "RouteNotFound"), "path", "//runs"),
        ("GET", "/page/../settings.py", (404, "RouteNotFound"), "path", "settings.py"),
        ("PUT", "/api/v1/artifacts/..%2f..%2fetc", (404, "RouteNotFound"), "path", "etc"),
        ("DELETE", "/api/v1/experiments/e", (405, "MethodNotAllowed"), "method", "DELETE"),
        ("PATCH", "/api/v1/records", (405, "MethodNotAllowed"), "method", "PATCH"),
        ("TRACE", "/", (405, "MethodNotAllowed"), "method", "TRACE"),
    ],
)
async def test_address_that_nothing_answers_names_what_is_wrong(
    api: Api, method: str, path: str, answer: tuple[int, str], field: str, value: str
) -> None:
    """No such path, or a path that does not know the method, in the one shape of errors."""
    error = (await api.client.request(method, path)).json()["error"]

    assert error["code"] == answer[1], error
    assert error["field"] == field
    assert value in error["value"]
    assert "/api/openapi.json" in error["message"]


@pytest.mark.parametrize(
    "header", ["", ",", "events", "events:0", "events:-1:0", "x:0:0", "events:0:0;1", "\xb2"]
)
async def test_position_header_that_is_none_names_the_form(api: Api, header: str) -> None:
    """A position that was not given by the service is refused by every reading route."""
    for path in ("/api/v1/experiments", "/api/v1/experiments/e/runs", RUN, f"{RUN}/events"):
        headers = [(b"Trialog-Position", header.encode("latin-1"))]
        response = await api.client.get(path, headers=headers)
        check(response, INVALID, Parts("position", "'", "topic:partition:offset"))


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"\x01", (400, "Undecodable")),
        (b"\xff\xff\xff\xff", (400, "Undecodable")),
        (b"\x00\x00\x00\x00", (400, "Undecodable")),
        (frame([b"x"]) * (RECORDS_MAX + 1), (400, "ResourceLimitExceeded")),
    ],
)
async def test_records_that_are_no_records_leave_nothing_in_the_log(
    api: Api, content: bytes, answer: tuple[int, str]
) -> None:
    """Broken framing, and rubbish so small that its receipts would be larger, is refused whole."""
    response = await api.client.post("/api/v1/records", content=content, headers=RECORDS)

    assert (response.status_code, response.json()["error"]["code"]) == answer


async def test_records_of_rubbish_get_a_receipt_each(api: Api) -> None:
    """What is framed is judged one by one: the sender learns which of them are none."""
    records = [b"x", b"TLOG", b"TLOG\x01\x00\xff\xff", b"\0" * 300]
    response = await api.client.post("/api/v1/records", content=frame(records), headers=RECORDS)

    receipts = response.json()["receipts"]
    assert [receipt["code"] for receipt in receipts] == ["Undecodable"] * 4
    assert all(receipt["message"] for receipt in receipts)


async def test_commands_that_are_none_name_what_a_command_is(api: Api) -> None:
    """No record, two records, and a record of a run: each says what to send instead."""
    one = record_of("0" * 32, uuid4().hex, ExperimentCreated(uuid4().hex, "new"))
    of_a_run = record_of(uuid4().hex, uuid4().hex, ParametersLogged({"a": 1}))
    for content, field, value, limit in (
        (b"", "body", "0", "1"),
        (frame([one, one]), "body", "2", "1"),
        (frame([of_a_run]), "run", "'", "the catalog"),
    ):
        response = await api.client.post("/api/v1/commands", content=content, headers=RECORDS)
        check(response, INVALID, Parts(field, value, limit))


@pytest.mark.parametrize("digest", ["A" * 64, "0" * 63, "0" * 65, "g" * 64, "%00" + "0" * 63])
async def test_artifact_under_no_digest_is_told_what_one_is(api: Api, digest: str) -> None:
    """Only 64 lower-case hex digits become a path."""
    response = await api.client.put(f"/api/v1/artifacts/{digest}", content=b"x")
    check(response, INVALID, Parts("sha256", "'", "64 hex digits"))
