"""What is said of a Postgres address that is of no use: where, why, what to do, no password."""

from __future__ import annotations

import asyncpg
import pytest

from trialog_schemas.errors import UnavailableError
from trialog_server.postgres.address import first_use
from trialog_server.postgres.pool import postgres_away
from trialog_server.read.texts import is_storable

ADDRESS = "postgresql://ada:s3cret@db.example:5433/runs"


@pytest.mark.parametrize(
    "cause",
    [
        ConnectionRefusedError("refused"),
        TimeoutError(),
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.InvalidAuthorizationSpecificationError("no such role"),
        asyncpg.InvalidCatalogNameError("no such database"),
        asyncpg.InsufficientPrivilegeError("permission denied for database"),
        asyncpg.UndefinedObjectError("unrecognized configuration parameter"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_first_use_of_a_wrong_address_is_one_sentence(cause: Exception) -> None:
    """Nobody there, or nobody who lets us in: address and both ways of giving it are named."""
    with pytest.raises(UnavailableError) as caught, first_use(ADDRESS):
        raise cause

    message = caught.value.message
    assert message.startswith("postgres at db.example:5433/runs cannot be used")
    assert type(cause).__name__ in message
    assert "--postgres or TRIALOG_POSTGRES" in message
    assert (caught.value.field, caught.value.value) == ("postgres", "'db.example:5433/runs'")
    assert "s3cret" not in f"{message} {caught.value.value}"


def test_first_use_of_our_own_postgres_does_not_speak_of_its_address() -> None:
    """What `up` has started itself is at no address that somebody gave."""
    with pytest.raises(UnavailableError) as caught, first_use(ADDRESS, "make room"):
        raise asyncpg.DiskFullError("No space left on device")
    assert caught.value.message.endswith("(DiskFullError: No space left on device); make room")


def test_first_use_names_the_first_cause() -> None:
    """What was said inside without the address is said again with it, not around it."""
    with pytest.raises(UnavailableError) as caught, first_use(ADDRESS), postgres_away():
        raise ConnectionRefusedError("refused")

    assert "ConnectionRefusedError: refused" in caught.value.message
    assert "UnavailableError" not in caught.value.message


@pytest.mark.parametrize("defect", [asyncpg.PostgresSyntaxError("syntax"), ValueError("ours")])
def test_first_use_leaves_a_defect_alone(defect: Exception) -> None:
    """A migration of ours that is wrong is not blamed on the address."""
    with pytest.raises(type(defect)) as caught, first_use(ADDRESS):
        raise defect
    assert caught.value is defect


@pytest.mark.parametrize("text", ["", "a", "ä€🚀", "\n\t\x01", "\u2028", "\ud7ff\ue000"])
def test_text_of_unicode_is_storable(text: str) -> None:
    """Postgres takes every character but one."""
    assert is_storable(text)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x\udc00y"])
def test_text_with_nul_or_half_a_character_is_not_storable(text: str) -> None:
    """NUL ends a text in Postgres, and half a surrogate pair is no character."""
    assert not is_storable(text)
