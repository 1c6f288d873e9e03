"""Who may ask: host names, origins and keys, decided in one place."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from trialog_schemas.errors import ValidationError
from trialog_server.serve.access import AccessPolicy, Caller
from trialog_server.serve.errors import RequestRefusedError

KEY = "s3cret"


def status_of(policy: AccessPolicy, method: str, path: str, **headers: str) -> int:
    """What the policy answers: 200 for yes."""
    named = {"host": "127.0.0.1:7788", **headers}
    pairs = {name: value for name, value in named.items() if value}
    try:
        caller = policy.decide(method, path, Headers(pairs))
    except RequestRefusedError as refusal:
        return refusal.status
    assert caller == Caller("default")
    return 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7788", 200),
        ("127.0.0.1", 200),
        ("LocalHost:1", 200),
        ("[::1]:7788", 200),
        ("", 421),
        ("evil.example", 421),
        ("evil.example:7788", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.1:7788@evil.example", 421),
        ("localhost.", 421),
        ("127.0.0.1:x", 421),
    ],
)
def test_policy_of_this_machine_answers_only_to_its_names(host: str, status: int) -> None:
    """A page of another site whose name was pointed at us (DNS rebinding) gets nothing."""
    assert status_of(AccessPolicy(), "GET", "/api/v1/experiments", host=host) == status


def test_policy_with_two_hosts_in_one_request_refuses() -> None:
    """Two Host headers are a trick, whichever of them is right."""
    headers = Headers(raw=[(b"host", b"127.0.0.1"), (b"host", b"evil.example")])

    with pytest.raises(RequestRefusedError) as caught:
        AccessPolicy().decide("GET", "/", headers)

    assert caught.value.status == 421


@pytest.mark.parametrize(
    ("host", "asked", "status"),
    [
        ("10.1.2.3", "10.1.2.3:80", 200),
        ("10.1.2.3", "localhost", 200),
        ("10.1.2.3", "trialog.lab", 200),
        ("10.1.2.3", "evil.example", 421),
        ("0.0.0.0", "whatever.example", 200),
        ("::", "whatever.example", 200),
        ("fe80::1", "[fe80::1]:7788", 200),
    ],
)
def test_policy_of_another_address_answers_to_it_and_to_named_hosts(
    host: str, asked: str, status: int
) -> None:
    """Bound elsewhere, its address and configured names count; bound to all, only the key does."""
    policy = AccessPolicy(host=host, names=frozenset({"Trialog.lab"}), api_key=KEY)

    assert (
        status_of(policy, "GET", "/api/v1/policy", host=asked, authorization=f"Bearer {KEY}")
        == status
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "example.com"])
def test_policy_for_other_machines_needs_a_key(host: str) -> None:
    """Without a key the service is reachable on this machine's own addresses only."""
    with pytest.raises(ValidationError, match="no API key is set"):
        AccessPolicy(host=host)


def test_policy_with_an_empty_key_is_refused() -> None:
    """An empty secret is no secret."""
    with pytest.raises(ValidationError, match="api_key is empty"):
        AccessPolicy(api_key="")


def test_policy_shows_no_key() -> None:
    """A settings object in a log or a trace does not give the secret away."""
    assert KEY not in repr(AccessPolicy(api_key=KEY))


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("", 200),
        ("http://127.0.0.1:7788", 200),
        ("https://127.0.0.1:7788", 200),
        ("http://localhost:7788", 403),
        ("http://127.0.0.1:9999", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "ANYTHING"])
def test_policy_lets_only_the_own_page_write(method: str, origin: str, status: int) -> None:
    """A browser says from which page a write comes; programs say nothing."""
    assert status_of(AccessPolicy(), method, "/api/v1/records", origin=origin) == status


def test_policy_does_not_ask_readers_for_their_origin() -> None:
    """A read changes nothing, and its answer stays with our own origin."""
    assert status_of(AccessPolicy(), "GET", "/api/v1/policy", origin="http://evil.example") == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer {KEY}", 200),
        ("", 401),
        (KEY, 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        (f"Bearer {KEY}x", 401),
        (f"Basic {KEY}", 401),
        ("Bearer schlüssel", 401),
    ],
)
def test_policy_with_a_key_lets_only_the_key_in(header: str, status: int) -> None:
    """With a key configured everything but the open paths asks for it."""
    policy = AccessPolicy(api_key=KEY)

    assert status_of(policy, "GET", "/api/v1/policy", authorization=header) == status
    assert status_of(policy, "GET", "/metrics", authorization=header) == status
    assert status_of(policy, "GET", "/no/such/route", authorization=header) == status


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/page/page.js"])
def test_policy_with_a_key_leaves_reading_the_open_paths_open(path: str) -> None:
    """The page's own files and health need no key; writing there would."""
    policy = AccessPolicy(api_key=KEY)

    assert status_of(policy, "GET", path) == 200
    assert status_of(policy, "POST", path) == 401
