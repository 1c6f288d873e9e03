"""Says of a Postgres address that is of no use why, without its password; opens no connection."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import asyncpg

from trialog_schemas.errors import UnavailableError
from trialog_server.postgres.pool import POSTGRES_AWAY

if TYPE_CHECKING:
    from collections.abc import Iterator

UNUSABLE: tuple[type[Exception], ...] = (
    *POSTGRES_AWAY,
    asyncpg.InvalidAuthorizationSpecificationError,  # no such user, a wrong password
    asyncpg.InvalidCatalogNameError,  # no such database
    asyncpg.InsufficientPrivilegeError,  # may not make our tables
    asyncpg.ClientConfigurationError,  # an option that the driver does not know
    asyncpg.UndefinedObjectError,  # an option that the server does not know
    UnavailableError,  # said already, without the address
)
"""What a first use of an address can end with when the address, not our statement, is wrong."""

WRONG_ADDRESS = "start it, or check the address in --postgres or TRIALOG_POSTGRES"
"""The remedy where somebody has given the address."""


def shown_address(dsn: str) -> str:
    """Return where an address points, for messages: host, port and database, never a password."""
    parts = urlsplit(dsn)
    # A password with a slash or a question mark in it splits the address at the wrong place.
    place = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0]
    return f"{place or 'this machine'}{parts.path}"


@contextmanager
def first_use(dsn: str, remedy: str = WRONG_ADDRESS) -> Iterator[None]:
    """Turn what a wrong address ends with into one sentence that names it and the remedy.

    Args:
        dsn: the address.
        remedy: what to do about it.

    Raises:
        UnavailableError: nobody answers there, or whoever answers does not let us in.
    """
    try:
        yield
    except UNUSABLE as exc:
        cause = exc.__cause__ if isinstance(exc, UnavailableError) and exc.__cause__ else exc
        raise UnavailableError(
            f"postgres at {shown_address(dsn)} cannot be used ({type(cause).__name__}: {cause}); "
            f"{remedy}",
            field="postgres",
            value=shown_address(dsn),
        ) from exc
