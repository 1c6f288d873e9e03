"""Routes that are described: their query fields are known, their answers are in the document."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from trialog_server.serve.described_routes import DescribedApp, DescribedRoute, described_router


class Asked(BaseModel):
    """Fields of a query that stand in a model, one under another name."""

    name: str
    as_of: Annotated[str | None, Field(alias="asOf")] = None


class AnswerJSON(TypedDict):
    """What is answered."""

    total: int


async def of_model(request: Request, thing: str, asked: Annotated[Asked, Query()]) -> Response:
    """Answer a question whose fields stand in a model."""
    return Response(thing)


async def of_fields(
    several: Annotated[list[str], Query()], wait_s: Annotated[float, Query(ge=0)] = 0.0
) -> Response:
    """Answer a question of two fields."""
    return Response()


def described_app() -> DescribedApp:
    """An application of two routes."""
    router = described_router("things", "/things")
    router.add_api_route("/{thing}", of_model, response_model=AnswerJSON)
    router.add_api_route("", of_fields, methods=["POST"], response_model=None)
    app = DescribedApp(title="t", version="1")
    app.router.routes.extend(router.routes)
    return app


def test_query_fields_are_those_of_models_and_of_parameters() -> None:
    """Each by the name a client writes, and whether it may be given more than once."""
    routes = [one for one in described_app().routes if isinstance(one, DescribedRoute)]
    assert [dict(route.query_fields) for route in routes] == [
        {"name": False, "asOf": False},
        {"several": True, "wait_s": False},
    ]


def test_answer_is_described_and_not_gone_through() -> None:
    """The document has the answer's type; the route itself makes nothing of it."""
    app = described_app()
    assert [one.response_field for one in app.routes if isinstance(one, DescribedRoute)] == [
        None, None,
    ]  # fmt: skip
    document = app.openapi()
    assert document is app.openapi()
    answer = document["paths"]["/things/{thing}"]["get"]["responses"]["200"]["content"]
    assert answer["application/json"]["schema"] == {"$ref": "#/components/schemas/AnswerJSON"}
    assert document["components"]["schemas"]["AnswerJSON"]["required"] == ["total"]
    assert document["paths"]["/things"]["post"]["tags"] == ["things"]
