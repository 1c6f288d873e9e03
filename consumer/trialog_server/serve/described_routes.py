"""Routes that answer by themselves, so that the types of their answers are only described.

FastAPI makes a serializer of every answer's type, twice where a router is included, though no
answer of ours goes through one; with the document that took 0.25 s of every start. Here both are
made when somebody asks for the document.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fastapi.params import Depends


class DescribedRoute(APIRoute):
    """A route whose `response_model` is for the OpenAPI document alone."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **{**options, "response_model": None})
        self._options = options

    @cached_property
    def query_fields(self) -> Mapping[str, bool]:
        """The fields that the route takes in its query, and whether each may be repeated."""
        return {
            name: get_origin(_plain(annotation)) is list for name, annotation in _fields_of(self)
        }

    def as_documented(self) -> APIRoute:
        """Return the same route with its answer, as FastAPI describes it."""
        return APIRoute(self.path, self.endpoint, **self._options)


class DescribedApp(FastAPI):
    """An application whose document is made when it is asked for, and not before."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            routes = [
                route.as_documented() if isinstance(route, DescribedRoute) else route
                for route in self.routes
            ]
            self.openapi_schema = get_openapi(title=self.title, version=self.version, routes=routes)
        return self.openapi_schema


def described_router(tag: str, prefix: str = "", dependencies: Sequence[Depends] = ()) -> APIRouter:
    """Return a router of described routes.

    Its `routes` are put into the application as they are: a router that is included has every route
    made once more.
    """
    return APIRouter(
        prefix=prefix, tags=[tag], dependencies=dependencies, route_class=DescribedRoute
    )


def _fields_of(route: APIRoute) -> Iterator[tuple[str, Any]]:
    for parameter in route.dependant.query_params:
        annotation = _plain(parameter.field_info.annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, field in annotation.model_fields.items():
                yield field.alias or name, field.annotation
        else:
            yield parameter.alias, annotation


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
