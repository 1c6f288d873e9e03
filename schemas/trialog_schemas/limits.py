"""Every number that bounds something, with its unit and whose number it is; must not check names.

`Limits` is the policy an operator may change; it travels in each run's `run_started` event so
that a replay gives the same verdicts. The module constants bound bytes on the wire and pages.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

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

METRIC_NAME_CHARS_MAX = 255
"""Characters of a metric's name; SageMaker Experiments' number."""

ARTIFACT_NAME_CHARS_MAX = 255
"""Characters of an artifact's name: the longest file name of the usual file systems."""

MODEL_URI_CHARS_MAX = 2048
"""Characters of a model's address: what every browser and proxy takes."""

MODEL_FACT_CHARS_MAX = 256
"""Characters of a model's type, framework or version; SageMaker's number for such texts."""

STEP_MAX = 2**63 - 1
"""The largest step: a signed 64-bit integer, as MLflow and Postgres store it."""

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
        for name, value in asdict(self).items():
            if type(value) is not int or value < 0:
                raise ValidationError(
                    f"limit {name} is {shown(value)}, which is no whole number from 0 on; "
                    "give a number of things or bytes",
                    field=name,
                    value=value,
                )

    def to_json(self) -> dict[str, int]:
        """Return the policy as the plain mapping that events carry."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Limits:
        """Build the policy from an event; names of a later version are left out."""
        known = {field.name for field in fields(cls)}
        numbers: dict[str, int] = {}
        for name, value in values.items():
            if name in known:
                if type(value) is not int:
                    raise ValidationError(
                        f"limit {name} is {shown(value)}, which is no whole number",
                        field=name,
                        value=value,
                    )
                numbers[name] = value
        return cls(**numbers)


DEFAULT_LIMITS = Limits()

if not PAYLOAD_BYTES_TARGET < RECORD_BYTES_MAX <= PAYLOAD_BYTES_MAX <= REQUEST_BYTES_MAX:
    raise AssertionError("a record must fit a request, and a usual payload a record")
