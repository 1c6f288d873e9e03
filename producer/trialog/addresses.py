"""What a legal address and key are, for the SDK and the service; pure, must not connect or ask."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from trialog_schemas.callers_code import CallersCodeError, ask, is_text, kind_name
from trialog_schemas.errors import ValidationError, WrongTypeError, shown

PORT_MAX = 65_535
_PORT_DIGITS_MAX = 5

_URL_LIMIT = "http[s]://HOST[:PORT]"
_LATIN_1_MAX = 0xFF


def setting_text(field: str, value: object) -> str:
    """Return what is given for a setting as a plain text, or raise WrongTypeError.

    A folder may be what `open` takes for a path; of a key the message shows nothing.
    """
    if is_text(value):
        return str.__str__(value)
    if field == "spool_dir":
        try:
            return str.__str__(ask(lambda: os.fsdecode(value)))  # type: ignore[arg-type]  # asked
        except CallersCodeError:  # it is no path
            pass
    what = "" if field == "api_key" else f"{shown(value)} "
    raise WrongTypeError(
        f"{field} is {what}of type {kind_name(value)}, allowed is a text or None; give a text",
        field=field,
        value=None if field == "api_key" else value,
        limit="text",
    )


def check_url(url: str) -> str:
    """Return a service's address without a slash at its end, or raise ValidationError.

    No message repeats what stands before an `@`: that may be a password.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in {"http", "https"}:
        raise _url_error(
            url,
            "does not begin with http:// or https://; for example http://127.0.0.1:7788",
            "http:// or https://",
        )
    if not url.isprintable() or " " in url:
        raise _url_error(url, f"has a blank or a control character; give {_URL_LIMIT}", _URL_LIMIT)
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number or too high, a bracket that is not closed
        is_whole = False
    if not is_whole:
        message = f"has no host, or no port of 1 to {PORT_MAX}; give {_URL_LIMIT}"
        raise _url_error(url, message, _URL_LIMIT)
    if "@" in parts.netloc:
        raise _url_error(
            url,
            "has a user or a password, and the service takes neither; leave them out, and set "
            "TRIALOG_API_KEY where a key is needed",
            _URL_LIMIT,
        )
    return f"{scheme.lower()}://{rest.rstrip('/')}"


def check_kafka(bootstrap: str) -> str:
    """Return the bootstrap servers as they are, or raise ValidationError."""
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not _is_host(host) or not is_port(port):
            raise ValidationError(
                f"{shown(address)} is no address of a Kafka broker; give HOST:PORT, several "
                "joined by commas",
                field="kafka",
                value=address,
                limit="HOST:PORT[,…]",
            )
    return bootstrap


def check_api_key(api_key: str) -> str:
    """Return a key that a header can carry, or raise ValidationError, which never shows it."""
    if api_key != api_key.strip(" \t"):
        raise ValidationError(
            "the API key begins or ends with a blank, which HTTP takes off; set TRIALOG_API_KEY to "
            "the key alone",
            field="api_key",
            limit="no blanks around it",
        )
    for place, one in enumerate(api_key, start=1):
        if not one.isprintable() or ord(one) > _LATIN_1_MAX:
            what = "a line break" if one in "\r\n" else f"U+{ord(one):04X}"
            raise ValidationError(
                f"the API key has {what} as character {place} of {len(api_key)}, which no HTTP "
                "header can carry; set TRIALOG_API_KEY to the key alone",
                field="api_key",
                limit="printable characters of Latin-1",
            )
    return api_key


def _is_host(text: str) -> bool:
    """Tell whether a text may be a host's name or address; what has colons is in brackets."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text.replace(":", " ")
    return bool(inner) and inner.isprintable() and not set(inner) & set(" ;,/@?#")


def is_port(text: str) -> bool:
    """Tell whether a text is the number of a port, 1 to 65535."""
    return text.isdecimal() and len(text) <= _PORT_DIGITS_MAX and 0 < int(text) <= PORT_MAX


def _url_error(url: str, message: str, limit: str) -> ValidationError:
    safe = url if "@" not in url else f"…@{url.rpartition('@')[2]}"
    return ValidationError(f"url {shown(safe)} {message}", field="url", value=safe, limit=limit)
