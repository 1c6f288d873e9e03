"""Which data a run of MLflow's clients has used, kept as one input artifact of the run.

MLflow tells of a dataset by name, digest, source and schema; its bytes stay where they are. That
is less than an artifact and more than a tag. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field
from pydantic import ValidationError as ShapeError

from trialog_schemas.errors import ClientError, LimitExceededError, ValidationError
from trialog_server.serve.mlflow.log_arguments import PairArguments, checked_pair
from trialog_server.serve.mlflow.questions import MlflowArguments, RunArguments, check_storable
from trialog_server.serve.mlflow.shapes import DatasetInputJSON, PairJSON

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUTS_ARTIFACT = "mlflow-inputs.json"
"""The artifact: `{"datasets": [{"tags", "dataset"}, …]}`, as MLflow's clients send them."""

DATASETS_MAX = 1000
"""Datasets of one request; MLflow's number."""


class DatasetArguments(MlflowArguments):
    """What is told of a dataset."""

    name: str | None = None
    digest: str | None = None
    source_type: str | None = None
    source: str | None = None
    schema_text: str | None = Field(None, alias="schema")
    profile: str | None = None


class DatasetInputArguments(MlflowArguments):
    """A dataset, and what it was to the run, by tags."""

    tags: list[PairArguments] | None = None
    dataset: DatasetArguments | None = None


class LogInputsArguments(RunArguments):
    """What a run has used."""

    datasets: list[DatasetInputArguments] | None = None
    models: list[Any] | None = None

    def told(self) -> list[DatasetInputJSON]:
        """Return the datasets.

        Raises:
            LimitExceededError: there are too many.
            ValidationError: there are none, one has no name or digest, or there are models.
        """
        if self.models:
            raise ValidationError(
                "models are refused as inputs: trialog keeps no logged models; leave them out",
                field="models",
                limit="none",
            )
        if not self.datasets:
            raise ValidationError(
                "datasets are missing; give those that the run has used",
                field="datasets",
                limit="required",
            )
        if len(self.datasets) > DATASETS_MAX:
            raise LimitExceededError(
                f"{len(self.datasets)} datasets at once are refused, allowed are "
                f"{DATASETS_MAX}; send several requests",
                field="datasets",
                limit=DATASETS_MAX,
            )
        return [_checked(one) for one in self.datasets]


def inputs_document(before: bytes | None, told: Sequence[DatasetInputJSON]) -> bytes:
    """Return the artifact with these datasets beside those it had; one told again is told anew."""
    known = [*datasets_of(before), *told]
    each = {(one["dataset"]["name"], one["dataset"]["digest"]): one for one in known}
    return orjson.dumps(
        {"datasets": [each[key] for key in sorted(each)]},
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )


def datasets_of(document: bytes | None) -> list[DatasetInputJSON]:
    """Return what is in the artifact; of one that somebody else has made of its name, nothing."""
    try:
        return LogInputsArguments.model_validate_json(document or b"{}").told()
    except (ShapeError, ClientError):
        return []


def _checked(told: DatasetInputArguments) -> DatasetInputJSON:
    given = DatasetArguments() if told.dataset is None else told.dataset
    texts = given.model_dump(by_alias=True, exclude_none=True)
    for field in ("name", "digest"):
        if not texts.get(field):
            raise ValidationError(
                f"a dataset has no {field}; give it", field=field, limit="required"
            )
    tags = [PairJSON(key=key, value=value) for key, value in map(checked_pair, told.tags or [])]
    checked = {field: check_storable(field, text) for field, text in texts.items()}
    return {"tags": tags, "dataset": checked}
