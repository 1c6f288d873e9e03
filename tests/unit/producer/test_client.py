"""What the client asks, and which exception each answer that is none becomes."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
import structlog

from tests.unit.producer.answers import (
    URL,
    Answering,
    endpoint_in,
    rejection_answer,
    run_answer,
)
from trialog.client import COMMAND_WAIT_S, Client, number, request_over_http
from trialog_schemas.decode import unpack_record
from trialog_schemas.errors import (
    AccessRefusedError,
    ClientError,
    LimitExceededError,
    ParameterImmutableError,
    ResourceInUseError,
    ResourceNotFoundError,
    UnavailableError,
    ValidationError,
)
from trialog_schemas.events import NIL_ID, Event, RunDeleted
from trialog_schemas.limits import Limits
from trialog_schemas.wire import unframe

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from trialog.settings import Endpoint

RUN_ID = "ab" * 16
WRITER_ID = "01" * 16


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    """An endpoint whose service is not there."""
    return endpoint_in(tmp_path)


def query_of(url: str) -> dict[str, list[str]]:
    """Return the parameters of an address."""
    return parse_qs(urlsplit(url).query)


def error_answer(status: int, code: str, **facts: str) -> tuple[int, object]:
    """Return an error as the service tells it."""
    return status, {"error": {"code": code, "message": "not so", **facts}}


def test_policy_is_the_limits_of_new_runs(endpoint: Endpoint) -> None:
    """Limits of a later version are left out, missing ones are the defaults."""
    told = {"limits": {"points_max": 9, "later": 1}, "version": "1", "rules_version": 1}
    service = Answering([(200, told)])
    assert service.client(endpoint).policy() == Limits(points_max=9)


def test_service_that_does_not_answer_is_said_and_not_taken_for_none(endpoint: Endpoint) -> None:
    """A word while somebody waits, none for the sender, whose own comes; the error says which."""
    said = threading.Event()

    def ask(*_request: object) -> tuple[int, bytes]:
        said.wait(wait_s)
        raise TimeoutError

    def note(_logger: object, _method: str, event: MutableMapping[str, Any]) -> NoReturn:
        logged.append(event)
        said.set()
        raise structlog.DropEvent

    logged: list[MutableMapping[str, Any]] = []
    wait_s = 5.0
    structlog.configure(processors=[note])
    try:
        with pytest.raises(UnavailableError, match="does not answer: it takes connections"):
            Client(endpoint, ask, word_after_s=0).policy()
        said.clear()
        wait_s = 0.05
        with pytest.raises(UnavailableError, match="see what holds it, or start it again"):
            Client(endpoint, ask, word_after_s=0).send_records(b"")
    finally:
        structlog.reset_defaults()
    (line,) = logged
    assert line["event"] == "the service does not answer yet; it is waited for"
    assert line["address"] == URL


def test_run_is_asked_by_names_that_cannot_leave_their_place(endpoint: Endpoint) -> None:
    """Whatever a name holds, it is one part of the path."""
    service = Answering([(200, run_answer())])
    service.client(endpoint).run("e/../x", "r?a=b&c#d é")
    assert service.asked[0].url == (
        f"{URL}/api/v1/experiments/e%2F..%2Fx/runs/r%3Fa%3Db%26c%23d%20%C3%A9"
    )


def test_question_carries_the_key_and_what_it_must_wait_for(tmp_path: Path) -> None:
    """The key is a header and never part of an address; positions are those to be applied."""
    service = Answering([(200, run_answer()), (200, run_answer())])
    client = service.client(endpoint_in(tmp_path, "s3cret"))
    client.run_by_id(RUN_ID, ["events:0:7", "catalog:0:1"])
    client.run_by_id(RUN_ID)
    first, second = service.asked
    assert first.headers == {
        "Trialog-Position": "events:0:7,catalog:0:1",
        "Authorization": "Bearer s3cret",
    }
    assert second.headers == {"Authorization": "Bearer s3cret"}
    assert "s3cret" not in first.url


def test_parameters_that_are_none_are_not_asked(endpoint: Endpoint) -> None:
    """None is the service's own default."""
    service = Answering([(200, {"runs": [], "next_token": None, "total": 0})])
    service.client(endpoint).runs("e", {"sort_by": "Name", "next_token": None, "max_results": 5})
    assert query_of(service.asked[0].url) == {"sort_by": ["Name"], "max_results": ["5"]}


def test_search_posts_its_question_as_json(endpoint: Endpoint) -> None:
    """A filter may be long and hold any character."""
    service = Answering([(200, {"runs": [], "next_token": None, "total": 0})])
    service.client(endpoint).search("e", {"filter": "tags.a = 'é&'", "order_by": None})
    (asked,) = service.asked
    assert (asked.method, asked.headers["Content-Type"]) == ("POST", "application/json")
    assert orjson.loads(asked.body or b"") == {"filter": "tags.a = 'é&'"}


def test_pages_are_asked_until_there_are_no_more(endpoint: Endpoint) -> None:
    """Each with the token of the one before; nothing is asked that nobody looks at."""
    pages = [
        {"rejections": [rejection_answer("first")], "next_token": "t1"},
        {"rejections": [], "next_token": "t2"},
        {"rejections": [rejection_answer("last")], "next_token": None},
    ]
    service = Answering([(200, page) for page in pages])
    found = service.client(endpoint).rejections(RUN_ID, ["events:0:7"])
    assert service.asked == []
    assert [one["code"] for one in found] == ["first", "last"]
    tokens = [query_of(one.url).get("next_token") for one in service.asked]
    assert tokens == [None, ["t1"], ["t2"]]
    assert {one.headers["Trialog-Position"] for one in service.asked} == {"events:0:7"}


def test_series_events_and_artifacts_come_page_by_page(endpoint: Endpoint) -> None:
    """In the service's order, across pages."""
    service = Answering(
        [
            (200, {"values": [1.0], "next_token": "n"}),
            (200, {"values": [2.0], "next_token": None}),
            (200, {"events": [{"seq": 1}], "next_token": "n"}),
            (200, {"events": [{"seq": 2}], "next_token": None}),
        ]
    )
    client = service.client(endpoint)
    assert [page["values"] for page in client.series(RUN_ID, "a b/c")] == [[1.0], [2.0]]
    assert [event["seq"] for event in client.events(RUN_ID)] == [1, 2]
    assert query_of(service.asked[0].url)["name"] == ["a b/c"]


def test_applied_asks_for_all_positions_of_one_writer(endpoint: Endpoint) -> None:
    """One question, one answer."""
    service = Answering([(200, {"applied": True, "rejections": []})])
    answer = service.client(endpoint).applied(
        ["events:0:1", "events:1:2"], run_id=RUN_ID, writer_id=WRITER_ID, wait_s=2.5
    )
    assert answer["applied"]
    assert query_of(service.asked[0].url) == {
        "position": ["events:0:1", "events:1:2"],
        "run": [RUN_ID],
        "writer": [WRITER_ID],
        "wait_s": ["2.5"],
    }


def test_command_is_one_record_of_the_catalog_whose_verdict_is_waited_for(
    endpoint: Endpoint,
) -> None:
    """It has a writer of its own, whose first and only event it is."""
    answer = {"applied": True, "rejections": [], "run": None, "experiment": None, "limits": {}}
    service = Answering([(200, answer)])
    service.client(endpoint).command(WRITER_ID, 77, RunDeleted(RUN_ID))
    (asked,) = service.asked
    assert query_of(asked.url) == {"wait_s": [str(COMMAND_WAIT_S)]}
    (record,) = unframe(asked.body or b"")
    header, (event,) = unpack_record(record)
    assert (header.run_id, header.writer_id, header.user) == (NIL_ID, WRITER_ID, endpoint.user)
    assert isinstance(event, Event)
    assert (event.seq, event.at_us, event.body) == (1, 77, RunDeleted(RUN_ID))


def test_command_without_a_verdict_in_time_is_unavailable(endpoint: Endpoint) -> None:
    """The caller learns what is probably missing."""
    service = Answering([(200, {"applied": False, "rejections": []})])
    with pytest.raises(UnavailableError, match="no verdict within 10 s; is a worker running"):
        service.client(endpoint).command(WRITER_ID, 77, RunDeleted(RUN_ID))


def test_artifact_is_put_under_its_digest_and_read_by_its_name(endpoint: Endpoint) -> None:
    """Bytes travel as they are."""
    content = bytes(range(256))
    service = Answering([(201, {"sha256": "aa" * 32, "size": 256}), (200, content)])
    client = service.client(endpoint)
    client.put_artifact("aa" * 32, content)
    assert client.read_artifact(RUN_ID, "a b", None) == content
    put, read = service.asked
    assert (put.method, put.body) == ("PUT", content)
    assert put.url == f"{URL}/api/v1/artifacts/{'aa' * 32}"
    assert put.headers["Content-Type"] == "application/octet-stream"
    assert query_of(read.url) == {"name": ["a b"]}


@pytest.mark.parametrize("answer", [(200, b"<html>welcome</html>"), (302, b""), (204, b"")])
def test_artifact_is_not_stored_by_what_is_no_trialog_service(
    endpoint: Endpoint, answer: tuple[int, bytes]
) -> None:
    """A proxy's login page takes everything and keeps nothing: the bytes stay in the spool."""
    with pytest.raises(UnavailableError, match="is no trialog service"):
        Answering([answer]).client(endpoint).put_artifact("aa" * 32, b"content")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ValidationException", ValidationError),
        (400, "ResourceLimitExceeded", LimitExceededError),
        (413, "ResourceLimitExceeded", LimitExceededError),
        (409, "ResourceInUse", ResourceInUseError),
        (409, "ParameterImmutable", ParameterImmutableError),
        (404, "ResourceNotFound", ResourceNotFoundError),
        (401, "AccessRefused", AccessRefusedError),
        (421, "AccessRefused", AccessRefusedError),
        (404, "RouteNotFound", ClientError),
        (415, "UnsupportedMediaType", ClientError),
        (503, "ServiceUnavailable", UnavailableError),
    ],
)
def test_error_answer_is_the_error_of_its_code(
    endpoint: Endpoint, status: int, code: str, kind: type[ClientError]
) -> None:
    """With the service's words, field, value and limit."""
    service = Answering([error_answer(status, code, field="name", value="'x'", limit="1..")])
    with pytest.raises(ClientError) as caught:
        service.client(endpoint).experiment("e")
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.code) == ("not so", code)
    if kind is not UnavailableError:
        assert (caught.value.field, caught.value.value, caught.value.limit) == (
            "name",
            "'x'",
            "1..",
        )


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalError"), (502, "x"), (504, "x"), (408, "RequestTimeout"), (429, "TooMany")],
)
def test_fault_of_the_service_is_no_refusal(endpoint: Endpoint, status: int, code: str) -> None:
    """What may succeed when it is sent again is kept for that, whatever its code."""
    with pytest.raises(UnavailableError, match="not so"):
        Answering([error_answer(status, code)]).client(endpoint).put_artifact("aa" * 32, b"")


@pytest.mark.parametrize(
    "answer",
    [
        (404, b"<html>not found</html>"),
        (502, b"Bad Gateway"),
        (400, {"detail": "another service"}),
        (400, []),
        (301, b""),
        (200, b"<html>"),
        (200, b""),
    ],
)
def test_answer_of_another_program_names_the_address_and_the_variable(
    endpoint: Endpoint, answer: tuple[int, object]
) -> None:
    """A mistyped port is told from a service that is away."""
    with pytest.raises(UnavailableError, match=rf"at {URL} is no trialog service.*TRIALOG_URL"):
        Answering([answer]).client(endpoint).experiment("e")


def test_no_answer_names_the_address_and_what_to_do(endpoint: Endpoint) -> None:
    """The cause is chained."""
    cause = ConnectionRefusedError("refused")
    with pytest.raises(UnavailableError, match=f"at {URL}; start one with `trialog up`") as caught:
        Answering([cause]).client(endpoint).experiment("e")
    assert caught.value.__cause__ is cause


def test_no_listener_is_an_os_error_of_the_request() -> None:
    """Threads share the connections; each gets its own failure."""
    errors: list[OSError] = []

    def ask() -> None:
        try:
            request_over_http("GET", "http://127.0.0.1:9/", None, {})
        except OSError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 4


@pytest.mark.parametrize(
    ("told", "value"),
    [(1, 1.0), (0.5, 0.5), ("Infinity", math.inf), ("-Infinity", -math.inf)],
)
def test_number_of_an_answer_is_a_float(told: float | str, value: float) -> None:
    """JSON has no infinities: they come as texts."""
    assert number(told) == value


@pytest.mark.parametrize("told", ["NaN", None])
def test_number_that_is_none_is_nan(told: str | None) -> None:
    """A metric whose points are all NaN has no minimum."""
    assert math.isnan(number(told))
