"""What a refused call raises, held against what every refusal must say."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from trialog_schemas.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

Refused = TypeVar("Refused", bound=ClientError)


def refusal(
    kind: type[Refused], code: str, call: Callable[..., object], *arguments: object
) -> Refused:
    """Return the error of exactly this class and code that the call raises.

    Its message is one sentence without a full stop, and is what `str` and the response give.
    """
    with pytest.raises(ClientError) as caught:
        call(*arguments)
    error = caught.value
    assert type(error) is kind
    assert error.response == {"Error": {"Code": code, "Message": str(error)}}
    assert str(error)
    assert not str(error).endswith(".")
    return error


def illegal(call: Callable[..., object], *arguments: object) -> ClientError:
    """Return the validation error of a call, which is a ValueError with all its parts."""
    with pytest.raises(ClientError) as caught:
        call(*arguments)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.response == {"Error": {"Code": "ValidationException", "Message": str(error)}}
    assert error.field is not None
    assert error.limit is not None
    assert not str(error).endswith(".")
    return error
