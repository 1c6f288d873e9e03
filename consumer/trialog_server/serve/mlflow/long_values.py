"""Values of MLflow's clients that are longer than a run may have: shortened, and kept whole aside.

MLflow takes 6,000 characters of a parameter and 8,000 of a tag. A run never fails for that: here
it gets the beginning and a mark that says how much there is and where. All whole values of a run
are one JSON artifact, whose versions each hold those before, so that a run's number of artifacts
does not end with its tenth long parameter. Pure.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

LONG_VALUES_ARTIFACT = "mlflow-long-values.json"
"""The artifact with the whole values: `{"params": {name: value}, "tags": {key: value}}`."""

JSON_TYPE = "application/json"

_DIGITS = 8
"""Hex digits of the digest in a mark: two long values are not the same for beginning alike."""


def shortened(value: str, chars_max: int) -> str:
    """Return a value of at most so many characters; the same value is shortened alike each time."""
    if len(value) <= chars_max:
        return value
    # A lone surrogate is no Unicode text and refused later, by the rules.
    digest = hashlib.sha256(value.encode(errors="replace")).hexdigest()[:_DIGITS]
    mark = f"… [{digest}: {len(value)} characters, whole in {LONG_VALUES_ARTIFACT}]"
    return (value[: max(chars_max - len(mark), 0)] + mark)[:chars_max]


def long_values_document(
    before: bytes | None, parameters: Mapping[str, str], tags: Mapping[str, str]
) -> bytes:
    """Return the artifact with these whole values beside those that it had."""
    return orjson.dumps(
        {
            "params": {**_known(before, "params"), **parameters},
            "tags": {**_known(before, "tags"), **tags},
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )


def _known(before: bytes | None, part: str) -> dict[str, object]:
    """Return a part of the artifact; of one that somebody else has made under its name, nothing."""
    try:
        known = orjson.loads(before or b"{}")[part]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return {}
    return known if isinstance(known, dict) else {}
