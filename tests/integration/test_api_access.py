"""The gate in front of every route of the real application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.routing import Route

from tests.integration.api_service import open_api
from trialog_server.serve.access import OPEN_PATHS, OPEN_PREFIX, AccessPolicy
from trialog_server.serve.mlflow.error_shape import is_mlflow_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.applications import Starlette

    from tests.integration.api_service import Api

pytestmark = pytest.mark.postgres

KEY = "s3cret"


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """A service with a key."""
    async with open_api(postgres_url, tmp_path, access=AccessPolicy(api_key=KEY)) as opened:
        yield opened


def live_routes(app: Starlette) -> Iterator[tuple[str, str]]:
    """Method and an example address of every route that the application really has."""
    for route in app.routes:
        assert isinstance(route, Route), f"{route!r}: say here how its access is decided"
        path = route.path_format.replace("{run_id}", "0" * 32).replace("{sha256}", "a" * 64)
        for method in route.methods or ():
            yield method, path.replace("{name}", "e").replace("{run_name}", "r")


async def test_every_route_refuses_who_has_no_key(api: Api) -> None:
    """No route but the open ones answers without the key, however it was added."""
    routes = list(live_routes(api.app))
    assert len(routes) > 25

    for method, path in routes:
        is_open = path in OPEN_PATHS or path.startswith(OPEN_PREFIX)
        response = await api.client.request(method, path)
        assert (response.status_code == 401) is not is_open, (method, path)


async def test_every_route_refuses_a_foreign_host(api: Api) -> None:
    """Even the open routes answer only to the service's own names."""
    for method, path in live_routes(api.app):
        response = await api.client.request(
            method, path, headers={"Host": "evil.example", "Authorization": f"Bearer {KEY}"}
        )
        assert response.status_code == 421, (method, path)


async def test_every_writing_route_refuses_a_foreign_origin(api: Api) -> None:
    """A page of another site cannot write, even from a browser that knows the key."""
    for method, path in live_routes(api.app):
        if method in ("GET", "HEAD"):
            continue
        response = await api.client.request(
            method,
            path,
            headers={"Origin": "http://evil.example", "Authorization": f"Bearer {KEY}"},
        )
        assert response.status_code == 403, (method, path)
        content = response.json()
        if is_mlflow_path(path):
            assert content["error_code"] == "PERMISSION_DENIED"
        else:
            assert content["error"]["code"] == "AccessRefused"


async def test_who_has_the_key_is_let_in(api: Api) -> None:
    """With the key the routes answer."""
    response = await api.client.get(
        "/api/v1/experiments", headers={"Authorization": f"Bearer {KEY}"}
    )

    assert response.status_code == 200


# G9
async def test_mlflow_client_without_the_key_is_told_in_its_own_words(api: Api) -> None:
    """It reads a code and a sentence, which names the variable that it takes the key from."""
    response = await api.client.get("/api/2.0/mlflow/runs/get", params={"run_id": "0" * 32})

    assert response.status_code == 401
    assert response.json().keys() == {"error_code", "message"}
    assert response.json()["error_code"] == "UNAUTHENTICATED"
    assert "MLFLOW_TRACKING_TOKEN" in response.json()["message"]


async def test_a_missing_key_is_asked_for_by_name(api: Api) -> None:
    """The refusal says which header is meant, and repeats no secret."""
    response = await api.client.get("/api/v1/policy", headers={"Authorization": "Bearer nope"})

    assert response.headers["www-authenticate"] == "Bearer"
    assert "TRIALOG_API_KEY" in response.json()["error"]["message"]
    assert KEY not in response.text
    assert "nope" not in response.text
