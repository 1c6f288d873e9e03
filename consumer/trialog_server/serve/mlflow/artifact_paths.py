"""Where MLflow clients find the artifacts of a run: addresses and back; must not do I/O."""

from __future__ import annotations

import re

from trialog_schemas.errors import ResourceNotFoundError, shown

_PLACE = re.compile(r"(?P<number>[0-9]{1,19})/(?P<run_id>[0-9a-f]{32})/artifacts(?:/(?P<name>.+))?")


def experiment_address(experiment_id: str) -> str:
    """Return the address under which the runs of an experiment keep their artifacts."""
    return f"mlflow-artifacts:/{experiment_id}"


def artifacts_address(experiment_id: str, run_id: str) -> str:
    """Return the address under which a run's artifacts are."""
    return f"{experiment_address(experiment_id)}/{run_id}/artifacts"


def parse_artifact_path(path: str) -> tuple[str, str | None]:
    """Return the run's id and the artifact's name or folder, of what follows the service's root.

    The run alone decides where its artifacts are; the experiment's id in front is what MLflow
    clients show.

    Raises:
        ResourceNotFoundError: no run has artifacts there.
    """
    found = _PLACE.fullmatch(path.strip("/"))
    if found is None:
        raise ResourceNotFoundError(
            f"no run keeps artifacts at {shown(path)}; ask under the artifact_uri of a run",
            field="path",
            value=path,
        )
    return found["run_id"], found["name"]
