"""What the routes have in common when they read a question: pages, names, JSON, positions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar

import pydantic
from fastapi import Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from trialog_schemas.errors import UnavailableError, ValidationError, did_you_mean, shown
from trialog_schemas.limits import FILTER_CHARS_MAX, PAGE_MAX
from trialog_schemas.wire import Position
from trialog_server.read.pages import TOKEN_CHARS_MAX, PageRequest
from trialog_server.read.texts import is_storable
from trialog_server.serve.described_routes import described_router
from trialog_server.serve.errors import OPENAPI_PATH, RequestRefusedError, invalid_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter

    from trialog_server.serve.described_routes import DescribedRoute
    from trialog_server.serve.service import Service

POSITION_HEADER = "Trialog-Position"
POSITION_WAIT_S = 10.0
"""How long a read waits for the positions of its `Trialog-Position` header."""

POSITIONS_MAX = 64
"""Positions one request may name: two for every partition of a cluster's events topic."""

NAME_CHARS_MAX = 256
"""Characters of any name that is looked up: the longest legal one is a parameter's."""

DIGITS_MAX = 40
"""Digits of a whole number in a JSON body: no field takes more than 64 bits."""

WAIT_S_MAX = 60.0
"""The longest wait one request may ask for; a client that wants more asks again."""

RunId: TypeAlias = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="32 hex digits")]
WaitS: TypeAlias = Annotated[
    float, Query(ge=0, le=WAIT_S_MAX, allow_inf_nan=False, description="seconds to wait")
]

AS_OF_CHARS_MAX = 40 * POSITIONS_MAX

AsOf: TypeAlias = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=AS_OF_CHARS_MAX,
        description="as it was at a time, or when these positions were the newest",
    ),
]

_Token: TypeAlias = Annotated[str | None, Field(max_length=TOKEN_CHARS_MAX)]
_PageSize: TypeAlias = Annotated[int, Field(ge=1, le=PAGE_MAX)]


class PageQuery(BaseModel):
    """The query of a page; unknown fields are refused, so that a slip of the pen is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_results: _PageSize = PAGE_MAX
    next_token: _Token = None


class PastPageQuery(PageQuery):
    """The query of a page that may be asked for as of a moment."""

    as_of: AsOf = None


class ListQuery(PastPageQuery):
    """The query of a sorted list."""

    sort_by: Literal["CreationTime", "Name"] = "CreationTime"
    sort_order: Literal["Ascending", "Descending"] = "Descending"

    def page(self) -> PageRequest:
        """Return the question as `read` takes it."""
        return PageRequest(self.sort_by, self.sort_order, self.max_results, self.next_token)


class SearchBody(PageQuery):
    """The body of a search; the grammar of filter and order is in `read/run_filter.py`."""

    filter: Annotated[str | None, Field(max_length=FILTER_CHARS_MAX)] = None
    order_by: Annotated[str | None, Field(max_length=FILTER_CHARS_MAX)] = None


_Model = TypeVar("_Model", bound=BaseModel)


def check_lookup_name(field: str, name: str) -> str:
    """Return a name that Postgres can be asked for.

    Whether it is legal for a new thing does not matter: other clients have other rules, and an
    unknown name is answered as not found.
    """
    if not 0 < len(name) <= NAME_CHARS_MAX or "\0" in name:
        raise ValidationError(
            f"{field} {shown(name)} has {len(name)} characters or a NUL among them; allowed are "
            f"1 to {NAME_CHARS_MAX} without NUL",
            field=field,
            value=name,
            limit=f"1..{NAME_CHARS_MAX}",
        )
    return name


async def check_query(request: Request) -> None:
    """Refuse a query field that the route does not have, or that is given twice.

    A dependency of every route of our own, so that a slip of the pen is noticed wherever it is
    made. It awaits nothing, but FastAPI would send a plain function to a thread: 160 us more for
    each request.

    Raises:
        ValidationError: with the field.
    """
    route: DescribedRoute = request.scope["route"]
    check_fields(request, route.query_fields)


def checked_router(tag: str, prefix: str = "") -> APIRouter:
    """Return a router whose routes refuse query fields that they do not have."""
    return described_router(tag, prefix, [Depends(check_query)])


def check_fields(request: Request, fields: Mapping[str, bool]) -> None:
    """Refuse query fields but those given, and twice those that may not be repeated.

    Raises:
        ValidationError: with the field.
    """
    for name, value in request.query_params.items():
        if name not in fields:
            hint = did_you_mean(name, fields) or f"; see {OPENAPI_PATH} for those it has"
            raise ValidationError(
                f"{shown(name)} is no field of this request{hint}",
                field=name,
                value=value,
                limit=f"the fields of {OPENAPI_PATH}",
            )
        given = request.query_params.getlist(name)
        if len(given) > 1 and not fields[name]:
            raise ValidationError(
                f"{name} is given {len(given)} times, and it is unclear which one counts; "
                "give it once",
                field=name,
                value=given,
                limit="one value a field",
            )


async def read_json_body(request: Request, model: type[_Model]) -> _Model:
    """Return the request's JSON body as the model.

    Raises:
        RequestRefusedError: the content type is not JSON.
        ValidationError: it is no JSON object, names a field twice or holds a wrong value.
    """
    content = await read_json_object(request)
    try:
        return model.model_validate(content, strict=True)
    except pydantic.ValidationError as exc:
        raise invalid_request([dict(error) for error in exc.errors(include_url=False)]) from exc


async def read_json_object(request: Request) -> dict[str, object]:
    """Return the request's JSON body.

    Raises:
        RequestRefusedError: the content type is not JSON.
        ValidationError: it is no JSON object, or names a field twice.
    """
    check_content_type(request, "application/json")
    body = await request.body()
    try:
        content = json.loads(
            body or b"{}",
            object_pairs_hook=_object,
            parse_int=_whole_number,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as exc:
        if isinstance(exc, ValidationError):
            raise
        raise ValidationError(
            f"the body cannot be read as JSON ({exc}); send one JSON object in UTF-8",
            field="body",
            limit="one JSON object",
        ) from exc
    if not isinstance(content, dict):
        raise ValidationError(
            f"the body is {shown(content)}, which is no JSON object; send one with the fields of "
            f"{OPENAPI_PATH}",
            field="body",
            value=content,
            limit="one JSON object",
        )
    return content


def check_content_type(request: Request, expected: str) -> None:
    """Refuse a body of another content type.

    Raises:
        RequestRefusedError: the type is another one, or there is none.
    """
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != expected:
        raise RequestRefusedError(
            f"content type {shown(given)} is not read here; send {expected}",
            code="UnsupportedMediaType",
            status=415,
            facts={"field": "content-type", "value": given, "limit": expected},
        )


async def wait_for_positions(service: Service, request: Request) -> None:
    """Wait until the positions of the request's header are applied: reading one's own writes.

    Raises:
        UnavailableError: they are not within the time; the projection is behind.
    """
    header = request.headers.get(POSITION_HEADER)
    if header is None:
        return
    positions = parse_positions(header.split(","))
    if not await service.applied.wait(positions, POSITION_WAIT_S):
        raise UnavailableError(
            f"position {shown(header)} is not applied after {POSITION_WAIT_S:g} s; "
            "the projection is behind, ask again"
        )


def quiet_since(service: Service) -> datetime:
    """Return since when a run in progress must have been silent to be stale in an answer of now."""
    return datetime.now(UTC) - timedelta(seconds=service.terms.stale_after_s)


def parse_positions(tokens: Sequence[str]) -> list[Position]:
    """Return the positions of their short text forms.

    Raises:
        ValidationError: one is no position, or there are too many.
    """
    if len(tokens) > POSITIONS_MAX:
        raise ValidationError(
            f"{len(tokens)} positions are too many, allowed are {POSITIONS_MAX}; the newest of "
            "each partition is enough",
            field="position",
            value=len(tokens),
            limit=POSITIONS_MAX,
        )
    return [Position.parse(token.strip()) for token in tokens]


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    names = [name for name, _ in pairs]
    for name in names:
        if not is_storable(name):
            raise ValidationError(
                f"the body names {shown(name)}, and no field has NUL or a lone surrogate in its "
                "name; remove it",
                field="body",
                value=name,
                limit="Unicode text without NUL",
            )
    if len(content) < len(pairs):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValidationError(
            f"the body names {shown(twice)} twice, and it is unclear which one counts; "
            "name it once",
            field=twice,
            limit="one value a field",
        )
    return content


def _whole_number(digits: str) -> int:
    # Python itself refuses above 4,300 digits, with a message for programmers.
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
