"""What a legal name or value is. Each check returns the cleaned value or raises; must not do I/O.

Checks take whatever a caller gives (subclasses, numpy scalars) and return plain Python values, so
that what is recorded never depends on the caller's libraries.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from trialog_schemas import limits, plain_json
from trialog_schemas.arguments import check_pairs, check_several, given_twice, is_truth
from trialog_schemas.callers_code import CallersCodeError, ask, is_mapping, is_text, kind_name
from trialog_schemas.errors import (
    NotNumericError,
    ValidationError,
    WrongTypeError,
    did_you_mean,
    shown,
)
from trialog_schemas.plain_json import PlainReader, is_masked, too_long
from trialog_schemas.texts import check_text, odd_character

ParameterValue: TypeAlias = plain_json.ParameterValue
parameter_json = plain_json.parameter_json

RESERVED_TAGS_PREFIX = "trialog."
"""How the keys of tags begin that trialog sets itself, as the one of dropped calls."""

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
    text = check_text(f"{kind}_name", name, chars_max=limits.NAME_CHARS_MAX)
    if not _NAME.fullmatch(text):
        odd = odd_character(text, lambda one: _NAME.fullmatch(one) is not None)
        raise ValidationError(
            f"{kind} name {shown(text)} has a character outside A-Z a-z 0-9 - _, {odd}; "
            "replace it by one of these",
            field=f"{kind}_name",
            value=text,
            limit="A-Z a-z 0-9 - _",
        )
    return text


def check_description(value: object) -> str | None:
    """Return an experiment's description: at most 3072 characters, or None."""
    if value is None:
        return None
    return check_text("description", value, chars_max=limits.DESCRIPTION_CHARS_MAX, chars_min=0)


def check_tags(value: object) -> dict[str, str]:
    """Return tags as a mapping, from a mapping or SageMaker's list of `{"Key", "Value"}`.

    Raises:
        ValidationError: more than 50 tags, a repeated key, or a key or value of illegal length.
    """
    if value is None:
        return {}
    if is_mapping(value):
        pairs = check_pairs("tags", value, "a dict")
    else:
        pairs = [_tag_pair(item) for item in check_several("tags", value, _TAGS_FORM)]
    tags: dict[str, str] = {}
    for raw_key, raw_value in pairs:
        key = check_text("tag key", raw_key, chars_max=limits.TAG_KEY_CHARS_MAX)
        if key in tags:
            raise ValidationError(
                f"tag key {key!r} is given twice; keep one of them",
                field="tags",
                value=key,
                limit="unique keys",
            )
        tags[key] = check_text(
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


def check_callers_tags(value: object) -> dict[str, str]:
    """Return tags that a caller sets, none of them of trialog's own; see `check_tags`.

    Raises:
        ValidationError: they are not legal, or a key is reserved.
    """
    tags = check_tags(value)
    check_not_reserved(tags)
    return tags


def check_not_reserved(keys: Iterable[str]) -> None:
    """Raise ValidationError if a tag's key is one that trialog sets itself."""
    for key in keys:
        if key.startswith(RESERVED_TAGS_PREFIX):
            raise ValidationError(
                f"tag key {shown(key)} begins with {RESERVED_TAGS_PREFIX!r}, which is reserved for "
                "what trialog itself tells of a run; choose another key",
                field="tag key",
                value=key,
                limit=f"not {RESERVED_TAGS_PREFIX}…",
            )


_TAGS_FORM = "a dict or a list of {'Key': …, 'Value': …}"


def _tag_pair(item: object) -> tuple[object, object]:
    pairs = check_pairs("tags", item, "a dict") if is_mapping(item) else []
    known = {str.__str__(key): value for key, value in pairs if is_text(key)}
    if len(pairs) == len(known) and known.keys() == {"Key", "Value"}:
        return known["Key"], known["Value"]
    raise ValidationError(
        f"tag {shown(item)} is not of the form {{'Key': …, 'Value': …}}; write it so",
        field="tags",
        value=item,
        limit="Key and Value",
    )


def check_tag_keys(value: object) -> tuple[str, ...]:
    """Return the keys of tags that are to be removed."""
    keys = check_several("removed", value, "a list of keys")
    return tuple(check_text("tag key", key, chars_max=limits.TAG_KEY_CHARS_MAX) for key in keys)


def check_parameter_name(name: object) -> str:
    """Return a parameter's name: 1–256 letters, digits, `_ - . / :` and spaces."""
    text = check_text("parameter name", name, chars_max=limits.PARAMETER_NAME_CHARS_MAX)
    if not _PARAMETER_NAME.fullmatch(text):
        odd = odd_character(text, lambda one: _PARAMETER_NAME.fullmatch(one) is not None)
        raise ValidationError(
            f"parameter name {shown(text)} has a character other than letters, digits, "
            f"_ - . / : and space, {odd}; replace it",
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
    plain = PlainReader(name, chars_max).read(value)
    length = len(plain) if isinstance(plain, str) else len(parameter_json(plain))
    if length > chars_max:
        raise too_long(name, plain, length, chars_max)
    return plain


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
    text = check_text("metric name", name, chars_max=limits.METRIC_NAME_CHARS_MAX)
    if not text.isprintable():
        odd = odd_character(text, str.isprintable)
        raise ValidationError(
            f"metric name {shown(text)} has a character that cannot be printed, {odd}; remove it",
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
    try:
        number = ask(lambda: _float_of(value))
    except CallersCodeError as exc:
        cause = exc.__cause__
        if isinstance(cause, OverflowError):
            raise _not_numeric(name, value, "beyond the range of float") from cause
        why = f"of type {kind_name(value)}, which raised {exc} when it was read"
        raise _not_numeric(name, value, why) from cause
    if number is None:
        raise _not_numeric(name, value, f"of type {kind_name(value)}")
    return number


def _float_of(value: Any) -> float | None:
    """Return the number that something is, None if it is none; it may raise anything.

    Raises:
        OverflowError: it is finite and float cannot hold it.
    """
    if issubclass(type(value), str | bytes | bytearray | complex):
        return None
    dtype = getattr(value, "dtype", None)
    kind = getattr(dtype, "kind", "f")
    # Numpy's kind of the numbers that others have added to it, such as bfloat16, is V.
    is_number = kind in "fiub" or (kind == "V" and not str(dtype).startswith(("|V", "void", "[")))
    if kind == "O":  # an array of Python's objects; of no dimensions it has one
        is_number = not issubclass(type(value.item()), str | bytes)
    if not is_number or tuple(getattr(value, "shape", ())) != () or is_masked(value):
        return None
    if not hasattr(value, "__float__"):
        return None
    number = float(value)
    # Decimal and numpy's long double become infinite without a word.
    if math.isinf(number) and not issubclass(type(value), float) and _is_finite(value):
        raise OverflowError
    return number


def _is_finite(value: Any) -> bool:
    """Tell whether a number is below infinity; one that cannot be compared is taken at its word."""
    try:
        return bool(ask(lambda: -math.inf < value < math.inf))
    except CallersCodeError:
        return False


def _not_numeric(name: object, value: object, why: str) -> NotNumericError:
    field = (str.__str__(name) if is_text(name) else "") or "metric"
    return NotNumericError(
        f"metric {shown(name)} has the value {shown(value)} {why}; give a number",
        field=field[: limits.METRIC_NAME_CHARS_MAX],
        value=value,
        limit="number",
    )


def check_metric_row(metrics: Mapping[str, object]) -> tuple[tuple[str, ...], list[float]]:
    """Return names and values of the metrics of one call.

    Raises:
        WrongTypeError: they are no mapping.
        NotNumericError: a value is no number.
        ValidationError: a name is not legal or stands twice, or the mapping cannot be read.
    """
    pairs = check_pairs("metrics", metrics, "a dict of name to number")
    row: dict[str, float] = {}
    for name, value in pairs:
        number = check_metric_value(name, value)
        clean = check_metric_name(name)
        if clean in row:
            raise given_twice("metrics", "metric", clean)
        row[clean] = number
    return tuple(row), list(row.values())


def check_step(value: object) -> int:
    """Return a step: an integer from 0 to 2**63 - 1, or −1 for None.

    Raises:
        ValidationError: a truth value, a fraction, a negative or too large number.
        WrongTypeError: a datetime, which belongs into `timestamp`.
    """
    if value is None:
        return -1
    if type(value) is int and 0 <= value <= limits.STEP_MAX:
        return value
    if issubclass(type(value), datetime):
        raise WrongTypeError(
            f"step is {shown(value)}, allowed are whole numbers; "
            "the third argument is the step, pass the time as timestamp=…",
            field="step",
            value=value,
            limit="0..2**63-1",
        )
    try:
        step = ask(lambda: None if is_truth(value) else operator.index(value))  # type: ignore[arg-type]  # asked
    except CallersCodeError as exc:  # also an array of several elements, which has __index__
        raise _bad_step(value) from exc.__cause__
    if step is None or not 0 <= step <= limits.STEP_MAX:
        raise _bad_step(value)
    return int(step)


def _bad_step(value: object) -> ValidationError:
    return ValidationError(
        f"step {shown(value)} is no integer from 0 to 2**63-1; give such a number or None",
        field="step",
        value=value,
        limit="0..2**63-1",
    )


def check_timestamp(value: object) -> int:
    """Return a datetime as microseconds since the epoch, UTC; a naive one is read as local time."""
    if not issubclass(type(value), datetime):
        raise ValidationError(
            f"timestamp is {shown(value)} of type {kind_name(value)}; give a datetime",
            field="timestamp",
            value=value,
            limit="datetime",
        )
    try:
        # The ends of the calendar, local times, and zones that raise.
        at_us = ask(lambda: (value.astimezone(UTC) - _EPOCH) // _MICROSECOND)  # type: ignore[attr-defined]  # a datetime
    except CallersCodeError as exc:
        raise _bad_timestamp(value) from exc.__cause__
    # pandas' NaT is a datetime and no time; its Timestamp may be of any year.
    if type(at_us) is not int or not limits.TIME_US_MIN <= at_us <= limits.TIME_US_MAX:
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
    text = check_text("artifact name", name, chars_max=limits.ARTIFACT_NAME_CHARS_MAX)
    parts = text.split("/")
    if not text.isprintable() or "\\" in text or _DRIVE.match(text) or {"", ".", ".."} & set(parts):
        odd = "" if text.isprintable() else f", {odd_character(text, str.isprintable)}"
        raise ValidationError(
            f"artifact name {shown(text)} looks like a path out of its folder or has a character "
            f"that cannot be printed{odd}; use printable characters with single inner slashes",
            field="artifact name",
            value=text,
            limit="printable, no path",
        )
    return text


def check_artifact_text(name: object, value: object) -> str:
    """Return the text of an artifact: anything that is Unicode.

    Raises:
        WrongTypeError: it is no text; a file's bytes are logged as a file.
        ValidationError: it has a lone surrogate.
    """
    if not is_text(value):
        raise WrongTypeError(
            f"artifact {shown(name)} is {shown(value)} of type {kind_name(value)}; "
            "give its text, or log a file",
            field="value",
            value=value,
            limit="text",
        )
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValidationError(
            f"artifact {shown(name)} has a lone surrogate, which is no Unicode text; remove it",
            field="value",
            value=text,
            limit="Unicode text",
        ) from exc
    return text


def check_media_type(value: object) -> str:
    """Return a media type such as `text/plain`: printable ASCII with one slash, at most 255."""
    text = check_text("media_type", value, chars_max=limits.MEDIA_TYPE_CHARS_MAX)
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
    text = check_text("model_data_uri", value, chars_max=limits.MODEL_URI_CHARS_MAX)
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
    return check_text(field, value, chars_max=limits.MODEL_FACT_CHARS_MAX, chars_min=0)


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
    text = str.__str__(value) if is_text(value) else ""
    if text in choices:
        return text
    hint = did_you_mean(text, choices)
    remedy = hint or "; give one of them"
    raise ValidationError(
        f"{field} is {shown(value)}, allowed are {', '.join(choices)}{remedy}",
        field=field,
        value=value,
        limit=", ".join(choices),
    )
