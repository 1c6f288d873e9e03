"""What a legal name or value is. Each check returns the cleaned value or raises; must not do I/O.

Checks take whatever a caller gives (subclasses, numpy scalars) and return plain Python values, so
that what is recorded never depends on the caller's libraries.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from trialog_schemas import limits
from trialog_schemas.errors import NotNumericError, ValidationError, did_you_mean, shown

ParameterValue: TypeAlias = (
    "bool | int | float | str | list[ParameterValue] | dict[str, ParameterValue] | None"
)
"""A parameter's value: anything JSON can hold."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PARAMETER_NAME = re.compile(r"[\w\-./: ]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.")
_DRIVE = re.compile(r"[A-Za-z]:")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def check_experiment_name(name: object) -> str:
    """Return the name of an experiment: 1–120 of `A-Z a-z 0-9 - _`."""
    return _check_resource_name("experiment", name)


def check_run_name(name: object) -> str:
    """Return the name of a run: 1–120 of `A-Z a-z 0-9 - _`."""
    return _check_resource_name("run", name)


def _check_resource_name(kind: str, name: object) -> str:
    text = _check_text(f"{kind}_name", name, chars_max=limits.NAME_CHARS_MAX)
    if not _NAME.fullmatch(text):
        raise ValidationError(
            f"{kind} name {shown(text)} has a character outside A-Z a-z 0-9 - _; "
            "replace it by one of these",
            field=f"{kind}_name",
            value=text,
            limit="A-Z a-z 0-9 - _",
        )
    return text


def _check_text(field: str, value: object, *, chars_max: int, chars_min: int = 1) -> str:
    """Return a plain `str` of legal length that Postgres and UTF-8 can hold."""
    if not isinstance(value, str):
        raise ValidationError(
            f"{field} is {shown(value)} of type {type(value).__name__}; give a text",
            field=field,
            value=value,
            limit="text",
        )
    text = str.__str__(value)
    if not chars_min <= len(text) <= chars_max:
        raise ValidationError(
            f"{field} {shown(text)} has {len(text)} characters, "
            f"allowed are {chars_min} to {chars_max}; shorten or fill it",
            field=field,
            value=text,
            limit=f"{chars_min}..{chars_max}",
        )
    _check_storable(field, text)
    return text


def _check_storable(field: str, text: str) -> None:
    if "\0" in text:
        raise ValidationError(
            f"{field} {shown(text)} has a NUL character, which the store cannot hold; remove it",
            field=field,
            value=text,
            limit="no NUL",
        )
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValidationError(
            f"{field} {shown(text)} has a lone surrogate, which is no Unicode text; remove it",
            field=field,
            value=text,
            limit="Unicode text",
        ) from exc


def check_description(value: object) -> str | None:
    """Return an experiment's description: at most 3072 characters, or None."""
    if value is None:
        return None
    return _check_text("description", value, chars_max=limits.DESCRIPTION_CHARS_MAX, chars_min=0)


def check_tags(value: object) -> dict[str, str]:
    """Return tags as a mapping, from a mapping or SageMaker's list of `{"Key", "Value"}`.

    Raises:
        ValidationError: more than 50 tags, a repeated key, or a key or value of illegal length.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        pairs = [_tag_pair(item) for item in value]
    else:
        raise ValidationError(
            f"tags are {shown(value)}; give a dict or a list of {{'Key': …, 'Value': …}}",
            field="tags",
            value=value,
            limit="dict or list",
        )
    tags: dict[str, str] = {}
    for raw_key, raw_value in pairs:
        key = _check_text("tag key", raw_key, chars_max=limits.TAG_KEY_CHARS_MAX)
        if key in tags:
            raise ValidationError(
                f"tag key {key!r} is given twice; keep one of them",
                field="tags",
                value=key,
                limit="unique keys",
            )
        tags[key] = _check_text(
            "tag value", raw_value, chars_max=limits.TAG_VALUE_CHARS_MAX, chars_min=0
        )
    if len(tags) > limits.TAGS_MAX:
        raise ValidationError(
            f"{len(tags)} tags are given, allowed are {limits.TAGS_MAX}; remove some",
            field="tags",
            value=len(tags),
            limit=limits.TAGS_MAX,
        )
    return tags


def _tag_pair(item: object) -> tuple[object, object]:
    if isinstance(item, Mapping) and set(item) == {"Key", "Value"}:
        return item["Key"], item["Value"]
    raise ValidationError(
        f"tag {shown(item)} is not of the form {{'Key': …, 'Value': …}}; write it so",
        field="tags",
        value=item,
        limit="Key and Value",
    )


def check_parameter_name(name: object) -> str:
    """Return a parameter's name: 1–256 letters, digits, `_ - . / :` and spaces."""
    text = _check_text("parameter name", name, chars_max=limits.PARAMETER_NAME_CHARS_MAX)
    if not _PARAMETER_NAME.fullmatch(text):
        raise ValidationError(
            f"parameter name {shown(text)} has a character other than letters, digits, "
            "_ - . / : and space; replace it",
            field="parameter name",
            value=text,
            limit="letters digits _ - . / : space",
        )
    return text


def check_parameter_value(
    name: str,
    value: object,
    chars_max: int = limits.DEFAULT_LIMITS.parameter_value_chars_max,
) -> ParameterValue:
    """Return a parameter's value as plain JSON data; numpy scalars become Python's.

    Args:
        name: the parameter's name, for the message.
        value: text, number, truth value, None, list or dict.
        chars_max: code points allowed of a text, or of the value as compact JSON.

    Raises:
        ValidationError: not JSON, NaN or infinite, too long, NUL or a lone surrogate in a text.
    """
    plain = _plain(name, value, depth=0)
    length = len(plain) if isinstance(plain, str) else len(parameter_json(plain))
    if length > chars_max:
        raise ValidationError(
            f"parameter {name!r} has a value of {length} characters ({shown(plain)}), "
            f"allowed are {chars_max}; log it as an artifact",
            field=name,
            value=plain,
            limit=chars_max,
        )
    return plain


def parameter_json(value: ParameterValue) -> str:
    """Return the value as compact JSON, the form in which lengths count and the store keeps it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _plain(name: str, value: object, depth: int) -> ParameterValue:
    if depth > limits.PARAMETER_DEPTH_MAX:
        why = f"nests deeper than {limits.PARAMETER_DEPTH_MAX} levels or contains itself"
        raise _no_json(name, value, why)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        _check_storable(f"parameter {name!r}", text)
        return text
    if isinstance(value, int | float):
        return _plain_number(name, value)
    if isinstance(value, Mapping):
        return {_check_key(name, key): _plain(name, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item, depth + 1) for item in value]
    return _plain_scalar(name, value, depth)


def _plain_number(name: str, value: float) -> int | float:
    if isinstance(value, int):
        whole = int(value)
        if not limits.PARAMETER_INTEGER_MIN <= whole <= limits.PARAMETER_INTEGER_MAX:
            raise _no_json(name, whole, "is outside -2**63 … 2**64-1")
        return whole
    number = float(value)
    if not math.isfinite(number):
        raise _no_json(name, number, "is NaN or infinite, which JSON has no form for")
    return number


def _plain_scalar(name: str, value: object, depth: int) -> ParameterValue:
    """Unwrap a numpy scalar or a 0-d array or tensor; anything else is refused."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == () and not isinstance(value, bytes):
        inner: object = item()
        if type(inner) in (bool, int, float, str):
            return _plain(name, inner, depth + 1)
    raise _no_json(name, value, f"is of type {type(value).__name__}, which is not JSON")


def _check_key(name: str, key: object) -> str:
    if not isinstance(key, str):
        raise _no_json(name, key, "has a key that is no text")
    text = str.__str__(key)
    _check_storable(f"parameter {name!r}", text)
    return text


def _no_json(name: str, value: object, why: str) -> ValidationError:
    return ValidationError(
        f"parameter {name!r} with value {shown(value)} {why}; "
        "give text, a number, a truth value, None, a list or a dict",
        field=name,
        value=value,
        limit="JSON",
    )


def same_parameter(one: ParameterValue, other: ParameterValue) -> bool:
    """Tell whether two values are the same parameter value: bool ≠ number ≠ text, 1 equals 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_parameter, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same_parameter(value, other[key]) for key, value in one.items()
        )
    return one == other


def check_metric_name(name: object) -> str:
    """Return a metric's name: 1–255 printable characters; `:` `/` `.` are legal and kept."""
    text = _check_text("metric name", name, chars_max=limits.METRIC_NAME_CHARS_MAX)
    if not text.isprintable():
        raise ValidationError(
            f"metric name {shown(text)} has a character that cannot be printed; remove it",
            field="metric name",
            value=text,
            limit="printable",
        )
    return text


def check_metric_value(name: object, value: object) -> float:
    """Return a metric's value as float: numbers, numpy scalars, 0-d arrays and tensors.

    NaN and ±Inf are values like any other. Text, None, lists, arrays of one or more dimensions,
    complex numbers and integers beyond float's range are refused.
    """
    dtype_kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if (
        isinstance(value, str | bytes | bytearray | complex)
        or not hasattr(value, "__float__")
        or tuple(getattr(value, "shape", ())) != ()
        or dtype_kind not in "fiub"
    ):
        raise _not_numeric(name, value, f"of type {type(value).__name__}")
    try:
        return float(value)
    except OverflowError as exc:
        raise _not_numeric(name, value, "beyond the range of float") from exc
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as exc:
        raise _not_numeric(name, value, f"of type {type(value).__name__}") from exc


def _not_numeric(name: object, value: object, why: str) -> NotNumericError:
    return NotNumericError(
        f"metric {shown(name)} has the value {shown(value)} {why}; give a number",
        field=str(name) if isinstance(name, str) else "metric",
        value=value,
        limit="number",
    )


def check_step(value: object) -> int:
    """Return a step: an integer from 0 to 2**63 - 1, or −1 for None.

    Raises:
        ValidationError: a truth value, a fraction, a negative or too large number.
        TypeError: a datetime, which belongs into `timestamp`.
    """
    if value is None:
        return -1
    if isinstance(value, datetime):
        raise TypeError(
            f"step is the datetime {value.isoformat()}; "
            "the third argument is the step, pass the time as timestamp=…"
        )
    index = getattr(value, "__index__", None)
    if index is None or isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        raise _bad_step(value)
    try:
        step = int(index())
    except TypeError as exc:  # an array of several elements has __index__ and refuses it
        raise _bad_step(value) from exc
    if not 0 <= step <= limits.STEP_MAX:
        raise _bad_step(value)
    return step


def _bad_step(value: object) -> ValidationError:
    return ValidationError(
        f"step {shown(value)} is no integer from 0 to 2**63-1; give such a number or None",
        field="step",
        value=value,
        limit="0..2**63-1",
    )


def check_timestamp(value: object) -> int:
    """Return a datetime as microseconds since the epoch, UTC; a naive one is read as local time."""
    if not isinstance(value, datetime):
        raise ValidationError(
            f"timestamp is {shown(value)} of type {type(value).__name__}; give a datetime",
            field="timestamp",
            value=value,
            limit="datetime",
        )
    try:
        at_us = (value.astimezone(UTC) - _EPOCH) // _MICROSECOND
    except (OverflowError, ValueError, OSError) as exc:  # the ends of the calendar, local times
        raise _bad_timestamp(value) from exc
    if type(at_us) is not int:  # pandas' NaT is a datetime and no time
        raise _bad_timestamp(value)
    return at_us


def _bad_timestamp(value: object) -> ValidationError:
    return ValidationError(
        f"timestamp {shown(value)} is no time of the years 1 to 9999 in UTC; give a datetime",
        field="timestamp",
        value=value,
        limit="years 1..9999",
    )


def check_artifact_name(name: object) -> str:
    """Return an artifact's name: 1–255 printable characters, never a way out of a folder."""
    text = _check_text("artifact name", name, chars_max=limits.ARTIFACT_NAME_CHARS_MAX)
    parts = text.split("/")
    if not text.isprintable() or "\\" in text or _DRIVE.match(text) or {"", ".", ".."} & set(parts):
        raise ValidationError(
            f"artifact name {shown(text)} looks like a path out of its folder or has a character "
            "that cannot be printed; use printable characters with single inner slashes",
            field="artifact name",
            value=text,
            limit="printable, no path",
        )
    return text


def check_artifact_text(name: object, value: object) -> str:
    """Return the text of an artifact: anything that is Unicode.

    Raises:
        TypeError: it is no text; a file's bytes are logged as a file.
        ValidationError: it has a lone surrogate.
    """
    if not isinstance(value, str):
        raise TypeError(
            f"artifact {shown(name)} is {shown(value)} of type {type(value).__name__}; "
            "give its text, or log a file"
        )
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValidationError(
            f"artifact {shown(name)} has a lone surrogate, which is no Unicode text; remove it",
            field="value",
            limit="Unicode text",
        ) from exc
    return text


def check_media_type(value: object) -> str:
    """Return a media type such as `text/plain`: printable ASCII with one slash, at most 255."""
    text = _check_text("media_type", value, chars_max=limits.MEDIA_TYPE_CHARS_MAX)
    if not (text.isascii() and text.isprintable() and re.fullmatch(r"[^/\s]+/[^/]+", text)):
        raise ValidationError(
            f"media_type {shown(text)} is not of the form type/subtype; for example text/plain",
            field="media_type",
            value=text,
            limit="type/subtype",
        )
    return text


def check_model_uri(value: object) -> str:
    """Return the address of a model: a URI with a scheme; nothing is fetched from it."""
    text = _check_text("model_data_uri", value, chars_max=limits.MODEL_URI_CHARS_MAX)
    if not text.isprintable() or not _SCHEME.match(text):
        raise ValidationError(
            f"model_data_uri {shown(text)} has no scheme or a character that cannot be printed; "
            "write it like s3://bucket/model.tar.gz or file:///models/model.pt",
            field="model_data_uri",
            value=text,
            limit="scheme:address",
        )
    return text


def check_model_fact(field: str, value: object) -> str | None:
    """Return what is said of a model (its type, its framework …): 0–256 characters, or None."""
    if value is None:
        return None
    return _check_text(field, value, chars_max=limits.MODEL_FACT_CHARS_MAX, chars_min=0)


def model_name_of(uri: str) -> str:
    """Return the artifact name of a model: host and path of its address.

    The last part alone would not do: training jobs call it `model.tar.gz` every time. Of an
    address too long for a name the end is kept.
    """
    path = re.split(r"[?#]", uri.partition(":")[2])[0].replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    name = "/".join(parts)[-limits.ARTIFACT_NAME_CHARS_MAX :].strip("/")
    return "model" if not name or _DRIVE.match(name) else name


def check_page_size(value: object) -> int:
    """Return the number of items of a page: 1–100."""
    if type(value) is not int or not 1 <= value <= limits.PAGE_MAX:
        raise ValidationError(
            f"max_results is {shown(value)}, allowed are whole numbers 1 to {limits.PAGE_MAX}; "
            "page through the rest",
            field="max_results",
            value=value,
            limit=f"1..{limits.PAGE_MAX}",
        )
    return value


SORT_FIELDS = ("CreationTime", "Name")
SORT_ORDERS = ("Ascending", "Descending")


def check_choice(field: str, value: object, choices: Sequence[str]) -> str:
    """Return the value if it is one of the choices, with a hint at a near miss otherwise."""
    if isinstance(value, str) and value in choices:
        return str.__str__(value)
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    remedy = hint or "; give one of them"
    raise ValidationError(
        f"{field} is {shown(value)}, allowed are {', '.join(choices)}{remedy}",
        field=field,
        value=value,
        limit=", ".join(choices),
    )
