"""Refusals that need no state of a run: what is not legal, and what a call has raised. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trialog_schemas.callers_code import SHOWN_CHARS_MAX, shown
from trialog_schemas.events import CALLS_FACT, RAISED_FACT, Rejection
from trialog_schemas.limits import PARAMETER_NAME_CHARS_MAX

if TYPE_CHECKING:
    from trialog_schemas.errors import ValidationError
    from trialog_schemas.events import CallRefused

RAISED_CODES = (
    "artifact_limit",
    "artifact_size",
    "invalid",
    "param_immutable",
    "param_limit",
    "tag_limit",
)
"""What a call is refused as by its own process, which knows of the run what it was told."""

_RAISED_CHARS_MAX = 512
"""Characters kept of the message of a refused call; ours have fewer than 400."""


def invalid(error: ValidationError, name: str) -> Rejection:
    """Return the refusal of what is not legal, with the parts that the error has."""
    return Fault.of(error).rejection(name)


class Fault(NamedTuple):
    """What is not legal about a name or a value: a `ValidationError` without its traceback."""

    message: str
    value: str | None = None
    facts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, error: ValidationError) -> Fault:
        """Return what an error tells."""
        parts = (("field", error.field), ("limit", error.limit))
        return cls(error.message, error.value, tuple((k, v) for k, v in parts if v is not None))

    def rejection(self, name: str, **facts: int) -> Rejection:
        """Return the refusal of the thing of this name, with numbers that belong to it."""
        name = name[:PARAMETER_NAME_CHARS_MAX]
        return Rejection("invalid", self.message, name, self.value, {**dict(self.facts), **facts})


def raised(body: CallRefused) -> Rejection:
    """Return what a call has raised as the refusal that it is; foreign ones are cut to size."""
    if body.code not in RAISED_CODES:
        fault = Fault(
            f"refused call has the code {shown(body.code)}, allowed are "
            f"{', '.join(RAISED_CODES)}; give one of them",
            shown(body.code),
            (("field", "code"), ("limit", ", ".join(RAISED_CODES))),
        )
        return fault.rejection("call_refused")
    facts: dict[str, str | int] = {
        name: fact if isinstance(fact, int) else fact[:SHOWN_CHARS_MAX]
        for name, fact in body.facts.items()
        if name in ("field", "is", "limit", CALLS_FACT)
    }
    return Rejection(
        body.code,
        body.message[:_RAISED_CHARS_MAX],
        None if body.name is None else body.name[:PARAMETER_NAME_CHARS_MAX],
        None if body.value is None else body.value[:SHOWN_CHARS_MAX],
        {**facts, RAISED_FACT: "in the call"},
    )
