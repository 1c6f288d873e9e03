"""How the fields of an MLflow request are read: a query or a JSON object; must not ask anything.

Fields that are not known here are left alone, as MLflow's own server leaves them: clients are of
any version, and a newer one may send more.
"""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin
from uuid import UUID

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from trialog_schemas.errors import ResourceNotFoundError, ValidationError, shown
from trialog_server.read.texts import is_storable
from trialog_server.serve.errors import invalid_request
from trialog_server.serve.questions import read_json_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

_INT64_DIGITS_MAX = 20


class MlflowArguments(BaseModel):
    """The fields of a request; protobuf's JSON has null for what is not given."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class RunArguments(MlflowArguments):
    """Which run: `run_uuid` is the older name of the field."""

    run_id: str | None = None
    run_uuid: str | None = None

    def run(self) -> UUID:
        """Return the run's id.

        Raises:
            ValidationError: there is none.
            ResourceNotFoundError: no run can have it.
        """
        return run_id_of(self.run_id or self.run_uuid)


def _whole_number(value: object) -> object:
    """Let in an int64 as protobuf's JSON writes it: a number, or its digits as a text.

    A language without whole numbers, such as R, writes one as 1.7e+12 or 5.0.
    """
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= _INT64_DIGITS_MAX:
            return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool):
        raise ValueError("a truth value is no whole number")  # noqa: TRY004  pydantic takes it
    return value


Int64: TypeAlias = Annotated[
    int, BeforeValidator(_whole_number), Field(ge=-(2**63), le=2**63 - 1, strict=True)
]

_Arguments = TypeVar("_Arguments", bound=BaseModel)


async def read_arguments(request: Request, model: type[_Arguments]) -> _Arguments:
    """Return the fields of a request: of a GET its query, otherwise its JSON object.

    Raises:
        RequestRefusedError: the body is of another content type.
        ValidationError: it is no JSON object, or a field has a wrong value.
    """
    if request.method == "GET":
        content: Mapping[str, object] = _query_of(request, model)
    else:
        content = await read_json_object(request)
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as exc:
        raise invalid_request([dict(error) for error in exc.errors(include_url=False)]) from exc


@functools.cache
def described(model: type[BaseModel], method: str) -> dict[str, Any]:
    """Return what the OpenAPI document says of a request's fields; for `openapi_extra`."""
    schema = model.model_json_schema()
    if method != "GET":
        return {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    fields = schema.get("properties", {})
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": field}
            for name, field in fields.items()
        ]
    }


def run_id_of(text: str | None) -> UUID:
    """Return the id of a run that a client names.

    Raises:
        ValidationError: there is none.
        ResourceNotFoundError: no run can have it.
    """
    if not text:
        raise ValidationError("run_id is missing; give the run's id", field="run_id")
    try:
        run_id = UUID(hex=text)
    except ValueError:
        run_id = None
    if run_id is None or run_id.hex != text:
        raise ResourceNotFoundError(
            f"run {shown(text)} does not exist; a run's id has 32 hex digits",
            field="run_id",
            value=text,
        )
    return run_id


def experiment_number_of(text: str | None) -> int:
    """Return the number of an experiment, which MLflow clients name by its digits.

    Raises:
        ValidationError: it is no number.
    """
    if not text:
        raise ValidationError(
            "experiment_id is missing; give the experiment's id", field="experiment_id"
        )
    is_number = text.isascii() and text.isdigit()
    if not is_number or len(text) > _INT64_DIGITS_MAX or int(text) >= 2**63:
        raise ValidationError(
            f"experiment id {shown(text)} is no id of an experiment; give its number, as the "
            "list of experiments has it",
            field="experiment_id",
            value=text,
            limit="0..2**63-1",
        )
    return int(text)


def check_text(field: str, text: str | None) -> str:
    """Return a text that must be given and that Postgres can be asked for.

    Raises:
        ValidationError: it is missing, or no text that anything here can have.
    """
    if not text:
        raise ValidationError(f"{field} is missing; give it", field=field, limit="required")
    return check_storable(field, text)


def check_storable(field: str, text: str) -> str:
    """Return a text that Postgres can be asked for."""
    if not is_storable(text):
        raise ValidationError(
            f"{field} {shown(text)} has a NUL or a lone surrogate; nothing here has such a text",
            field=field,
            value=text,
            limit="Unicode text without NUL",
        )
    return text


def _query_of(request: Request, model: type[BaseModel]) -> dict[str, Any]:
    """Return the query's fields; where one counts, the first, as MLflow's server takes it."""
    return {
        name: request.query_params.getlist(name)
        if _takes_several(model, name)
        else request.query_params.getlist(name)[0]
        for name in request.query_params
    }


def _takes_several(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    if field is None:
        return False
    kinds = [field.annotation]
    if get_origin(field.annotation) in (Union, types.UnionType):
        kinds = list(get_args(field.annotation))
    return any(get_origin(kind) in (list, tuple) for kind in kinds)
