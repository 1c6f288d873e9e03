"""Every number that bounds something, with its unit and whose number it is; must not check names.

`Limits` is the policy an operator may change; it travels in each run's `run_started` event so
that a replay gives the same verdicts. The module constants are the same for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, cast

from trialog_schemas.errors import ValidationError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME_CHARS_MAX = 120
"""Characters of an experiment's or run's name; SageMaker Experiments' number."""

DESCRIPTION_CHARS_MAX = 3072
"""Characters of an experiment's description; SageMaker Experiments' number."""

TAGS_MAX = 50
"""Tags of one experiment or run; SageMaker's number."""

TAG_KEY_CHARS_MAX = 128
"""Characters of a tag's key; SageMaker's number."""

TAG_VALUE_CHARS_MAX = 256
"""Characters of a tag's value; SageMaker's number."""

PARAMETER_NAME_CHARS_MAX = 256
"""Characters of a parameter's name; SageMaker Experiments' number."""

PARAMETER_DEPTH_MAX = 64
"""Nesting of a parameter's value; deeper ones cannot be read by every JSON library."""

PARAMETER_INTEGER_MIN, PARAMETER_INTEGER_MAX = -(2**63), 2**64 - 1
"""The whole numbers that a parameter can be: those that JSON libraries read exactly."""

METRIC_NAME_CHARS_MAX = 255
"""Characters of a metric's name; SageMaker Experiments' number."""

ARTIFACT_NAME_CHARS_MAX = 255
"""Characters of an artifact's name: the longest file name of the usual file systems."""

MEDIA_TYPE_CHARS_MAX = 255
"""Characters of a media type: twice 127 and the slash, as RFC 6838 bounds its parts."""

MODEL_URI_CHARS_MAX = 2048
"""Characters of a model's address: what every browser and proxy takes."""

MODEL_FACT_CHARS_MAX = 256
"""Characters of a model's type, framework or version; SageMaker's number for such texts."""

FILTER_CHARS_MAX = 4096
"""Characters of a filter or an order; ours, far beyond what a person writes."""

STEP_MAX = 2**63 - 1
"""The largest step: a signed 64-bit integer, as MLflow and Postgres store it."""

TIME_US_MIN, TIME_US_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds since the epoch: the years 1 to 9999, which datetime and Postgres both hold."""

FAILURE_MESSAGE_CHARS_MAX = 1024
"""Characters kept of a failure message; SageMaker's number."""

PAGE_MAX = 100
"""Items of one page of a list; SageMaker's number."""

RECORD_BYTES_MAX = 1_048_576
"""Bytes of one record in the log; Kafka's default `max.message.bytes`, rounded to 1 MiB."""

PAYLOAD_BYTES_MAX = 8_388_608
"""Bytes of a record's payload when decompressed: refuses a small record that unpacks to much."""

PAYLOAD_BYTES_TARGET = 51_200
"""Bytes of payload a sender aims at; from there on the cost per record vanishes (measured)."""

SEQ_MAX = 2**63 - 1
"""The largest seq of a writer, and the largest of any count: a signed 64-bit integer."""

ACCOUNT_CHARS_MAX = 128
"""Characters of an account's name in a record; ours, it is part of keys and indexes."""

USER_CHARS_MAX = 512
"""Characters of `user@host` in a record; ours, a host name alone may have 253."""

EVENT_TYPE_CHARS_MAX = 64
"""Characters of an event type's name; ours, three times the longest so far."""

BODY_DEPTH_MAX = 80
"""Nesting of an event's body: a parameter's value fits, and every reader's stack holds it."""

REQUEST_BYTES_MAX = 8_388_608
"""Bytes of one HTTP request that carries records: eight of the largest records."""

EVENTS_PARTITIONS = 32
"""Partitions of the events topic on a cluster; an order of magnitude above the usual workers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy in force for a run or an account; the defaults are SageMaker Experiments' numbers.

    Args:
        experiments_max: live experiments of an account.
        parameters_max: distinct parameter names of a run.
        parameter_value_chars_max: code points of a text value, or of the value as compact JSON.
        points_max: accepted metric points of a run, over all its metrics.
        artifacts_max: distinct artifact names of a run, models included.
        artifact_bytes_max: bytes of one artifact, inclusive.
    """

    experiments_max: int = 5000
    parameters_max: int = 300
    parameter_value_chars_max: int = 256
    points_max: int = 500_000
    artifacts_max: int = 30
    artifact_bytes_max: int = 5_242_880

    def __post_init__(self) -> None:
        for name, value in self.to_json().items():
            if type(value) is not int or not 0 <= value <= SEQ_MAX:
                raise ValidationError(
                    f"limit {name} is {shown(value)}, which is no whole number from 0 to 2**63-1; "
                    "give a number of things or bytes",
                    field=name,
                    value=value,
                    limit="0..2**63-1",
                )

    def to_json(self) -> dict[str, int]:
        """Return the policy as the plain mapping that events carry."""
        return {name: getattr(self, name) for name in _LIMIT_NAMES}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Limits:
        """Build the policy from an event; names of a later version are left out.

        Raises:
            ValidationError: a value is no legal limit.
        """
        # What is no int is refused by the constructor, with all other illegal numbers.
        return cls(**{name: cast("int", values[name]) for name in values if name in _LIMIT_NAMES})


_LIMIT_NAMES = tuple(field.name for field in fields(Limits))
"""In the order of their fields; `asdict`, which copies deeply, was a twentieth of a rebuild."""

DEFAULT_LIMITS = Limits()

if not PAYLOAD_BYTES_TARGET < RECORD_BYTES_MAX <= PAYLOAD_BYTES_MAX <= REQUEST_BYTES_MAX:
    raise AssertionError("a record must fit a request, and a usual payload a record")
if not PARAMETER_DEPTH_MAX + 2 <= BODY_DEPTH_MAX:
    raise AssertionError("a body must hold the deepest parameter, under its name, in its mapping")
